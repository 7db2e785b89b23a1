//! Temporary folders, and what is left of those of runners that were killed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use forerunner_store::{Store, StoreError};

use crate::claim::Claim;
use crate::failure::Failure;

/// A temporary folder of this run, removed when dropped.
///
/// A live one is locked: the next runner to start removes those that are not.
#[derive(Debug)]
pub(crate) enum Scratch {
    /// In the embedded store, on the file system of its blobs.
    Store(forerunner_store::Scratch),
    /// Anywhere else.
    Free(Claim),
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
        let made = Claim::make(folder, 0o700);
        made.map(Self::Free).map_err(Failure::file("make a folder in", folder))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Store(scratch) => scratch.path(),
            Self::Free(claim) => claim.path(),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match self {
            // The store cannot remove folders that a command made unreadable.
            Self::Store(scratch) => open_up(scratch.path()),
            Self::Free(claim) => remove(claim.path()),
        }
    }
}

/// Removes the folders of dead runners.
fn sweep(folder: &Path) {
    for dead in Claim::dead(folder) {
        let path = dead.path();
        tracing::debug!("removing `{}`, left by a runner that was killed", path.display());
        remove(path);
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
