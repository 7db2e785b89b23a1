//! The socket we serve: the Remote Execution API in front of an endpoint, for the commands of one
//! build.
//!
//! [`Gateway::start`] serves Capabilities, ContentAddressableStorage, ByteStream, ActionCache and
//! Execution on a unix socket, on a thread of its own. Calls are passed on as they come; large
//! blobs piece by piece. The [`Recorder`] notes every action that was looked up with a hit,
//! executed or updated. The [`Policy`] says whether the action cache may be written. Where the
//! clients are in a sandbox, [`Gateway::start_for_sandbox`] serves LocalCAS as well.

mod action_cache;
mod capabilities;
mod cas;
mod connection;
mod execution;
mod local_cas;
mod memory;
mod recorder;
mod root;
mod serve;
mod status;
mod stream;
mod vigil;

use forerunner_merkle::{Digest, DigestFunction};
use forerunner_proto::reapi;
use forerunner_reapi::Endpoint;
use tonic::Status;

pub use recorder::Recorder;
pub use root::SandboxRoot;
pub use serve::{Gateway, GatewayError};

/// What the clients of a socket may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether they may write to the action cache. GetCapabilities tells them.
    pub update_allowed: bool,
}

/// What every service works with.
#[derive(Clone)]
struct Front {
    endpoint: Endpoint,
    policy: Policy,
    recorder: Recorder,
    memory: memory::Memory,
    vigil: vigil::Vigil,
}

impl Front {
    /// Parses a digest that a client sent.
    fn digest(digest: Option<&reapi::Digest>) -> Result<Digest, Status> {
        Digest::required(digest).map_err(|error| Status::invalid_argument(error.to_string()))
    }

    /// Refuses a request made with another digest function than the endpoint's.
    fn check_function(&self, value: i32) -> Result<(), Status> {
        let ours = self.endpoint.function();
        match DigestFunction::from_proto(value) {
            None if value == 0 => Ok(()),
            Some(function) if function == ours => Ok(()),
            _ => Err(Status::invalid_argument(format!(
                "this endpoint uses the digest function {ours} only"
            ))),
        }
    }
}
