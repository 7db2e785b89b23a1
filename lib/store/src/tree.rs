//! Trees of hard links.

use std::collections::HashMap;
use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use forerunner_merkle::{Digest, Forest};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::layout::{ENTRY_BYTES, INNER};
use crate::remove::remove_tree;
use crate::stamp::Stamp;
use crate::trust::{MARK_SECONDS, mark};
use crate::{Store, StoreError, spread};

/// A few bytes of directories can expand without bounds; no real tree has this many entries.
const MOST_ENTRIES: u64 = 20_000_000;

impl Store {
    /// A directory of hard links to the blobs of a tree, for use as a read-only lower layer; kept
    /// by the digest of `root`. Directories and executables have mode 0755, other files 0644, and
    /// everything was modified 2011-11-11T11:11:11Z; properties of nodes are not applied.
    ///
    /// Take a [`crate::Hold`] first, and keep it as long as the directory is in use.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`] or [`StoreError::MissingDirectory`] if a part is not at hand;
    /// or if it cannot be written.
    pub fn tree(&self, forest: &Forest, root: &Digest) -> Result<PathBuf, StoreError> {
        let path = self.layout().tree(self.function, root);
        if self.is_usable_tree(&path)? {
            return Ok(path.join(INNER));
        }
        let entries = count(forest, root, &mut HashMap::new())?;
        if entries > MOST_ENTRIES {
            return Err(StoreError::TooLarge { root: *root, limit: MOST_ENTRIES });
        }
        let temporary = self.temporary_path()?;
        let built = std::fs::create_dir(&temporary)
            .map_err(self.failed("write", &temporary))
            .and_then(|()| self.build(forest, root, &temporary.join(INNER)))
            .and_then(|()| {
                let times = FileTimes::new().set_accessed(SystemTime::now());
                File::open(&temporary)
                    .and_then(|folder| folder.set_times(times))
                    .map_err(self.failed("write", &temporary))
            });
        if let Err(error) = built {
            let _ = remove_tree(&temporary);
            return Err(error);
        }
        if self.inner.boot.is_none() {
            // It could not be told later whether it survived a crash: it lasts as long as we do.
            return Ok(temporary.join(INNER));
        }
        for _ in 0..8 {
            let Err(error) = self.rename_into(&temporary, &path) else {
                self.count_added(entries.saturating_mul(ENTRY_BYTES));
                return Ok(path.join(INNER));
            };
            let occupied = matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::AlreadyExists
                    | io::ErrorKind::NotADirectory
            );
            if !occupied {
                let _ = remove_tree(&temporary);
                return Err(StoreError::io(self.root(), "write", &path, error));
            }
            if self.is_usable_tree(&path)? {
                let _ = remove_tree(&temporary);
                return Ok(path.join(INNER));
            }
            // Left by an earlier boot, or not ours.
            let stale = |found: &[Metadata]| !self.is_recent_tree(&found[0]);
            self.take_away(&[&path], stale).map_err(self.failed("remove", &path))?;
        }
        // Others keep putting theirs there; ours is as good.
        Ok(temporary.join(INNER))
    }

    fn is_recent_tree(&self, metadata: &Metadata) -> bool {
        metadata.is_dir()
            && self.inner.boot.is_some_and(|boot| Stamp::changed(metadata) >= boot)
            && Stamp::changed(metadata) <= Stamp::now()
    }

    /// Whether a complete tree is there; records the use.
    fn is_usable_tree(&self, path: &Path) -> Result<bool, StoreError> {
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_DIRECTORY;
        let file = match File::options().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(StoreError::io(self.root(), "read", path, error));
            }
            Err(_) => return Ok(false),
        };
        let metadata = file.metadata().map_err(self.failed("read", path))?;
        Ok(self.is_recent_tree(&metadata) && self.record_use(&file, path, &metadata))
    }

    fn build(&self, forest: &Forest, digest: &Digest, to: &Path) -> Result<(), StoreError> {
        let directory =
            forest.require(digest).map_err(|missing| StoreError::MissingDirectory(missing.0))?;
        let failed = |error| StoreError::io(self.root(), "write", to, error);
        std::fs::create_dir(to).map_err(failed)?;
        spread::try_each(directory.files(), |(name, file)| {
            let path = to.join(name.as_str());
            match self.link(&file.digest, file.executable, &path)? {
                true => Ok(()),
                false => Err(StoreError::MissingBlob(file.digest)),
            }
        })?;
        for (name, symlink) in directory.symlinks() {
            let path = to.join(name.as_str());
            std::os::unix::fs::symlink(&symlink.target, &path)
                .and_then(|()| mark_symlink(&path))
                .map_err(self.failed("write", &path))?;
        }
        spread::try_each(directory.directories(), |(name, child)| {
            self.build(forest, child, &to.join(name.as_str()))
        })?;
        std::fs::set_permissions(to, Permissions::from_mode(0o755))
            .and_then(|()| File::open(to))
            .and_then(|file| {
                let times = FileTimes::new().set_accessed(SystemTime::now()).set_modified(mark());
                file.set_times(times)
            })
            .map_err(failed)
    }
}

fn mark_symlink(path: &Path) -> io::Result<()> {
    let time = TimeSpec::new(MARK_SECONDS, 0);
    Ok(utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)?)
}

/// How many entries a tree has when every directory is written out.
fn count(
    forest: &Forest,
    digest: &Digest,
    known: &mut HashMap<Digest, u64>,
) -> Result<u64, StoreError> {
    if let Some(entries) = known.get(digest) {
        return Ok(*entries);
    }
    let directory =
        forest.require(digest).map_err(|missing| StoreError::MissingDirectory(missing.0))?;
    let mut entries = 1 + (directory.files().len() + directory.symlinks().len()) as u64;
    for (_, child) in directory.directories() {
        entries = entries.saturating_add(count(forest, child, known)?);
    }
    known.insert(*digest, entries);
    Ok(entries)
}
