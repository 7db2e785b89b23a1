//! One interface to the embedded store and to servers.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction, Forest};
use forerunner_proto::buildgrid::local_content_addressable_storage_client::LocalContentAddressableStorageClient;
use forerunner_proto::bytestream::WriteRequest;
use forerunner_proto::{Kept, Message, reapi};
use forerunner_store::Store;
use tokio::sync::mpsc;
use tonic::Code;

use crate::execution::Start;
use crate::local::{Executor, Home};
use crate::remote::{RemoteEndpoint, batches};
use crate::server::Wire;
use crate::stream::drain;
use crate::{
    BlobStream, Capabilities, Config, Error, ExecuteOptions, Execution, Remote, WholeFile,
};

/// Where content, results and execution are: the embedded store, or REAPI servers.
///
/// Cloning is cheap. A remote endpoint belongs to the runtime in which it was opened.
#[derive(Clone)]
pub struct Endpoint {
    config: Arc<Config>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Embedded(Box<Executor>, Store),
    /// Servers, and what executes actions if none of them does.
    Remote(Box<RemoteEndpoint>, Option<Box<Executor>>),
}

/// Content to upload.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which is read when its turn comes.
    File(PathBuf),
}

impl Endpoint {
    /// Opens the embedded store, or prepares to talk to servers (which is tried with the first
    /// call only).
    ///
    /// # Errors
    /// If the store cannot be opened or an address is none.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let kind = match &config.remote {
            None => {
                let store = Store::open(&config.store)?;
                let executor = Executor::new(Home::Store(store.clone()), config.local.clone());
                Kind::Embedded(Box::new(executor), store)
            }
            Some(remote) => {
                let here = remote.execution.url == Remote::HERE;
                let remote = RemoteEndpoint::new(remote, config.function, &config.tool)?;
                let remote = Box::new(remote);
                let executor = || Executor::new(Home::Remote(remote.clone()), config.local.clone());
                let executor = here.then(|| Box::new(executor()));
                Kind::Remote(remote, executor)
            }
        };
        Ok(Self { config: Arc::new(config.clone()), kind })
    }

    /// The same, with a folder to keep what servers on this machine say of themselves from one
    /// process to the next: then small blobs are read where such a server keeps them, too.
    #[must_use]
    pub fn noting_in(mut self, folder: PathBuf) -> Self {
        if let Kind::Remote(remote, _) = &mut self.kind {
            remote.notes = Some(folder.into());
        }
        self
    }

    /// Connects to the server of results, if it is on this machine: it gets ready for the first call
    /// while the caller does something else. What goes wrong the first call tells.
    pub async fn connect(&self) {
        if let Kind::Remote(remote, _) = &self.kind {
            remote.connect().await;
        }
    }

    /// What it was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The function that makes digests.
    #[must_use]
    pub fn function(&self) -> DigestFunction {
        self.config.function
    }

    /// The store, if this is the embedded one.
    #[must_use]
    pub fn store(&self) -> Option<&Store> {
        match &self.kind {
            Kind::Embedded(_, store) => Some(store),
            Kind::Remote(..) => None,
        }
    }

    /// Its name in messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Embedded(_, store) => format!("the embedded store `{}`", store.root().display()),
            Kind::Remote(remote, _) => remote.cas.connection.url.clone(),
        }
    }

    /// What it can do; a server is asked once.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn capabilities(&self) -> Result<Capabilities, Error> {
        match &self.kind {
            Kind::Embedded(..) => Ok(Capabilities::embedded(self.function())),
            Kind::Remote(remote, executor) => {
                let mut capabilities = remote.capabilities().await?;
                capabilities.execution_enabled |= executor.is_some();
                Ok(capabilities)
            }
        }
    }

    /// Those of `digests` that are not there, each once.
    ///
    /// # Errors
    /// If the endpoint does not answer.
    pub async fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        let mut seen = HashSet::new();
        let digests: Vec<Digest> =
            digests.iter().copied().filter(|digest| seen.insert(*digest)).collect();
        match &self.kind {
            Kind::Embedded(_, store) => {
                let mut missing = Vec::new();
                for digest in digests {
                    if !store.contains(&digest)? {
                        missing.push(digest);
                    }
                }
                Ok(missing)
            }
            Kind::Remote(remote, _) => remote.missing(&digests).await,
        }
    }

    /// A whole blob.
    ///
    /// # Errors
    /// [`Error::MissingBlob`] if it is not there; or if the endpoint does not answer.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, Error> {
        self.get_many(&[*digest]).await?.remove(digest).ok_or(Error::MissingBlob(*digest))
    }

    /// Those of `digests` that are there, whole.
    ///
    /// # Errors
    /// If the endpoint does not answer.
    pub async fn get_many(&self, digests: &[Digest]) -> Result<HashMap<Digest, Bytes>, Error> {
        match &self.kind {
            Kind::Embedded(_, store) => {
                let mut found = HashMap::with_capacity(digests.len());
                for digest in digests {
                    if let Some(bytes) = store.get(digest)? {
                        found.insert(*digest, bytes.into());
                    }
                }
                Ok(found)
            }
            Kind::Remote(remote, _) => remote.get_many(digests).await,
        }
    }

    /// A message of type `M` that stands in a blob.
    ///
    /// # Errors
    /// If the blob is missing or no `M`.
    pub async fn message<M: Message + Default>(&self, digest: &Digest) -> Result<M, Error> {
        let bytes = self.get(digest).await?;
        M::decode(bytes).map_err(|error| Error::malformed(format!("blob {digest}"), error))
    }

    /// `limit` bytes of a blob from `offset` on, piece by piece.
    ///
    /// # Errors
    /// [`Error::MissingBlob`] if it is not there (a server says so with the first piece).
    pub fn read(&self, digest: &Digest, offset: u64, limit: u64) -> Result<BlobStream, Error> {
        match &self.kind {
            Kind::Embedded(_, store) => {
                let file = store.open_blob(digest)?.ok_or(Error::MissingBlob(*digest))?;
                BlobStream::of_file(digest, file, offset, limit)
            }
            Kind::Remote(remote, _) => {
                let remote = remote.as_ref().clone();
                Ok(BlobStream::of_remote(remote, digest, offset, limit))
            }
        }
    }

    /// Writes blobs to files: digest, path, and whether it is to be executable. Each file appears
    /// whole or not at all; the umask applies.
    ///
    /// # Errors
    /// If a blob is missing or a file cannot be written; some of the others may be there then.
    pub async fn fetch_files(&self, files: &[(Digest, PathBuf, bool)]) -> Result<(), Error> {
        let there = match &self.kind {
            Kind::Embedded(..) => HashSet::new(),
            Kind::Remote(remote, _) => remote.take_nearby(files).await?,
        };
        let files: Vec<_> =
            files.iter().filter(|(_, path, _)| !there.contains(path.as_path())).collect();
        let total = files.iter().map(|(digest, ..)| digest.size()).sum();
        let limit = match &self.kind {
            Kind::Embedded(..) => 0,
            Kind::Remote(remote, _) => remote.batch_limit(total).await?,
        };
        let (small, large): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(digest, ..)| digest.size() <= limit);
        for batch in batches(small, limit, |(digest, ..)| digest.size()) {
            let digests: Vec<Digest> = batch.iter().map(|(digest, ..)| *digest).collect();
            let found = self.get_many(&digests).await?;
            for (digest, path, executable) in batch {
                let bytes = found.get(digest).ok_or(Error::MissingBlob(*digest))?;
                let written = WholeFile::beside(path, *executable).and_then(|mut file| {
                    file.write_all(bytes)?;
                    file.appear()
                });
                written.map_err(|error| Error::file(path, error))?;
            }
        }
        for (digest, path, executable) in large {
            let failed = |error| Error::file(path, error);
            let mut file = WholeFile::beside(path, *executable).map_err(failed)?;
            match &self.kind {
                Kind::Embedded(..) => {
                    drain(self.read(digest, 0, u64::MAX)?, &mut file, path).await?;
                }
                Kind::Remote(remote, _) => {
                    let mut sink = |piece: &[u8]| file.write_all(piece).map_err(failed);
                    remote.stream_into(digest, &mut sink).await?;
                }
            }
            file.appear().map_err(failed)?;
        }
        Ok(())
    }

    /// Uploads those of `blobs` that are not there.
    ///
    /// # Errors
    /// If a file cannot be read or does not have the digest that was named, or the endpoint
    /// refuses.
    pub async fn upload(&self, blobs: Vec<(Digest, Content)>) -> Result<(), Error> {
        self.upload_missing(blobs).await.map(drop)
    }

    /// As [`Self::upload`]; answers with those that are there already.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub async fn upload_missing(
        &self,
        mut blobs: Vec<(Digest, Content)>,
    ) -> Result<Vec<Digest>, Error> {
        let mut there: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
        let missing: HashSet<Digest> = self.missing(&there).await?.into_iter().collect();
        there.retain(|digest| !missing.contains(digest));
        blobs.retain(|(digest, _)| missing.contains(digest));
        self.send(blobs).await?;
        Ok(there)
    }

    /// Uploads `blobs`, each once, without asking which are there.
    ///
    /// # Errors
    /// If a file cannot be read or does not have the digest that was named, or the endpoint
    /// refuses.
    pub async fn send(&self, mut blobs: Vec<(Digest, Content)>) -> Result<(), Error> {
        let mut seen = HashSet::new();
        blobs.retain(|(digest, _)| seen.insert(*digest));
        match &self.kind {
            Kind::Embedded(_, store) => {
                for (digest, content) in &blobs {
                    put(store, digest, content)?;
                }
                Ok(())
            }
            Kind::Remote(remote, _) => remote.upload(blobs).await,
        }
    }

    /// Stores small blobs in one go, without asking which are there; answers with the status of
    /// each (REAPI, BatchUpdateBlobs).
    ///
    /// # Errors
    /// If the endpoint does not answer at all.
    pub async fn update_batch(
        &self,
        blobs: Vec<(Digest, Bytes)>,
    ) -> Result<Vec<(Digest, tonic::Status)>, Error> {
        match &self.kind {
            Kind::Embedded(_, store) => {
                let mut statuses = Vec::with_capacity(blobs.len());
                for (digest, bytes) in blobs {
                    let status = match put(store, &digest, &Content::Bytes(bytes)) {
                        Ok(()) => tonic::Status::ok(""),
                        Err(error) => error.to_status(),
                    };
                    statuses.push((digest, status));
                }
                Ok(statuses)
            }
            Kind::Remote(remote, _) => remote.update_batch(blobs).await,
        }
    }

    /// Stores a blob that comes in pieces. The first piece names the resource for `digest`; what
    /// it is called at a server is decided here. Answers with the committed size.
    ///
    /// # Errors
    /// If the content is not what `digest` says, or the endpoint refuses.
    pub async fn write(
        &self,
        digest: &Digest,
        mut pieces: mpsc::Receiver<WriteRequest>,
    ) -> Result<i64, Error> {
        match &self.kind {
            Kind::Embedded(_, store) => {
                if store.contains(digest)? {
                    return Ok(digest.size() as i64);
                }
                let mut writer = store.writer(Some(*digest))?;
                let mut finished = false;
                while let Some(piece) = pieces.recv().await {
                    std::io::Write::write_all(&mut writer, &piece.data)
                        .map_err(|error| Error::file(store.root(), error))?;
                    finished |= piece.finish_write;
                }
                if !finished {
                    return Err(Error::malformed("an upload", "it ended before it was finished"));
                }
                writer.commit()?;
                Ok(digest.size() as i64)
            }
            Kind::Remote(remote, _) => {
                let name = remote.upload_name(digest);
                let (sender, receiver) = mpsc::channel(2);
                let pass = async move {
                    let mut name = Some(name);
                    while let Some(mut piece) = pieces.recv().await {
                        piece.resource_name = name.take().unwrap_or_default();
                        if sender.send(piece).await.is_err() {
                            break;
                        }
                    }
                };
                let ((), written) = tokio::join!(pass, remote.write_pieces(receiver));
                written
            }
        }
    }

    /// Loads every directory at or below `roots` that `forest` does not know yet.
    ///
    /// # Errors
    /// If one is missing or malformed.
    pub async fn load(&self, forest: &mut Forest, roots: &[Digest]) -> Result<(), Error> {
        match &self.kind {
            Kind::Embedded(_, store) => loop {
                let missing = forest.missing_below(roots);
                if missing.is_empty() {
                    return Ok(());
                }
                for digest in missing {
                    let bytes = store.get(&digest)?.ok_or(Error::MissingBlob(digest))?;
                    forest.insert_encoded(digest, &bytes)?;
                }
            },
            Kind::Remote(remote, _) => remote.load(forest, roots).await,
        }
    }

    /// The cached result of an action. `inline` are output paths whose content is wanted in the
    /// answer, if the server likes.
    ///
    /// # Errors
    /// If the endpoint does not answer.
    pub async fn action_result(
        &self,
        action: &Digest,
        inline: &[String],
    ) -> Result<Option<Kept<reapi::ActionResult>>, Error> {
        match &self.kind {
            Kind::Embedded(_, store) => {
                Ok(store.action_result(action)?.map(|bytes| Kept::from_bytes(bytes.into())))
            }
            Kind::Remote(remote, _) => remote.action_result(action, inline).await,
        }
    }

    /// Writes the result of an action to the action cache.
    ///
    /// # Errors
    /// If the endpoint refuses.
    pub async fn update_action_result(
        &self,
        action: &Digest,
        result: &Kept<reapi::ActionResult>,
    ) -> Result<(), Error> {
        match &self.kind {
            Kind::Embedded(_, store) => Ok(store.put_action_result(action, result.bytes())?),
            Kind::Remote(remote, _) => remote.update_action_result(action, result).await,
        }
    }

    /// Executes an action whose blobs are all there.
    ///
    /// # Errors
    /// On the embedded store, if the action is not there. A server says so with the first state.
    pub fn execute(&self, action: &Digest, options: &ExecuteOptions) -> Result<Execution, Error> {
        match &self.kind {
            Kind::Embedded(executor, _) | Kind::Remote(_, Some(executor)) => {
                executor.execute(action, options)
            }
            Kind::Remote(remote, None) => {
                let request = reapi::ExecuteRequest {
                    instance_name: remote.execution.instance(),
                    action_digest: Some(action.to_proto()),
                    skip_cache_lookup: options.skip_cache_lookup,
                    execution_policy: (options.priority != 0)
                        .then_some(reapi::ExecutionPolicy { priority: options.priority }),
                    digest_function: self.function().to_proto() as i32,
                    ..Default::default()
                };
                let start = Start::Execute(Box::new(request));
                Ok(Execution::remote(remote.as_ref().clone(), start, String::new()))
            }
        }
    }

    /// Takes up an execution again by the name of its operation.
    ///
    /// # Errors
    /// If the embedded store has no such execution under way.
    pub fn wait_execution(&self, name: &str) -> Result<Execution, Error> {
        match &self.kind {
            Kind::Embedded(executor, _) | Kind::Remote(_, Some(executor)) => {
                executor.wait(name).ok_or_else(|| Error::Call {
                    endpoint: self.describe(),
                    call: "WaitExecution",
                    status: Box::new(tonic::Status::new(
                        Code::NotFound,
                        format!("no operation `{name}` is under way"),
                    )),
                })
            }
            Kind::Remote(remote, None) => {
                let remote = remote.as_ref().clone();
                Ok(Execution::remote(remote, Start::Wait, name.to_owned()))
            }
        }
    }

    /// A client of the LocalCAS service of a server. Whether the server has that service only a
    /// call tells; see [`Error::code`].
    #[must_use]
    pub fn local_cas(&self) -> Option<LocalContentAddressableStorageClient<Wire>> {
        match &self.kind {
            Kind::Embedded(..) => None,
            Kind::Remote(remote, _) => {
                Some(LocalContentAddressableStorageClient::new(remote.cas.wire.clone()))
            }
        }
    }
}

fn put(store: &Store, digest: &Digest, content: &Content) -> Result<(), Error> {
    let mut writer = store.writer(Some(*digest))?;
    match content {
        Content::Bytes(bytes) => std::io::Write::write_all(&mut writer, bytes)
            .map_err(|error| Error::file(store.root(), error))?,
        Content::File(path) => {
            let mut file = std::fs::File::open(path).map_err(|error| Error::file(path, error))?;
            std::io::copy(&mut file, &mut writer).map_err(|error| Error::file(path, error))?;
        }
    }
    writer.commit()?;
    Ok(())
}
