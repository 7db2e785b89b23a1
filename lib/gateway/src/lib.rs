//! The socket we serve. (Interface sketch; bodies follow.)
#![allow(missing_docs, clippy::unimplemented, unused_variables, clippy::unused_async, clippy::needless_pass_by_value)]
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use forerunner_merkle::Digest;
use forerunner_reapi::{Endpoint, Error};

#[derive(Clone, Debug, Default)]
pub struct Policy { pub update_allowed: bool, /** Root that LocalCAS paths are resolved in; `None`: no LocalCAS. */ pub root: Option<PathBuf> }
/// The action digests that were served, each once, in order of first use.
#[derive(Clone, Default)]
pub struct Recorder;
impl Recorder {
    pub fn subactions(&self) -> Vec<Digest> { unimplemented!() }
}
/// A served socket; stops and removes the socket file when dropped.
pub struct Gateway;
impl Gateway {
    /// Serves on a fresh socket at `path` (may be longer than `sun_path`), on a thread of its own with a current-thread runtime.
    pub fn start(path: &Path, endpoint: Endpoint, policy: Policy, recorder: Arc<Recorder>) -> Result<Self, Error> { unimplemented!() }
    /// Stops serving and waits for calls under way, at most a moment.
    pub fn stop(self) { unimplemented!() }
}
