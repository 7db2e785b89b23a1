//! Cleaning up.

use std::fs::File;
use std::io;

use nix::fcntl::FlockArg;

use crate::{Store, StoreError, boot};

/// What `gc` removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Temporary folders of dead processes.
    pub temporaries: u64,
    /// Holds of dead processes.
    pub holds: u64,
    /// Element records that nobody used for 90 days, and that keep nothing any more.
    pub unpinned: u64,
    /// Blobs, action results and trees that were evicted.
    pub evicted: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
    /// Bytes that are left.
    pub left_bytes: u64,
}

impl Store {
    /// Removes what dead processes left, and evicts down to the limit. Waits for another process
    /// that evicts.
    ///
    /// # Errors
    /// If the store cannot be read or written to.
    pub fn gc(&self) -> Result<Collected, StoreError> {
        let _lock = self.lock_eviction(FlockArg::LockExclusive)?;
        let temporaries = self.remove_dead_temporaries();
        let (_, holds) = self.oldest_hold();
        boot::remove_old(self.layout());
        let unpinned = self.expire_pins();
        let evicted = self.evict()?;
        Ok(Collected {
            temporaries,
            holds,
            unpinned,
            evicted: evicted.units,
            evicted_bytes: evicted.bytes,
            left_bytes: evicted.left,
        })
    }

    /// Opens a file for checking it: where that is allowed, without that looking like a use.
    pub(crate) fn open_unused(path: &std::path::Path) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let open = |flags| File::options().read(true).custom_flags(flags).open(path);
        open(flags | nix::libc::O_NOATIME).or_else(|_| open(flags))
    }
}
