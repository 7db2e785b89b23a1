//! Temporary folders, and what is left of those of runners that were killed.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use forerunner_store::{Store, StoreError};
use nix::fcntl::{Flock, FlockArg};

use crate::failure::Failure;

const PREFIX: &str = "buildbox-run-";

/// A temporary folder of this run, removed when dropped.
///
/// A live one is locked: the next runner to start removes those that are not.
#[derive(Debug)]
pub(crate) enum Scratch {
    /// In the embedded store, on the file system of its blobs.
    Store(forerunner_store::Scratch),
    /// Anywhere else.
    Free {
        /// The folder.
        path: PathBuf,
        /// Held as long as we live.
        _lock: Flock<File>,
    },
}

impl Scratch {
    /// One in the store.
    pub(crate) fn in_store(store: &Store) -> Result<Self, StoreError> {
        store.remove_dead_temporaries();
        Ok(Self::Store(store.scratch()?))
    }

    /// One below `folder`, which must be there.
    pub(crate) fn below(folder: &Path) -> Result<Self, Failure> {
        sweep(folder);
        // Only a name that nobody has is taken; a few attempts are plenty.
        for attempt in 0..100 {
            let path = folder.join(format!("{PREFIX}{}-{attempt}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other.map_err(Failure::file("make", &path))?,
            }
            // Until it is locked, a runner that sweeps may take it for a dead one's: it is gone
            // then, or locked and about to go.
            let file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(Failure::file("open", &path))?,
            };
            let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
            let still_there = std::fs::symlink_metadata(&path).map(|now| now.ino()).ok();
            if still_there.is_some() && still_there == lock.metadata().map(|then| then.ino()).ok() {
                return Ok(Self::Free { path, _lock: lock });
            }
        }
        let error = std::io::Error::from(ErrorKind::AlreadyExists);
        Err(Failure::file("make a folder in", folder)(error))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Store(scratch) => scratch.path(),
            Self::Free { path, .. } => path,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match self {
            // The store cannot remove folders that a command made unreadable.
            Self::Store(scratch) => open_up(scratch.path()),
            Self::Free { path, .. } => remove(path),
        }
    }
}

/// Removes the folders of dead runners.
fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        let ours = entry
            .path()
            .symlink_metadata()
            .is_ok_and(|it| it.is_dir() && it.uid() == nix::unistd::geteuid().as_raw());
        if !ours {
            continue;
        }
        if let Ok(file) = File::open(&path)
            && let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        {
            tracing::debug!("removing `{}`, left by a runner that was killed", path.display());
            remove(&path);
        }
    }
}

fn remove(path: &Path) {
    if std::fs::remove_dir_all(path).is_err() && path.exists() {
        open_up(path);
        if let Err(error) = std::fs::remove_dir_all(path)
            && path.exists()
        {
            tracing::warn!("cannot remove `{}`: {error}", path.display());
        }
    }
}

/// Makes every folder readable and writable again, so that it can be emptied.
fn open_up(path: &Path) {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let _ = std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700));
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_ones_stay_and_dead_ones_go() {
        let temp = tempfile::tempdir().expect("a directory");
        let dead = temp.path().join("buildbox-run-1-0");
        std::fs::create_dir_all(dead.join("a/b")).expect("a directory");
        std::fs::create_dir(temp.path().join("other")).expect("a directory");
        let first = Scratch::below(temp.path()).expect("a folder");
        assert!(!dead.exists());
        let second = Scratch::below(temp.path()).expect("a folder");
        assert!(first.path().exists() && second.path().exists());
        assert_ne!(first.path(), second.path());
        let path = first.path().to_owned();
        std::fs::create_dir(path.join("closed")).expect("a directory");
        std::fs::set_permissions(path.join("closed"), std::fs::Permissions::from_mode(0o000))
            .expect("permissions");
        drop(first);
        assert!(!path.exists());
        assert!(temp.path().join("other").exists());
    }

    #[test]
    fn runners_that_start_at_once_do_not_take_each_others() {
        let temp = tempfile::tempdir().expect("a directory");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let ours = Scratch::below(temp.path()).expect("a folder");
                        std::fs::write(ours.path().join("file"), "x").expect("a file");
                        sweep(temp.path());
                        assert!(ours.path().join("file").exists());
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(temp.path()).expect("a folder").count(), 0);
    }
}
