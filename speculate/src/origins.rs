//! The table of where content is found: in which tree or output, under which path.

use std::collections::HashMap;
use std::collections::HashSet;

use forerunner_merkle::{Digest, Forest, MissingDirectory};

use crate::place::{Kind, Place};
use crate::tables::{Table, tree_rows};

/// Where content is found, over all elements. Places refer to elements by their index in the graph.
///
/// A plain hash map: a lookup costs one probe. Building it reads each tree once, or what is wanted of
/// its [`Table`].
#[derive(Clone, Debug, Default)]
pub struct Origins {
    places: Vec<Place>,
    by_digest: HashMap<Digest, Vec<u32>>,
}

impl Origins {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every file of a source tree or artifact; of the latter also the tree as a whole.
    ///
    /// # Errors
    /// If a directory is not in `forest`.
    pub fn add_tree(
        &mut self,
        forest: &Forest,
        kind: Kind,
        element: usize,
        root: Digest,
    ) -> Result<(), MissingDirectory> {
        let rows = tree_rows(forest, root)?;
        let rows = rows.into_iter().map(|(digest, path)| (digest, path.into_boxed_str()));
        self.add_files(kind, element, root, rows);
        Ok(())
    }

    /// As [`Self::add_tree`], from the table of the tree; only of the contents in `wanted`.
    pub fn add_table(
        &mut self,
        kind: Kind,
        element: usize,
        root: Digest,
        table: &Table,
        wanted: &HashSet<Digest>,
    ) {
        let rows = table.rows().filter(|(digest, _)| wanted.contains(digest));
        self.add_files(kind, element, root, rows.map(|(digest, path)| (digest, path.into())));
    }

    fn add_files(
        &mut self,
        kind: Kind,
        element: usize,
        root: Digest,
        files: impl Iterator<Item = (Digest, Box<str>)>,
    ) {
        let element = element as u32;
        if kind == Kind::Artifact {
            self.add(root, Place { kind, element, path: "".into(), action: None });
        }
        for (digest, path) in files {
            self.add(digest, Place { kind, element, path, action: None });
        }
    }

    /// Adds the tree of an element laid over those of all elements below it.
    pub fn add_union(&mut self, element: usize, root: Digest) {
        self.add_whole(element, root, "/");
    }

    /// Adds a digest that stands for a whole artifact (`path` is empty) or union (`/`).
    pub fn add_whole(&mut self, element: usize, digest: Digest, path: &str) {
        let place = Place {
            kind: Kind::Artifact,
            element: element as u32,
            path: path.into(),
            action: None,
        };
        self.add(digest, place);
    }

    /// Adds what an action of `element` made. Actions must be added in the order of their use.
    ///
    /// A file that stands in the element's own sources but was made by one of its actions is no
    /// source: it lies there from an earlier build in the same directory.
    pub fn add_outputs(&mut self, element: usize, action: Digest, outputs: &[(String, Digest)]) {
        let element = element as u32;
        for (path, digest) in outputs {
            if let Some(list) = self.by_digest.get_mut(digest) {
                let places = &self.places;
                list.retain(|index| {
                    let place = &places[*index as usize];
                    let product = place.kind == Kind::Source
                        && place.element == element
                        && is_below(path, &place.path);
                    !product
                });
            }
            let place = Place {
                kind: Kind::Action,
                element,
                path: path.as_str().into(),
                action: Some(action),
            };
            self.add(*digest, place);
        }
    }

    fn add(&mut self, digest: Digest, place: Place) {
        self.by_digest.entry(digest).or_default().push(self.places.len() as u32);
        self.places.push(place);
    }

    /// The places of `digest` that an action of `element` may have had it from: sources and
    /// outputs of itself and of everything below it, artifacts of what is below it.
    pub fn candidates(
        &self,
        digest: &Digest,
        element: usize,
        below: &HashSet<usize>,
    ) -> Vec<&Place> {
        let Some(list) = self.by_digest.get(digest) else { return Vec::new() };
        let places = list.iter().map(|index| &self.places[*index as usize]);
        places
            .filter(|place| {
                let own = place.element as usize == element;
                (own && place.kind != Kind::Artifact) || below.contains(&(place.element as usize))
            })
            .collect()
    }

    /// Every entry, for export.
    pub fn entries(&self) -> impl Iterator<Item = (&Digest, &Place)> {
        self.by_digest
            .iter()
            .flat_map(|(digest, list)| list.iter().map(move |index| (digest, index)))
            .map(|(digest, index)| (digest, &self.places[*index as usize]))
    }

    /// How many places there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// Whether the path `tail` is all of `path` or its end, name by name.
pub(crate) fn is_below(path: &str, tail: &str) -> bool {
    path.strip_suffix(tail).is_some_and(|head| head.is_empty() || head.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::{DigestFunction, File, TreeBuilder, TreePath};

    fn digest(text: &str) -> Digest {
        DigestFunction::Sha256.digest(text.as_bytes())
    }

    fn tree(forest: &mut Forest, files: &[(&str, &str)]) -> Digest {
        let mut builder = TreeBuilder::new();
        for (path, content) in files {
            let path = TreePath::parse(path).expect("a path");
            builder.file(&path, File::new(digest(content), false)).expect("free");
        }
        builder.build(forest)
    }

    #[test]
    fn who_may_see_what() {
        let mut forest = Forest::new(DigestFunction::Sha256);
        let sources = tree(&mut forest, &[("src/a.h", "A")]);
        let artifact = tree(&mut forest, &[("usr/a.h", "A")]);
        let mut origins = Origins::new();
        origins.add_tree(&forest, Kind::Source, 0, sources).expect("known");
        origins.add_tree(&forest, Kind::Artifact, 0, artifact).expect("known");
        let kinds = |element, below: &[usize]| -> Vec<Kind> {
            let below = below.iter().copied().collect();
            let places = origins.candidates(&digest("A"), element, &below);
            places.iter().map(|place| place.kind).collect()
        };
        assert_eq!(kinds(0, &[]), [Kind::Source]);
        assert_eq!(kinds(1, &[0]), [Kind::Source, Kind::Artifact]);
        assert_eq!(kinds(1, &[]), []);
    }

    #[test]
    fn a_product_in_the_source_tree_is_no_source() {
        let mut forest = Forest::new(DigestFunction::Sha256);
        let sources = tree(&mut forest, &[("src/a.o", "object"), ("lib/b.o", "object")]);
        let mut origins = Origins::new();
        origins.add_tree(&forest, Kind::Source, 0, sources).expect("known");
        origins.add_outputs(0, digest("compile"), &[("work/src/a.o".into(), digest("object"))]);
        let below = HashSet::new();
        let places = origins.candidates(&digest("object"), 0, &below);
        let paths: Vec<&str> = places.iter().map(|place| &*place.path).collect();
        assert_eq!(paths, ["lib/b.o", "work/src/a.o"]);
    }
}
