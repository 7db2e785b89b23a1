//! Laying one tree over another.

use std::collections::{BTreeMap, HashMap};

use crate::{Digest, Directory, EditError, Forest, Name, Node};

impl Forest {
    /// The tree `over` laid over `base`: directories are merged, everything else of `over`
    /// replaces what `base` has at the same path. A pair of directories is merged once.
    ///
    /// # Errors
    /// If a directory is not known.
    pub fn merge(&mut self, base: Digest, over: Digest) -> Result<Digest, EditError> {
        self.merge_level(base, over, &mut HashMap::new())
    }

    fn merge_level(
        &mut self,
        base: Digest,
        over: Digest,
        done: &mut HashMap<(Digest, Digest), Digest>,
    ) -> Result<Digest, EditError> {
        if base == over {
            return Ok(base);
        }
        if let Some(merged) = done.get(&(base, over)) {
            return Ok(*merged);
        }
        let lower = self.require(&base)?.clone();
        let upper = self.require(&over)?.clone();
        let merged = if upper.is_empty() && upper.properties().is_none() {
            base
        } else if lower.is_empty() && lower.properties().is_none() {
            over
        } else {
            let mut entries: BTreeMap<Name, Node> =
                lower.entries().map(|(name, node)| (name.clone(), node)).collect();
            for (name, node) in upper.entries() {
                let node = match (entries.get(name), node) {
                    (Some(Node::Directory(below)), Node::Directory(above)) => {
                        Node::Directory(self.merge_level(*below, above, done)?)
                    }
                    (_, node) => node,
                };
                entries.insert(name.clone(), node);
            }
            let properties = upper.properties().or(lower.properties()).cloned();
            let directory = Directory::from_entries(entries)?.with_properties(properties);
            self.insert(directory)
        };
        done.insert((base, over), merged);
        Ok(merged)
    }
}
