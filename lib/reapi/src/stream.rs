//! Blobs as streams: ByteStream with a server.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher as _};
use std::io::{Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use forerunner_merkle::{Digest, DigestFunction};
use forerunner_proto::bytestream::byte_stream_client::ByteStreamClient;
use forerunner_proto::bytestream::{ReadRequest, ReadResponse, WriteRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::remote::{LARGEST_MESSAGE_BYTES, RemoteEndpoint};
use crate::server::Wire;
use crate::{Content, Error};

/// Bytes in one piece of a stream.
pub(crate) const PIECE_BYTES: usize = 256 * 1024;

/// Pieces that may wait between the two ends of a stream.
const PIECES_UNDER_WAY: usize = 4;

/// A blob, or the rest of it, piece by piece.
pub struct BlobStream {
    source: Source,
}

enum Source {
    File { file: std::fs::File, left: u64 },
    Remote(Box<RemoteRead>),
}

struct RemoteRead {
    endpoint: RemoteEndpoint,
    digest: Digest,
    offset: u64,
    left: u64,
    tried: u32,
    stream: Option<Streaming<ReadResponse>>,
}

impl BlobStream {
    /// `limit` bytes of an open blob from `offset` on.
    pub(crate) fn of_file(
        digest: &Digest,
        mut file: std::fs::File,
        offset: u64,
        limit: u64,
    ) -> Result<Self, Error> {
        file.seek(SeekFrom::Start(offset))
            .map_err(|error| Error::file(Path::new(&digest.to_string()), error))?;
        let left = digest.size().saturating_sub(offset).min(limit);
        Ok(Self { source: Source::File { file, left } })
    }

    /// `limit` bytes of a blob at a server from `offset` on.
    pub(crate) fn of_remote(
        endpoint: RemoteEndpoint,
        digest: &Digest,
        offset: u64,
        limit: u64,
    ) -> Self {
        let left = digest.size().saturating_sub(offset).min(limit);
        let read = RemoteRead { endpoint, digest: *digest, offset, left, tried: 0, stream: None };
        Self { source: Source::Remote(Box::new(read)) }
    }

    /// The next piece, not empty; `None` at the end.
    ///
    /// # Errors
    /// If the blob is missing or cannot be read to the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match &mut self.source {
            Source::File { left: 0, .. } => Ok(None),
            Source::File { file, left } => {
                let want = usize::try_from(*left).unwrap_or(usize::MAX).min(PIECE_BYTES);
                let mut piece = BytesMut::zeroed(want);
                let got = file
                    .read(&mut piece)
                    .map_err(|error| Error::malformed("a stored blob", error))?;
                if got == 0 {
                    return Err(Error::malformed("a stored blob", "it ends early"));
                }
                piece.truncate(got);
                *left -= got as u64;
                Ok(Some(piece.freeze()))
            }
            Source::Remote(read) => read.next().await,
        }
    }
}

impl RemoteRead {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.left > 0 {
            match self.step().await {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => {
                    // A server may send more than it was asked for.
                    let take = (piece.len() as u64).min(self.left);
                    self.offset += take;
                    self.left -= take;
                    self.tried = 0;
                    return Ok(Some(piece.slice(..usize::try_from(take).unwrap_or(0))));
                }
                Err(status) => self.recover(status).await?,
            }
        }
        Ok(None)
    }

    async fn step(&mut self) -> Result<Bytes, Status> {
        let server = &self.endpoint.cas;
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let request = server.request(ReadRequest {
                    resource_name: resource(
                        &server.connection.instance,
                        "",
                        self.endpoint.function,
                        &self.digest,
                    ),
                    read_offset: self.offset as i64,
                    // 0 is everything; some servers answer DATA_LOSS to a limit.
                    read_limit: 0,
                });
                let mut client = client(&self.endpoint);
                let answer = server.within_timeout(client.read(request)).await?;
                self.stream.insert(answer.into_inner())
            }
        };
        match server.within_timeout(stream.message()).await? {
            Some(response) => Ok(response.data),
            None => Err(Status::data_loss(format!("{} bytes are missing at the end", self.left))),
        }
    }

    /// Goes on where a broken stream ended, if that may help.
    async fn recover(&mut self, status: Status) -> Result<(), Error> {
        self.stream = None;
        let server = &self.endpoint.cas;
        if status.code() == Code::NotFound {
            return Err(Error::MissingBlob(self.digest));
        }
        if !server.may_pass(&status, self.tried) {
            return Err(server.error("Read", status));
        }
        server.pause(self.tried).await;
        self.tried += 1;
        Ok(())
    }
}

impl RemoteEndpoint {
    /// A whole blob by ByteStream, its digest checked.
    pub(crate) async fn get_streamed(&self, digest: &Digest) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        self.stream_into(digest, &mut |piece: &[u8]| {
            whole.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        Ok(whole.freeze())
    }

    /// A blob by ByteStream into `sink`, its digest checked at the end.
    pub(crate) async fn stream_into(
        &self,
        digest: &Digest,
        sink: &mut (dyn FnMut(&[u8]) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        let mut stream = BlobStream::of_remote(self.clone(), digest, 0, u64::MAX);
        let mut hasher = self.function.hasher();
        while let Some(piece) = stream.next().await? {
            hasher.update(&piece);
            sink(&piece)?;
        }
        match hasher.finish() {
            got if got == *digest => Ok(()),
            got => Err(Error::WrongBlob { wanted: *digest, got }),
        }
    }

    /// Sends one blob by ByteStream.
    pub(crate) async fn write_streamed(
        &self,
        digest: &Digest,
        content: &Content,
    ) -> Result<(), Error> {
        let mut tried = 0;
        loop {
            let (sender, receiver) = mpsc::channel(PIECES_UNDER_WAY);
            let pieces = feed(sender, content, || self.upload_name(digest));
            let sending = self.write_pieces(receiver);
            let (fed, sent) = tokio::join!(pieces, sending);
            // A file that cannot be read ends the stream early; that is what went wrong then.
            fed?;
            match sent {
                Ok(_) => return Ok(()),
                Err(Error::Call { status, .. }) if self.cas.may_pass(&status, tried) => {
                    self.cas.pause(tried).await;
                    tried += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Passes on the pieces of one upload; answers with what the server has of it.
    pub(crate) async fn write_pieces(
        &self,
        pieces: mpsc::Receiver<WriteRequest>,
    ) -> Result<i64, Error> {
        let request = self.cas.request(ReceiverStream::new(pieces));
        let mut client = client(self);
        let answer = self.cas.within_timeout(client.write(request)).await;
        answer
            .map(|response| response.into_inner().committed_size)
            .map_err(|status| self.cas.error("Write", status))
    }

    /// A fresh name for an upload of `digest`.
    pub(crate) fn upload_name(&self, digest: &Digest) -> String {
        let upload = format!("uploads/{}/", unique());
        resource(&self.cas.connection.instance, &upload, self.function, digest)
    }
}

async fn feed(
    sender: mpsc::Sender<WriteRequest>,
    content: &Content,
    name: impl Fn() -> String,
) -> Result<(), Error> {
    let mut offset = 0_u64;
    let mut resource_name = name();
    let mut last = None;
    let mut pieces = Pieces::open(content)?;
    loop {
        let piece = pieces.next()?;
        let finished = piece.is_none();
        if let Some(data) = last.take() {
            let data: Bytes = data;
            let length = data.len() as u64;
            let request = WriteRequest {
                resource_name: std::mem::take(&mut resource_name),
                write_offset: offset as i64,
                finish_write: finished,
                data,
            };
            offset += length;
            // The server may have the blob already and stop listening.
            if sender.send(request).await.is_err() {
                return Ok(());
            }
        } else if finished {
            let resource_name = std::mem::take(&mut resource_name);
            let request = WriteRequest { resource_name, finish_write: true, ..Default::default() };
            let _ = sender.send(request).await;
        }
        match piece {
            Some(piece) => last = Some(piece),
            None => return Ok(()),
        }
    }
}

enum Pieces<'a> {
    Bytes(Bytes),
    File(std::fs::File, &'a Path),
}

impl<'a> Pieces<'a> {
    fn open(content: &'a Content) -> Result<Self, Error> {
        Ok(match content {
            Content::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Content::File(path) => {
                let file = std::fs::File::open(path).map_err(|error| Error::file(path, error))?;
                Self::File(file, path)
            }
        })
    }

    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = match self {
            Self::Bytes(bytes) => bytes.split_to(bytes.len().min(PIECE_BYTES)),
            Self::File(file, path) => {
                let mut piece = BytesMut::zeroed(PIECE_BYTES);
                let got = file.read(&mut piece).map_err(|error| Error::file(path, error))?;
                piece.truncate(got);
                piece.freeze()
            }
        };
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

fn client(endpoint: &RemoteEndpoint) -> ByteStreamClient<Wire> {
    ByteStreamClient::new(endpoint.cas.wire.clone())
        .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
}

/// A ByteStream resource name (REAPI, ContentAddressableStorage): the function is named only
/// where the length of the hash does not tell it.
pub(crate) fn resource(
    instance: &str,
    upload: &str,
    function: DigestFunction,
    digest: &Digest,
) -> String {
    let separator = if instance.is_empty() { "" } else { "/" };
    let function = match function {
        DigestFunction::Blake3 => "blake3/",
        _ => "",
    };
    format!("{instance}{separator}{upload}blobs/{function}{}/{}", digest.hex(), digest.size())
}

/// A random identifier in the form of a UUID (version 4).
pub(crate) fn unique() -> String {
    let random = || RandomState::new().build_hasher().finish();
    let (high, low) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff,
    )
}

/// Writes a stream into something that takes bytes.
pub(crate) async fn drain(
    mut stream: BlobStream,
    to: &mut impl Write,
    path: &Path,
) -> Result<(), Error> {
    while let Some(piece) = stream.next().await? {
        to.write_all(&piece).map_err(|error| Error::file(path, error))?;
    }
    Ok(())
}
