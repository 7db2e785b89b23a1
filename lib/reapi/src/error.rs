//! What can go wrong at an endpoint.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forerunner_merkle::{Digest, DigestError, DirectoryError};
use forerunner_store::StoreError;
use tonic::{Code, Status};

/// Why something could not be had from an endpoint, or done there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The endpoint does not have a blob.
    #[error("blob {0} is missing at the endpoint")]
    MissingBlob(Digest),
    /// The endpoint delivered other content than was asked for.
    #[error("the endpoint delivered {got} for blob {wanted}")]
    WrongBlob {
        /// What was asked for.
        wanted: Digest,
        /// What came.
        got: Digest,
    },
    /// The embedded store cannot do it.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// An address that is none.
    #[error(
        "`{url}` is not an address of a server: {reason}; use `unix:PATH`, `http://HOST:PORT` or \
         `https://HOST:PORT`"
    )]
    Address {
        /// The address as it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificates or keys that cannot be used.
    #[error("no secure connection to `{url}`: {reason}; see the files of certificates and keys")]
    Security {
        /// The address.
        url: String,
        /// What is wrong with them.
        reason: String,
    },
    /// A call failed.
    #[error("{call} at {endpoint}: {}", describe(.status))]
    Call {
        /// The server.
        endpoint: String,
        /// Name of the method.
        call: &'static str,
        /// What it answered, or what became of the connection.
        status: Box<Status>,
    },
    /// An answer that makes no sense.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// What it was to be.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file on this machine.
    #[error("`{path}`: {error}")]
    File {
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// `buildbox-run` could not be started or failed.
    #[error("`{runner}`: {reason}")]
    Runner {
        /// The program.
        runner: PathBuf,
        /// What became of it.
        reason: String,
        /// What its `.error-status` file says.
        status: Option<Box<Status>>,
    },
}

fn describe(status: &Status) -> String {
    // What a server says has no source; what became of the connection has.
    match (std::error::Error::source(status), status.message()) {
        (Some(source), _) => format!("cannot be reached: {}", innermost(source)),
        (None, "") => format!("{:?}", status.code()),
        (None, message) => format!("{:?}: {message}", status.code()),
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut at = error;
    while let Some(deeper) = at.source() {
        at = deeper;
    }
    at.to_string()
}

impl Error {
    pub(crate) fn file(path: &Path, error: io::Error) -> Self {
        Self::File { path: path.to_owned(), error: Arc::new(error) }
    }

    pub(crate) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed { what: what.into(), reason: reason.to_string() }
    }

    /// The code that says the same on the wire.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::MissingBlob(_) => Code::NotFound,
            Self::WrongBlob { .. } => Code::DataLoss,
            Self::Store(_) | Self::File { .. } => Code::Internal,
            Self::Address { .. } | Self::Security { .. } | Self::Malformed { .. } => {
                Code::InvalidArgument
            }
            Self::Call { status, .. } => status.code(),
            Self::Runner { status, .. } => {
                status.as_ref().map_or(Code::Internal, |status| status.code())
            }
        }
    }

    /// The status that says the same; details of a server's status are kept.
    #[must_use]
    pub fn to_status(&self) -> Status {
        match self {
            Self::Call { status, .. } => Status::with_details(
                status.code(),
                status.message(),
                status.details().to_vec().into(),
            ),
            other => Status::new(other.code(), other.to_string()),
        }
    }
}

/// Whether a status says that the server or the way to it is in trouble, not the request.
pub(crate) fn passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // tonic says so of a connection that was cut in the middle of a call.
        Code::Unknown | Code::Internal | Code::Cancelled => {
            std::error::Error::source(status).is_some()
        }
        _ => false,
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<DigestError> for Error {
    fn from(error: DigestError) -> Self {
        Self::malformed("a digest", error)
    }
}

impl From<DirectoryError> for Error {
    fn from(error: DirectoryError) -> Self {
        Self::malformed("a directory", error)
    }
}
