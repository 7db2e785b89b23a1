//! Taking things away, for good or on trial.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::Store;

/// Removes a file, a symlink or a directory with all that is in it, also where a build left
/// directories that nobody may write to. What is not there is as good as removed.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        return ignore_absent(std::fs::remove_file(path));
    }
    match ignore_absent(std::fs::remove_dir_all(path)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            ignore_absent(std::fs::remove_dir_all(path))
        }
        other => other,
    }
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes every directory at and below `path` writable.
fn open_up(path: &Path) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(());
    }
    if metadata.mode() & 0o700 != 0o700 {
        std::fs::set_permissions(path, Permissions::from_mode(metadata.mode() | 0o700))?;
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

impl Store {
    /// Takes what is at `path` away, unless `keep` says of what was really there that it must
    /// stay. Whoever uses a file records that first and then looks whether it is still in its
    /// place; we take it from its place first and then look whether a use was recorded. So one
    /// of both always notices the other. Answers whether it is gone.
    pub(crate) fn withdraw(&self, path: &Path, keep: impl Fn(&Metadata) -> bool) -> bool {
        let Ok(aside) = self.temporary_path() else {
            return false;
        };
        if let Err(error) = std::fs::rename(path, &aside) {
            return error.kind() == io::ErrorKind::NotFound;
        }
        let keep = std::fs::symlink_metadata(&aside).is_ok_and(|metadata| keep(&metadata));
        if keep && put_back(&aside, path) {
            return false;
        }
        // What cannot be removed now stays in the temporary folder for `gc`.
        let _ = remove_tree(&aside);
        true
    }
}

/// Never replaces what came into the place meanwhile.
fn put_back(aside: &Path, path: &Path) -> bool {
    let is_directory = std::fs::symlink_metadata(aside).is_ok_and(|metadata| metadata.is_dir());
    if is_directory {
        return std::fs::rename(aside, path).is_ok();
    }
    let back = std::fs::hard_link(aside, path);
    let _ = std::fs::remove_file(aside);
    // If something is there already, it is as good.
    back.is_ok() || path.exists()
}
