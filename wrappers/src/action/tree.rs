//! The input tree.

use std::path::PathBuf;

use bytes::Bytes;
use forerunner_merkle::{Digest, File, Forest, Name, TreeBuilder, TreePath};

use crate::paths;
use crate::reason::Reason;

use super::{Parts, Place};

/// An input tree and where its files are.
#[derive(Clone, Debug)]
pub struct InputTree {
    /// The root directory's digest.
    pub root: Digest,
    /// Every directory, encoded.
    pub directories: Vec<(Digest, Bytes)>,
    /// Every file, and where it is here.
    pub files: Vec<(Digest, PathBuf)>,
    /// Content that exists only in the action.
    pub made: Vec<(Digest, Bytes)>,
}

/// Builds the tree.
pub(super) fn build(parts: &Parts<'_>, working_directory: &str) -> Result<InputTree, Reason> {
    let settings = parts.settings;
    let mut builder = TreeBuilder::new();
    let (mut files, mut made) = (Vec::new(), Vec::new());
    let whole = !settings.deps_directory.is_empty();
    // What is left out then was left out before, file by file.
    let keeps_links = settings.keeps_links();
    if !working_directory.is_empty() {
        walk(&mut builder, working_directory)?;
    }
    for (remote, place, local) in parts.inputs {
        let absolute = remote.starts_with('/');
        let full = if absolute || working_directory.is_empty() {
            remote.clone()
        } else {
            format!("{working_directory}/{remote}")
        };
        if matches!(place, Place::Passage) {
            if paths::levels_above(&full) == 0 {
                walk_up(&mut builder, &full)?;
            }
            continue;
        }
        // Where links are kept, those on the way to a file are there even if it is not.
        let way = keeps_links && matches!(place, Place::Symlink(_) | Place::Directory);
        let tidy = paths::normalise(&full);
        let excluded = || settings.exclude_paths.iter().any(|path| paths::is_below(&tidy, path));
        if !whole && !way && excluded() {
            continue;
        }
        // The directories that `..` leads out of must exist, so that the path can be followed;
        // the reference makes them even for a file that is left out.
        let path = walk_up(&mut builder, &full)?;
        if absolute && !settings.global_paths && !whole && !keeps_links {
            continue;
        }
        let put = match place {
            Place::File(file) => {
                if let Some(local) = local {
                    files.push((file.digest, local.clone()));
                }
                builder.file(&path, file.clone())
            }
            Place::Made(bytes) => {
                let digest = parts.function.digest(bytes);
                made.push((digest, bytes.clone()));
                builder.file(&path, File::new(digest, false))
            }
            Place::Directory => builder.directory(&path),
            Place::Symlink(target) => builder.symlink(&path, target),
            Place::Passage => continue,
        };
        put.map_err(|_| Reason::InputName)?;
    }
    let mut forest = Forest::new(parts.function);
    let root = builder.build(&mut forest);
    files.sort();
    files.dedup_by(|a, b| a.0 == b.0);
    Ok(InputTree { root, directories: forest.take_made(), files, made })
}

fn walk(builder: &mut TreeBuilder, path: &str) -> Result<(), Reason> {
    let path = walk_up(builder, path)?;
    builder.directory(&path).map_err(|_| Reason::InputName)
}

/// The normal form of a path; every directory that a `..` leaves is made.
fn walk_up(builder: &mut TreeBuilder, path: &str) -> Result<TreePath, Reason> {
    let mut names: Vec<Name> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                let left = TreePath::from(names.clone());
                if !left.is_root() {
                    builder.directory(&left).map_err(|_| Reason::InputName)?;
                }
                names.pop();
            }
            name => names.push(Name::new(name).map_err(|_| Reason::InputName)?),
        }
    }
    Ok(TreePath::from(names))
}
