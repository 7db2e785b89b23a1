//! Directories by digest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use forerunner_proto::reapi;

use crate::{Digest, DigestFunction, Directory, DirectoryError, Node, TreePath};

/// The directories that are known, each parsed once.
///
/// Operations on trees read directories here and add those that they make; [`Self::take_made`]
/// hands over the latter for upload. A directory that an operation does not change is never
/// encoded again, so it keeps its bytes, fields unknown to us included.
#[derive(Clone, Debug, Default)]
pub struct Forest {
    function: DigestFunction,
    known: HashMap<Digest, Arc<Directory>>,
    made: HashMap<Digest, Bytes>,
}

/// A directory that an operation needed is not in the forest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("directory {0} is not at hand")]
pub struct MissingDirectory(pub Digest);

impl Forest {
    /// A forest without directories, whose digests `function` makes.
    #[must_use]
    pub fn new(function: DigestFunction) -> Self {
        Self { function, known: HashMap::new(), made: HashMap::new() }
    }

    /// The function that makes its digests.
    #[must_use]
    pub fn function(&self) -> DigestFunction {
        self.function
    }

    /// Adds a directory that was made here.
    pub fn insert(&mut self, directory: Directory) -> Digest {
        let (digest, bytes) = directory.encode(self.function);
        if let Entry::Vacant(entry) = self.known.entry(digest) {
            entry.insert(Arc::new(directory));
            self.made.insert(digest, bytes);
        }
        digest
    }

    /// Adds the encoded form of a directory that came from elsewhere, named by its digest.
    /// The caller has checked that the bytes have this digest.
    ///
    /// # Errors
    /// If the bytes are no directory.
    pub fn insert_encoded(
        &mut self,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<Arc<Directory>, DirectoryError> {
        match self.known.entry(digest) {
            Entry::Occupied(entry) => Ok(Arc::clone(entry.get())),
            Entry::Vacant(entry) => {
                let directory = Arc::new(Directory::decode(bytes)?);
                Ok(Arc::clone(entry.insert(directory)))
            }
        }
    }

    /// As [`Self::insert_encoded`], for one that was parsed already, perhaps on another thread.
    pub fn insert_decoded(&mut self, digest: Digest, directory: Directory) {
        self.known.entry(digest).or_insert_with(|| Arc::new(directory));
    }

    /// Adds every directory of a Tree message; answers with the root.
    ///
    /// # Errors
    /// If one of them is malformed, or the root is missing.
    pub fn insert_tree(&mut self, tree: &reapi::Tree) -> Result<Digest, DirectoryError> {
        let root = tree
            .root
            .as_ref()
            .ok_or_else(|| DirectoryError::Encoding("a Tree without a root".to_owned()))?;
        for child in &tree.children {
            self.insert(Directory::from_proto(child.clone())?);
        }
        Ok(self.insert(Directory::from_proto(root.clone())?))
    }

    /// A directory that is known.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<&Arc<Directory>> {
        self.known.get(digest)
    }

    /// A directory that must be known.
    ///
    /// # Errors
    /// If it is not.
    pub fn require(&self, digest: &Digest) -> Result<&Arc<Directory>, MissingDirectory> {
        self.known.get(digest).ok_or(MissingDirectory(*digest))
    }

    /// The contents of the files in all directories, some more than once.
    pub fn files(&self) -> impl Iterator<Item = Digest> {
        self.known.values().flat_map(|directory| directory.files()).map(|(_, file)| file.digest)
    }

    /// Encoded forms of the directories made here since the last call.
    pub fn take_made(&mut self) -> Vec<(Digest, Bytes)> {
        self.made.drain().collect()
    }

    /// Directories at or below `roots` that are not known, each once.
    #[must_use]
    pub fn missing_below(&self, roots: &[Digest]) -> Vec<Digest> {
        let mut seen = std::collections::HashSet::new();
        let mut missing = Vec::new();
        let mut todo = roots.to_vec();
        while let Some(digest) = todo.pop() {
            if !seen.insert(digest) {
                continue;
            }
            match self.known.get(&digest) {
                Some(directory) => todo.extend(directory.directories().iter().map(|(_, d)| *d)),
                None => missing.push(digest),
            }
        }
        missing
    }

    /// What stands at `path` below `root`; symlinks are not followed.
    ///
    /// # Errors
    /// If a directory on the way is not known.
    pub fn lookup(&self, root: Digest, path: &TreePath) -> Result<Option<Node>, MissingDirectory> {
        let mut at = root;
        let Some((last, above)) = path.names().split_last() else {
            return Ok(Some(Node::Directory(root)));
        };
        for name in above {
            match self.require(&at)?.child(name) {
                Some(child) => at = child,
                None => return Ok(None),
            }
        }
        Ok(self.require(&at)?.get(last))
    }

    /// Every directory at or below `root` once, parents before children (the order of a
    /// topologically sorted Tree).
    ///
    /// # Errors
    /// If one of them is not known.
    pub fn walk(&self, root: Digest) -> Result<Vec<Digest>, MissingDirectory> {
        // Depth first, written down when left: children before parents; then turned round.
        let mut order = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut stack = vec![(root, false)];
        while let Some((digest, left)) = stack.pop() {
            if left {
                order.push(digest);
                continue;
            }
            if !seen.insert(digest) {
                continue;
            }
            stack.push((digest, true));
            for (_, child) in self.require(&digest)?.directories() {
                stack.push((*child, false));
            }
        }
        order.reverse();
        Ok(order)
    }

    /// The Tree message of `root`: parents before children, each directory once.
    ///
    /// # Errors
    /// If a directory is not known.
    pub fn tree(&self, root: Digest) -> Result<reapi::Tree, MissingDirectory> {
        let mut messages = Vec::new();
        for digest in self.walk(root)? {
            messages.push(self.require(&digest)?.to_proto());
        }
        let mut messages = messages.into_iter();
        Ok(reapi::Tree { root: messages.next(), children: messages.collect() })
    }

    /// Calls `visit` with the path and node of everything below `root` that is not a directory,
    /// and of every empty directory.
    ///
    /// # Errors
    /// If a directory is not known.
    pub fn leaves(
        &self,
        root: Digest,
        visit: &mut dyn FnMut(&TreePath, &Node),
    ) -> Result<(), MissingDirectory> {
        let mut stack = vec![(TreePath::root(), root)];
        while let Some((path, digest)) = stack.pop() {
            let directory = self.require(&digest)?;
            if directory.is_empty() {
                visit(&path, &Node::Directory(digest));
            }
            for (name, node) in directory.entries() {
                let child = path.child(name.clone());
                match node {
                    Node::Directory(digest) => stack.push((child, digest)),
                    leaf => visit(&child, &leaf),
                }
            }
        }
        Ok(())
    }
}
