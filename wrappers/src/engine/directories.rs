//! Output directories, which only the user names (`RECC_OUTPUT_DIRECTORIES_OVERRIDE`).

use std::path::{Path, PathBuf};

use bytes::Bytes;
use forerunner_merkle::{Digest, Forest, Node};
use forerunner_proto::reapi::{ActionResult, OutputDirectory, Tree};
use forerunner_reapi::Content;
use forerunner_store::scan;
use prost::Message as _;

use crate::cache::{Cache, CacheError, Delivery};
use crate::paths;

use super::{Engine, Job};

/// What is written for the directories of a result.
#[derive(Debug, Default)]
pub(super) struct Written {
    directories: Vec<PathBuf>,
    links: Vec<(PathBuf, String)>,
    files: Vec<(Digest, PathBuf, bool)>,
}

impl Engine<'_> {
    fn place_of(&self, directory: &str) -> PathBuf {
        PathBuf::from(paths::absolute(directory, &self.session.directory))
    }

    /// What the directories of a result hold. Nothing is written yet.
    pub(super) fn directories_of(
        &self,
        cache: &Cache,
        job: &Job,
        action: &Digest,
        result: &ActionResult,
    ) -> Result<Written, CacheError> {
        let mut written = Written::default();
        for name in &job.output_directories {
            let found = result.output_directories.iter().find(|found| found.path == *name);
            let Some(found) = found else {
                if result.exit_code == 0 {
                    return Err(CacheError::Incomplete(*action, name.clone()));
                }
                continue;
            };
            let malformed = |why: String| CacheError::Malformed(*action, why);
            let digest = Digest::required(found.tree_digest.as_ref())
                .map_err(|error| malformed(error.to_string()))?;
            let tree = Tree::decode(cache.get(&digest)?)
                .map_err(|error| malformed(format!("tree {digest}: {error}")))?;
            let mut forest = Forest::new(self.session.settings.function);
            let root = forest
                .insert_tree(&tree)
                .map_err(|error| malformed(format!("tree {digest}: {error}")))?;
            let top = self.place_of(name);
            written.directories.push(top.clone());
            let mut visit = |path: &forerunner_merkle::TreePath, node: &Node| {
                let place = top.join(path.to_string());
                match node {
                    Node::Directory(_) => written.directories.push(place),
                    Node::Symlink(link) => written.links.push((place, link.target.clone())),
                    Node::File(file) => written.files.push((file.digest, place, file.executable)),
                }
            };
            forest
                .leaves(root, &mut visit)
                .map_err(|error| malformed(format!("tree {digest}: {error}")))?;
        }
        Ok(written)
    }

    /// Stores the directories that a command made here; `None` if one is missing.
    pub(super) fn store_directories(
        &self,
        cache: &Cache,
        job: &Job,
    ) -> Result<Option<Vec<OutputDirectory>>, CacheError> {
        let function = self.session.settings.function;
        let mut stored = Vec::new();
        for name in &job.output_directories {
            let place = self.place_of(name);
            if !place.is_dir() {
                return Ok(None);
            }
            let mut scanned = scan::directory(&place, function, scan::Attributes::default())?;
            let tree = scanned
                .forest
                .tree(scanned.root)
                .map_err(|error| CacheError::File(place.clone(), std::io::Error::other(error)))?;
            let bytes = Bytes::from(tree.encode_to_vec());
            let digest = function.digest(&bytes);
            let mut blobs = vec![(digest, Content::Bytes(bytes))];
            let made = scanned.forest.take_made();
            blobs.extend(made.into_iter().map(|(digest, bytes)| (digest, Content::Bytes(bytes))));
            let files = scanned.files.into_iter();
            blobs.extend(files.map(|(digest, path)| (digest, Content::File(path))));
            cache.upload(blobs)?;
            stored.push(OutputDirectory {
                path: name.clone(),
                tree_digest: Some(digest.to_proto()),
                root_directory_digest: Some(scanned.root.to_proto()),
                ..OutputDirectory::default()
            });
        }
        Ok(Some(stored))
    }
}

impl Written {
    /// Makes the directories and links; the files are for the caller to deliver.
    pub(super) fn prepare(&self) -> Result<Vec<Delivery<'static>>, CacheError> {
        let make = |path: &Path| {
            std::fs::create_dir_all(path).map_err(|error| CacheError::File(path.to_owned(), error))
        };
        self.directories.iter().try_for_each(|path| make(path))?;
        let above = |path: &PathBuf| path.parent().map_or(Ok(()), make);
        for (path, target) in &self.links {
            above(path)?;
            // What is in the way was made by an earlier run.
            let _removed = std::fs::remove_file(path);
            std::os::unix::fs::symlink(target, path)
                .map_err(|error| CacheError::File(path.clone(), error))?;
        }
        self.files.iter().try_for_each(|(_, path, _)| above(path))?;
        let files = self.files.iter().map(|(digest, path, executable)| Delivery {
            digest: *digest,
            inline: None,
            path: path.clone(),
            executable: *executable,
        });
        Ok(files.collect())
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|(digest, ..)| digest.size()).sum()
    }
}
