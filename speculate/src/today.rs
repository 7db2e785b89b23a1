//! What is known now: trees of elements, and what became of the actions that were recorded.

use std::collections::HashMap;

use forerunner_merkle::{Digest, Forest, Node};

use crate::graph::{Graph, Tree};
use crate::place::{Kind, Place};
use crate::reason::{Reason, Wait};

/// What became of a recorded action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Produced {
    /// It is still valid as it was recorded, and so are its outputs.
    Unchanged,
    /// It was adapted, and its result is known: its output files by their path in the input root.
    Done(HashMap<String, Digest>),
    /// It was or will be adapted; there is no result yet.
    Pending,
    /// There will be no result.
    Skipped,
}

/// The state of the world that overlays are resolved against.
#[derive(Clone, Debug, Default)]
pub struct Today {
    names: HashMap<String, usize>,
    elements: Vec<Trees>,
    produced: HashMap<(usize, Digest), Produced>,
    /// For each element itself and everything below it.
    closure: Vec<Vec<usize>>,
}

#[derive(Clone, Debug, Default)]
struct Trees {
    name: String,
    sources: Option<Digest>,
    artifact: Option<Digest>,
}

/// What a place holds today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This content.
    Content(Digest),
    /// To be known later.
    Later(Wait),
    /// Nothing, and never.
    Never(Reason),
}

impl Today {
    /// The world as a graph, whose trees have all been captured, describes it.
    #[must_use]
    pub fn new(graph: &Graph) -> Self {
        let captured = |tree: &Option<Tree>| match tree {
            Some(Tree::Digest(digest)) => Some(*digest),
            _ => None,
        };
        let elements: Vec<Trees> = graph
            .elements()
            .iter()
            .map(|element| Trees {
                name: element.name.clone(),
                sources: captured(&element.sources),
                artifact: captured(&element.artifact),
            })
            .collect();
        let names = elements.iter().enumerate().map(|(i, e)| (e.name.clone(), i)).collect();
        let closure = (0..elements.len())
            .map(|element| {
                let mut all: Vec<usize> = graph.below(element).iter().copied().collect();
                all.push(element);
                all.sort_unstable();
                all
            })
            .collect();
        Self { names, elements, produced: HashMap::new(), closure }
    }

    /// The index of an element in the graph.
    #[must_use]
    pub fn element(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The source tree of an element.
    #[must_use]
    pub fn sources(&self, element: usize) -> Option<Digest> {
        self.elements.get(element)?.sources
    }

    /// What an element installs, if that is known.
    #[must_use]
    pub fn artifact(&self, element: usize) -> Option<Digest> {
        self.elements.get(element)?.artifact
    }

    /// Says what an element installs.
    pub fn set_artifact(&mut self, element: usize, root: Digest) {
        if let Some(trees) = self.elements.get_mut(element) {
            trees.artifact = Some(root);
        }
    }

    /// Says what became of a recorded action.
    pub fn set_produced(&mut self, element: usize, base: Digest, produced: Produced) {
        self.produced.insert((element, base), produced);
    }

    /// What became of a recorded action, if it is one of those that are looked at.
    #[must_use]
    pub fn produced(&self, element: usize, base: &Digest) -> Option<&Produced> {
        self.produced.get(&(element, *base))
    }

    /// What stands at `place`, which held `target` when it was recorded. `element` is the index in
    /// the graph of the place's element, called `name`.
    #[must_use]
    pub fn find(
        &self,
        forest: &Forest,
        place: &Place,
        element: Option<usize>,
        name: &str,
        target: Digest,
    ) -> Found {
        let Some(element) = element else {
            return Found::Never(Reason::ElementGone { element: name.to_owned() });
        };
        match (place.kind, place.action) {
            (Kind::Action, Some(action)) => self.output(element, action, &place.path, target),
            (Kind::Artifact, _) => {
                let Some(root) = self.artifact(element) else {
                    return Found::Later(Wait::Artifact(element));
                };
                file(forest, root, &place.path).map_or_else(
                    || {
                        let path = place.path.to_string();
                        Found::Never(Reason::ArtifactGone { element: name.to_owned(), path })
                    },
                    Found::Content,
                )
            }
            _ => {
                let root = self.sources(element);
                root.and_then(|root| file(forest, root, &place.path)).map_or_else(
                    || {
                        let path = place.path.to_string();
                        Found::Never(Reason::SourceGone { element: name.to_owned(), path })
                    },
                    Found::Content,
                )
            }
        }
    }

    fn output(&self, element: usize, producer: Digest, path: &str, target: Digest) -> Found {
        match self.produced(element, &producer) {
            None => Found::Never(Reason::ProducerUnknown { producer }),
            Some(Produced::Unchanged) => Found::Content(target),
            Some(Produced::Pending) => Found::Later(Wait::Action(element, producer)),
            Some(Produced::Skipped) => Found::Never(Reason::ProducerSkipped { producer }),
            Some(Produced::Done(outputs)) => outputs.get(path).map_or_else(
                || Found::Never(Reason::OutputGone { producer, path: path.to_owned() }),
                |digest| Found::Content(*digest),
            ),
        }
    }

    /// The elements whose artifacts, laid over each other in this order, make the union of
    /// `element`: those below it, then itself. `Err`: an artifact that is not known yet.
    ///
    /// # Errors
    /// What to wait for.
    pub fn union(&self, element: usize) -> Result<Vec<Digest>, Wait> {
        let closure = self.closure.get(element).map(Vec::as_slice).unwrap_or_default();
        closure.iter().map(|e| self.artifact(*e).ok_or(Wait::Artifact(*e))).collect()
    }
}

/// The content of the file at `path`; symlinks are not followed.
#[must_use]
pub fn file(forest: &Forest, root: Digest, path: &str) -> Option<Digest> {
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut at = root;
    for name in above.split('/').filter(|name| !name.is_empty()) {
        at = forest.get(&at)?.child(name)?;
    }
    match forest.get(&at)?.get(last)? {
        Node::File(file) => Some(file.digest),
        _ => None,
    }
}
