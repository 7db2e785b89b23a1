//! Trees as nested maps.

use std::collections::BTreeMap;

use forerunner_merkle::{
    Digest, DigestFunction, Directory, File, Forest, Name, Node, Symlink, TreePath,
};
use forerunner_proto::reapi::NodeProperties;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Model {
    File(u8, bool),
    Symlink(u8),
    Folder(Folder),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Folder {
    entries: BTreeMap<Name, Model>,
    mode: Option<u32>,
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn leaf() -> impl Strategy<Value = Model> {
    prop_oneof![
        (0..4_u8, any::<bool>()).prop_map(|(content, executable)| Model::File(content, executable)),
        (0..3_u8).prop_map(Model::Symlink),
    ]
}

/// Few names, so that trees have much in common; some that sort unlike their bytes might suggest.
fn names() -> impl Strategy<Value = Name> {
    prop::sample::select(vec!["a", "a.b", "a-", "b", "é", "A"]).prop_map(name)
}

pub(crate) fn path() -> impl Strategy<Value = TreePath> {
    prop::collection::vec(names(), 0..4).prop_map(TreePath::from)
}

/// A folder; with attributes of its own and of those in it, if asked for.
pub(crate) fn folder(modes: bool) -> BoxedStrategy<Folder> {
    let mode = move || if modes { prop::option::of(0..3_u32).boxed() } else { Just(None).boxed() };
    let level = leaf().prop_recursive(3, 24, 5, move |inner| {
        (prop::collection::btree_map(names(), inner, 0..5), mode())
            .prop_map(|(entries, mode)| Model::Folder(Folder { entries, mode }))
    });
    (prop::collection::btree_map(names(), level, 0..6), mode())
        .prop_map(|(entries, mode)| Folder { entries, mode })
        .boxed()
}

pub(crate) fn node() -> impl Strategy<Value = Model> {
    prop_oneof![2 => leaf(), 1 => folder(false).prop_map(Model::Folder)]
}

/// A folder in which the name says what stands there.
pub(crate) fn sorted_folder() -> BoxedStrategy<Folder> {
    let names = |names: &[&'static str]| prop::sample::select(names.to_vec()).prop_map(name);
    let leaves = move || prop::collection::btree_map(names(&["f", "g", "h"]), leaf(), 0..3);
    let flat =
        (leaves(), prop::option::of(0..3_u32)).prop_map(|(entries, mode)| Folder { entries, mode });
    flat.prop_recursive(3, 16, 3, move |inner| {
        let folders = inner.prop_map(Model::Folder);
        let folders = prop::collection::btree_map(names(&["d", "e"]), folders, 0..3);
        (leaves(), folders, prop::option::of(0..3_u32)).prop_map(|(mut entries, folders, mode)| {
            entries.extend(folders);
            Folder { entries, mode }
        })
    })
    .boxed()
}

impl Model {
    /// The same as a node, its directories in the forest.
    pub(crate) fn node(&self, forest: &mut Forest) -> Node {
        match self {
            Self::File(content, executable) => {
                Node::File(File::new(DigestFunction::Sha256.digest(&[*content]), *executable))
            }
            Self::Symlink(target) => {
                Node::Symlink(Symlink { target: format!("../{target}"), properties: None })
            }
            Self::Folder(folder) => Node::Directory(folder.plant(forest)),
        }
    }
}

impl Folder {
    pub(crate) fn plant(&self, forest: &mut Forest) -> Digest {
        let entries: Vec<(Name, Node)> =
            self.entries.iter().map(|(name, model)| (name.clone(), model.node(forest))).collect();
        let properties = self
            .mode
            .map(|mode| NodeProperties { unix_mode: Some(mode), ..NodeProperties::default() });
        let directory = Directory::from_entries(entries).expect("distinct names");
        forest.insert(directory.with_properties(properties))
    }

    /// The model of a tree that was planted.
    pub(crate) fn read(forest: &Forest, digest: Digest) -> Self {
        let directory = forest.get(&digest).expect("known");
        let entries = directory
            .entries()
            .map(|(name, node)| {
                let model = match node {
                    Node::Directory(child) => Model::Folder(Self::read(forest, child)),
                    Node::File(file) => {
                        let content = (0..=u8::MAX)
                            .find(|n| DigestFunction::Sha256.digest(&[*n]) == file.digest);
                        Model::File(content.expect("one of ours"), file.executable)
                    }
                    Node::Symlink(symlink) => {
                        let target = symlink.target.strip_prefix("../").expect("one of ours");
                        Model::Symlink(target.parse().expect("one of ours"))
                    }
                };
                (name.clone(), model)
            })
            .collect();
        let mode = directory.properties().and_then(|properties| properties.unix_mode);
        Self { entries, mode }
    }

    pub(crate) fn get(&self, names: &[Name]) -> Option<Model> {
        let Some((first, rest)) = names.split_first() else {
            return Some(Model::Folder(self.clone()));
        };
        match self.entries.get(first)? {
            Model::Folder(folder) => folder.get(rest),
            leaf if rest.is_empty() => Some(leaf.clone()),
            _ => None,
        }
    }

    /// Every folder but the top, with its path.
    pub(crate) fn folders(&self, forest: &mut Forest) -> Vec<(TreePath, Digest)> {
        let mut found = Vec::new();
        self.add_folders(&TreePath::root(), forest, &mut found);
        found
    }

    fn add_folders(&self, at: &TreePath, forest: &mut Forest, found: &mut Vec<(TreePath, Digest)>) {
        for (name, model) in &self.entries {
            if let Model::Folder(folder) = model {
                let path = at.child(name.clone());
                found.push((path.clone(), folder.plant(forest)));
                folder.add_folders(&path, forest, found);
            }
        }
    }

    /// Applies edits one by one, in the order of their paths; `None` if a path leads through
    /// something that is no folder.
    pub(crate) fn edited(&self, edits: &BTreeMap<TreePath, Option<Model>>) -> Option<Self> {
        let mut folder = self.clone();
        for (path, edit) in edits {
            match (path.names().split_last(), edit) {
                (None, None) => folder = Self::default(),
                (None, Some(Model::Folder(new))) => folder = new.clone(),
                (None, Some(_)) => return None,
                (Some((last, above)), Some(model)) => {
                    folder.make(above)?.entries.insert(last.clone(), model.clone());
                }
                (Some((last, above)), None) => folder.remove(above, last)?,
            }
        }
        Some(folder)
    }

    fn make(&mut self, names: &[Name]) -> Option<&mut Self> {
        let Some((first, rest)) = names.split_first() else {
            return Some(self);
        };
        let entry = self.entries.entry(first.clone());
        match entry.or_insert_with(|| Model::Folder(Self::default())) {
            Model::Folder(folder) => folder.make(rest),
            _ => None,
        }
    }

    fn remove(&mut self, above: &[Name], last: &Name) -> Option<()> {
        let Some((first, rest)) = above.split_first() else {
            self.entries.remove(last);
            return Some(());
        };
        match self.entries.get_mut(first) {
            None => Some(()),
            Some(Model::Folder(folder)) => folder.remove(rest, last),
            Some(_) => None,
        }
    }

    /// `over` laid over this one.
    pub(crate) fn merged(&self, over: &Self) -> Self {
        let mut merged = self.clone();
        merged.mode = over.mode.or(self.mode);
        for (name, above) in &over.entries {
            let model = match (self.entries.get(name), above) {
                (Some(Model::Folder(below)), Model::Folder(above)) => {
                    Model::Folder(below.merged(above))
                }
                _ => above.clone(),
            };
            merged.entries.insert(name.clone(), model);
        }
        merged
    }
}
