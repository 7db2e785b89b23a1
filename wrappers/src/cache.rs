//! The endpoint, as a wrapper needs it: one thing after the other.
//!
//! The embedded store is used directly, without a runtime: a hit should cost little more than
//! reading its files.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction};
use forerunner_proto::{Kept, reapi};
use forerunner_reapi::{Content, Endpoint, EnvironmentError, Error, ExecuteOptions, WholeFile};
use forerunner_store::{Hold, Store, StoreError};
use prost::Message as _;
use tonic::Code;

use crate::figures::Figures;
use crate::session::Session;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The endpoint failed.
    #[error(transparent)]
    Endpoint(#[from] Error),
    /// The embedded store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A variable makes no sense.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A file here.
    #[error("`{0}`: {1}")]
    File(PathBuf, io::Error),
    /// No place for the embedded store, or it cannot be opened.
    #[error("there is no embedded store")]
    NoStore,
    /// A result that is no message.
    #[error("the result of action {0} is malformed: {1}")]
    Malformed(Digest, String),
    /// A result that lacks what it should have.
    #[error("the result of action {0} lacks the output `{1}`")]
    Incomplete(Digest, String),
    /// A blob that a result names is gone.
    #[error("blob {0} is gone")]
    Missing(Digest),
    /// The server says that execution went wrong.
    #[error("execution failed: {0}")]
    Execution(String),
    /// The runtime cannot be made.
    #[error("no runtime: {0}")]
    Runtime(io::Error),
}

impl CacheError {
    /// The exit status of the reference: 102 for what a server said, 101 for anything else.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Endpoint(Error::Call { status, .. }) if status.code() == Code::Cancelled => 130,
            Self::Endpoint(Error::Call { .. }) | Self::Execution(_) => 102,
            _ => 101,
        }
    }
}

/// A file to write.
pub struct Delivery<'a> {
    /// Its content.
    pub digest: Digest,
    /// The content itself, if the result had it.
    pub inline: Option<&'a [u8]>,
    /// Where.
    pub path: PathBuf,
    /// Whether it is to be executable.
    pub executable: bool,
}

/// The endpoint.
pub enum Cache {
    /// The embedded store.
    Embedded(Store),
    /// Servers, or execution on the embedded store; and where it is noted what they were asked.
    Endpoint(tokio::runtime::Runtime, Box<Endpoint>, Rc<Figures>),
}

impl Cache {
    /// Opens what the settings name.
    ///
    /// # Errors
    /// If it cannot be opened; servers are not asked yet.
    pub fn open(session: &Session) -> Result<Self, CacheError> {
        if session.settings.embedded {
            return session.store().cloned().map(Self::Embedded).ok_or(CacheError::NoStore);
        }
        Self::with_runtime(session)
    }

    /// Opens it for execution.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn with_runtime(session: &Session) -> Result<Self, CacheError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CacheError::Runtime)?;
        let config = session.config()?;
        let endpoint = {
            let _entered = runtime.enter();
            Endpoint::open(&config)?
        };
        let endpoint = match session.aside("nearby") {
            Some(folder) => endpoint.noting_in(folder),
            None => endpoint,
        };
        Ok(Self::Endpoint(runtime, Box::new(endpoint), Rc::clone(&session.figures)))
    }

    /// Has a server on this machine get ready for the first call.
    pub fn connect(&self) {
        if let Self::Endpoint(runtime, endpoint, _) = self {
            runtime.block_on(endpoint.connect());
        }
    }

    /// The function of its digests, if it is a server; the embedded store's manifests are files.
    #[must_use]
    pub fn function(&self) -> Option<DigestFunction> {
        match self {
            Self::Embedded(_) => None,
            Self::Endpoint(_, endpoint, _) => Some(endpoint.function()),
        }
    }

    /// Keeps what is used from now on from eviction.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        match self {
            Self::Embedded(store) => store.hold().ok(),
            Self::Endpoint(..) => None,
        }
    }

    /// Whether results may be stored.
    ///
    /// # Errors
    /// If the server does not say.
    pub fn may_update(&self) -> Result<bool, CacheError> {
        match self {
            Self::Embedded(_) => Ok(true),
            Self::Endpoint(runtime, endpoint, _) => {
                Ok(runtime.block_on(endpoint.capabilities())?.update_enabled)
            }
        }
    }

    /// The stored result of an action.
    ///
    /// # Errors
    /// If the endpoint fails or the result is malformed.
    pub fn action_result(
        &self,
        action: &Digest,
        inline: &[String],
    ) -> Result<Option<reapi::ActionResult>, CacheError> {
        let bytes = match self {
            Self::Embedded(store) => store.action_result(action)?.map(Bytes::from),
            Self::Endpoint(runtime, endpoint, _) => runtime
                .block_on(endpoint.action_result(action, inline))?
                .map(|kept| kept.bytes().clone()),
        };
        bytes
            .map(|bytes| {
                reapi::ActionResult::decode(bytes)
                    .map_err(|error| CacheError::Malformed(*action, error.to_string()))
            })
            .transpose()
    }

    /// Stores the result of an action.
    ///
    /// # Errors
    /// If the endpoint refuses.
    pub fn update(&self, action: &Digest, result: &reapi::ActionResult) -> Result<(), CacheError> {
        match self {
            Self::Embedded(store) => store.put_action_result(action, &result.encode_to_vec())?,
            Self::Endpoint(runtime, endpoint, _) => {
                runtime.block_on(endpoint.update_action_result(action, &Kept::new(result)))?;
            }
        }
        Ok(())
    }

    /// A small blob.
    ///
    /// # Errors
    /// If it is not there.
    pub fn get(&self, digest: &Digest) -> Result<Bytes, CacheError> {
        match self {
            Self::Embedded(store) => {
                store.get(digest)?.map(Bytes::from).ok_or(CacheError::Missing(*digest))
            }
            Self::Endpoint(runtime, endpoint, _) => Ok(runtime.block_on(endpoint.get(digest))?),
        }
    }

    /// Stores those of the blobs that are not there.
    ///
    /// # Errors
    /// If a file is not what was named, or the endpoint refuses.
    pub fn upload(&self, blobs: Vec<(Digest, Content)>) -> Result<(), CacheError> {
        match self {
            Self::Embedded(store) => {
                for (digest, content) in blobs {
                    if store.contains(&digest)? {
                        continue;
                    }
                    let stored = match &content {
                        Content::Bytes(bytes) => store.put(bytes)?,
                        Content::File(path) => store.put_file(path)?,
                    };
                    if stored != digest {
                        return Err(CacheError::Missing(digest));
                    }
                }
                Ok(())
            }
            Self::Endpoint(runtime, endpoint, figures) => {
                let begun = Instant::now();
                let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
                let missing = runtime.block_on(endpoint.missing(&digests));
                figures.time("find_missing_blobs", begun.elapsed());
                let missing: HashSet<Digest> = missing?.into_iter().collect();
                let asked = digests.into_iter().collect::<HashSet<_>>().len();
                figures.count("upload_blobs_cache_hit", asked.saturating_sub(missing.len()) as u64);
                figures.count("upload_blobs_cache_miss", missing.len() as u64);
                let wanted = blobs.into_iter().filter(|(digest, _)| missing.contains(digest));
                Ok(runtime.block_on(endpoint.send(wanted.collect()))?)
            }
        }
    }

    /// Stores a file whose digest is not known yet.
    ///
    /// # Errors
    /// If it cannot be read or stored.
    pub fn put_file(&self, path: &Path) -> Result<Digest, CacheError> {
        match self {
            Self::Embedded(store) => Ok(store.put_file(path)?),
            Self::Endpoint(_, endpoint, _) => {
                let digest = crate::stat_cache::hash_file(path, endpoint.function())
                    .map_err(|error| CacheError::File(path.to_owned(), error))?;
                self.upload(vec![(digest, Content::File(path.to_owned()))])?;
                Ok(digest)
            }
        }
    }

    /// Writes files: each appears whole or not at all, with the mode that a tool would give it.
    ///
    /// # Errors
    /// If a blob is gone or a file cannot be written.
    pub fn deliver(&self, files: &[Delivery<'_>]) -> Result<(), CacheError> {
        let mut rest = Vec::new();
        for file in files {
            match (file.inline, self) {
                (Some(bytes), _) => deliver_file(file, &mut &bytes[..])?,
                (None, Self::Embedded(store)) => {
                    let mut blob =
                        store.open_blob(&file.digest)?.ok_or(CacheError::Missing(file.digest))?;
                    deliver_file(file, &mut blob)?;
                }
                (None, Self::Endpoint(..)) => {
                    rest.push((file.digest, file.path.clone(), file.executable));
                }
            }
        }
        if let (Self::Endpoint(runtime, endpoint, _), false) = (self, rest.is_empty()) {
            runtime.block_on(endpoint.fetch_files(&rest))?;
        }
        Ok(())
    }

    /// Executes an action that was uploaded.
    ///
    /// # Errors
    /// If the endpoint fails or execution went wrong.
    pub fn execute(
        &self,
        action: &Digest,
        skip_cache: bool,
    ) -> Result<reapi::ExecuteResponse, CacheError> {
        let Self::Endpoint(runtime, endpoint, _) = self else { return Err(CacheError::NoStore) };
        let options = ExecuteOptions { skip_cache_lookup: skip_cache, ..ExecuteOptions::default() };
        let response =
            runtime.block_on(async { endpoint.execute(action, &options)?.finish().await })?;
        let response = response
            .message()
            .map_err(|error| CacheError::Malformed(*action, error.to_string()))?;
        match &response.status {
            Some(status) if status.code != 0 => {
                Err(CacheError::Execution(format!("{} (code {})", status.message, status.code)))
            }
            _ => Ok(response),
        }
    }
}

/// Gives a file its content and its place.
fn deliver_file<R: io::Read>(file: &Delivery<'_>, from: &mut R) -> Result<(), CacheError> {
    let put = WholeFile::beside(&file.path, file.executable).and_then(|mut target| {
        target.fill(from)?;
        target.appear()
    });
    put.map_err(|error| CacheError::File(file.path.clone(), error))
}
