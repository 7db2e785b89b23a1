//! An action that asks for a file that it did not use before.
//!
//! A header that begins to include another one changes which files an action is made of. What that
//! is only the compiler can say, and it does: the adapted action fails and names the file. If today's
//! sources have it where the compiler looks, it is added at that place, and the action tried again.
//! So nothing is added that the build would not add; a wrong guess wastes an execution.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use forerunner_merkle::{Digest, File, Forest, Node, TreePath};
use forerunner_proto::reapi;
use prost::Message;

use crate::instantiate::Adapted;
use crate::loaded::LoadedAction;
use crate::place::{Kind, common_suffix};
use crate::recorded::Recorded;
use crate::today::Today;

/// How often one action is tried anew: so many headers may be new to it.
const TRIES: usize = 12;

/// A file that is missed, and the one that includes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// As the compiler calls it.
    pub includer: String,
    /// As the including file calls it.
    pub wanted: String,
}

impl Missed {
    /// What a line of gcc or clang says:
    /// `src/a.c:1:10: fatal error: b.h: No such file or directory`, or `'b.h' file not found`.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (place, what) = line.split_once(": fatal error: ")?;
        let wanted = what
            .strip_suffix(": No such file or directory")
            .or_else(|| what.strip_suffix("' file not found")?.strip_prefix('\''))?;
        let includer = place.split(':').next().filter(|name| !name.is_empty())?;
        Some(Self { includer: includer.to_owned(), wanted: wanted.to_owned() })
    }

    /// Where the compiler looks for it, in the order in which it does: paths in the input root.
    fn places(&self, command: &reapi::Command) -> Vec<TreePath> {
        let Ok(here) = TreePath::parse(&command.working_directory) else { return Vec::new() };
        let mut folders: Vec<TreePath> = Vec::new();
        let includer = here.join(&self.includer).ok();
        folders.extend(includer.and_then(|path| path.split_last().map(|(folder, _)| folder)));
        // gcc(1): these are searched in this order, whatever the order of the options.
        for option in ["-iquote", "-I", "-isystem", "-idirafter"] {
            let mut words = command.arguments.iter();
            while let Some(word) = words.next() {
                let Some(rest) = word.strip_prefix(option) else { continue };
                let folder =
                    if rest.is_empty() { words.next().map(String::as_str) } else { Some(rest) };
                folders.extend(folder.and_then(|folder| here.join(folder).ok()));
            }
        }
        folders.iter().filter_map(|folder| folder.join(&self.wanted).ok()).collect()
    }
}

/// Where a part of the sources of an element is staged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stage {
    /// How many names the folder in the input root has.
    depth: usize,
    /// The folder in the input root; ends in `/` unless it is the root.
    at: String,
    /// The index in the graph.
    element: usize,
    /// The folder in the sources; ends in `/` unless it is the root.
    below: String,
}

/// What an action that is under way was tried with.
#[derive(Clone, Debug)]
pub(crate) struct Try {
    /// The encoded Action.
    bytes: Bytes,
    count: usize,
}

/// The tries of all actions that are under way, by task.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    open: HashMap<usize, Try>,
}

impl Tries {
    pub(crate) fn begin(&mut self, task: usize, adapted: &Adapted) {
        let bytes = adapted.bytes.clone();
        self.open.insert(task, Try { bytes, count: 0 });
    }

    pub(crate) fn end(&mut self, task: usize) {
        self.open.remove(&task);
    }

    /// The action with the file that it missed; `None` if there is none, or enough was tried.
    pub(crate) fn again(
        &mut self,
        task: usize,
        missed: &Missed,
        base: &LoadedAction,
        recorded: &Recorded,
        today: &Today,
        forest: &mut Forest,
    ) -> Option<Adapted> {
        let open = self.open.get_mut(&task)?;
        open.count += 1;
        if open.count > TRIES {
            return None;
        }
        let stages = stages(base, recorded, today, forest);
        let places = missed.places(&base.command);
        let (path, file) = places.into_iter().find_map(|path| {
            let file = source(&path, &stages, today, forest)?;
            Some((path, file))
        })?;
        let mut action = reapi::Action::decode(open.bytes.clone()).ok()?;
        let root = Digest::required(action.input_root_digest.as_ref()).ok()?;
        // It has it, and misses something else.
        if !matches!(forest.lookup(root, &path), Ok(None)) {
            return None;
        }
        let edits = BTreeMap::from([(path, Some(Node::File(file)))]);
        let root = forest.edit(root, &edits).ok()?;
        action.input_root_digest = Some(root.to_proto());
        let bytes: Bytes = action.encode_to_vec().into();
        open.bytes = bytes.clone();
        let digest = forest.function().digest(&bytes);
        Some(Adapted { digest, bytes, command: None, trees: Vec::new() })
    }
}

/// Where sources are staged, as the inputs of the recorded action show it; the deepest first.
fn stages(base: &LoadedAction, recorded: &Recorded, today: &Today, forest: &Forest) -> Vec<Stage> {
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

/// What today's sources have for a path in the input root.
fn source(path: &TreePath, stages: &[Stage], today: &Today, forest: &Forest) -> Option<File> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compilers_say() {
        let missed = |includer: &str, wanted: &str| {
            Some(Missed { includer: includer.to_owned(), wanted: wanted.to_owned() })
        };
        let gcc = "lib/a.c:1:10: fatal error: sub/b.h: No such file or directory";
        assert_eq!(Missed::parse(gcc), missed("lib/a.c", "sub/b.h"));
        assert_eq!(
            Missed::parse("a.c:1:10: fatal error: 'b.h' file not found"),
            missed("a.c", "b.h")
        );
        assert_eq!(
            Missed::parse("cc1: fatal error: a.c: No such file or directory"),
            missed("cc1", "a.c")
        );
        assert_eq!(Missed::parse("ld: cannot find -lz"), None);
        assert_eq!(Missed::parse("a.c:3:1: error: expected expression"), None);
    }

    #[test]
    fn where_compilers_look() {
        let words = ["cc", "-Iinc", "-isystem", "/usr/sys", "-iquote", "q", "-c", "lib/a.c"];
        let command = reapi::Command {
            arguments: words.map(str::to_owned).to_vec(),
            working_directory: "work".to_owned(),
            ..Default::default()
        };
        let missed = Missed { includer: "lib/a.c".to_owned(), wanted: "../b.h".to_owned() };
        let places: Vec<String> = missed.places(&command).iter().map(ToString::to_string).collect();
        assert_eq!(places, ["work/b.h", "work/b.h", "work/b.h", "usr/b.h"]);
    }
}
