//! A unix socket as both ends of a call use it: with few system calls, and few wake-ups of either
//! side.
//!
//! What is written in pieces goes out together when it is flushed. And a [`Line`] waits for its
//! socket to be writable only after a write that found it full: otherwise each piece that the other
//! side takes off the socket would wake up this one.

use std::io::{self, IoSlice, Write as _};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};

/// More than this is written at once.
const HELD_BYTES: usize = 16 * 1024;

/// A connected unix socket.
#[derive(Debug)]
pub struct Line {
    socket: UnixStream,
    /// Tells when there is something to read. It is a descriptor of the same socket: what tokio
    /// has for pipes waits for one direction only.
    readable: Receiver,
    /// Tells when it can be written again, after it was full.
    writable: Option<Sender>,
    /// Written and not yet flushed.
    held: Vec<u8>,
}

impl Line {
    /// Takes a connected socket. Must be called within a runtime.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let readable = Receiver::from_owned_fd_unchecked(socket.try_clone()?.into())?;
        Ok(Self { socket, readable, writable: None, held: Vec::new() })
    }

    /// Writes what fits, waiting until that is something.
    fn poll_out(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        while self.writable.is_none() {
            match (&self.socket).write_vectored(pieces) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let other = self.socket.try_clone()?.into();
                    self.writable = Some(Sender::from_owned_fd_unchecked(other)?);
                }
                other => return Poll::Ready(other),
            }
        }
        let Some(writable) = &mut self.writable else { return Poll::Pending };
        let written = ready!(Pin::new(writable).poll_write_vectored(context, pieces));
        self.writable = None;
        Poll::Ready(written)
    }

    /// Writes what is held.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let written = self.poll_out(context, &[IoSlice::new(&held)]);
            self.held = held;
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.held.drain(..written)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.readable).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(piece)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.held.len() + size <= HELD_BYTES {
            for piece in pieces {
                self.held.extend_from_slice(piece);
            }
            return Poll::Ready(Ok(size));
        }
        ready!(self.poll_release(context))?;
        self.poll_out(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_release(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Poll::Ready(self.socket.shutdown(Shutdown::Write))
    }
}

/// Connects to a socket whose path may be longer than `sun_path` (108 bytes): then by way of its
/// directory's descriptor.
pub(crate) async fn connect(path: &Path) -> io::Result<Line> {
    const SUN_PATH_BYTES: usize = 108;
    let long = path.as_os_str().len() >= SUN_PATH_BYTES;
    let stream = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if long => {
            let folder = std::fs::File::open(parent)?;
            let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
            tokio::net::UnixStream::connect(short.join(name)).await?
        }
        _ => tokio::net::UnixStream::connect(path).await?,
    };
    Line::new(stream.into_std()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn pair() -> (Line, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        theirs.set_nonblocking(true).expect("a socket");
        (Line::new(ours).expect("a line"), theirs)
    }

    #[tokio::test]
    async fn what_is_written_in_pieces_goes_out_together() {
        let (mut line, theirs) = pair();
        line.write_all(b"he").await.expect("room");
        line.write_all(b"ad").await.expect("room");
        let mut seen = [0; 8];
        assert!((&theirs).read(&mut seen).is_err(), "nothing was flushed");
        line.flush().await.expect("it goes out");
        assert_eq!((&theirs).read(&mut seen).expect("it is there"), 4);
    }

    #[tokio::test]
    async fn more_than_a_socket_holds_passes() {
        let (line, theirs) = pair();
        let mut other = Line::new(theirs).expect("a line");
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
        let (mut read, mut write) = tokio::io::split(line);
        let send = async {
            for piece in sent.chunks(70_001) {
                write.write_all(piece).await.expect("a line");
            }
            write.shutdown().await.expect("a line");
        };
        let mut got = Vec::new();
        let receive = async { other.read_to_end(&mut got).await.expect("a line") };
        let ((), size) = tokio::join!(send, receive);
        assert_eq!(size, sent.len());
        assert!(got == sent);
        drop(other);
        assert_eq!(read.read(&mut [0; 8]).await.expect("the end"), 0);
    }

    #[tokio::test]
    async fn one_that_is_gone_is_an_error() {
        let (mut line, theirs) = pair();
        drop(theirs);
        line.write_all(b"x").await.expect("it is held");
        assert_eq!(
            line.flush().await.map_err(|error| error.kind()),
            Err(io::ErrorKind::BrokenPipe)
        );
    }
}
