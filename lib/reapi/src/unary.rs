//! Calls of one message that are answered with one message.
//!
//! They are most of what is asked: every lookup is one. What tonic has for them serves streams as
//! well, and takes longer than all of HTTP/2 below it, which counts where the server is on this
//! machine. Here a call is what it is on the wire ([gRPC over HTTP/2]): a body with the message and
//! five bytes before it, and the status in the trailers.
//!
//! [gRPC over HTTP/2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use forerunner_proto::Message;
use http::header::{CONTENT_TYPE, TE};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
};
use http_body::Frame;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// Before a message stand a byte that says whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// What follows such a prefix, at most.
const LONGEST_BYTES: usize = u32::MAX as usize;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const DETAILS: &str = "grpc-status-details-bin";

/// A message as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Framed(Bytes);

impl Framed {
    /// # Errors
    /// If the message is too long to be sent at all.
    pub(crate) fn new(message: &impl Message) -> Result<Self, Status> {
        let size = message.encoded_len();
        let length = u32::try_from(size).map_err(|_| too_large(size, LONGEST_BYTES))?;
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + size);
        bytes.push(0);
        bytes.extend(length.to_be_bytes());
        message.encode_raw(&mut bytes);
        Ok(Self(bytes.into()))
    }
}

/// The body of a question or an answer.
struct Single {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Single {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let data = self.message.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }
}

/// A call of the method at `path`, `/SERVICE/METHOD`.
pub(crate) fn question(
    path: &'static str,
    metadata: MetadataMap,
    message: Framed,
) -> Request<Body> {
    let mut request = Request::new(Body::new(Single { message: Some(message.0), trailers: None }));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(path);
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
    let (bytes, trailers) = receive(body, limit).await?;
    if !check(&trailers)? && !known {
        return Err(Status::unknown("the answer ends without a status"));
    }
    let bytes = bytes.ok_or_else(|| Status::internal("the answer has no message"))?;
    A::decode(bytes).map_err(|error| Status::internal(format!("the answer is malformed: {error}")))
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
        let (bytes, _) = receive(request.into_body(), limit).await?;
        let bytes = bytes.ok_or_else(|| Status::internal("the call has no message"))?;
        let question = Q::decode(bytes)
            .map_err(|error| Status::internal(format!("the call is malformed: {error}")))?;
        Framed::new(make(tonic::Request::new(question)).await?.get_ref())
    };
    Ok(match made.await {
        Ok(message) => {
            let mut trailers = HeaderMap::new();
            trailers.insert(STATUS, HeaderValue::from_static("0"));
            let body = Single { message: Some(message.0), trailers: Some(trailers) };
            let mut response = Response::new(Body::new(body));
            response.headers_mut().insert(CONTENT_TYPE, GRPC);
            response
        }
        Err(status) => status.into_http(),
    })
}

/// Takes the only message of a body, and what trails it.
async fn receive(
    body: impl http_body::Body<Data = Bytes, Error = Status>,
    limit: usize,
) -> Result<(Option<Bytes>, HeaderMap), Status> {
    let mut body = pin!(body);
    let mut bytes = Bytes::new();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await
    {
        match frame?.into_data() {
            Ok(data) => {
                bytes = join(bytes, data);
                check_prefix(&bytes, limit)?;
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    if bytes.is_empty() {
        return Ok((None, trailers));
    }
    // Why a message is cut off, the status tells.
    check(&trailers)?;
    match check_prefix(&bytes, limit)? {
        Some(length) if bytes.len() == PREFIX_BYTES + length => {
            bytes.advance(PREFIX_BYTES);
            Ok((Some(bytes), trailers))
        }
        _ => Err(Status::internal("a message ends in the middle")),
    }
}

/// Most messages come in one piece, which is not copied.
fn join(before: Bytes, piece: Bytes) -> Bytes {
    if before.is_empty() {
        return piece;
    }
    let mut both = before.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    both.extend_from_slice(&piece);
    both.freeze()
}

/// The length of the message that begins with `bytes`, once that is known.
fn check_prefix(bytes: &[u8], limit: usize) -> Result<Option<usize>, Status> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(Status::unimplemented("compressed messages are not taken"));
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(too_large(length, limit));
    }
    if rest.len() > length {
        return Err(Status::internal("there is more than one message"));
    }
    Ok(Some(length))
}

fn too_large(size: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!("a message of {size} bytes is above the limit of {limit}"))
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
    // tonic takes it for granted that the details can be decoded.
    let mut metadata = MetadataMap::from_headers(headers.clone());
    if metadata.get_bin(DETAILS).is_some_and(|details| details.to_bytes().is_err()) {
        metadata.remove_bin(DETAILS);
    }
    match Status::from_header_map(&metadata.into_headers()) {
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
