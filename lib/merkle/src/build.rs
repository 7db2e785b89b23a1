//! Making a tree from paths.

use std::collections::BTreeMap;

use crate::{Digest, Directory, File, Forest, Name, Node, Symlink, TreePath};
use forerunner_proto::reapi::NodeProperties;

/// A tree in the making: nodes put at paths, in any order.
#[derive(Clone, Debug, Default)]
pub struct TreeBuilder {
    entries: BTreeMap<Name, Item>,
    properties: Option<NodeProperties>,
}

#[derive(Clone, Debug)]
enum Item {
    Leaf(Node),
    Directory(TreeBuilder),
}

/// Two different things were put at one path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two different things stand at `{0}`")]
pub struct Conflict(pub String);

impl TreeBuilder {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file.
    ///
    /// # Errors
    /// If something else stands at `path`.
    pub fn file(&mut self, path: &TreePath, file: File) -> Result<(), Conflict> {
        self.leaf(path, Node::File(file))
    }

    /// Puts a symlink.
    ///
    /// # Errors
    /// If something else stands at `path`.
    pub fn symlink(&mut self, path: &TreePath, target: &str) -> Result<(), Conflict> {
        let symlink = Symlink { target: target.to_owned(), properties: None };
        self.leaf(path, Node::Symlink(symlink))
    }

    /// Makes sure that there is a directory.
    ///
    /// # Errors
    /// If something else stands at `path` or above it.
    pub fn directory(&mut self, path: &TreePath) -> Result<(), Conflict> {
        self.descend(path.names(), path).map(|_| ())
    }

    /// Puts a node: a file, a symlink, or a whole directory by its digest.
    ///
    /// # Errors
    /// If something else stands at `path`.
    pub fn leaf(&mut self, path: &TreePath, node: Node) -> Result<(), Conflict> {
        let (last, above) = path.names().split_last().ok_or_else(|| Conflict(path.to_string()))?;
        let parent = self.descend(above, path)?;
        match parent.entries.get(last) {
            None => {
                parent.entries.insert(last.clone(), Item::Leaf(node));
                Ok(())
            }
            Some(Item::Leaf(there)) if *there == node => Ok(()),
            Some(_) => Err(Conflict(path.to_string())),
        }
    }

    /// Encodes the tree into `forest`; answers with the root's digest.
    pub fn build(self, forest: &mut Forest) -> Digest {
        let entries: Vec<(Name, Node)> = self
            .entries
            .into_iter()
            .map(|(name, item)| match item {
                Item::Leaf(node) => (name, node),
                Item::Directory(builder) => (name, Node::Directory(builder.build(forest))),
            })
            .collect();
        match Directory::from_entries(entries) {
            Ok(directory) => forest.insert(directory.with_properties(self.properties)),
            Err(error) => unreachable!("the keys of a map are distinct: {error}"),
        }
    }

    fn descend(&mut self, names: &[Name], whole: &TreePath) -> Result<&mut Self, Conflict> {
        let mut at = self;
        for name in names {
            let item =
                at.entries.entry(name.clone()).or_insert_with(|| Item::Directory(Self::default()));
            match item {
                Item::Directory(builder) => at = builder,
                Item::Leaf(_) => return Err(Conflict(whole.to_string())),
            }
        }
        Ok(at)
    }
}
