//! Calls over a unix socket with few layers in between.
//!
//! What tonic has for a client hands each call from task to task, which is nothing beside a
//! network. To a server on this machine it is a good part of the time that a lookup takes. Here a
//! call goes to HTTP/2 (h2) as it is, and its answer comes from there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::client::SendRequest;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use tonic::Status;
use tonic::body::Body;

use crate::http2::{self, HEADERS_BYTES, Incoming};
use crate::line;
use crate::server::Answer;

/// What a server may have under way to us on one stream, and on all.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// A server behind a unix socket. It is connected to with the first call, and again when the
/// connection broke. Clones share the connection, which belongs to the runtime that made it.
#[derive(Clone)]
pub(crate) struct Direct(Arc<Shared>);

struct Shared {
    path: PathBuf,
    connection: Mutex<Option<SendRequest<Bytes>>>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Direct {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Direct").field(&self.0.path).finish()
    }
}

impl Direct {
    pub(crate) fn new(path: &Path) -> Self {
        let (connection, connecting) = Default::default();
        Self(Arc::new(Shared { path: path.to_owned(), connection, connecting }))
    }

    /// Connects, if that was not done yet, and does not wait for what the server says to that. What
    /// goes wrong the first call finds out.
    pub(crate) async fn connect(&self) {
        if self.0.ready().await.is_ok() {
            // It is the connection's own task that greets the server.
            tokio::task::yield_now().await;
        }
    }

    /// Makes a call.
    pub(crate) fn call(&self, request: Request<Body>) -> Answer {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { Ok(shared.call(request).await?) })
    }
}

impl Shared {
    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (mut head, body) = request.into_parts();
        let mut address = head.uri.into_parts();
        address.scheme = Some(Scheme::HTTP);
        address.authority = Some(Authority::from_static("localhost"));
        head.uri = Uri::from_parts(address).map_err(|error| Status::internal(error.to_string()))?;
        let agent = HeaderValue::from_static(concat!("forerunner/", env!("CARGO_PKG_VERSION")));
        head.headers.insert(http::header::USER_AGENT, agent);

        let mut connection = self.ready().await?;
        let (mut answer, stream) = connection.send_request(Request::from_parts(head, ()), false)?;
        let mut sending = Box::pin(http2::send(body, stream));
        // One message is sent at once. More of them are sent while the answer is waited for: dropped
        // before it is there, the call is reset.
        let mut sent = false;
        let answer = loop {
            tokio::select! {
                biased;
                () = &mut sending, if !sent => sent = true,
                answer = &mut answer => break answer?,
            }
        };
        if !sent {
            tokio::spawn(sending);
        }
        Ok(answer.map(|stream| Body::new(Incoming::new(stream))))
    }

    /// The connection, once it takes another call.
    async fn ready(&self) -> Result<SendRequest<Bytes>, Status> {
        if let Some(connection) = self.living().await {
            return Ok(connection);
        }
        let _connecting = self.connecting.lock().await;
        // Another call may have been faster.
        if let Some(connection) = self.living().await {
            return Ok(connection);
        }
        let failed = |error: std::io::Error| {
            let mut status = Status::unavailable(format!("`{}`: {error}", self.path.display()));
            status.set_source(Arc::new(error));
            status
        };
        let line = line::connect(&self.path).await.map_err(failed)?;
        let (connection, driver) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADERS_BYTES)
            .enable_push(false)
            .handshake(line)
            .await?;
        // Whatever ends it, the calls under way are told.
        tokio::spawn(async move { driver.await.unwrap_or_default() });
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection.ready().await?)
    }

    async fn living(&self) -> Option<SendRequest<Bytes>> {
        let known = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known?.ready().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Read as _;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;

    /// A body that goes on for as long as somebody takes it.
    struct Endless(#[expect(dead_code, reason = "it is counted")] Arc<()>);

    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1 << 20])))))
        }
    }

    #[tokio::test]
    async fn the_server_is_greeted_ahead_of_the_first_call() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        Direct::new(&path).connect().await;
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let direct = Direct::new(&path);
        direct.connect().await;
        // Nothing of ours runs while this waits.
        let (mut line, _) = listener.accept().expect("a client");
        let mut greeting = [0; 24];
        line.read_exact(&mut greeting).expect("it was sent");
        assert_eq!(&greeting, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        direct.connect().await;
        listener.set_nonblocking(true).expect("a socket");
        assert!(listener.accept().is_err(), "it is connected already");
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_sends_no_more() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        let (begun, begins) = tokio::sync::oneshot::channel();
        let server = tokio::spawn(async move {
            let (line, _) = listener.accept().await.expect("a client");
            let mut connection = h2::server::handshake(line).await.expect("HTTP/2");
            let (request, _answer) = connection.accept().await.expect("a call").expect("a call");
            // Kept, and never read: the client is in the middle of its body for good.
            let _ = begun.send(request);
            assert!(connection.accept().await.is_none());
        });

        let counted = Arc::new(());
        let body = Body::new(Endless(Arc::clone(&counted)));
        let direct = Direct::new(&path);
        let call = tokio::spawn(direct.call(Request::new(body)));
        let _request = begins.await.expect("the call arrives");
        assert_eq!(Arc::strong_count(&counted), 2);
        call.abort();
        assert!(call.await.expect_err("it was given up").is_cancelled());
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&counted), 1, "the body is dropped with the call");
        drop(direct);
        server.await.expect("the line is closed");
    }
}
