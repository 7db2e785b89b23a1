//! Making room: the least recently used goes first.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::census::Unit;
use crate::stamp::Stamp;
use crate::usage::Usage;
use crate::{Store, StoreError, guard};

/// What an eviction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evicted {
    pub(crate) units: u64,
    pub(crate) bytes: u64,
    /// What is left.
    pub(crate) left: u64,
}

impl Store {
    /// Evicts down to nine tenths of the limit if there is more than the limit. Another process
    /// that is doing so already is not waited for.
    pub(crate) fn make_room(&self) -> Result<(), StoreError> {
        match self.lock_eviction(FlockArg::LockExclusiveNonblock)? {
            Some(_lock) => self.evict().map(|_| ()),
            None => Ok(()),
        }
    }

    /// The lock of whoever evicts; `None` if another process has it.
    pub(crate) fn lock_eviction(&self, how: FlockArg) -> Result<Option<Flock<File>>, StoreError> {
        let path = self.layout().evict_lock();
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(self.failed("write", &path))?;
        match guard::lock(file, how) {
            Ok(lock) => Ok(Some(lock)),
            Err(Errno::EWOULDBLOCK) => Ok(None),
            Err(errno) => Err(StoreError::io(self.root(), "lock", &path, errno.into())),
        }
    }

    /// Evicts; the caller has the lock. What element records refer to stays, as long as it takes
    /// no more than three quarters of the limit, so that there is room for what is being built.
    pub(crate) fn evict(&self) -> Result<Evicted, StoreError> {
        let began = Stamp::now();
        let (oldest_hold, _) = self.oldest_hold();
        let protected = oldest_hold.map_or(began, |start| start.min(began));
        self.remove_dead_temporaries();
        self.expire_pins();
        let limit = self.inner.size_limit;
        let counted_before = self.inner.read_usage().map(|usage| usage.bytes);
        let total = AtomicU64::new(0);
        self.census(|units| {
            total.fetch_add(units.iter().map(|unit| unit.bytes).sum(), Ordering::Relaxed);
        })?;
        let mut evicted = Evicted { left: total.into_inner(), ..Evicted::default() };
        if evicted.left > limit {
            let reached = self.reach(limit / 4 * 3)?;
            let may_go = |unit: &Unit| unit.used < protected && !reached.has(unit);
            let goal = limit / 10 * 9;
            while evicted.left > goal {
                let before = evicted.units;
                for unit in self.oldest(evicted.left - goal, may_go)? {
                    if self.evict_unit(&unit, protected) {
                        evicted.units += 1;
                        evicted.bytes += unit.bytes;
                        evicted.left = evicted.left.saturating_sub(unit.bytes);
                    }
                }
                // What is left may not go, or is used again, or cannot be removed.
                if evicted.units == before {
                    break;
                }
            }
        }
        self.settle_usage(counted_before, evicted.left);
        Ok(evicted)
    }

    fn evict_unit(&self, unit: &Unit, protected: Stamp) -> bool {
        let paths = unit.paths(self.layout());
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let unused = |found: &[Metadata]| {
            let used = found.iter().map(Stamp::used).max();
            used.is_none_or(|used| used < protected && used <= unit.used)
        };
        self.take_away(&paths, unused).unwrap_or(false)
    }

    /// Writes what is left, and what others have added meanwhile.
    fn settle_usage(&self, counted_before: Option<u64>, left: u64) {
        let limit = self.inner.size_limit;
        // If there is more than may be, then because it may not go: do not try again at each blob.
        let threshold = if left > limit { left.saturating_add(limit / 10) } else { 0 };
        let settled = counted_before.and_then(|before| {
            self.inner.change_usage(|usage| {
                let meanwhile = usage.bytes.saturating_sub(before);
                Usage { bytes: left.saturating_add(meanwhile), threshold }
            })
        });
        if settled.is_none() {
            self.inner.write_usage(Usage { bytes: left, threshold });
        }
    }
}
