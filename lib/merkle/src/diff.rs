//! What two trees do not have in common.

use std::collections::BTreeMap;

use crate::{Digest, Forest, MissingDirectory, Name, Node, TreePath};

/// One path at which two trees differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where.
    pub path: TreePath,
    /// What the first tree has there.
    pub before: Option<Node>,
    /// What the second tree has there.
    pub after: Option<Node>,
}

impl Forest {
    /// Where `after` differs from `before`, sorted by path. A directory that both have is entered,
    /// one that only one of them has is one difference. Equal directories are not read.
    ///
    /// # Errors
    /// If a directory is not known.
    pub fn diff(&self, before: Digest, after: Digest) -> Result<Vec<Difference>, MissingDirectory> {
        let mut found = Vec::new();
        self.diff_level(before, after, &TreePath::root(), &mut found)?;
        found.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(found)
    }

    fn diff_level(
        &self,
        before: Digest,
        after: Digest,
        at: &TreePath,
        found: &mut Vec<Difference>,
    ) -> Result<(), MissingDirectory> {
        if before == after {
            return Ok(());
        }
        let mut pairs: BTreeMap<Name, (Option<Node>, Option<Node>)> = BTreeMap::new();
        for (name, node) in self.require(&before)?.entries() {
            pairs.entry(name.clone()).or_default().0 = Some(node);
        }
        for (name, node) in self.require(&after)?.entries() {
            pairs.entry(name.clone()).or_default().1 = Some(node);
        }
        for (name, (before, after)) in pairs {
            let path = at.child(name);
            match (before, after) {
                (Some(Node::Directory(before)), Some(Node::Directory(after))) => {
                    self.diff_level(before, after, &path, found)?;
                }
                (before, after) if before != after => {
                    found.push(Difference { path, before, after });
                }
                _ => {}
            }
        }
        Ok(())
    }
}
