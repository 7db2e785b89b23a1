//! One server: its channel, who we are to it, and calls that are tried again.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher as _};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use forerunner_proto::{Message, reapi};
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
use crate::unary::{self, Framed};
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

/// The path of a method, `/SERVICE/METHOD`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method(pub(crate) &'static str);

impl Method {
    /// What it is called in an error.
    pub(crate) fn name(self) -> &'static str {
        self.0.rsplit('/').next().unwrap_or(self.0)
    }
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
            Way::Direct(direct) => direct.call(request),
            Way::Channel(channel) => {
                let answer = channel.call(request);
                Box::pin(async move { Ok(answer.await?.map(Body::new)) })
            }
        }
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
    /// fails for a passing reason. `method` is the path of the method.
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
        let request = unary::question(method.0, self.metadata.clone(), question);
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
}
