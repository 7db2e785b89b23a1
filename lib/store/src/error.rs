//! What can go wrong in a store.

use std::io;
use std::path::{Path, PathBuf};

use forerunner_merkle::{Digest, DirectoryError, NameError};

/// Why the store, or the reading of a directory, failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Written by a newer version; nothing was touched.
    #[error(
        "the store `{}` has format {found}, this program knows up to format {supported}: \
         use a newer program, or another store (FORERUNNER_STORE)",
        root.display()
    )]
    Newer {
        /// The store.
        root: PathBuf,
        /// Its version.
        found: u64,
        /// Ours.
        supported: u64,
    },
    /// The file `format` is not one of ours; nothing was touched.
    #[error(
        "`{}` does not say the format of a store: if the folder is one, remove it, \
         else use another (FORERUNNER_STORE)",
        path.display()
    )]
    Format {
        /// The file `format`.
        path: PathBuf,
    },
    /// The file system, or the user's share of it, is full.
    #[error(
        "no space left for the store `{}` (while writing `{}`): make room on its file system, \
         lower FORERUNNER_STORE_SIZE, or use another store (FORERUNNER_STORE)",
        root.display(), path.display()
    )]
    Full {
        /// The store.
        root: PathBuf,
        /// What was being written.
        path: PathBuf,
    },
    /// Permissions, or a file system that is mounted read-only.
    #[error(
        "cannot {verb} `{}`: {error}; give this user access to the store `{}`, \
         or use another one (FORERUNNER_STORE)",
        path.display(), root.display()
    )]
    Denied {
        /// The store.
        root: PathBuf,
        /// What was to be done.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Any other failure of the file system.
    #[error("cannot {verb} `{}`: {error}", path.display())]
    Io {
        /// What was to be done.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What was written is not what was announced.
    #[error("the content has the digest {found}, not {expected} as announced: send it again")]
    Mismatch {
        /// The announced digest.
        expected: Box<Digest>,
        /// The digest of the content.
        found: Box<Digest>,
    },
    /// A blob that is needed is not in the store.
    #[error("blob {0} is not in the store: upload it again")]
    MissingBlob(Digest),
    /// A directory that is needed is not in the forest.
    #[error("directory {0} is not at hand: load it before making the tree")]
    MissingDirectory(Digest),
    /// A directory whose expansion has more entries than any real tree.
    #[error("the tree {root} expands to more than {limit} entries")]
    TooLarge {
        /// Its digest.
        root: Digest,
        /// The most entries that are made.
        limit: u64,
    },
    /// A file name that the protocol cannot express.
    #[error("`{}`: {error}", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with its name.
        error: NameError,
    },
    /// The target of a symlink that the protocol cannot express.
    #[error(
        "the target of the symlink `{}` is empty or not UTF-8, which the Remote Execution API \
         requires: remove or rename it",
        path.display()
    )]
    Target {
        /// The symlink.
        path: PathBuf,
    },
    /// A socket, FIFO or device.
    #[error("`{}` is a {kind}, which no tree can hold: remove it or leave it out", path.display())]
    Special {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A directory read from disk that would be malformed.
    #[error("`{}`: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        error: DirectoryError,
    },
}

impl StoreError {
    /// Sorts an error of the system, met below `root`.
    pub(crate) fn io(root: &Path, verb: &'static str, path: &Path, error: io::Error) -> Self {
        let (root, path) = (root.to_owned(), path.to_owned());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { root, path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                if path.starts_with(&root) =>
            {
                Self::Denied { root, verb, path, error }
            }
            _ => Self::Io { verb, path, error },
        }
    }

    /// Whether space is what is missing.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
