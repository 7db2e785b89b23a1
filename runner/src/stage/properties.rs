//! Modes and times of staged files.

use std::collections::HashMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use forerunner_merkle::{Digest, Forest};
use forerunner_proto::reapi::NodeProperties;
use forerunner_store::Store;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::failure::Failure;

use super::read_only;

pub(super) const DEFAULT_FILE: u32 = 0o644;
pub(super) const DEFAULT_EXECUTABLE: u32 = 0o755;
pub(super) const DEFAULT_DIRECTORY: u32 = 0o755;

/// 2011-11-11T11:11:11Z: the time of whatever has none of its own.
const MARK_SECONDS: i64 = 1_321_009_871;

/// Sets mode and time of a file or directory.
pub(super) fn mark(path: &Path, mode: u32, wanted: Option<&NodeProperties>) -> io::Result<()> {
    let mode = wanted.and_then(|wanted| wanted.unix_mode).map_or(mode, |mode| mode & 0o7777);
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    let time = time(wanted);
    Ok(utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::FollowSymlink)?)
}

/// Sets the time of a symlink.
pub(super) fn mark_symlink(path: &Path, wanted: Option<&NodeProperties>) -> io::Result<()> {
    let time = time(wanted);
    Ok(utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)?)
}

fn time(wanted: Option<&NodeProperties>) -> TimeSpec {
    match wanted.and_then(|wanted| wanted.mtime.as_ref()) {
        Some(time) => TimeSpec::new(time.seconds, i64::from(time.nanos.clamp(0, 999_999_999))),
        None => TimeSpec::new(MARK_SECONDS, 0),
    }
}

/// Puts what has properties of its own into the upper layer of an overlay: the lower one is
/// shared by all trees.
pub(super) fn apply_above(
    store: &Store,
    forest: &Forest,
    root: &Digest,
    upper: &Path,
    plain: bool,
) -> Result<(), Failure> {
    if !plain {
        let mut special = HashMap::new();
        has_properties(forest, root, &mut special);
        apply_level(store, forest, root, upper, &special)?;
    }
    // The root of an overlay looks as its upper layer does.
    let properties = forest.get(root).and_then(|directory| directory.properties());
    mark(upper, DEFAULT_DIRECTORY, properties)
        .map_err(Failure::file("set the attributes of", upper))
}

/// Whether anything in the tree has a time or mode of its own, or is read-only.
pub(super) fn are_set(forest: &Forest, root: &Digest) -> bool {
    has_properties(forest, root, &mut HashMap::new())
}

/// Whether anything at or below a directory has properties.
fn has_properties(forest: &Forest, digest: &Digest, known: &mut HashMap<Digest, bool>) -> bool {
    if let Some(answer) = known.get(digest) {
        return *answer;
    }
    let Some(directory) = forest.get(digest).cloned() else { return false };
    let set = |properties: Option<&NodeProperties>| {
        properties.is_some_and(|it| it.mtime.is_some() || it.unix_mode.is_some())
    };
    let mut answer = set(directory.properties())
        || read_only::wanted(directory.properties()).is_some()
        || directory.files().iter().any(|(_, file)| set(file.properties.as_deref()))
        || directory.symlinks().iter().any(|(_, link)| set(link.properties.as_deref()));
    for (_, child) in directory.directories() {
        answer |= has_properties(forest, child, known);
    }
    known.insert(*digest, answer);
    answer
}

fn apply_level(
    store: &Store,
    forest: &Forest,
    digest: &Digest,
    at: &Path,
    special: &HashMap<Digest, bool>,
) -> Result<(), Failure> {
    let Some(directory) = forest.get(digest) else { return Ok(()) };
    for (name, file) in directory.files() {
        if let Some(wanted) = file.properties.as_deref() {
            let path = at.join(name.as_str());
            if !store.copy(&file.digest, file.executable, &path)? {
                return Err(forerunner_reapi::Error::MissingBlob(file.digest).into());
            }
            let mode = if file.executable { DEFAULT_EXECUTABLE } else { DEFAULT_FILE };
            mark(&path, mode, Some(wanted))
                .map_err(Failure::file("set the attributes of", &path))?;
        }
    }
    for (name, symlink) in directory.symlinks() {
        if let Some(wanted) = symlink.properties.as_deref() {
            let path = at.join(name.as_str());
            std::os::unix::fs::symlink(&symlink.target, &path)
                .and_then(|()| mark_symlink(&path, Some(wanted)))
                .map_err(Failure::file("make", &path))?;
        }
    }
    for (name, child) in directory.directories() {
        if special.get(child).copied().unwrap_or(false) {
            let path = at.join(name.as_str());
            std::fs::create_dir(&path).map_err(Failure::file("make", &path))?;
            apply_level(store, forest, child, &path, special)?;
            let properties = forest.get(child).and_then(|directory| directory.properties());
            mark(&path, DEFAULT_DIRECTORY, properties)
                .map_err(Failure::file("set the attributes of", &path))?;
        }
    }
    Ok(())
}
