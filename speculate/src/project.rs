//! A project in memory: the graph, its trees, and the recorded actions.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use bytes::Bytes;
use forerunner_merkle::Digest;
use forerunner_proto::buildstream::SpeculativeActions;
use forerunner_reapi::{Content, Endpoint, record};
use prost::Message;
use rayon::prelude::*;

use crate::error::Error;
use crate::generate::{Subject, expand, generate};
use crate::graph::{Graph, Tree};
use crate::history::{self, Entry};
use crate::instantiate::union;
use crate::load;
use crate::loaded::Loaded;
use crate::mode::Mode;
use crate::origins::Origins;
use crate::place::Kind;
use crate::recorded::{Known, Recorded};
use crate::tables::{Table, Tables, tree_rows};

/// How the message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One table of overlays for all actions of an element.
    #[default]
    Table,
    /// As the reader of BuildStream pull request 2109 wants it.
    Pr2109,
}

/// A graph whose trees are all captured.
#[derive(Clone, Debug)]
pub struct Project {
    /// The graph; every tree is a digest.
    pub graph: Graph,
    /// What was loaded so far.
    pub loaded: Loaded,
    /// Where tables of trees are kept from one run to the next, if anywhere.
    pub tables: Option<Tables>,
}

/// What was generated for one element.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Its index in the graph.
    pub element: usize,
    /// The message.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// Recorded actions.
    pub actions: usize,
    /// Recorded actions that the endpoint has forgotten.
    pub lost: usize,
    /// Contents with a known origin.
    pub origins: usize,
}

impl Project {
    /// Captures the directories that `graph` names; relative paths are relative to `base`.
    ///
    /// # Errors
    /// If one cannot be captured.
    pub async fn open(endpoint: &Endpoint, mut graph: Graph, base: &Path) -> Result<Self, Error> {
        let mut loaded = Loaded {
            forest: forerunner_merkle::Forest::new(endpoint.function()),
            ..Loaded::default()
        };
        for element in graph.elements_mut() {
            let name = element.name.clone();
            for tree in [&mut element.sources, &mut element.artifact].into_iter().flatten() {
                if let Tree::Path(path) = tree {
                    let path = base.join(&*path);
                    let root = load::capture(endpoint, &name, &path, &mut loaded.forest).await?;
                    *tree = Tree::Digest(root);
                }
            }
        }
        Ok(Self { graph, loaded, tables: None })
    }

    /// The elements with their trees.
    #[must_use]
    pub fn known(&self) -> Vec<Known> {
        let digest = |tree: &Option<Tree>| match tree {
            Some(Tree::Digest(digest)) => Some(*digest),
            _ => None,
        };
        let elements = self.graph.elements().iter().map(|element| Known {
            name: element.name.clone(),
            sources: digest(&element.sources),
            artifact: digest(&element.artifact),
        });
        elements.collect()
    }

    /// Loads the source trees and artifacts of `elements`.
    ///
    /// # Errors
    /// If one is not on the endpoint.
    pub async fn load_trees(
        &mut self,
        endpoint: &Endpoint,
        elements: &HashSet<usize>,
    ) -> Result<(), Error> {
        let known = self.known();
        let wanted: Vec<usize> = elements.iter().copied().collect();
        let roots: Vec<Digest> = wanted
            .iter()
            .flat_map(|index| [known[*index].sources, known[*index].artifact])
            .flatten()
            .collect();
        if load::trees(endpoint, &mut self.loaded.forest, &roots).await? {
            return Ok(());
        }
        for index in wanted {
            let element = &known[index];
            for (what, root) in [("sources", element.sources), ("artifact", element.artifact)] {
                let Some(root) = root else { continue };
                if let Some(gone) = self.loaded.forest.missing_below(&[root]).first() {
                    return Err(Error::Tree {
                        element: element.name.clone(),
                        what,
                        root,
                        problem: format!("directory {gone} is not at {}", endpoint.describe()),
                    });
                }
            }
        }
        Ok(())
    }

    /// Fills in what the element records know: the actions of elements for which the graph does
    /// not list them, and the source trees of those without.
    ///
    /// # Errors
    /// If the endpoint does not answer.
    pub async fn read_records(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        for element in self.graph.elements_mut() {
            if element.subactions.is_some() {
                continue;
            }
            if let Some(record) = record::base(endpoint, &element.name).await? {
                element.subactions = Some(record.subactions);
                // The sources that this build used; those that lie there now may have been edited.
                if record.sources.is_some() {
                    element.sources = record.sources.map(Tree::Digest);
                } else if element.sources.is_none() {
                    element.sources = record.input_root.map(Tree::Digest);
                }
            }
        }
        Ok(())
    }

    /// Generates and stores the message of every element that has actions, and fills it into the
    /// graph.
    ///
    /// # Errors
    /// If a tree is missing or the endpoint refuses.
    pub async fn generate(
        &mut self,
        endpoint: &Endpoint,
        mode: Mode,
        format: Format,
        now_seconds: i64,
    ) -> Result<Vec<Generated>, Error> {
        self.read_records(endpoint).await?;
        let subjects: Vec<usize> = (0..self.graph.elements().len())
            .filter(|index| {
                let actions = self.graph.elements()[*index].subactions.as_ref();
                actions.is_some_and(|actions| !actions.is_empty())
            })
            .collect();
        if !mode.generates() {
            return Ok(Vec::new());
        }
        let mut needed: HashSet<usize> = subjects.iter().copied().collect();
        for index in &subjects {
            needed.extend(self.graph.below(*index));
        }
        let all: Vec<Digest> = self
            .graph
            .elements()
            .iter()
            .enumerate()
            .filter(|(index, _)| needed.contains(index))
            .flat_map(|(_, element)| element.subactions.iter().flatten().copied())
            .collect();
        load::actions(endpoint, &all, &mut self.loaded).await?;
        if mode.reads_results() {
            load::outputs(endpoint, &all, &mut self.loaded).await?;
        }
        let tables = self.load_or_map(endpoint, &needed, &subjects).await?;
        let origins = self.origins_with(&needed, &tables)?;
        let known = self.known();
        let one = |element: usize| {
            let node = &self.graph.elements()[element];
            let actions = node.subactions.as_deref().unwrap_or_default();
            let below = self.graph.below(element);
            let subject = Subject { element, below, known: &known, actions, mode };
            let recorded = generate(&subject, &self.loaded, &origins)?;
            let message: SpeculativeActions = match format {
                Format::Table => recorded.to_message(),
                Format::Pr2109 => expand(&recorded, &self.loaded)?,
            };
            let bytes: Bytes = message.encode_to_vec().into();
            let digest = self.loaded.forest.function().digest(&bytes);
            let generated = Generated {
                element,
                digest,
                bytes: bytes.len() as u64,
                actions: recorded.actions.len(),
                lost: actions.len() - recorded.actions.len(),
                origins: recorded.origins.len(),
            };
            Ok((generated, (digest, Content::Bytes(bytes))))
        };
        let made: Result<Vec<_>, Error> = subjects.into_par_iter().map(one).collect();
        let (generated, blobs): (Vec<Generated>, Vec<_>) = made?.into_iter().unzip();
        endpoint.upload(blobs).await?;
        for one in &generated {
            let known = &known[one.element];
            let entry = Entry { message: one.digest, sources: known.sources, written: now_seconds };
            history::write(endpoint, &known.name, entry).await?;
            self.graph.elements_mut()[one.element].speculative = Some(one.digest);
        }
        Ok(generated)
    }

    /// Where every content of the elements in `needed` is found.
    ///
    /// # Errors
    /// If a tree is not loaded.
    pub fn origins(&mut self, needed: &HashSet<usize>) -> Result<Origins, Error> {
        self.origins_with(needed, &HashMap::new())
    }

    /// Loads the trees of `needed`. Of those without actions of their own, only the files have to
    /// be known: for these the tables of earlier runs will do, which are answered.
    async fn load_or_map(
        &mut self,
        endpoint: &Endpoint,
        needed: &HashSet<usize>,
        subjects: &[usize],
    ) -> Result<HashMap<Digest, Table>, Error> {
        let mut mapped = HashMap::new();
        // A tree that a platform names is compared as a whole.
        let whole = self.loaded.actions.values().any(|action| action.chroots().next().is_some());
        let Some(tables) = self.tables.clone().filter(|_| !whole) else {
            self.load_trees(endpoint, needed).await?;
            return Ok(mapped);
        };
        let known = self.known();
        let mut load: HashSet<usize> = HashSet::new();
        let mut keep: Vec<Digest> = Vec::new();
        for index in needed {
            let roots = [known[*index].sources, known[*index].artifact];
            if subjects.contains(index) {
                load.insert(*index);
                continue;
            }
            for root in roots.into_iter().flatten() {
                match tables.read(&root) {
                    Some(table) => {
                        mapped.insert(root, table);
                    }
                    None => {
                        load.insert(*index);
                        keep.push(root);
                    }
                }
            }
        }
        self.load_trees(endpoint, &load).await?;
        for root in keep {
            // A table that cannot be kept is read from the tree the next time.
            let _ = tables.write(&root, &tree_rows(&self.loaded.forest, root)?);
        }
        Ok(mapped)
    }

    fn origins_with(
        &mut self,
        needed: &HashSet<usize>,
        tables: &HashMap<Digest, Table>,
    ) -> Result<Origins, Error> {
        let known = self.known();
        // Of mapped tables, only what is in a tree that is at hand can be looked up.
        let wanted: HashSet<Digest> = match tables.is_empty() {
            true => HashSet::new(),
            false => self.loaded.forest.files().collect(),
        };
        let mut origins = Origins::new();
        for (index, element) in known.iter().enumerate() {
            if !needed.contains(&index) {
                continue;
            }
            for (kind, root) in
                [(Kind::Source, element.sources), (Kind::Artifact, element.artifact)]
            {
                let Some(root) = root else { continue };
                match tables.get(&root) {
                    Some(table) => origins.add_table(kind, index, root, table, &wanted),
                    None => origins.add_tree(&self.loaded.forest, kind, index, root)?,
                }
            }
            for digest in self.graph.elements()[index].subactions.iter().flatten() {
                if let Some(action) = self.loaded.actions.get(digest) {
                    origins.add_outputs(index, *digest, &action.outputs);
                }
            }
        }
        self.add_unions(&known, needed, &mut origins);
        Ok(origins)
    }

    /// A platform may name the trees of several elements laid over each other. Only what an action
    /// really names is computed.
    fn add_unions(&mut self, known: &[Known], needed: &HashSet<usize>, origins: &mut Origins) {
        let named: bool =
            self.loaded.actions.values().any(|action| action.chroots().next().is_some());
        if !named {
            return;
        }
        for index in 0..known.len() {
            if !needed.contains(&index) {
                continue;
            }
            let mut closure: Vec<usize> = self.graph.below(index).iter().copied().collect();
            closure.push(index);
            closure.sort_unstable();
            let roots: Option<Vec<Digest>> = closure.iter().map(|e| known[*e].artifact).collect();
            // An artifact that is not known or not loaded: then no action can have named the union.
            if let Some(roots) = roots
                && roots.len() > 1
                && let Ok(Some(root)) = union(&mut self.loaded.forest, &roots)
            {
                origins.add_union(index, root);
                self.add_tree_form(origins, index, root, "/");
            }
        }
        for (index, element) in known.iter().enumerate() {
            if let Some(root) = element.artifact
                && needed.contains(&index)
            {
                self.add_tree_form(origins, index, root, "");
            }
        }
    }

    /// The property chrootTreeDigest names a Tree message.
    fn add_tree_form(&self, origins: &mut Origins, element: usize, root: Digest, path: &str) {
        let wanted = self
            .loaded
            .actions
            .values()
            .any(|action| action.chroots().any(|property| property.name == "chrootTreeDigest"));
        if wanted && let Ok(tree) = self.loaded.forest.tree(root) {
            let digest = self.loaded.forest.function().digest(&tree.encode_to_vec());
            origins.add_whole(element, digest, path);
        }
    }

    /// The message of each element that has one: as the graph says, else the nearest of those
    /// that stand beside the element's record.
    ///
    /// # Errors
    /// If the endpoint does not answer, or a message that the graph names is missing or malformed.
    pub async fn recorded(
        &mut self,
        endpoint: &Endpoint,
    ) -> Result<HashMap<usize, Recorded>, Error> {
        let known = self.known();
        let given: Vec<Option<Digest>> =
            self.graph.elements().iter().map(|element| element.speculative).collect();
        // All at once: an element that has nothing to do must not cost a round trip.
        let names = known.iter().zip(&given).filter(|(_, given)| given.is_none());
        let names: Vec<&str> = names.map(|(element, _)| element.name.as_str()).collect();
        let entries = history::read_all(endpoint, &names).await?;
        let mut messages = given.clone();
        for (message, element) in messages.iter_mut().zip(&known) {
            if let Some(entries) = entries.get(element.name.as_str()) {
                let forest = &mut self.loaded.forest;
                let entry = history::nearest(endpoint, entries, element.sources, forest).await?;
                *message = message.or(entry.map(|entry| entry.message));
            }
        }
        let wanted: HashSet<Digest> = messages.iter().flatten().copied().collect();
        let wanted: Vec<Digest> = wanted.into_iter().collect();
        let contents = endpoint.get_many(&wanted).await?;
        let mut found = HashMap::new();
        for (index, element) in known.iter().enumerate() {
            let Some(digest) = messages[index] else { continue };
            let Some(bytes) = contents.get(&digest) else {
                // Speculation lost is time lost, not an error; unless it was asked for by digest.
                match given[index] {
                    Some(_) => return Err(forerunner_reapi::Error::MissingBlob(digest).into()),
                    None => continue,
                }
            };
            let recorded = Recorded::decode(bytes, &element.name).map_err(|error| {
                Error::Recorded { element: element.name.clone(), digest, error }
            })?;
            found.insert(index, recorded);
        }
        Ok(found)
    }

    /// Loads what the plan for the elements in `touched` needs: their actions, and today's trees
    /// that these take something from.
    ///
    /// # Errors
    /// If a tree is not on the endpoint.
    pub async fn load_for(
        &mut self,
        endpoint: &Endpoint,
        touched: &HashSet<usize>,
        recorded: &HashMap<usize, Recorded>,
    ) -> Result<(), Error> {
        let names = self.graph.names();
        let mut needed = HashSet::new();
        let mut actions = Vec::new();
        for recorded in touched.iter().filter_map(|index| recorded.get(index)) {
            actions.extend(recorded.actions.iter().copied());
            let used = recorded.elements.iter().filter_map(|known| names.get(known.name.as_str()));
            needed.extend(used.copied());
            let unions = recorded.origins.values().flatten().filter(|place| &*place.path == "/");
            for place in unions {
                let known = recorded.elements.get(place.element as usize);
                if let Some(index) = known.and_then(|known| names.get(known.name.as_str())) {
                    needed.extend(self.graph.below(*index));
                }
            }
        }
        self.load_trees(endpoint, &needed).await?;
        load::actions(endpoint, &actions, &mut self.loaded).await
    }

    /// Every recorded action, elements and actions in order: its number among those of its
    /// element, its digest, and the element's index.
    #[must_use]
    pub fn all_actions(&self, recorded: &HashMap<usize, Recorded>) -> Vec<(usize, Digest, usize)> {
        let elements = (0..self.graph.elements().len())
            .filter_map(|element| Some((element, recorded.get(&element)?)));
        elements
            .flat_map(|(element, recorded)| {
                let actions = recorded.actions.iter().enumerate();
                actions.map(move |(index, base)| (index, *base, element))
            })
            .collect()
    }

    /// For the only element of the graph, whose sources are today's input root of its own action:
    /// where the inputs of its last build's actions stood in the input root of that build.
    ///
    /// No graph and no earlier `generate` is needed: sources and everything that was staged are in
    /// one tree, in which each path means the same as before.
    ///
    /// # Errors
    /// If the endpoint does not answer.
    pub async fn recorded_from_input_root(
        &mut self,
        endpoint: &Endpoint,
    ) -> Result<HashMap<usize, Recorded>, Error> {
        let Some(element) = self.graph.elements().first().cloned() else {
            return Ok(HashMap::new());
        };
        let Some(record) = record::base(endpoint, &element.name).await? else {
            return Ok(HashMap::new());
        };
        let Some(before) = record.input_root else { return Ok(HashMap::new()) };
        let forest = &mut self.loaded.forest;
        if !load::trees(endpoint, forest, &[before]).await? {
            return Ok(HashMap::new());
        }
        let actions = record.subactions;
        load::actions(endpoint, &actions, &mut self.loaded).await?;
        load::outputs(endpoint, &actions, &mut self.loaded).await?;
        let mut origins = Origins::new();
        origins.add_tree(&self.loaded.forest, Kind::Source, 0, before)?;
        for digest in &actions {
            if let Some(action) = self.loaded.actions.get(digest) {
                origins.add_outputs(0, *digest, &action.outputs);
            }
        }
        let known = [Known { name: element.name, sources: Some(before), artifact: None }];
        let below = HashSet::new();
        let mode = Mode::Full;
        let subject = Subject { element: 0, below: &below, known: &known, actions: &actions, mode };
        let recorded = generate(&subject, &self.loaded, &origins)?;
        Ok(HashMap::from([(0, recorded)]))
    }
}
