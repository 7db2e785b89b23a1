//! How much there is, roughly: counting everything at each blob would cost more than the blob.
//!
//! The file `usage` has two numbers: the bytes in the store, and from how many on room is made
//! although the last attempt could not make enough. Each process adds to it now and then. A file
//! that is torn or not there makes somebody count.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use nix::fcntl::{Flock, FlockArg};

use crate::guard::lock;
use crate::{Inner, Store};

/// What a process may add before it says so; less in small stores.
const MOST_PENDING_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// In the store.
    pub(crate) bytes: u64,
    /// Below this there is no point in making room.
    pub(crate) threshold: u64,
}

impl Store {
    /// Counts what was added, and makes room where that is needed.
    pub(crate) fn count_added(&self, bytes: u64) {
        let pending = self.inner.pending.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if pending < MOST_PENDING_BYTES.min(self.inner.size_limit / 64) {
            return;
        }
        let full = match self.inner.flush_pending() {
            Some(usage) => usage.bytes > self.inner.size_limit.max(usage.threshold),
            None => true,
        };
        if full {
            // What was added is there all the same; the next one tries again.
            let _ = self.make_room();
        }
    }
}

impl Inner {
    /// Adds what is pending to the file; `None` if nobody knows how much there is.
    pub(crate) fn flush_pending(&self) -> Option<Usage> {
        let added = self.pending.swap(0, Ordering::Relaxed);
        self.change_usage(|usage| Usage { bytes: usage.bytes.saturating_add(added), ..usage })
    }

    pub(crate) fn read_usage(&self) -> Option<Usage> {
        parse(&File::open(self.layout.usage()).ok()?)
    }

    /// Says how much there is, after a count.
    pub(crate) fn write_usage(&self, usage: Usage) {
        if let Some(file) = self.lock_usage() {
            store(&file, usage);
        }
    }

    pub(crate) fn change_usage(&self, change: impl FnOnce(Usage) -> Usage) -> Option<Usage> {
        let file = self.lock_usage()?;
        let usage = change(parse(&file)?);
        store(&file, usage);
        Some(usage)
    }

    fn lock_usage(&self) -> Option<Flock<File>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.layout.usage())
            .ok()?;
        lock(file, FlockArg::LockExclusive).ok()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if *self.pending.get_mut() > 0 {
            self.flush_pending();
        }
    }
}

/// Of fixed width, so that one write replaces it.
fn store(file: &File, usage: Usage) {
    let line = format!("{:020} {:020}\n", usage.bytes, usage.threshold);
    let _ = file.write_all_at(line.as_bytes(), 0);
}

fn parse(file: &File) -> Option<Usage> {
    let mut buffer = [0; 42];
    file.read_exact_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer).ok()?.strip_suffix('\n')?;
    let (bytes, threshold) = text.split_once(' ')?;
    Some(Usage { bytes: bytes.parse().ok()?, threshold: threshold.parse().ok()? })
}
