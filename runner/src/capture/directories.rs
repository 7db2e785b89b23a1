//! The directories of the outputs, each once, however many there are: only their digests and
//! connections stay in memory.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction, Directory};

/// What is kept in memory before files are used.
const MEMORY_BYTES: usize = 1024 * 1024;

/// Tags of `root` and `children` in a Tree message.
const ROOT: u8 = 0x0a;
const CHILD: u8 = 0x12;

pub(super) struct Directories<'a> {
    function: DigestFunction,
    /// Where files may be made.
    folder: &'a Path,
    known: HashMap<Digest, Described>,
    memory: Vec<u8>,
    file: Option<File>,
    length: u64,
    trees: usize,
}

struct Described {
    offset: u64,
    children: Vec<Digest>,
}

/// A Tree message.
pub(super) enum Tree {
    Memory(Bytes),
    File(PathBuf),
}

impl<'a> Directories<'a> {
    pub(super) fn new(function: DigestFunction, folder: &'a Path) -> Self {
        Self {
            function,
            folder,
            known: HashMap::new(),
            memory: Vec::new(),
            file: None,
            length: 0,
            trees: 0,
        }
    }

    /// Takes one whose children were taken before; answers with its message if it is new.
    pub(super) fn insert(&mut self, directory: &Directory) -> io::Result<(Digest, Option<Bytes>)> {
        let (digest, bytes) = directory.encode(self.function);
        if self.known.contains_key(&digest) {
            return Ok((digest, None));
        }
        let children = directory.directories().iter().map(|(_, child)| *child).collect();
        self.known.insert(digest, Described { offset: self.length, children });
        self.length += bytes.len() as u64;
        if self.file.is_none() && self.memory.len() + bytes.len() > MEMORY_BYTES {
            let path = self.folder.join("directories");
            let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(&bytes)?,
            None => self.memory.extend_from_slice(&bytes),
        }
        Ok((digest, Some(bytes)))
    }

    /// The Tree message of `root`: parents before children, each directory once.
    pub(super) fn tree(&mut self, root: Digest) -> io::Result<(Digest, Tree)> {
        let order = self.walk(root);
        let bytes: u64 = order.iter().map(|digest| digest.size() + 11).sum();
        let mut hasher = self.function.hasher();
        let mut memory = Vec::new();
        let mut file = None;
        if bytes > MEMORY_BYTES as u64 {
            let path = self.folder.join(format!("tree-{}", self.trees));
            self.trees += 1;
            file = Some((BufWriter::new(File::create_new(&path)?), path));
        }
        for (index, digest) in order.iter().enumerate() {
            let mut part = vec![if index == 0 { ROOT } else { CHILD }];
            let mut length = digest.size();
            while length > 0x7f {
                part.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            part.push(length as u8);
            self.read(digest, &mut part)?;
            hasher.update(&part);
            match &mut file {
                Some((file, _)) => file.write_all(&part)?,
                None => memory.append(&mut part),
            }
        }
        let tree = match file {
            Some((file, path)) => {
                file.into_inner().map_err(io::IntoInnerError::into_error)?;
                Tree::File(path)
            }
            None => Tree::Memory(memory.into()),
        };
        Ok((hasher.finish(), tree))
    }

    /// Appends a message.
    fn read(&self, digest: &Digest, to: &mut Vec<u8>) -> io::Result<()> {
        let absent = || io::Error::other(format!("the directory {digest} was not described"));
        let offset = self.known.get(digest).ok_or_else(absent)?.offset;
        let (start, length) = (to.len(), digest.size() as usize);
        match &self.file {
            Some(file) => {
                to.resize(start + length, 0);
                file.read_exact_at(to.get_mut(start..).unwrap_or_default(), offset)
            }
            None => {
                let from = offset as usize;
                let bytes = self.memory.get(from..from + length).ok_or_else(absent)?;
                to.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Every directory at or below `root` once, parents before children.
    fn walk(&self, root: Digest) -> Vec<Digest> {
        // Depth first, written down when left: children before parents; then turned round.
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        let mut stack = vec![(root, false)];
        while let Some((digest, left)) = stack.pop() {
            if left {
                order.push(digest);
            } else if seen.insert(digest) {
                stack.push((digest, true));
                let children = self.known.get(&digest).map(|it| &it.children[..]);
                stack.extend(children.unwrap_or_default().iter().map(|child| (*child, false)));
            }
        }
        order.reverse();
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::{Forest, Name, Node};
    use forerunner_proto::Message;

    /// Trees are the same as those of a forest, whether they fit into memory or not.
    #[test]
    fn small_and_large_trees() {
        for files in [3_u32, 30_000] {
            let temp = tempfile::tempdir().expect("a directory");
            let function = DigestFunction::Sha256;
            let mut directories = Directories::new(function, temp.path());
            let mut forest = Forest::new(function);
            let mut add = |entries: Vec<(Name, Node)>| {
                let directory = Directory::from_entries(entries).expect("a directory");
                let (digest, bytes) = directories.insert(&directory).expect("a place");
                let known = forest.get(&digest).is_some();
                assert_eq!(bytes.is_none(), known);
                assert_eq!(forest.insert(directory), digest);
                digest
            };
            let name = |text: String| Name::new(&text).expect("a name");
            let file = |number: u32| {
                let digest = function.digest(&number.to_le_bytes());
                let file = forerunner_merkle::File::new(digest, false);
                (name(format!("f{number}")), Node::File(file))
            };
            let leaf = add((0..files).map(file).collect());
            let other = add((files..2 * files).map(file).collect());
            let both = [("a", leaf), ("b", other), ("c", leaf)];
            let both = both.map(|(text, it)| (name(text.to_owned()), Node::Directory(it)));
            let middle = add(both.to_vec());
            let same = add(both.to_vec());
            assert_eq!(middle, same);
            let root = add(vec![(name("m".to_owned()), Node::Directory(middle)), file(1)]);
            for root in [root, leaf] {
                let expected = forest.tree(root).expect("a tree").encode_to_vec();
                let (digest, tree) = directories.tree(root).expect("a tree");
                assert_eq!(digest, function.digest(&expected));
                let bytes = match tree {
                    Tree::Memory(bytes) => bytes.to_vec(),
                    Tree::File(path) => {
                        assert!(expected.len() > MEMORY_BYTES);
                        std::fs::read(path).expect("a file")
                    }
                };
                assert!(bytes == expected);
            }
        }
    }
}
