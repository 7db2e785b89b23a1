//! Calls of one message that are answered with one message.
//!
//! They are most of what is asked: every lookup is one. What tonic has for them serves streams as
//! well, and takes longer than all of HTTP/2 below it, which counts where the server is on this
//! machine. Here a call is what it is on the wire ([gRPC over HTTP/2]): a body with the message and
//! five bytes before it, and the status in the trailers.
//!
//! [gRPC over HTTP/2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

use std::cmp::Ordering;
use std::convert::Infallible;
use std::pin::pin;

use bytes::{Buf as _, Bytes};
use forerunner_proto::Message;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// Before a message stand a byte that says whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// What follows such a prefix, at most.
const LONGEST_BYTES: usize = u32::MAX as usize;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Looks an action's result up.
pub const GET_ACTION_RESULT: Method =
    Method("/build.bazel.remote.execution.v2.ActionCache/GetActionResult");

/// Stores an action's result.
pub const UPDATE_ACTION_RESULT: Method =
    Method("/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult");

/// A method of a service.
#[derive(Clone, Copy, Debug)]
pub struct Method(pub(crate) &'static str);

impl Method {
    /// Its path, `/SERVICE/METHOD`.
    #[must_use]
    pub fn path(self) -> &'static str {
        self.0
    }

    /// What it is called in an error.
    pub(crate) fn name(self) -> &'static str {
        self.0.rsplit('/').next().unwrap_or(self.0)
    }
}

/// A message as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Framed(Bytes);

impl Framed {
    /// # Errors
    /// If the message is too long to be sent at all.
    pub(crate) fn new(message: &impl Message) -> Result<Self, Status> {
        let size = message.encoded_len();
        let what = || format!("a message of {size} bytes");
        let length = u32::try_from(size).map_err(|_| too_large(&what(), LONGEST_BYTES))?;
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + size);
        bytes.push(0);
        bytes.extend(length.to_be_bytes());
        message.encode_raw(&mut bytes);
        Ok(Self(bytes.into()))
    }
}

/// A call of a method.
pub(crate) fn question(method: Method, metadata: MetadataMap, message: Framed) -> Request<Body> {
    let mut request = Request::new(Body::new(Full::new(message.0)));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = Uri::from_static(method.path());
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = metadata.into_headers();
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, GRPC);
    request
}

/// The message of an answer that is no longer than `limit` bytes.
///
/// # Errors
/// The status that the server answers with, or one that says what is wrong with its answer.
pub(crate) async fn message<A: Message + Default>(
    answer: Response<Body>,
    limit: usize,
) -> Result<A, Status> {
    let (head, body) = answer.into_parts();
    // A server that has nothing else to say puts its status here.
    let known = check(&head.headers)?;
    if head.status != StatusCode::OK {
        return Err(of_http(head.status));
    }
    let (bytes, trailers) = collect(body, limit).await?;
    // Why a message is cut off, the status tells.
    if !check(&trailers)? && !known {
        return Err(Status::unknown("the answer ends without a status"));
    }
    A::decode(unframed(bytes, limit)?)
        .map_err(|error| Status::internal(format!("the answer is malformed: {error}")))
}

/// Answers a call, in the way of tonic's services. What is asked is no longer than `limit` bytes.
pub async fn answer<Q, A, F>(
    request: Request<impl http_body::Body<Data = Bytes, Error = Status>>,
    limit: usize,
    make: impl FnOnce(tonic::Request<Q>) -> F,
) -> Result<Response<Body>, Infallible>
where
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<tonic::Response<A>, Status>>,
{
    let made = async {
        let (bytes, _) = collect(request.into_body(), limit).await?;
        let question = Q::decode(unframed(bytes, limit)?)
            .map_err(|error| Status::internal(format!("the call is malformed: {error}")))?;
        Framed::new(make(tonic::Request::new(question)).await?.get_ref())
    };
    Ok(match made.await {
        Ok(message) => {
            let mut trailers = HeaderMap::new();
            trailers.insert(STATUS, HeaderValue::from_static("0"));
            let trailers = std::future::ready(Some(Ok(trailers)));
            let body = Full::new(message.0).with_trailers(trailers);
            let mut response = Response::new(Body::new(body));
            response.headers_mut().insert(CONTENT_TYPE, GRPC);
            response
        }
        Err(status) => status.into_http(),
    })
}

/// All of a body, and what trails it.
async fn collect(
    body: impl http_body::Body<Data = Bytes, Error = Status>,
    limit: usize,
) -> Result<(Bytes, HeaderMap), Status> {
    let limited = pin!(Limited::new(body, PREFIX_BYTES.saturating_add(limit)));
    let all = limited.collect().await.map_err(|error| match error.downcast::<Status>() {
        Ok(status) => *status,
        Err(_) => too_large("a message", limit),
    })?;
    let trailers = all.trailers().cloned().unwrap_or_default();
    Ok((all.to_bytes(), trailers))
}

/// The only message of a body.
fn unframed(mut body: Bytes, limit: usize) -> Result<Bytes, Status> {
    if body.is_empty() {
        return Err(Status::internal("there is no message"));
    }
    let cut = || Status::internal("the message ends in the middle");
    let [compressed, length @ ..] = *body.first_chunk::<PREFIX_BYTES>().ok_or_else(cut)?;
    let length = u32::from_be_bytes(length) as usize;
    if compressed != 0 {
        return Err(Status::unimplemented("compressed messages are not taken"));
    }
    if length > limit {
        return Err(too_large(&format!("a message of {length} bytes"), limit));
    }
    body.advance(PREFIX_BYTES);
    match body.len().cmp(&length) {
        Ordering::Less => Err(cut()),
        Ordering::Equal => Ok(body),
        Ordering::Greater => Err(Status::internal("there is more than one message")),
    }
}

fn too_large(what: &str, limit: usize) -> Status {
    Status::resource_exhausted(format!("{what} is above the limit of {limit} bytes"))
}

/// Whether there is a status among `headers`.
///
/// # Errors
/// With the status, if it is another than OK.
fn check(headers: &HeaderMap) -> Result<bool, Status> {
    let Some(code) = headers.get(STATUS) else { return Ok(false) };
    if code == "0" {
        return Ok(true);
    }
    match Status::from_header_map(headers) {
        Some(status) if status.code() == Code::Ok => Ok(true),
        status => Err(status.unwrap_or_else(|| Status::unknown("the status makes no sense"))),
    }
}

/// What a proxy says that knows nothing of gRPC ([the mapping]).
///
/// [the mapping]: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
fn of_http(status: StatusCode) -> Status {
    let code = match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("the server answers with HTTP status {status}"))
}

#[cfg(test)]
mod tests;
