//! Where the output of the command goes.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use forerunner_merkle::{Digest, DigestFunction};

use crate::failure::Failure;
use crate::scratch::Scratch;
use crate::settings::{Log, Settings};

/// One of the two outputs of a command.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Goes to our own.
    Inherited(File),
    /// Goes to a file.
    File { file: File, path: PathBuf },
}

/// Both outputs.
#[derive(Debug)]
pub(crate) struct Logs {
    pub(crate) output: Stream,
    pub(crate) error: Stream,
}

impl Logs {
    /// Opens what the settings ask for.
    ///
    /// # Errors
    /// If a file cannot be made.
    pub(crate) fn open(settings: &Settings, scratch: &Scratch) -> Result<Self, Failure> {
        let inherited = |fd: BorrowedFd<'_>| {
            let file = fd.try_clone_to_owned().map(File::from);
            file.map(Stream::Inherited)
                .map_err(Failure::file("use", std::path::Path::new("/dev/stdout")))
        };
        let open = |log: &Log, name: &str, ours: BorrowedFd<'_>| match log {
            Log::Inherit => inherited(ours),
            Log::File(path) => create(path.clone()),
            Log::Temporary => create(scratch.path().join(name)),
        };
        Ok(Self {
            output: open(&settings.stdout, "stdout", std::io::stdout().as_fd())?,
            error: open(&settings.stderr, "stderr", std::io::stderr().as_fd())?,
        })
    }
}

fn create(path: PathBuf) -> Result<Stream, Failure> {
    let file = File::create(&path).map_err(Failure::file("write", &path))?;
    Ok(Stream::File { file, path })
}

impl Stream {
    /// For the command.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Inherited(file) | Self::File { file, .. } => file.as_fd(),
        }
    }

    /// What was written, if that is ours to know.
    ///
    /// # Errors
    /// If it cannot be read back.
    pub(crate) fn content(
        &self,
        function: DigestFunction,
    ) -> Result<Option<(Digest, PathBuf)>, Failure> {
        let Self::File { path, .. } = self else { return Ok(None) };
        let mut file = File::open(path).map_err(Failure::file("read", path))?;
        let mut hasher = function.hasher();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = file.read(&mut buffer).map_err(Failure::file("read", path))?;
            if length == 0 {
                break;
            }
            hasher.update(buffer.get(..length).unwrap_or_default());
        }
        Ok(Some((hasher.finish(), path.clone())))
    }
}
