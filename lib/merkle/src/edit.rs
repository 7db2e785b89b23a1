//! Replacing parts of a tree.

use std::collections::BTreeMap;

use crate::{Digest, Directory, DirectoryError, Forest, MissingDirectory, Name, Node, TreePath};

/// What is to stand at a path; `None` for nothing.
pub type Edit = Option<Node>;

/// Why a tree could not be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A directory is not at hand.
    #[error(transparent)]
    Missing(#[from] MissingDirectory),
    /// The path leads through something that is no directory.
    #[error("`{0}` is no directory")]
    NotADirectory(String),
    /// The directory that would result is malformed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl Forest {
    /// The tree `root` with each path of `edits` set or removed. Directories on the way are made
    /// as needed; those that no edit touches keep their digest. Edits at or below a path that is
    /// itself set are applied after it.
    ///
    /// # Errors
    /// If a directory on the way is not known or a path leads through a file.
    pub fn edit(
        &mut self,
        root: Digest,
        edits: &BTreeMap<TreePath, Edit>,
    ) -> Result<Digest, EditError> {
        let list: Vec<(&[Name], &Edit)> =
            edits.iter().map(|(path, edit)| (path.names(), edit)).collect();
        self.edit_level(Some(root), &list, &TreePath::root())
    }

    /// `list` is sorted by path, so the edits of one entry stand together, its own first.
    fn edit_level(
        &mut self,
        digest: Option<Digest>,
        list: &[(&[Name], &Edit)],
        at: &TreePath,
    ) -> Result<Digest, EditError> {
        let mut digest = digest;
        let mut list = list;
        while let Some(((names, edit), rest)) = list.split_first()
            && names.is_empty()
        {
            digest = match edit {
                Some(Node::Directory(new)) => Some(*new),
                None => None,
                Some(_) => return Err(EditError::NotADirectory(at.to_string())),
            };
            list = rest;
        }
        let before = match digest {
            Some(digest) if list.is_empty() => return Ok(digest),
            Some(digest) => self.require(&digest)?.as_ref().clone(),
            None => Directory::default(),
        };
        let properties = before.properties().cloned();
        let mut entries: BTreeMap<Name, Node> =
            before.entries().map(|(name, node)| (name.clone(), node)).collect();
        while let Some(((names, _), _)) = list.split_first() {
            let name = &names[0];
            let count = list.iter().take_while(|(other, _)| other[0] == *name).count();
            let (group, rest) = list.split_at(count);
            list = rest;
            let below: Vec<(&[Name], &Edit)> =
                group.iter().map(|(names, edit)| (&names[1..], *edit)).collect();
            self.edit_entry(&mut entries, name, &below, &at.child(name.clone()))?;
        }
        let directory = Directory::from_entries(entries)?.with_properties(properties);
        Ok(self.insert(directory))
    }

    fn edit_entry(
        &mut self,
        entries: &mut BTreeMap<Name, Node>,
        name: &Name,
        edits: &[(&[Name], &Edit)],
        at: &TreePath,
    ) -> Result<(), EditError> {
        let mut edits = edits;
        if let Some(((names, edit), rest)) = edits.split_first()
            && names.is_empty()
        {
            match edit {
                Some(node) => entries.insert(name.clone(), node.clone()),
                None => entries.remove(name),
            };
            edits = rest;
        }
        // What is to be removed below something that is not there needs no directory for it.
        let only_removals = edits.iter().all(|(_, edit)| edit.is_none());
        if edits.is_empty() || (only_removals && !entries.contains_key(name)) {
            return Ok(());
        }
        let child = match entries.get(name) {
            None => None,
            Some(Node::Directory(digest)) => Some(*digest),
            Some(_) => return Err(EditError::NotADirectory(at.to_string())),
        };
        let child = self.edit_level(child, edits, at)?;
        entries.insert(name.clone(), Node::Directory(child));
        Ok(())
    }
}
