use forerunner_proto::reapi;
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;

const LIMIT: usize = 1000;
const DIGEST: &str = "d";

/// A body that comes in frames.
fn frames(
    frames: impl IntoIterator<Item = Frame<Bytes>, IntoIter: Send + 'static>,
) -> impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static {
    StreamBody::new(tokio_stream::iter(frames.into_iter().map(Ok)))
}

fn digest(size: usize) -> reapi::Digest {
    reapi::Digest { hash: DIGEST.repeat(size), size_bytes: 7 }
}

fn framed(message: &impl Message) -> Bytes {
    Framed::new(message).expect("it is short").0
}

fn status(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    pairs.iter().map(pair).collect()
}

/// What a client makes of an answer whose body comes in these pieces.
async fn read(
    pieces: &[&[u8]],
    trailers: &[(&'static str, &'static str)],
) -> Result<reapi::Digest, Status> {
    let data = pieces.iter().map(|piece| Frame::data(Bytes::copy_from_slice(piece)));
    let all: Vec<_> = data.chain([Frame::trailers(status(trailers))]).collect();
    message(Response::new(Body::new(frames(all))), LIMIT).await
}

const OK: &[(&str, &str)] = &[("grpc-status", "0")];

#[tokio::test]
async fn a_question_and_its_answer() {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-who", "me".parse().expect("a value"));
    let asked = question(Method("/a.B/C"), metadata, Framed::new(&digest(1)).expect("it is short"));
    assert_eq!((asked.method(), asked.uri().path()), (&http::Method::POST, "/a.B/C"));
    let headers = ["te", "content-type", "x-who"].map(|name| &asked.headers()[name]);
    assert_eq!(headers, ["trailers", "application/grpc", "me"]);
    let made = answer(asked, LIMIT, async |it: tonic::Request<reapi::Digest>| {
        assert_eq!(it.into_inner(), digest(1));
        Ok(tonic::Response::new(digest(2)))
    });
    let Ok(made) = made.await;
    assert_eq!(made.headers()[CONTENT_TYPE], "application/grpc");
    assert_eq!(message::<reapi::Digest>(made, LIMIT).await.expect("an answer"), digest(2));
}

#[tokio::test]
async fn a_refusal_is_told_with_its_details() {
    let asked = question(Method("/a.B/C"), MetadataMap::new(), Framed(framed(&digest(1))));
    let made = answer(asked, LIMIT, async |_: tonic::Request<reapi::Digest>| {
        let details = Bytes::from_static(b"\xff\x00");
        Err::<tonic::Response<reapi::Digest>, _>(Status::with_details(
            Code::DataLoss,
            "ä\n",
            details,
        ))
    });
    let Ok(made) = made.await;
    let status = message::<reapi::Digest>(made, LIMIT).await.expect_err("a refusal");
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "ä\n"));
    assert_eq!(status.details(), b"\xff\x00");
}

#[tokio::test]
async fn what_is_asked_is_checked_before_anybody_hears_of_it() {
    let mut long = framed(&digest(1)).to_vec();
    long.push(0);
    let cases: [(&[u8], Code, &str); 6] = [
        (b"", Code::Internal, "no message"),
        (b"\0\0\0", Code::Internal, "ends in the middle"),
        (b"\x01\0\0\0\0", Code::Unimplemented, "compressed"),
        (b"\0\xff\xff\xff\xff", Code::ResourceExhausted, "4294967295 bytes"),
        (b"\0\0\0\0\x01\xff", Code::Internal, "malformed"),
        (&long, Code::Internal, "more than one"),
    ];
    for (bytes, code, said) in cases {
        let body = frames([Frame::data(Bytes::copy_from_slice(bytes))]);
        let never = async |_: tonic::Request<reapi::Digest>| -> Result<tonic::Response<reapi::Digest>, Status> {
            panic!("{bytes:?} is no question")
        };
        let Ok(made) = answer(Request::new(body), LIMIT, never).await;
        let status = message::<reapi::Digest>(made, LIMIT).await.expect_err("a refusal");
        assert_eq!(status.code(), code, "{bytes:?}: {status}");
        assert!(status.message().contains(said), "{bytes:?}: {status}");
    }
}

#[tokio::test]
async fn pieces_of_any_size_make_the_message() {
    let bytes = framed(&digest(300));
    for size in [1, 2, 4, 5, 6, 299, bytes.len()] {
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        assert_eq!(read(&pieces, OK).await.expect("an answer"), digest(300), "{size}");
    }
    assert_eq!(
        read(&[&framed(&reapi::Digest::default())], OK).await.expect("an answer"),
        reapi::Digest::default(),
        "an empty message is one",
    );
}

/// The pieces of a body, its trailers, and what is said of them.
type Case<'a> = (&'a [&'a [u8]], &'a [(&'static str, &'static str)], Code, &'a str);

#[tokio::test]
async fn answers_that_make_no_sense_are_errors() {
    let whole = framed(&digest(1));
    let twice = [&whole[..], &whole].concat();
    let cases: [Case<'_>; 9] = [
        (&[&whole], &[], Code::Unknown, "without a status"),
        (&[&whole], &[("grpc-status", "x")], Code::Unknown, ""),
        (
            &[&whole],
            &[("grpc-status", "14"), ("grpc-message", "go%20on")],
            Code::Unavailable,
            "go on",
        ),
        (&[&whole[..3]], &[("grpc-status", "5")], Code::NotFound, ""),
        (&[&whole[..7]], OK, Code::Internal, "ends in the middle"),
        (&[], OK, Code::Internal, "no message"),
        (&[&twice], OK, Code::Internal, "more than one"),
        (&[&whole, &whole], OK, Code::Internal, "more than one"),
        (
            &[b"\0\0\0\x03\xe9"],
            OK,
            Code::ResourceExhausted,
            "1001 bytes is above the limit of 1000",
        ),
    ];
    for (pieces, trailers, code, said) in cases {
        let status = read(pieces, trailers).await.expect_err("an error");
        assert_eq!(status.code(), code, "{pieces:?} {trailers:?}: {status}");
        assert!(status.message().contains(said), "{pieces:?} {trailers:?}: {status}");
    }
}

#[tokio::test]
async fn a_status_in_place_of_an_answer() {
    let mut answer = Response::new(Body::empty());
    *answer.headers_mut() = status(&[("grpc-status", "5"), ("grpc-message", "no such thing")]);
    let status = message::<reapi::Digest>(answer, LIMIT).await.expect_err("an error");
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no such thing"));
}

#[tokio::test]
async fn a_proxy_knows_nothing_of_grpc() {
    for (http, code) in [
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (418, Code::Unknown),
        (429, Code::Unavailable),
        (502, Code::Unavailable),
        (503, Code::Unavailable),
        (504, Code::Unavailable),
    ] {
        let body = frames([Frame::data(Bytes::from_static(b"<html>"))]);
        let mut answer = Response::new(Body::new(body));
        *answer.status_mut() = StatusCode::from_u16(http).expect("a status");
        let status = message::<reapi::Digest>(answer, LIMIT).await.expect_err("an error");
        assert_eq!(status.code(), code, "{http}");
        assert!(status.message().contains(&http.to_string()), "{status}");
    }
}
