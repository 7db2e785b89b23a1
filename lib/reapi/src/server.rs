//! One server: its channel, who we are to it, and calls that are tried again.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher as _};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use forerunner_proto::{Message, reapi};
use http::{HeaderMap, HeaderName};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Extensions, Request, Status};
use tower::{BoxError, Service};

use crate::direct::Direct;
use crate::error::passing;
use crate::remote::LARGEST_MESSAGE_BYTES;
use crate::security::Authorize;
use crate::unary::{self, Framed, Method};
use crate::{Connection, Error, Tool};

/// The way to a server: what the clients of the generated services send their requests through.
#[derive(Clone, Debug)]
pub struct Wire(Way);

#[derive(Clone, Debug)]
enum Way {
    /// By a unix socket. There is nothing on it that has to be kept alive.
    Direct(Direct),
    /// By a network.
    Channel(InterceptedService<Channel, Authorize>),
}

/// What is to come of a call.
pub(crate) type Answer =
    Pin<Box<dyn Future<Output = Result<http::Response<Body>, BoxError>> + Send>>;

impl Wire {
    /// Connects to a server on this machine; a network has to be waited for.
    async fn connect(&self) {
        if let Way::Direct(direct) = &self.0 {
            direct.connect().await;
        }
    }
}

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.0 {
            Way::Direct(_) => Poll::Ready(Ok(())),
            Way::Channel(channel) => channel.poll_ready(context).map_err(Into::into),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match &mut self.0 {
            Way::Direct(direct) => {
                let answer = direct.call(request);
                Box::pin(async move { Ok(with_sound_details(answer.await?)) })
            }
            Way::Channel(channel) => {
                let answer = channel.call(request);
                Box::pin(async move { Ok(with_sound_details(answer.await?)) })
            }
        }
    }
}

/// Takes out details of a status that cannot be decoded: tonic takes it for granted that they can.
fn with_sound_details<B>(answer: http::Response<B>) -> http::Response<Body>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (mut head, body) = answer.into_parts();
    check_details(&mut head.headers);
    let body = body.map_frame(|frame| match frame.into_trailers() {
        Ok(mut trailers) => {
            check_details(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    });
    http::Response::from_parts(head, Body::new(body))
}

fn check_details(headers: &mut HeaderMap) {
    const DETAILS: &str = "grpc-status-details-bin";
    let Some(details) = headers.get(DETAILS) else { return };
    let details = MetadataMap::from_headers(HeaderMap::from_iter([(
        HeaderName::from_static(DETAILS),
        details.clone(),
    )]));
    if details.get_bin(DETAILS).is_none_or(|details| details.to_bytes().is_err()) {
        headers.remove(DETAILS);
    }
}

/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A server that is talked to. Connects with the first call, and again after a broken connection.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) connection: Connection,
    /// The channel, for a client of a generated service.
    pub(crate) wire: Wire,
    /// Who asks, which every request says.
    metadata: MetadataMap,
}

impl Server {
    /// Parses the address; does not connect yet. Must be called within a runtime.
    pub(crate) fn new(connection: &Connection, tool: &Tool) -> Result<Self, Error> {
        let metadata = reapi::RequestMetadata {
            tool_details: Some(reapi::ToolDetails {
                tool_name: tool.name.clone(),
                tool_version: tool.version.clone(),
            }),
            tool_invocation_id: tool.invocation.clone(),
            correlated_invocations_id: tool.correlated.clone(),
            ..Default::default()
        };
        let value = MetadataValue::from_bytes(&metadata.encode_to_vec());
        let mut metadata = MetadataMap::new();
        metadata.insert_bin("build.bazel.remote.execution.v2.requestmetadata-bin", value);
        Ok(Self { connection: connection.clone(), wire: open(connection)?, metadata })
    }

    /// Connects ahead of the first call, if that takes no waiting.
    pub(crate) async fn connect(&self) {
        self.wire.connect().await;
    }

    /// The instance name, for a request.
    pub(crate) fn instance(&self) -> String {
        self.connection.instance.clone()
    }

    /// A request with our metadata.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.metadata.clone(), Extensions::new(), message)
    }

    /// Asks with one message for another, again as often as the connection's settings say while it
    /// fails for a passing reason.
    pub(crate) async fn ask<A: Message + Default>(
        &self,
        method: Method,
        question: &impl Message,
    ) -> Result<A, Error> {
        let question = Framed::new(question).map_err(|status| self.error(method.name(), status))?;
        let mut tried = 0;
        loop {
            match self.within_timeout(self.ask_once(method, question.clone())).await {
                Ok(answer) => return Ok(answer),
                Err(status) if self.may_pass(&status, tried) => {
                    tracing::info!(call = method.name(), code = ?status.code(), "trying again");
                    self.pause(tried).await;
                    tried += 1;
                }
                Err(status) => return Err(self.error(method.name(), status)),
            }
        }
    }

    /// One try.
    async fn ask_once<A: Message + Default>(
        &self,
        method: Method,
        question: Framed,
    ) -> Result<A, Status> {
        let request = unary::question(method, self.metadata.clone(), question);
        let mut wire = self.wire.clone();
        let answer = async {
            std::future::poll_fn(|context| wire.poll_ready(context)).await?;
            wire.call(request).await
        };
        unary::message(answer.await.map_err(Status::from_error)?, LARGEST_MESSAGE_BYTES).await
    }

    /// Whether a call that failed after `tried` further tries is worth another.
    pub(crate) fn may_pass(&self, status: &Status, tried: u32) -> bool {
        let listed = self.connection.retry_codes.contains(&status.code());
        (listed || passing(status)) && tried < self.connection.retry_limit
    }

    /// Waits before try number `tried` + 1: twice as long each time, and not in step with others.
    pub(crate) async fn pause(&self, tried: u32) {
        let base = self.connection.retry_delay.saturating_mul(1 << tried.min(16));
        let base = base.min(LONGEST_PAUSE);
        let jitter = RandomState::new().build_hasher().finish() % 256;
        tokio::time::sleep(base * 3 / 4 + base * u32::try_from(jitter).unwrap_or(0) / 512).await;
    }

    /// One try of a call, within the connection's timeout.
    pub(crate) async fn within_timeout<T>(
        &self,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        match self.connection.request_timeout {
            None => call.await,
            Some(limit) => tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
                Err(Status::deadline_exceeded(format!("no answer within {} s", limit.as_secs())))
            }),
        }
    }

    /// The error of a call to this server.
    pub(crate) fn error(&self, call: &'static str, status: Status) -> Error {
        Error::Call { endpoint: self.connection.url.clone(), call, status: Box::new(status) }
    }
}

fn open(connection: &Connection) -> Result<Wire, Error> {
    let url = connection.url.as_str();
    let bad = |reason: String| Error::Address { url: url.to_owned(), reason };
    if let Some(path) = url.strip_prefix("unix:") {
        // `unix:/a`, `unix:///a` and `unix:a` are all in use.
        let path = Path::new(path.strip_prefix("//").unwrap_or(path));
        if path.as_os_str().is_empty() {
            return Err(bad("the path is empty".to_owned()));
        }
        return Ok(Wire(Way::Direct(Direct::new(path))));
    }
    let (full, secure) = match url.split_once("://") {
        Some(("http" | "grpc", rest)) => (format!("http://{rest}"), false),
        Some(("https" | "grpcs", rest)) => (format!("https://{rest}"), true),
        Some((scheme, _)) => return Err(bad(format!("the scheme `{scheme}` is unknown"))),
        None => (format!("http://{url}"), false),
    };
    let parsed: Uri = full.parse().map_err(|error| bad(format!("{error}")))?;
    if parsed.host().is_none_or(str::is_empty) {
        return Err(bad("it names no host".to_owned()));
    }
    let mut endpoint = tune(Endpoint::from(parsed), connection);
    let mut authorize = Authorize::nobody();
    if secure {
        endpoint = connection.security.secure(url, endpoint)?;
        authorize = Authorize::new(&connection.security, &full);
    } else if connection.security.credentials.is_some() {
        tracing::warn!("credentials are not sent to `{url}`: they need `https://`");
    }
    let channel = endpoint.connect_lazy();
    Ok(Wire(Way::Channel(InterceptedService::new(channel, authorize))))
}

fn tune(endpoint: Endpoint, connection: &Connection) -> Endpoint {
    let endpoint = endpoint
        .tcp_nodelay(true)
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024);
    match connection.keepalive {
        Some(interval) => endpoint.http2_keep_alive_interval(interval),
        None => endpoint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, Error> {
        Server::new(&Connection::new(url), &Tool::default())
    }

    #[tokio::test]
    async fn addresses() {
        for good in ["unix:/tmp/s", "unix:///tmp/s", "http://h:1", "h:1", "grpc://h:1", "https://h"]
        {
            assert!(server(good).is_ok(), "{good}");
        }
        for bad in ["unix:", "ftp://h", "https://", "http://", "", "http://a b"] {
            let error = server(bad).expect_err(bad).to_string();
            assert!(error.contains(bad) && error.contains("unix:PATH"), "{error}");
        }
    }

    #[tokio::test]
    async fn details_that_cannot_be_decoded_are_left_out() {
        let status = |details| {
            let list = [("grpc-status", "9"), ("grpc-status-details-bin", details)];
            list.map(|(name, value)| {
                (HeaderName::from_static(name), http::HeaderValue::from_static(value))
            })
            .into_iter()
            .collect::<HeaderMap>()
        };
        for (details, kept) in [("%%%", 1), ("AAA", 2), ("AAA=", 2)] {
            let trailers = std::future::ready(Some(Ok(status(details))));
            let body = http_body_util::Empty::<Bytes>::new().with_trailers(trailers);
            let mut answer = http::Response::new(body);
            *answer.headers_mut() = status(details);
            let answer = with_sound_details(answer);
            assert_eq!(answer.headers().len(), kept, "{details}");
            let status = Status::from_header_map(answer.headers()).expect("it has not panicked");
            assert_eq!(status.code(), tonic::Code::FailedPrecondition);
            let all = answer.into_body().collect().await.expect("a body");
            assert_eq!(all.trailers().map(HeaderMap::len), Some(kept), "{details}");
        }
    }
}
