//! Folders that belong to a live process, and those whose process is dead.
//!
//! A runner locks what it makes as long as it lives, so that the next one to start can tell what
//! was left behind: process ids mean something else in every namespace. Names are used again, so a
//! lock on what stood at a path once says nothing about what stands there now.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// What the names of all of them begin with.
const PREFIX: &str = "buildbox-run-";

/// A folder that is locked as long as this lives. It is not removed with it.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Claim {
    /// Makes a folder with a name that nobody has in `parent`.
    ///
    /// # Errors
    /// If it cannot be made or locked.
    pub(crate) fn make(parent: &Path, mode: u32) -> io::Result<Self> {
        // A few attempts are plenty.
        for attempt in 0..100 {
            let path = parent.join(format!("{PREFIX}{}-{attempt}", std::process::id()));
            match DirBuilder::new().mode(mode).create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other?,
            }
            // Until it is locked, a runner that sweeps may take it for a dead one's: it is gone
            // then, or locked and about to go.
            let file = match open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other?,
            };
            if let Some(claim) = Self::lock(file, path)? {
                return Ok(claim);
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Claims the folders of this user in `parent` whose process is dead, one after the other.
    pub(crate) fn dead(parent: &Path) -> impl Iterator<Item = Self> {
        let own = nix::unistd::geteuid().as_raw();
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        entries.filter_map(move |entry| {
            // Those of others are not even locked: their makers would have to make new ones.
            let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
                && entry.metadata().is_ok_and(|metadata| metadata.uid() == own);
            let path = entry.path();
            if ours { Self::lock(open(&path).ok()?, path).ok()? } else { None }
        })
    }

    /// `None` if another process has the lock, or if `file` does not stand at `path` any more.
    fn lock(file: File, path: PathBuf) -> io::Result<Option<Self>> {
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(errno.into()),
        };
        let ours = lock.metadata()?;
        match std::fs::symlink_metadata(&path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                Ok(Some(Self { path, _lock: lock }))
            }
            _ => Ok(None),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    File::options().read(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_still_there_is_claimed() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("buildbox-run-1-0");
        std::fs::create_dir(&path).expect("a directory");
        // A sweeper has opened it; then its owner removes it and somebody else takes the name.
        let seen = open(&path).expect("opened");
        std::fs::remove_dir(&path).expect("removed");
        std::fs::create_dir(&path).expect("a directory");
        let live = Claim::lock(open(&path).expect("opened"), path.clone()).expect("no error");
        assert!(live.is_some());
        let claimed = Claim::lock(seen, path.clone()).expect("no error");
        assert!(claimed.is_none(), "the lock is on another folder");
        assert_eq!(Claim::dead(temp.path()).count(), 0);
        drop(live);
        assert_eq!(Claim::dead(temp.path()).count(), 1);
        // Nothing there at all.
        let seen = open(&path).expect("opened");
        std::fs::remove_dir(&path).expect("removed");
        assert!(Claim::lock(seen, path).expect("no error").is_none());
    }
}
