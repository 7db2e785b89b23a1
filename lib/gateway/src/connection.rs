//! One client's connection, and the calls on it.
//!
//! All calls of a connection are answered in one task, by the services as tonic makes them: a
//! server on this machine answers so fast that handing a call from task to task is a good part of
//! what it takes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use forerunner_proto::buildgrid::local_content_addressable_storage_server::LocalContentAddressableStorageServer;
use forerunner_proto::bytestream::byte_stream_server::ByteStreamServer;
use forerunner_proto::reapi::action_cache_server::ActionCache;
use forerunner_proto::reapi::capabilities_server::CapabilitiesServer;
use forerunner_proto::reapi::content_addressable_storage_server::ContentAddressableStorageServer;
use forerunner_proto::reapi::execution_server::ExecutionServer;
use forerunner_reapi::Line;
use forerunner_reapi::http2::{self, HEADERS_BYTES, Incoming};
use forerunner_reapi::unary::{self, GET_ACTION_RESULT, UPDATE_ACTION_RESULT};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::Front;
use crate::local_cas::LocalCas;

/// Largest message that a client may send. Batches are within 4 MiB; a result with the paths of a
/// great many outputs may be larger.
const LARGEST_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// What a client may have under way to us on one stream, and on all.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Calls that a client may have under way on one connection; more of them wait.
const CALLS: u32 = 200;

/// Calls that a client may give up before we even looked at them. h2's own limit of 20 ends the
/// connection, and all other calls on it, of one that stops a build.
const GIVEN_UP: usize = 2000;

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// All that is served. Where a build asks all the time, it is answered with fewer layers.
pub(crate) struct Services {
    front: Arc<Front>,
    capabilities: CapabilitiesServer<Front>,
    byte_stream: ByteStreamServer<Front>,
    cas: ContentAddressableStorageServer<Front>,
    execution: ExecutionServer<Front>,
    local_cas: Option<LocalContentAddressableStorageServer<LocalCas>>,
}

impl Services {
    pub(crate) fn new(front: Front, local_cas: Option<LocalCas>) -> Self {
        Self {
            capabilities: CapabilitiesServer::new(front.clone()),
            byte_stream: ByteStreamServer::new(front.clone()),
            cas: ContentAddressableStorageServer::new(front.clone())
                .max_decoding_message_size(LARGEST_REQUEST_BYTES)
                .max_encoding_message_size(LARGEST_REQUEST_BYTES),
            execution: ExecutionServer::new(front.clone())
                .max_encoding_message_size(LARGEST_REQUEST_BYTES),
            local_cas: local_cas.map(LocalContentAddressableStorageServer::new),
            front: Arc::new(front),
        }
    }

    /// Has the service that is named answer.
    fn call(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        if path == GET_ACTION_RESULT.path() {
            let front = Arc::clone(&self.front);
            let make = async move |request| front.get_action_result(request).await;
            Box::pin(unary::answer(request, LARGEST_REQUEST_BYTES, make))
        } else if path == UPDATE_ACTION_RESULT.path() {
            let front = Arc::clone(&self.front);
            let make = async move |request| front.update_action_result(request).await;
            Box::pin(unary::answer(request, LARGEST_REQUEST_BYTES, make))
        } else if names(&self.cas, path) {
            self.cas.clone().call(request)
        } else if names(&self.byte_stream, path) {
            self.byte_stream.clone().call(request)
        } else if names(&self.execution, path) {
            self.execution.clone().call(request)
        } else if names(&self.capabilities, path) {
            self.capabilities.clone().call(request)
        } else if let Some(local_cas) = self.local_cas.as_ref().filter(|it| names(*it, path)) {
            local_cas.clone().call(request)
        } else {
            let unknown = Status::unimplemented(format!("no service has `{path}`"));
            Box::pin(async move { Ok(unknown.into_http()) })
        }
    }
}

/// Whether a path is one of this service, `/NAME/METHOD`.
fn names<S: NamedService>(_service: &S, path: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|path| path.strip_prefix(S::NAME))
        .is_some_and(|method| method.starts_with('/'))
}

/// Answers the calls of one client, until it leaves, or `stop` says so and all are answered.
pub(crate) async fn serve(line: Line, services: Arc<Services>, mut stop: watch::Receiver<bool>) {
    let connected = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(CALLS)
        .max_pending_accept_reset_streams(GIVEN_UP)
        .max_header_list_size(HEADERS_BYTES)
        .handshake(line)
        .await;
    let Ok(mut connection) = connected else { return };
    let mut calls = FuturesUnordered::new();
    let mut stopped = pin!(async move { stop.wait_for(|stop| *stop).await.is_ok() });
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped, if !stopping => {
                stopping = true;
                connection.graceful_shutdown();
            }
            call = connection.accept() => match call {
                Some(Ok((request, respond))) => calls.push(answer(&services, request, respond)),
                Some(Err(error)) => {
                    tracing::debug!(%error, "a client's connection broke");
                    return;
                }
                None => return,
            },
            Some(()) = calls.next(), if !calls.is_empty() => {}
        }
    }
}

/// Answers one call, as long as the client wants to know.
async fn answer(
    services: &Services,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let answer = services.call(request.map(Incoming::new));
    let response = tokio::select! {
        biased;
        response = answer => response.unwrap_or_else(|never| match never {}),
        _ = std::future::poll_fn(|context| respond.poll_reset(context)) => return,
    };
    let (head, body) = response.into_parts();
    let whole = http_body::Body::is_end_stream(&body);
    match respond.send_response(Response::from_parts(head, ()), whole) {
        Ok(stream) if !whole => http2::send(body, stream).await,
        Ok(_) => {}
        Err(_) => respond.send_reset(Reason::INTERNAL_ERROR),
    }
}
