//! Where sources are staged in the input root of an action.

use std::collections::BTreeSet;

use forerunner_merkle::{Digest, File, Forest, Node, TreePath};

use crate::loaded::LoadedAction;
use crate::place::{Kind, common_suffix};
use crate::recorded::Recorded;
use crate::today::Today;

/// Where a part of the sources of an element is staged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stage {
    /// How many names the folder in the input root has.
    depth: usize,
    /// The folder in the input root; ends in `/` unless it is the root.
    at: String,
    /// The index in the graph.
    element: usize,
    /// The folder in the sources; ends in `/` unless it is the root.
    below: String,
}

/// Where sources are staged, as the inputs of the recorded action show it; the deepest first.
pub(crate) fn stages(
    base: &LoadedAction,
    recorded: &Recorded,
    today: &Today,
    forest: &Forest,
) -> Vec<Stage> {
    let mut found = BTreeSet::new();
    let visited = forest.leaves(base.root, &mut |path, node| {
        let Node::File(file) = node else { return };
        let names: Vec<&str> = path.names().iter().map(|name| &**name).collect();
        let places = recorded.origins.get(&file.digest).into_iter().flatten();
        let fits = places
            .filter(|place| place.kind == Kind::Source)
            .map(|place| (common_suffix(&place.path, &names), place));
        let Some((length, place)) = fits.max_by_key(|(length, _)| *length) else { return };
        let known = recorded.elements.get(place.element as usize);
        let Some(element) = known.and_then(|known| today.element(&known.name)) else { return };
        if length == 0 {
            return;
        }
        let there: Vec<&str> = place.path.split('/').collect();
        let folder = |names: &[&str]| {
            names[..names.len() - length].iter().fold(String::new(), |path, name| path + name + "/")
        };
        let depth = names.len() - length;
        found.insert(Stage { depth, at: folder(&names), element, below: folder(&there) });
    });
    match visited {
        Ok(()) => found.into_iter().rev().collect(),
        Err(_) => Vec::new(),
    }
}

/// The tree with today's sources wherever they are staged; what it has already stays.
pub(crate) fn with_sources(
    root: Digest,
    stages: &[Stage],
    today: &Today,
    forest: &mut Forest,
) -> Option<Digest> {
    let directory = |forest: &Forest, root: Digest, path: &TreePath| match path.is_root() {
        true => Some(root),
        false => match forest.lookup(root, path) {
            Ok(Some(Node::Directory(digest))) => Some(digest),
            _ => None,
        },
    };
    let mut root = root;
    for stage in stages {
        let at = TreePath::parse(&stage.at).ok()?;
        let below = TreePath::parse(&stage.below).ok()?;
        let sources = today.sources(stage.element).and_then(|all| directory(forest, all, &below));
        let (Some(sources), Some(there)) = (sources, directory(forest, root, &at)) else {
            continue;
        };
        let merged = forest.merge(sources, there).ok()?;
        root = match at.is_root() {
            true => merged,
            false => forest.edit(root, &[(at, Some(Node::Directory(merged)))].into()).ok()?,
        };
    }
    Some(root)
}

/// What today's sources have for a path in the input root.
pub(crate) fn source(
    path: &TreePath,
    stages: &[Stage],
    today: &Today,
    forest: &Forest,
) -> Option<File> {
    let path = path.to_string();
    stages.iter().find_map(|stage| {
        let rest = path.strip_prefix(&stage.at)?;
        let root = today.sources(stage.element)?;
        let there = TreePath::parse(&format!("{}{rest}", stage.below)).ok()?;
        match forest.lookup(root, &there) {
            Ok(Some(Node::File(file))) => Some(File::new(file.digest, file.executable)),
            _ => None,
        }
    })
}
