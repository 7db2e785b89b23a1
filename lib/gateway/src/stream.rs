//! ByteStream: large blobs, passed on piece by piece.

use forerunner_merkle::Digest;
use forerunner_proto::bytestream::byte_stream_server::ByteStream;
use forerunner_proto::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
    WriteResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::Front;

/// Pieces that wait between the two ends.
const PIECES_UNDER_WAY: usize = 2;

#[tonic::async_trait]
impl ByteStream for Front {
    type ReadStream = ReceiverStream<Result<ReadResponse, Status>>;

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let digest = digest_of(&request.resource_name)?;
        let offset = u64::try_from(request.read_offset)
            .ok()
            .filter(|offset| *offset <= digest.size())
            .ok_or_else(|| Status::out_of_range("the offset is outside the blob"))?;
        let limit = match u64::try_from(request.read_limit) {
            Ok(0) => u64::MAX,
            Ok(limit) => limit,
            Err(_) => return Err(Status::invalid_argument("the limit is negative")),
        };
        let mut stream =
            self.endpoint.read(&digest, offset, limit).map_err(|error| error.to_status())?;
        let (sender, receiver) = mpsc::channel(PIECES_UNDER_WAY);
        tokio::spawn(async move {
            loop {
                let piece = match stream.next().await {
                    Ok(Some(data)) => Ok(ReadResponse { data }),
                    Ok(None) => break,
                    Err(error) => Err(error.to_status()),
                };
                let last = piece.is_err();
                // A client that went away wants no more.
                if sender.send(piece).await.is_err() || last {
                    break;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        let mut stream = request.into_inner();
        let first = stream
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("an upload without a first message"))?;
        let digest = digest_of(&first.resource_name)?;
        let (sender, receiver) = mpsc::channel(PIECES_UNDER_WAY);
        let checker = Checker::new(self, digest);
        let pass = async move {
            let result = pass_on(first, &mut stream, &sender, checker).await;
            // Whatever comes after the end is read, so that the client is not cut off.
            drop(sender);
            result
        };
        let (passed, written) = tokio::join!(pass, self.endpoint.write(&digest, receiver));
        // What the client did wrong explains what the endpoint says of it.
        passed?;
        let committed_size = written.map_err(|error| error.to_status())?;
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        request: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        let digest = digest_of(&request.into_inner().resource_name)?;
        let missing = self.endpoint.missing(&[digest]).await.map_err(|error| error.to_status())?;
        // An upload is taken up from its beginning, or not at all.
        let complete = missing.is_empty();
        let committed_size = if complete { digest.size() as i64 } else { 0 };
        Ok(Response::new(QueryWriteStatusResponse { committed_size, complete }))
    }
}

/// Checks the pieces of an upload against its digest.
struct Checker {
    hasher: forerunner_merkle::Hasher,
    digest: Digest,
    received: u64,
}

impl Checker {
    fn new(front: &Front, digest: Digest) -> Self {
        Self { hasher: front.endpoint.function().hasher(), digest, received: 0 }
    }

    fn take(&mut self, piece: &WriteRequest) -> Result<(), Status> {
        if u64::try_from(piece.write_offset) != Ok(self.received) {
            return Err(Status::invalid_argument(format!(
                "a piece at offset {} came after {} bytes",
                piece.write_offset, self.received
            )));
        }
        self.received += piece.data.len() as u64;
        if self.received > self.digest.size() {
            return Err(Status::invalid_argument(format!(
                "more bytes came than blob {} has",
                self.digest
            )));
        }
        self.hasher.update(&piece.data);
        Ok(())
    }

    fn finish(self) -> Result<(), Status> {
        match self.hasher.finish() {
            got if got == self.digest => Ok(()),
            got => Err(Status::new(
                Code::InvalidArgument,
                format!("the content of blob {} has the digest {got}", self.digest),
            )),
        }
    }
}

/// Hands the pieces on. The last one waits for the check of the whole, so that an endpoint that
/// does not check never gets a wrong blob to its end.
async fn pass_on(
    first: WriteRequest,
    stream: &mut Streaming<WriteRequest>,
    sender: &mpsc::Sender<WriteRequest>,
    mut checker: Checker,
) -> Result<(), Status> {
    let mut piece = first;
    loop {
        checker.take(&piece)?;
        if piece.finish_write {
            checker.finish()?;
            let _ = sender.send(piece).await;
            return Ok(());
        }
        if sender.send(piece).await.is_err() {
            // The endpoint has the blob already.
            return Ok(());
        }
        piece = stream
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("the upload ended before it was finished"))?;
    }
}

/// The digest in a resource name: `[INSTANCE/][uploads/UUID/]blobs/[FUNCTION/]HASH/SIZE[/…]`.
fn digest_of(resource: &str) -> Result<Digest, Status> {
    let bad = || Status::invalid_argument(format!("`{resource}` names no blob"));
    let (_, rest) = match resource.strip_prefix("blobs/") {
        Some(rest) => ("", rest),
        None => resource.split_once("/blobs/").ok_or_else(bad)?,
    };
    let mut parts: Vec<&str> = rest.split('/').collect();
    if parts.first() == Some(&"blake3") {
        parts.remove(0);
    }
    match parts.as_slice() {
        [hash, size, ..] => format!("{hash}/{size}").parse().map_err(|_| bad()),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::digest_of;

    #[test]
    fn resource_names() {
        let hash = "a".repeat(64);
        for good in [
            format!("blobs/{hash}/5"),
            format!("main/blobs/{hash}/5"),
            format!("a/b/uploads/x/blobs/{hash}/5/name.o"),
            format!("uploads/x/blobs/blake3/{hash}/5"),
        ] {
            assert_eq!(digest_of(&good).expect(&good).to_string(), format!("{hash}/5"));
        }
        for bad in ["", "blobs", "blobs/", "blobs/x/5", "compressed-blobs/zstd/a/5"] {
            assert!(digest_of(bad).is_err(), "{bad}");
        }
    }
}
