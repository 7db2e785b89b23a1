//! Talking to an endpoint. (Interface sketch; bodies follow.)
#![allow(missing_docs, clippy::unimplemented, unused_variables, clippy::unused_async, async_fn_in_trait)]
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction, Forest};
use forerunner_proto::{Kept, reapi, longrunning, buildgrid};
use forerunner_store::Store;

/// Where content, results and execution are. `remote: None` is the embedded store.
#[derive(Clone, Debug)]
pub struct Config {
    pub remote: Option<Remote>,
    pub store: forerunner_store::Options,
    pub function: DigestFunction,
    /// How Execute works on the embedded store.
    pub local: LocalExecution,
    pub tool: Tool,
}
/// The services of a remote endpoint; often all the same.
#[derive(Clone, Debug)]
pub struct Remote { pub cas: Connection, pub action_cache: Connection, pub execution: Connection }
impl Remote { pub fn all(connection: Connection) -> Self { unimplemented!() } }
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `unix:PATH`, `http://HOST:PORT`; without scheme `http://` is meant.
    pub url: String,
    pub instance: String,
    pub retry_limit: u32,
    pub retry_delay: Duration,
    pub request_timeout: Option<Duration>,
    pub keepalive: Option<Duration>,
}
impl Connection { pub fn new(url: &str) -> Self { unimplemented!() } }
#[derive(Clone, Debug)]
pub struct LocalExecution {
    /// The `buildbox-run` to start.
    pub runner: PathBuf,
    /// Further arguments for it.
    pub runner_arguments: Vec<String>,
    /// At most this many actions at once.
    pub jobs: usize,
}
/// Who asks; sent as RequestMetadata.
#[derive(Clone, Debug, Default)]
pub struct Tool { pub name: String, pub version: String, pub invocation: String, pub correlated: String }

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("blob {0} is not there")]
    MissingBlob(Digest),
    #[error("{0}")]
    Other(String),
}
impl Error {
    /// The gRPC status that says the same.
    pub fn to_status(&self) -> tonic::Status { unimplemented!() }
    pub fn code(&self) -> tonic::Code { unimplemented!() }
}
#[derive(Clone, Debug)]
pub struct Capabilities { pub update_enabled: bool, pub execution_enabled: bool, pub max_batch: u64, pub functions: Vec<DigestFunction>, pub message: reapi::ServerCapabilities }
/// Content to upload.
#[derive(Clone, Debug)]
pub enum Content { Bytes(Bytes), File(PathBuf) }
#[derive(Clone, Debug, Default)]
pub struct ExecuteOptions { pub skip_cache_lookup: bool, pub priority: i32 }
/// A running Execute.
pub struct Execution;
impl Execution {
    /// The next Operation as the server sent it; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<longrunning::Operation>, Error> { unimplemented!() }
    /// Waits for the end. Cancelled by dropping.
    pub async fn finish(self) -> Result<Kept<reapi::ExecuteResponse>, Error> { unimplemented!() }
}
#[derive(Clone)]
pub struct Endpoint;
impl Endpoint {
    pub async fn open(config: &Config) -> Result<Self, Error> { unimplemented!() }
    pub fn function(&self) -> DigestFunction { unimplemented!() }
    /// The store, if this endpoint is the embedded one.
    pub fn store(&self) -> Option<&Store> { unimplemented!() }
    /// "the embedded store at PATH" or the URL, for messages.
    pub fn describe(&self) -> String { unimplemented!() }
    pub async fn capabilities(&self) -> Result<Capabilities, Error> { unimplemented!() }
    pub async fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> { unimplemented!() }
    /// Whole blob; `Error::MissingBlob` if it is not there.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, Error> { unimplemented!() }
    /// Those that are there.
    pub async fn get_many(&self, digests: &[Digest]) -> Result<HashMap<Digest, Bytes>, Error> { unimplemented!() }
    /// Writes the blobs to files (temp + rename, or straight into a fresh file), any size, streaming.
    pub async fn fetch_files(&self, files: &[(Digest, PathBuf, bool)]) -> Result<(), Error> { unimplemented!() }
    /// Uploads what is missing there; verifies nothing that is already there.
    pub async fn upload(&self, blobs: Vec<(Digest, Content)>) -> Result<(), Error> { unimplemented!() }
    /// Loads every directory at or below `roots` that `forest` does not know.
    pub async fn load(&self, forest: &mut Forest, roots: &[Digest]) -> Result<(), Error> { unimplemented!() }
    /// `inline`: output paths whose content is wanted in the answer if the server likes.
    pub async fn action_result(&self, action: &Digest, inline: &[String]) -> Result<Option<Kept<reapi::ActionResult>>, Error> { unimplemented!() }
    pub async fn update_action_result(&self, action: &Digest, result: &Kept<reapi::ActionResult>) -> Result<(), Error> { unimplemented!() }
    pub async fn execute(&self, action: &Digest, options: &ExecuteOptions) -> Result<Execution, Error> { unimplemented!() }
    /// The LocalCAS client of a remote endpoint; whether the server has the service only a call tells.
    pub fn local_cas(&self) -> Option<buildgrid::local_content_addressable_storage_client::LocalContentAddressableStorageClient<tonic::transport::Channel>> { unimplemented!() }
    /// Loads a message of type `M` by digest.
    pub async fn message<M: prost::Message + Default>(&self, digest: &Digest) -> Result<M, Error> { unimplemented!() }
}
pub mod record {
    //! Element records: what one build of an element used, kept in the action cache.
    use super::*;
    #[derive(Clone, Debug, Default)]
    pub struct Record {
        pub element: String,
        /// Action digests in order of first use.
        pub subactions: Vec<Digest>,
        /// Input root of the element's own build, if it had one.
        pub input_root: Option<Digest>,
        /// The build failed or was killed half-way.
        pub partial: bool,
        /// Seconds since 1970, UTC.
        pub written: i64,
    }
    /// Key in the action cache for the newest record of an element.
    pub fn key(function: DigestFunction, element: &str) -> Digest { unimplemented!() }
    pub async fn write(endpoint: &Endpoint, record: &Record) -> Result<(), Error> { unimplemented!() }
    pub async fn read(endpoint: &Endpoint, element: &str) -> Result<Option<Record>, Error> { unimplemented!() }
}
