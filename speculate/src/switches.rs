//! Macros that switch include directives.
//!
//! Where no include directive changed, a macro may have that stands in a condition around one, or in the
//! definition of such a macro, and so on. Which definitions count nobody but the compiler knows; so all of
//! them do, wherever they stand. What comes out is who may read other files now, and because of what.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use forerunner_merkle::{Digest, Forest};

use crate::include::Include;
use crate::text::{Role, Text};

/// A name, numbered.
pub(crate) type NameId = u32;

/// Names that changed; whether it is that they are defined, or only what they are. Sorted.
pub(crate) type Changes = Arc<[(NameId, bool)]>;

/// The changed names because of which an action may read other files. Sorted.
pub(crate) type Cause = Arc<[NameId]>;

/// A text whose names are numbered.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) includes: Vec<Include>,
    shape: u64,
    switches: Vec<(NameId, Role)>,
    /// Name, existence and the whole of it; sorted.
    macros: Vec<(NameId, u64, u64)>,
}

/// What a changed text may do to the files that are read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TextChange {
    /// It includes other files.
    Includes,
    /// These names changed; there may be none.
    Names(Vec<(NameId, bool)>),
}

#[derive(Debug, Default)]
pub(crate) struct Switches {
    numbers: HashMap<Box<str>, NameId>,
    /// Texts with other conditions around their includes than before, each as a name of its own.
    conditions: HashMap<Digest, NameId>,
    /// What depends on a name, and how.
    users: HashMap<NameId, HashSet<(NameId, Role)>>,
    /// What the names of some changes reach.
    reached: HashMap<Changes, Arc<Reached>>,
    /// The changed names that count in a directory.
    hits: HashMap<(Digest, usize), Cause>,
}

/// For each name that changes with some others: the others, and whether it is its existence that does.
#[derive(Debug)]
struct Reached {
    /// Tells it from others.
    number: usize,
    names: HashMap<NameId, Vec<(NameId, bool)>>,
}

impl Switches {
    /// Takes up a text.
    pub(crate) fn learn(&mut self, text: Text) -> Known {
        // What was reached may reach more now.
        if !text.macros.is_empty() {
            self.reached.clear();
            self.hits.clear();
        }
        let mut macros = Vec::with_capacity(text.macros.len());
        for one in text.macros {
            let user = self.number(one.name);
            for (word, role) in one.words {
                let word = self.number(word);
                self.users.entry(word).or_default().insert((user, role));
            }
            macros.push((user, one.existence, one.whole));
        }
        macros.sort_unstable();
        let switches = text.switches.into_iter();
        let switches = switches.map(|(name, role)| (self.number(name), role)).collect();
        Known { includes: text.includes, shape: text.shape, switches, macros }
    }

    fn number(&mut self, name: Box<str>) -> NameId {
        let next = self.numbers.len() as NameId;
        *self.numbers.entry(name).or_insert(next)
    }

    /// What differs between two states of a text; `after` is the digest of the later one.
    pub(crate) fn change(&mut self, one: &Known, other: &Known, after: &Digest) -> TextChange {
        if one.includes != other.includes {
            return TextChange::Includes;
        }
        let mut changes: BTreeMap<NameId, bool> = BTreeMap::new();
        let before: HashMap<NameId, (u64, u64)> = one
            .macros
            .iter()
            .map(|(name, existence, whole)| (*name, (*existence, *whole)))
            .collect();
        for (name, existence, whole) in &other.macros {
            match before.get(name) {
                Some(same) if *same == (*existence, *whole) => {}
                same => {
                    changes.insert(*name, same.is_none_or(|(before, _)| before != existence));
                }
            }
        }
        let now: HashSet<NameId> = other.macros.iter().map(|(name, ..)| *name).collect();
        changes
            .extend(before.into_keys().filter(|name| !now.contains(name)).map(|name| (name, true)));
        // A condition around an include is another: as if a name had changed that only stands there.
        if one.shape != other.shape {
            // No macro is called that.
            let name = self.number(format!("#{}", after.hex()).into());
            self.conditions.insert(*after, name);
            changes.insert(name, true);
        }
        TextChange::Names(changes.into_iter().collect())
    }

    /// Those of the changed names that may switch an include directive of a file in a tree. All of its texts
    /// must be known, as far as anybody knows them.
    pub(crate) fn cause(
        &mut self,
        changes: &Changes,
        root: Digest,
        texts: &HashMap<Digest, Option<Known>>,
        forest: &Forest,
    ) -> Cause {
        let reached = self.reach(changes);
        self.hit(&reached, root, texts, forest)
    }

    fn reach(&mut self, changes: &Changes) -> Arc<Reached> {
        if let Some(reached) = self.reached.get(changes) {
            return Arc::clone(reached);
        }
        let mut names: HashMap<NameId, Vec<(NameId, bool)>> = HashMap::new();
        for (origin, existence) in changes.iter() {
            let mut found: HashMap<NameId, bool> = HashMap::new();
            let mut todo = vec![(*origin, *existence)];
            while let Some((name, existence)) = todo.pop() {
                match found.get(&name) {
                    Some(known) if *known || !existence => continue,
                    _ => found.insert(name, existence),
                };
                for (user, role) in self.users.get(&name).into_iter().flatten() {
                    match role {
                        Role::Body => todo.push((*user, false)),
                        Role::Tested if !existence => {}
                        Role::Tested | Role::Valued => todo.push((*user, true)),
                    }
                }
            }
            for (name, existence) in found {
                names.entry(name).or_default().push((*origin, existence));
            }
        }
        let reached = Arc::new(Reached { number: self.reached.len(), names });
        self.reached.insert(Arc::clone(changes), Arc::clone(&reached));
        reached
    }

    fn hit(
        &mut self,
        reached: &Reached,
        directory: Digest,
        texts: &HashMap<Digest, Option<Known>>,
        forest: &Forest,
    ) -> Cause {
        if let Some(known) = self.hits.get(&(directory, reached.number)) {
            return Arc::clone(known);
        }
        let mut hit: Vec<NameId> = Vec::new();
        if let Some(entries) = forest.get(&directory).cloned() {
            for (_, file) in entries.files() {
                let Some(text) = texts.get(&file.digest).and_then(Option::as_ref) else { continue };
                for (name, role) in &text.switches {
                    let origins = reached.names.get(name).into_iter().flatten();
                    let counts = |existence: bool| existence || *role != Role::Tested;
                    hit.extend(origins.filter(|(_, it)| counts(*it)).map(|(origin, _)| *origin));
                }
                let own = self.conditions.get(&file.digest);
                hit.extend(own.filter(|name| reached.names.contains_key(*name)));
            }
            for (_, below) in entries.directories() {
                hit.extend(self.hit(reached, *below, texts, forest).iter());
            }
        }
        hit.sort_unstable();
        hit.dedup();
        let hit: Cause = hit.into();
        self.hits.insert((directory, reached.number), Arc::clone(&hit));
        hit
    }
}

/// The changes of two texts, or of what is below two directories.
pub(crate) fn together(one: &Changes, other: &Changes) -> Changes {
    if one.is_empty() || one == other {
        return Arc::clone(other);
    }
    if other.is_empty() {
        return Arc::clone(one);
    }
    let mut all: BTreeMap<NameId, bool> = one.iter().copied().collect();
    for (name, existence) in other.iter() {
        *all.entry(*name).or_default() |= existence;
    }
    all.into_iter().collect()
}
