//! The bodies of calls, between tonic and h2. Both ends of a unix socket use it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;

/// The largest list of headers that is taken.
pub const HEADERS_BYTES: u32 = 64 * 1024;

/// What is sent without asking whether there is room: h2 holds it until there is.
const SMALL_BYTES: usize = 16 * 1024;

/// Sends all of `body`, or what the other side still wants of it.
pub async fn send(mut body: Body, mut stream: SendStream<Bytes>) {
    loop {
        let next = std::future::poll_fn(|context| {
            // Nobody may be waiting any more for what comes late.
            match stream.poll_reset(context) {
                Poll::Ready(_) => Poll::Ready(Err(())),
                Poll::Pending => Pin::new(&mut body).poll_frame(context).map(Ok),
            }
        });
        let sent = match next.await {
            Err(()) => return,
            Ok(None) => stream.send_data(Bytes::new(), true),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => send_piece(&mut stream, data, body.is_end_stream()).await,
                Err(frame) => {
                    let _ = stream.send_trailers(frame.into_trailers().unwrap_or_default());
                    return;
                }
            },
            Ok(Some(Err(_))) => {
                stream.send_reset(Reason::CANCEL);
                return;
            }
        };
        // Why it ended the other half of the stream tells.
        if sent.is_err() || body.is_end_stream() {
            return;
        }
    }
}

async fn send_piece(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    end: bool,
) -> Result<(), h2::Error> {
    while data.len() > SMALL_BYTES {
        stream.reserve_capacity(data.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let room = room.unwrap_or_else(|| Err(Reason::CANCEL.into()))?;
        let part = data.split_to(room.min(data.len()));
        if !part.is_empty() {
            stream.send_data(part, end && data.is_empty())?;
        }
        if data.is_empty() {
            return Ok(());
        }
    }
    if data.is_empty() && !end {
        return Ok(());
    }
    stream.send_data(data, end)
}

/// A body that comes from the other side.
pub struct Incoming {
    stream: RecvStream,
    /// All of it is there but the trailers.
    over: bool,
}

impl Incoming {
    /// The body on `stream`.
    #[must_use]
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, over: false }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let piece = ready!(self.stream.poll_data(context));
        Poll::Ready(match piece {
            // A server that has said all it wants to say (RFC 9113, section 8.1).
            Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => None,
            Some(Ok(piece)) => {
                // Whoever asked for it has it now.
                let released = self.stream.flow_control().release_capacity(piece.len());
                Some(released.map(|()| piece))
            }
            other => other,
        })
    }

    fn poll_trailers(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<HeaderMap, h2::Error>>> {
        let trailers = ready!(self.stream.poll_trailers(context));
        Poll::Ready(match trailers {
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => None,
            other => other.transpose(),
        })
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.over {
            if let Some(piece) = ready!(self.poll_data(context)) {
                return Poll::Ready(Some(piece.map(Frame::data).map_err(Status::from)));
            }
            self.over = true;
        }
        let trailers = ready!(self.poll_trailers(context));
        Poll::Ready(trailers.map(|it| it.map(Frame::trailers).map_err(Status::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
