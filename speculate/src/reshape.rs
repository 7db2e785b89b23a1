//! An action that asks for a file that it did not use before.
//!
//! A header that begins to include another one changes which files an action is made of. What that
//! is only the compiler can say, and it does: the adapted action fails and names the file. If today's
//! sources have it where the compiler looks, it is added at that place, and the action tried again.
//! So nothing is added that the build would not add; a wrong guess wastes an execution.

use std::collections::{BTreeMap, HashMap};

use forerunner_merkle::{Forest, Node, TreePath};
use forerunner_proto::reapi;

use crate::instantiate::Adapted;
use crate::loaded::LoadedAction;
use crate::recorded::Recorded;
use crate::search::SearchPath;
use crate::stage::{source, stages};
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
        let Some(search) = SearchPath::new(command) else { return Vec::new() };
        let Some(includer) = search.named(&self.includer) else { return Vec::new() };
        // It does not say whether the name stood in quotes.
        search.places(&includer, &self.wanted, true).collect()
    }
}

/// What an action that is under way was tried with.
#[derive(Clone, Debug)]
struct Try {
    adapted: Adapted,
    /// How often it may be tried anew.
    left: usize,
}

/// The tries of all actions that are under way, by task.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    open: HashMap<usize, Try>,
}

impl Tries {
    /// `left_out` files may have to be put back, too.
    pub(crate) fn begin(&mut self, task: usize, adapted: &Adapted, left_out: usize) {
        // What else it refers to has been uploaded when it is tried again.
        let adapted = Adapted { command: None, trees: Vec::new(), ..adapted.clone() };
        self.open.insert(task, Try { adapted, left: TRIES + left_out });
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
        open.left = open.left.checked_sub(1)?;
        let stages = stages(base, recorded, today, forest);
        let places = missed.places(&base.command);
        let (path, file) = places.into_iter().find_map(|path| {
            let file = source(&path, &stages, today, forest)?;
            Some((path, file))
        })?;
        let root = open.adapted.root;
        // It has it, and misses something else.
        if !matches!(forest.lookup(root, &path), Ok(None)) {
            return None;
        }
        let edits = BTreeMap::from([(path, Some(Node::File(file)))]);
        let root = forest.edit(root, &edits).ok()?;
        open.adapted = open.adapted.with_root(root, forest.function())?;
        Some(open.adapted.clone())
    }
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
}
