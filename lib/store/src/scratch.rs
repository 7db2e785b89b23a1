//! Temporary folders that can be told from those of dead processes.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use nix::fcntl::{Flock, FlockArg};

use crate::remove::remove_tree;
use crate::{Store, StoreError};

/// One process in this many removes what dead ones left.
const SWEEP_EVERY: u32 = 64;

/// A fresh temporary folder on the file system of the store; removed when dropped. A live one is
/// locked, so that `gc` can remove those of dead processes, whatever process ids mean to it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Scratch {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by `gc`.
        let _ = remove_tree(&self.path);
    }
}

impl Store {
    /// A fresh temporary folder on the same file system, named by process id and start time. `gc`
    /// removes it once the process is dead.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        let base = self.layout().temporaries();
        let prefix = format!("{}-{}-", std::process::id(), start_time());
        let failed = |error| StoreError::io(self.root(), "make a folder in", &base, error);
        loop {
            let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(&base);
            let path = match made {
                Ok(folder) => folder.keep(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    self.make_folder(&base)?;
                    continue;
                }
                Err(error) => return Err(failed(error)),
            };
            // Between these steps `gc` may take it for a dead one: then another one is made.
            let file = match File::open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.map_err(failed)?,
            };
            let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => lock,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => continue,
                Err((_, errno)) => return Err(failed(errno.into())),
            };
            let ours = lock.metadata().map(|metadata| metadata.ino());
            let there = std::fs::symlink_metadata(&path).map(|metadata| metadata.ino());
            if let (Ok(ours), Ok(there)) = (ours, there)
                && ours == there
            {
                return Ok(Scratch { path, _lock: lock });
            }
        }
    }

    /// A path that nobody uses, in the temporary folder of this process.
    pub(crate) fn temporary_path(&self) -> Result<PathBuf, StoreError> {
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let mut temporary =
            self.inner.temporary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = match temporary.take() {
            Some(folder) if folder.path().is_dir() => folder,
            _ => {
                // Programs that end in a hurry leave theirs; now and then somebody tidies up.
                if std::process::id().is_multiple_of(SWEEP_EVERY) {
                    self.remove_dead_temporaries();
                }
                self.scratch()?
            }
        };
        let path = folder.path().join(format!("{}-{number}", std::process::id()));
        *temporary = Some(folder);
        Ok(path)
    }

    /// Removes what dead processes left; says how many folders that were.
    pub fn remove_dead_temporaries(&self) -> u64 {
        let mut removed = 0;
        for entry in std::fs::read_dir(self.layout().temporaries()).into_iter().flatten().flatten()
        {
            let path = entry.path();
            // Locked until it is gone: whoever is just making it then makes another one.
            if let Some(_lock) = dead(&path)
                && remove_tree(&path).is_ok()
            {
                removed += 1;
            }
        }
        removed
    }
}

/// Whether nobody uses it; a folder is locked then, until what is answered is dropped.
fn dead(path: &Path) -> Option<Option<Flock<File>>> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    if !metadata.is_dir() {
        // A `format` file in the making lives for a moment only.
        let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
        return age.is_some_and(|age| age.as_secs() > 60).then_some(None);
    }
    let file = File::open(path).ok()?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).ok().map(Some)
}

/// When this process started, in clock ticks since boot (proc(5), stat, field 22); 0 if unknown.
fn start_time() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the name of the program, which may contain anything.
    let after = text.rsplit_once(") ").map_or("", |(_, after)| after);
    after.split(' ').nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}
