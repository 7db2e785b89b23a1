//! Why the runner itself failed.

use std::io;
use std::path::{Path, PathBuf};

use forerunner_gateway::GatewayError;
use forerunner_merkle::{DirectoryError, EditError, NameError};
use forerunner_reapi::Error;
use forerunner_store::StoreError;
use nix::sys::signal::Signal;
use tonic::Code;

use crate::capture::CaptureError;
use crate::cgroup::GroupError;
use crate::outputs::OutputError;
use crate::platform::PlatformError;
use crate::sandbox::SandboxError;

/// Why there is no result, or none that counts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The endpoint.
    #[error("{0}")]
    Endpoint(#[from] Error),
    /// What the action asks for.
    #[error("{0}")]
    Platform(#[from] PlatformError),
    /// What the command declares.
    #[error("{0}")]
    Outputs(#[from] OutputError),
    /// The working directory of the command.
    #[error("the working directory `{path}` of the command: {why}")]
    WorkingDirectory { path: String, why: NameError },
    /// A message that makes no sense.
    #[error("{what}: {why}")]
    Malformed { what: String, why: String },
    /// Trees that cannot be merged.
    #[error("cannot lay the input root over its base: {0}")]
    Merge(#[from] EditError),
    /// A container image.
    #[error("the platform property `container-image` asks for `{image}`: {why}")]
    Image { image: String, why: String },
    /// The sandbox.
    #[error("{0}")]
    Sandbox(#[from] SandboxError),
    /// The control group.
    #[error("{0}")]
    Group(#[from] GroupError),
    /// The socket in the sandbox.
    #[error("{0}")]
    Gateway(#[from] GatewayError),
    /// The outputs.
    #[error("{0}")]
    Capture(#[from] CaptureError),
    /// A file of ours.
    #[error("cannot {verb} `{}`: {error}", path.display())]
    File { verb: &'static str, path: PathBuf, error: io::Error },
    /// A thread of ours.
    #[error("cannot start a thread: {error}; there are too many processes: see `ulimit -u`")]
    Thread { error: io::Error },
    /// The action took longer than it may.
    #[error("Action timeout reached")]
    TimedOut,
    /// We were told to stop.
    #[error("Runner execution interrupted by signal")]
    Interrupted(Signal),
}

impl Failure {
    /// For `map_err`: what was being done with a file.
    pub(crate) fn file<'a>(
        verb: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self::File { verb, path: path.to_owned(), error }
    }

    /// The status code that callers are told.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Endpoint(error) => error.code(),
            Self::TimedOut => Code::DeadlineExceeded,
            Self::Interrupted(_) => Code::Unavailable,
            _ => Code::Internal,
        }
    }

    /// The status that the runner exits with.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            // As if SIGALRM had ended us.
            Self::TimedOut => 142,
            Self::Interrupted(signal) => (128 + *signal as i32) as u8,
            _ => 1,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Endpoint(error.into())
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        Self::Endpoint(error.into())
    }
}
