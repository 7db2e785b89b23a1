//! Keeping what is in use from eviction.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::stamp::Stamp;
use crate::{Store, StoreError};

/// The holds of this process, of all its stores: one more recorded use does no harm.
static HOLDS: Mutex<BTreeMap<u64, Stamp>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Keeps what is used from now on from eviction, until dropped: blobs, action results and trees
/// that this process puts, gets, links or asks for. Ends with the process at the latest.
#[derive(Debug)]
pub struct Hold {
    number: u64,
    path: PathBuf,
    _lock: Flock<File>,
}

impl Store {
    /// Keeps what is used from now on from eviction.
    ///
    /// # Errors
    /// If the store cannot be written to; nothing is evicted from such a store by this user, so
    /// a caller may go on without.
    pub fn hold(&self) -> Result<Hold, StoreError> {
        let folder = self.layout().holds();
        self.make_folder(&folder)?;
        // What an evictor reads must not be later than what this process goes by.
        let announced = SystemTime::now();
        let temporary = self.temporary_path()?;
        let failed = |error| StoreError::io(self.root(), "write", &temporary, error);
        let mut file = File::create_new(&temporary).map_err(failed)?;
        let since = announced.duration_since(UNIX_EPOCH).unwrap_or_default();
        writeln!(file, "{}", since.as_nanos())
            .map_err(|error| StoreError::io(self.root(), "write", &temporary, error))?;
        // Locked before it is visible, lest somebody takes it for a dead one.
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| StoreError::io(self.root(), "lock", &temporary, errno.into()))?;
        let name = temporary.strip_prefix(self.layout().temporaries()).unwrap_or(&temporary);
        let name = name.to_string_lossy().replace('/', "-");
        let path = folder.join(name);
        std::fs::rename(&temporary, &path).map_err(self.failed("write", &path))?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut holds) = HOLDS.lock() {
            holds.insert(number, Stamp::now());
        }
        Ok(Hold { number, path, _lock: lock })
    }

    /// When the oldest live hold of any process began; removes the dead ones, and says how many.
    pub(crate) fn oldest_hold(&self) -> (Option<Stamp>, u64) {
        let mut oldest = None;
        let mut dead = 0;
        for entry in std::fs::read_dir(self.layout().holds()).into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(start) = start_if_live(&path, &mut dead) else {
                continue;
            };
            oldest = Some(oldest.map_or(start, |known: Stamp| known.min(start)));
        }
        (oldest, dead)
    }
}

fn start_if_live(path: &Path, dead: &mut u64) -> Option<Stamp> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        // Another user's: rather hold everything.
        Err(_) => return Some(UNIX_EPOCH.into()),
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_lock) => {
            if std::fs::remove_file(path).is_ok() {
                *dead += 1;
            }
            None
        }
        Err((_, Errno::EWOULDBLOCK)) => {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            // One that does not say since when holds everything.
            let nanoseconds = text.trim().parse().unwrap_or(0);
            let start = UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds));
            Some(start.unwrap_or(UNIX_EPOCH).into())
        }
        // Locks do not work here: rather hold everything.
        Err(_) => Some(UNIX_EPOCH.into()),
    }
}

/// When the latest hold of this process began: whatever was last used before counts as used anew.
pub(crate) fn latest() -> Option<Stamp> {
    HOLDS.lock().ok()?.values().max().copied()
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        if let Ok(mut holds) = HOLDS.lock() {
            holds.remove(&self.number);
        }
    }
}
