//! A tree as files of its own.

use std::path::{Path, PathBuf};

use forerunner_merkle::{Digest, Forest};
use forerunner_proto::reapi::NodeProperties;
use forerunner_reapi::Endpoint;

use crate::failure::Failure;

use super::properties::{self, DEFAULT_DIRECTORY, DEFAULT_EXECUTABLE, DEFAULT_FILE};

/// A few bytes of directories can expand without bounds; no real tree has this many entries.
const MOST_ENTRIES: usize = 20_000_000;

/// Files that are fetched in one go.
const ROUND: usize = 4096;

/// Writes the tree `root` to the new directory `to`.
pub(super) async fn copy(
    endpoint: &Endpoint,
    forest: &Forest,
    root: &Digest,
    to: &Path,
) -> Result<(), Failure> {
    let malformed = |why: String| Failure::Malformed { what: format!("the tree {root}"), why };
    let mut directories: Vec<(PathBuf, Option<NodeProperties>)> = Vec::new();
    let mut files = Vec::new();
    let mut marks = Vec::new();
    let mut todo = vec![(*root, to.to_owned())];
    while let Some((digest, path)) = todo.pop() {
        let directory = forest.require(&digest).map_err(|error| malformed(error.to_string()))?;
        std::fs::create_dir(&path).map_err(Failure::file("make", &path))?;
        for (name, file) in directory.files() {
            let path = path.join(name.as_str());
            let mode = if file.executable { DEFAULT_EXECUTABLE } else { DEFAULT_FILE };
            files.push((file.digest, path.clone(), file.executable));
            marks.push((path, mode, file.properties.clone()));
        }
        for (name, symlink) in directory.symlinks() {
            let path = path.join(name.as_str());
            std::os::unix::fs::symlink(&symlink.target, &path)
                .map_err(Failure::file("make", &path))?;
            properties::mark_symlink(&path, symlink.properties.as_deref())
                .map_err(Failure::file("set the times of", &path))?;
        }
        for (name, child) in directory.directories() {
            todo.push((*child, path.join(name.as_str())));
        }
        if directories.len() + files.len() > MOST_ENTRIES {
            return Err(malformed(format!("it expands to more than {MOST_ENTRIES} entries")));
        }
        directories.push((path, directory.properties().cloned()));
    }
    for round in files.chunks(ROUND) {
        endpoint.fetch_files(round).await?;
    }
    for (path, mode, wanted) in marks {
        properties::mark(&path, mode, wanted.as_deref())
            .map_err(Failure::file("set the attributes of", &path))?;
    }
    // From the leaves up, for writing into a directory changes its time.
    for (path, wanted) in directories.iter().rev() {
        properties::mark(path, DEFAULT_DIRECTORY, wanted.as_ref())
            .map_err(Failure::file("set the attributes of", path))?;
    }
    Ok(())
}
