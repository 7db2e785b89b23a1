//! Using and taking away exclude each other.
//!
//! Whoever gives a file its place, or records a use of one and then looks whether it is still in
//! its place, does so with the lock shared; whoever takes one away looks at its last use and
//! removes it with the lock to himself. So nothing that was found in use is gone a moment later.
//! Most uses need no record and no lock: the last one recorded is recent enough.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::Store;
use crate::remove::remove_tree;

/// Locks a file; a signal that arrives meanwhile does not end the waiting.
pub(crate) fn lock(mut file: File, how: FlockArg) -> Result<Flock<File>, Errno> {
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(lock),
            Err((same, Errno::EINTR)) => file = same,
            Err((_, errno)) => return Err(errno),
        }
    }
}

impl Store {
    /// As long as this is held, nothing is taken away. `None` where nothing can be locked, as in
    /// a store that is read-only: then we take nothing away either.
    pub(crate) fn share(&self) -> Option<Flock<File>> {
        lock(self.open_guard().ok()?, FlockArg::LockShared).ok()
    }

    fn exclude(&self) -> io::Result<Flock<File>> {
        Ok(lock(self.open_guard()?, FlockArg::LockExclusive)?)
    }

    /// Opened each time: threads that share an open file would share, and end, each other's locks.
    fn open_guard(&self) -> io::Result<File> {
        let path = self.layout().use_lock();
        File::open(&path).or_else(|_| {
            File::options().read(true).write(true).create(true).truncate(false).open(&path)
        })
    }

    /// Takes everything at `paths` away if `wanted` says of what is there that it should go.
    /// Answers whether it is gone.
    pub(crate) fn take_away(
        &self,
        paths: &[&Path],
        wanted: impl Fn(&[Metadata]) -> bool,
    ) -> io::Result<bool> {
        let mut aside = Vec::new();
        let lock = self.exclude()?;
        let mut there = Vec::new();
        for path in paths {
            match std::fs::symlink_metadata(path) {
                Ok(metadata) => there.push((path, metadata)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let (paths, found): (Vec<&&Path>, Vec<Metadata>) = there.into_iter().unzip();
        if !found.is_empty() && !wanted(&found) {
            return Ok(false);
        }
        for (path, metadata) in paths.into_iter().zip(&found) {
            if metadata.is_dir() {
                // It takes a while to remove it; nobody needs to wait for that.
                let place = self.temporary_path().map_err(io::Error::other)?;
                std::fs::rename(path, &place)?;
                aside.push(place);
            } else {
                std::fs::remove_file(path)?;
            }
        }
        drop(lock);
        for path in aside {
            // What cannot be removed now stays in the temporary folder for `gc`.
            let _ = remove_tree(&path);
        }
        Ok(true)
    }
}
