//! The line to a server, which can be cut, and servers that are dead in several ways.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread::JoinHandle;

use tokio::net::UnixStream;
use tokio::sync::oneshot;

use crate::scripted::Server;

/// A server that runs until this is dropped.
pub(super) struct Line {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// Serves on a socket in `folder`, behind a relay that the server's scissors cut.
    pub(super) fn to(server: &Server, folder: &Path) -> Self {
        let (inner, outer) = (folder.join("inner.sock"), folder.join("outer.sock"));
        let url = format!("unix:{}", outer.display());
        let server = server.clone();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let behind = tokio::net::UnixListener::bind(&inner).expect("a socket");
                let incoming = tokio_stream::wrappers::UnixListenerStream::new(behind);
                tokio::spawn(server.router().serve_with_incoming(incoming));
                let front = tokio::net::UnixListener::bind(&outer).expect("a socket");
                ready.send(()).expect("someone waits");
                let scissors = server.scissors.clone();
                let relay = async move {
                    loop {
                        let Ok((mut client, _)) = front.accept().await else { return };
                        let (scissors, inner) = (scissors.clone(), inner.clone());
                        tokio::spawn(async move {
                            let cut = scissors.notified();
                            let Ok(mut server) = UnixStream::connect(inner).await else { return };
                            tokio::select! {
                                () = cut => {}
                                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                            }
                        });
                    }
                };
                tokio::select! {
                    () = relay => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().expect("a server");
        Self { url, stop: Some(stop), thread: Some(thread) }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// A server that is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dead {
    /// No socket.
    Absent,
    /// A file that is no socket.
    File,
    /// A socket that nobody listens on any more.
    Stale,
    /// Connections are taken and nothing is ever said.
    Mute,
    /// Connections are closed at once.
    Closing,
    /// It speaks something else.
    Babbling,
}

impl Dead {
    pub(super) const ALL: [Self; 6] =
        [Self::Absent, Self::File, Self::Stale, Self::Mute, Self::Closing, Self::Babbling];

    /// Puts it in `folder`. Its thread waits for connections until the process ends.
    pub(super) fn url(self, folder: &Path) -> String {
        let path = folder.join("dead.sock");
        match self {
            Self::Absent => {}
            Self::File => std::fs::write(&path, "no socket").expect("written"),
            Self::Stale => drop(UnixListener::bind(&path).expect("a socket")),
            Self::Mute | Self::Closing | Self::Babbling => {
                let listener = UnixListener::bind(&path).expect("a socket");
                std::thread::spawn(move || self.answer(&listener));
            }
        }
        format!("unix:{}", path.display())
    }

    fn answer(self, listener: &UnixListener) {
        let mut held = Vec::new();
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            match self {
                Self::Mute => held.push(connection),
                Self::Babbling => {
                    let mut first = [0; 16];
                    let _read = connection.read(&mut first);
                    let _written = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                }
                _ => drop(connection),
            }
        }
    }
}
