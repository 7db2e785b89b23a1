//! The embedded store: blobs, action results and trees in a folder, used by any number of
//! processes at once without a daemon.
//!
//! Everything becomes visible by a rename of something complete. What is read may nevertheless be
//! torn, stale or hostile: a blob is served only if its attributes prove that it was checked since
//! this machine booted (see `trust`), and is hashed otherwise. A [`Hold`] keeps what is used after
//! it from eviction.
//!
//! ```text
//! format                     the version of this layout
//! cas/FUNCTION/ab/cdef…      a blob; `….x` is its executable variant, a second file
//! ac/FUNCTION/ab/cdef…       an action result, with a checksum
//! pins/FUNCTION/ab/cdef…     marks an action result that keeps what it refers to
//! trees/FUNCTION/abcd…/tree  directories of hard links
//! tmp/PID-START-RANDOM/      what one process is writing; locked while it lives
//! holds/                     locked files of the live holds
//! boot/ID                    made when the store was first opened since boot ID
//! aside/NAME/                small files of tools that share the store
//! usage, evict.lock          how much there is, and who is making room
//! use.lock                   see `guard`
//! ```

mod blob;
mod boot;
mod census;
mod error;
mod evict;
mod format;
mod guard;
mod hold;
mod layout;
mod maintain;
mod oldest;
mod pins;
mod reach;
mod records;
mod remove;
mod results;
pub mod scan;
mod scratch;
mod spread;
mod stamp;
#[cfg(test)]
mod tests;
mod tree;
mod trust;
mod usage;
mod verify;
mod writer;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use forerunner_merkle::DigestFunction;

pub use census::Stats;
pub use error::StoreError;
pub use hold::Hold;
pub use maintain::Collected;
pub use records::{EARLIER_RECORDS, whole_record};
pub use scratch::Scratch;
pub use verify::Verified;
pub use writer::BlobWriter;

use layout::Layout;
use stamp::Stamp;

/// Which store to open, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder; made if it is not there.
    pub root: PathBuf,
    /// What it may hold, in bytes, before the least recently used is evicted.
    pub size_limit: u64,
    /// The function of all digests that this handle takes and gives.
    pub function: DigestFunction,
}

/// A handle on a store. Clones share it; so may threads.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    function: DigestFunction,
}

struct Inner {
    layout: Layout,
    size_limit: u64,
    /// When the store was first opened since boot; `None` if that cannot be known.
    boot: Option<Stamp>,
    /// Where this process writes; made on first use.
    temporary: Mutex<Option<Scratch>>,
    /// Numbers its temporary files.
    next: AtomicU64,
    /// Bytes added since `usage` was last written.
    pending: AtomicU64,
    /// Files found right whose attributes could not be set to say so.
    checked: Mutex<HashSet<trust::Identity>>,
}

impl Store {
    /// Opens the store, and makes it if it is not there.
    ///
    /// # Errors
    /// If it was written by a newer version, or can be neither read nor made.
    pub fn open(options: &Options) -> Result<Self, StoreError> {
        let layout = Layout::new(&options.root);
        format::ensure(&layout)?;
        let boot = boot::marker(&layout);
        let inner = Inner {
            layout,
            size_limit: options.size_limit,
            boot,
            temporary: Mutex::new(None),
            next: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            checked: Mutex::new(HashSet::new()),
        };
        Ok(Self { inner: Arc::new(inner), function: options.function })
    }

    /// The folder it is in.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.inner.layout.root()
    }

    /// The function of all digests that this handle takes and gives.
    #[must_use]
    pub fn function(&self) -> DigestFunction {
        self.function
    }

    /// What it may hold, in bytes.
    #[must_use]
    pub fn size_limit(&self) -> u64 {
        self.inner.size_limit
    }

    /// Folder for small files of tools that share the store (statistics, stat caches); made on
    /// demand. The store neither counts nor removes what is in it.
    ///
    /// # Errors
    /// If `name` is not the name of a folder, or it cannot be made.
    pub fn aside(&self, name: &str) -> Result<PathBuf, StoreError> {
        forerunner_merkle::Name::check(name)
            .map_err(|error| StoreError::Name { path: name.into(), error })?;
        let path = self.inner.layout.aside(name);
        if !path.is_dir() {
            self.make_folder(&path)?;
        }
        Ok(path)
    }

    /// The same store with digests of another function.
    fn with_function(&self, function: DigestFunction) -> Self {
        Self { inner: Arc::clone(&self.inner), function }
    }

    fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    fn make_folder(&self, path: &Path) -> Result<(), StoreError> {
        std::fs::create_dir_all(path).map_err(self.failed("make", path))
    }

    /// Turns an I/O error into ours; for `map_err`.
    fn failed<'a>(
        &'a self,
        verb: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(std::io::Error) -> StoreError + 'a {
        move |error| StoreError::io(self.root(), verb, path, error)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("root", &self.root())
            .field("size_limit", &self.inner.size_limit)
            .field("function", &self.function)
            .finish_non_exhaustive()
    }
}
