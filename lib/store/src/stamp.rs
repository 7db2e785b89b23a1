//! Times of files.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A time as the file system keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    /// When the status of the file last changed.
    pub(crate) fn changed(metadata: &Metadata) -> Self {
        Self { seconds: metadata.ctime(), nanoseconds: metadata.ctime_nsec() }
    }

    /// When it was last used, as the store records it.
    pub(crate) fn used(metadata: &Metadata) -> Self {
        Self { seconds: metadata.atime(), nanoseconds: metadata.atime_nsec() }
    }

    pub(crate) fn now() -> Self {
        Self::from(SystemTime::now())
    }
}

impl From<SystemTime> for Stamp {
    fn from(time: SystemTime) -> Self {
        // A clock before 1970 is as good as 1970: everything is then in the future, and checked.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { seconds: since.as_secs() as i64, nanoseconds: i64::from(since.subsec_nanos()) }
    }
}
