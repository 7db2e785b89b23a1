//! What a compile reads now that include directives changed.
//!
//! A header that is no longer included was an input of the recorded action and is none of the one that
//! will be asked for; one that is included now is none of the former. A compiler that can be asked is
//! (`question`), and the action gets what it lists.
//!
//! Of any other command only the texts are known. Which directives count depends on conditions, so all of
//! them do: a file is left out if the directives of the recorded texts lead to it and those of today's do
//! not. Should it be read all the same, the command says so, and it is put back (`reshape`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use forerunner_merkle::{Digest, Directory, Forest, MissingDirectory, Node, TreePath};
use forerunner_proto::reapi;

use crate::instantiate::Adapted;
use crate::loaded::LoadedAction;
use crate::origins::is_below;
use crate::question::{can_be_asked, listed, question};
use crate::recorded::Recorded;
use crate::search::SearchPath;
use crate::stage::{source, stages, with_sources};
use crate::switches::{Cause, Changes, Known, Switches, TextChange, together};
use crate::text::Text;
use crate::today::Today;

/// What a compiler is given to compile. What else it is given are headers.
const UNITS: [&str; 8] = ["c", "cc", "cpp", "cxx", "c++", "C", "m", "mm"];

/// No more than so many bytes of texts are read because macros changed: where nothing else did, all inputs
/// of an action have to be looked through.
const MACRO_BYTES: u64 = 64 << 20;

/// What a look at an adapted action shows.
#[derive(Debug)]
pub(crate) enum Look {
    /// It reads what it read.
    Same,
    /// The action without files that it no longer reads, and how many.
    Without(Box<Adapted>, usize),
    /// An action that asks what it reads.
    Ask(Box<Adapted>),
    /// The same, if it is worth it: only macros changed on which include directives depend.
    Doubt(Box<Adapted>, Cause),
    /// Contents have to be known first, see [`Reach::wanted`].
    Wants,
}

/// The directives of texts, and what follows from them.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// `None`: nobody knows them.
    texts: HashMap<Digest, Option<Known>>,
    switches: Switches,
    /// For two states of a directory: what that may do to the files that are read.
    changed: HashMap<(Digest, Digest), Change>,
    wanted: BTreeSet<Digest>,
    /// Directories of which all texts are known.
    complete: HashSet<Digest>,
    /// The bytes of texts that were read because of macros.
    macro_bytes: u64,
    /// The files that recorded actions of an element had, wherever these came from.
    staged: HashMap<usize, HashMap<TreePath, Node>>,
}

/// What a change may do to the files that are read.
#[derive(Clone, Debug)]
enum Change {
    /// A file is lost, or an include directive lost or gained.
    Files,
    /// These names changed; there may be none.
    Names(Changes),
}

type Files = BTreeMap<TreePath, Digest>;

/// What an adapted action was made of.
pub(crate) struct Case<'a> {
    /// The element's index in the graph.
    pub(crate) element: usize,
    pub(crate) base: &'a LoadedAction,
    pub(crate) recorded: &'a Recorded,
    /// All recorded actions.
    pub(crate) actions: &'a HashMap<Digest, LoadedAction>,
    pub(crate) today: &'a Today,
}

impl Reach {
    /// The contents that looks were in want of.
    pub(crate) fn wanted(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.wanted).into_iter().collect()
    }

    /// What came of those that were wanted. Those that are not among them nobody will ever know.
    pub(crate) fn learn(&mut self, wanted: &[Digest], found: Vec<(Digest, Text)>) {
        self.texts.extend(wanted.iter().map(|digest| (*digest, None)));
        for (digest, text) in found {
            self.texts.insert(digest, Some(self.switches.learn(text)));
        }
    }

    /// Looks whether `adapted` may read other files than what it was made of did.
    pub(crate) fn look(&mut self, adapted: &Adapted, case: &Case<'_>, forest: &mut Forest) -> Look {
        let Case { base, recorded, today, .. } = *case;
        if !base.command.arguments.iter().any(|word| is_unit(word)) {
            return Look::Same;
        }
        // Most changes leave the directives alone, and cost no more than this.
        let cause = match self.changed(base.root, adapted.root, forest) {
            Ok(Some(Change::Files)) => None,
            Ok(Some(Change::Names(changes)))
                if changes.is_empty() || !can_be_asked(&base.command) =>
            {
                return Look::Same;
            }
            Ok(Some(Change::Names(changes))) => {
                let all = self.read_all(adapted.root, forest);
                if !self.wanted.is_empty() {
                    return Look::Wants;
                }
                let cause = self.switches.cause(&changes, adapted.root, &self.texts, forest);
                if !all || cause.is_empty() {
                    return Look::Same;
                }
                Some(cause)
            }
            Ok(None) => return Look::Wants,
            Err(_) => return Look::Same,
        };
        let (Ok(before), Ok(now)) = (files(forest, base.root), files(forest, adapted.root)) else {
            return Look::Same;
        };
        let Some(search) = SearchPath::new(&base.command) else { return Look::Same };
        let roots = roots(&base.command, &search, &now);
        if roots.is_empty() {
            return Look::Same;
        }
        let unknown = before.values().chain(now.values());
        self.wanted.extend(unknown.filter(|digest| !self.texts.contains_key(digest)));
        if !self.wanted.is_empty() {
            return Look::Wants;
        }
        let stages = stages(base, recorded, today, forest);
        let asked = with_sources(adapted.root, &stages, today, forest)
            .and_then(|root| question(base, adapted, root, forest.function()));
        match (asked, cause) {
            (Some(question), None) => return Look::Ask(Box::new(question)),
            (Some(question), Some(cause)) => return Look::Doubt(Box::new(question), cause),
            // The directives lead where they led.
            (None, Some(_)) => return Look::Same,
            (None, None) => {}
        }
        let Some(still) = self.reached(&now, &roots, &search, true) else { return Look::Same };
        let Some(then) = self.reached(&before, &roots, &search, false) else { return Look::Same };
        let left_out = now.iter().filter(|(path, content)| {
            // Whatever is left out can be put back.
            let there = || source(path, &stages, today, forest);
            let unread = then.contains(path) && !still.contains(path);
            unread && there().is_some_and(|file| file.digest == **content)
        });
        let left_out: Vec<TreePath> = left_out.map(|(path, _)| path.clone()).collect();
        let count = left_out.len();
        match without(forest, adapted.root, left_out) {
            Some(root) if root != adapted.root => adapted
                .with_root(root, forest.function())
                .map_or(Look::Same, |adapted| Look::Without(Box::new(adapted), count)),
            _ => Look::Same,
        }
    }

    /// The action that reads what `answer` lists, which was given to a question about `adapted` on the
    /// input root `asked`. `None` if the answer makes no sense.
    ///
    /// A file of the toolchain that no recorded action had is left out, as nobody knows what it holds.
    /// The action is then not the one that will be asked for, but what it makes is the same, and what
    /// is made of that is a hit again.
    pub(crate) fn answered(
        &mut self,
        answer: &str,
        adapted: &Adapted,
        asked: Digest,
        case: &Case<'_>,
        forest: &mut Forest,
    ) -> Option<Adapted> {
        let search = SearchPath::new(&case.base.command)?;
        let before = files(forest, case.base.root).ok()?;
        let now = files(forest, adapted.root).ok()?;
        let paths = listed(answer);
        let listed: HashSet<TreePath> =
            paths.iter().filter_map(|path| search.named(path)).collect();
        let stages = stages(case.base, case.recorded, case.today, forest);
        // Either all headers of the toolchain are inputs, or none of them is.
        let is_source = |path: &TreePath| source(path, &stages, case.today, forest).is_some();
        let toolchain = listed.iter().any(|path| now.contains_key(path) && !is_source(path));
        let mut edits: BTreeMap<TreePath, Option<Node>> = BTreeMap::new();
        for path in listed.iter().filter(|path| !now.contains_key(*path)) {
            let node = match forest.lookup(asked, path) {
                Ok(Some(node @ Node::File(_))) => Some(node),
                _ if !toolchain => continue,
                _ => self.staged(case, path, forest),
            };
            edits.extend(node.map(|node| (path.clone(), Some(node))));
        }
        let roots = roots(&case.base.command, &search, &now);
        let then = self.reached(&before, &roots, &search, false).unwrap_or_default();
        // What no directive led to is an input for a reason that the compiler does not know.
        let unread = |path: &&TreePath| {
            then.contains(*path) && !listed.contains(*path) && !roots.contains(*path)
        };
        let unread: Vec<TreePath> = now.keys().filter(unread).cloned().collect();
        let root = forest.edit(adapted.root, &edits).ok()?;
        let root = without(forest, root, unread)?;
        adapted.with_root(root, forest.function())
    }

    /// What recorded actions of the element had at a path. Only used for files of the toolchain, which
    /// are the same for all of them.
    fn staged(&mut self, case: &Case<'_>, path: &TreePath, forest: &Forest) -> Option<Node> {
        let staged = self.staged.entry(case.element).or_insert_with(|| {
            let mut staged = HashMap::new();
            for action in case.recorded.actions.iter().filter_map(|base| case.actions.get(base)) {
                // What is not at hand has nothing to tell.
                let _ = forest.leaves(action.root, &mut |path, node| {
                    if let Node::File(_) = node
                        && !staged.contains_key(path)
                    {
                        staged.insert(path.clone(), node.clone());
                    }
                });
            }
            staged
        });
        staged.get(path).cloned()
    }

    /// Wants all texts of a tree that are not known; answers whether it may, see [`MACRO_BYTES`].
    fn read_all(&mut self, directory: Digest, forest: &Forest) -> bool {
        if self.complete.contains(&directory) {
            return true;
        }
        let Some(entries) = forest.get(&directory).cloned() else { return false };
        let mut known = true;
        for (_, file) in entries.files() {
            if self.texts.contains_key(&file.digest) || self.wanted.contains(&file.digest) {
                known &= self.texts.contains_key(&file.digest);
                continue;
            }
            let bytes = self.macro_bytes.saturating_add(file.digest.size());
            if bytes > MACRO_BYTES {
                return false;
            }
            self.macro_bytes = bytes;
            self.wanted.insert(file.digest);
            known = false;
        }
        for (_, below) in entries.directories() {
            if !self.read_all(*below, forest) {
                return false;
            }
            known &= self.complete.contains(below);
        }
        if known {
            self.complete.insert(directory);
        }
        true
    }

    /// What is different in `after`; `None` if that follows from contents that are not known yet.
    fn changed(
        &mut self,
        before: Digest,
        after: Digest,
        forest: &Forest,
    ) -> Result<Option<Change>, MissingDirectory> {
        if before == after {
            return Ok(Some(Change::Names(Changes::from([]))));
        }
        if let Some(known) = self.changed.get(&(before, after)) {
            return Ok(Some(known.clone()));
        }
        let (old, new) = (forest.require(&before)?, forest.require(&after)?);
        let mut changed = Some(Change::Names(Changes::from([])));
        let mut add = |one: Option<Change>| {
            changed = match (changed.take(), one) {
                (Some(Change::Files), _) | (_, Some(Change::Files)) => Some(Change::Files),
                (Some(Change::Names(one)), Some(Change::Names(other))) => {
                    Some(Change::Names(together(&one, &other)))
                }
                (None, _) | (_, None) => None,
            };
        };
        for (name, file) in old.files() {
            match new.get(name) {
                Some(Node::File(other)) if other.digest == file.digest => {}
                Some(Node::File(other)) => add(self.other_directives(file.digest, other.digest)),
                _ => add(Some(Change::Files)),
            }
        }
        for (name, below) in old.directories() {
            match new.child(name) {
                Some(other) => add(self.changed(*below, other, forest)?),
                None if is_hollow(forest, forest.require(below)?) => {}
                None => add(Some(Change::Files)),
            }
        }
        if let Some(known) = &changed {
            self.changed.insert((before, after), known.clone());
        }
        Ok(changed)
    }

    fn other_directives(&mut self, before: Digest, after: Digest) -> Option<Change> {
        match (self.texts.get(&before), self.texts.get(&after)) {
            (Some(Some(one)), Some(Some(other))) => {
                Some(match self.switches.change(one, other, &after) {
                    TextChange::Includes => Change::Files,
                    TextChange::Names(names) => Change::Names(names.into()),
                })
            }
            (Some(_), Some(_)) => Some(Change::Names(Changes::from([]))),
            (one, other) => {
                self.wanted.extend(one.is_none().then_some(before));
                self.wanted.extend(other.is_none().then_some(after));
                None
            }
        }
    }

    /// The files that directives lead to, `roots` among them. `None` if the text of one is not known,
    /// and `strict`.
    fn reached<'a>(
        &self,
        files: &'a Files,
        roots: &HashSet<TreePath>,
        search: &SearchPath,
        strict: bool,
    ) -> Option<HashSet<&'a TreePath>> {
        let mut reached: HashSet<&TreePath> = HashSet::new();
        let mut todo: Vec<(&TreePath, &Digest)> =
            files.iter().filter(|(path, _)| roots.contains(*path)).collect();
        // Where a compiler looks without being told is not known: anything of that name will do.
        let mut by_name: HashMap<&str, Vec<&TreePath>> = HashMap::new();
        for path in files.keys() {
            let name = path.names().last().map_or("", |name| name.as_str());
            by_name.entry(name).or_default().push(path);
        }
        let elsewhere = |name: &str| {
            let last = name.rsplit('/').next().unwrap_or_default();
            let ends = |path: &&&TreePath| is_below(&path.to_string(), name);
            let path = by_name.get(last)?.iter().find(ends)?;
            files.get_key_value(*path)
        };
        while let Some((path, content)) = todo.pop() {
            if !reached.insert(path) {
                continue;
            }
            let Some(text) = self.texts.get(content).and_then(Option::as_ref) else {
                if strict {
                    return None;
                }
                continue;
            };
            for include in &text.includes {
                let mut places = search.places(path, &include.name, include.quoted);
                let found = places.find_map(|place| files.get_key_value(&place));
                todo.extend(found.or_else(|| elsewhere(&include.name)));
            }
        }
        Some(reached)
    }
}

fn is_unit(word: &str) -> bool {
    word.rsplit_once('.').is_some_and(|(_, suffix)| UNITS.contains(&suffix))
}

/// Whether there is no file in a directory.
fn is_hollow(forest: &Forest, directory: &Directory) -> bool {
    let hollow = |digest: &Digest| forest.get(digest).is_some_and(|below| is_hollow(forest, below));
    directory.files().is_empty() && directory.directories().iter().all(|(_, below)| hollow(below))
}

fn files(forest: &Forest, root: Digest) -> Result<Files, MissingDirectory> {
    let mut files = Files::new();
    forest.leaves(root, &mut |path, node| {
        if let Node::File(file) = node {
            files.insert(path.clone(), file.digest);
        }
    })?;
    Ok(files)
}

/// The files that the command names; none if there is nothing among them to compile.
fn roots(command: &reapi::Command, search: &SearchPath, files: &Files) -> HashSet<TreePath> {
    let units = command.arguments.iter().filter(|word| is_unit(word));
    let mut units = units.filter_map(|word| search.named(word));
    if !units.any(|path| files.contains_key(&path)) {
        return HashSet::new();
    }
    // A header may be named with an option, and looked for in folders.
    let named = |path: &TreePath| {
        let name = path.names().last().map_or("", |name| name.as_str());
        command.arguments.iter().any(|word| word.ends_with(name))
    };
    files.keys().filter(|path| named(path)).cloned().collect()
}

/// The tree without these files, and without directories that have nothing else.
fn without(forest: &mut Forest, root: Digest, gone: Vec<TreePath>) -> Option<Digest> {
    let mut gone: BTreeMap<TreePath, Option<Node>> =
        gone.into_iter().map(|path| (path, None)).collect();
    let mut folders: BTreeMap<TreePath, usize> = BTreeMap::new();
    for path in gone.keys() {
        *folders.entry(path.split_last()?.0).or_default() += 1;
    }
    // The deepest first: what is left out of one may be all that the one above has.
    while let Some(folder) = folders.keys().max_by_key(|path| path.names().len()).cloned() {
        let count = folders.remove(&folder)?;
        let Some((above, _)) = folder.split_last() else { break };
        let Ok(Some(Node::Directory(digest))) = forest.lookup(root, &folder) else { return None };
        if forest.get(&digest)?.entries().count() == count {
            *folders.entry(above).or_default() += 1;
            gone.insert(folder, None);
        }
    }
    forest.edit(root, &gone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::{DigestFunction, File, TreeBuilder};

    fn tree(forest: &mut Forest, paths: &[&str]) -> Digest {
        let mut builder = TreeBuilder::new();
        for path in paths {
            let digest = DigestFunction::Sha256.digest(path.as_bytes());
            let path = TreePath::parse(path).expect("a path");
            builder.file(&path, File::new(digest, false)).expect("free");
        }
        builder.build(forest)
    }

    #[test]
    fn folders_go_with_their_last_file() {
        let mut forest = Forest::new(DigestFunction::Sha256);
        let root = tree(&mut forest, &["w/a.c", "w/i/j/a.h", "w/i/k/b.h", "w/l/c.h", "w/l/d.h"]);
        let path = |text: &str| TreePath::parse(text).expect("a path");
        let gone = ["w/i/j/a.h", "w/i/k/b.h", "w/l/c.h"].map(path).to_vec();
        let expected = tree(&mut forest, &["w/a.c", "w/l/d.h"]);
        assert_eq!(without(&mut forest, root, gone), Some(expected));
        let all = files(&forest, root).expect("files").into_keys().collect();
        let empty = forest.insert(Directory::default());
        assert_eq!(without(&mut forest, root, all), Some(empty));
    }
}
