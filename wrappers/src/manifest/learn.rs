//! From the inputs of a compile command to the conditions under which it reads the same again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::paths;
use crate::scan::{self, Facts, Mention, scan};
use crate::search_path::SearchPath;
use crate::stamp::{self, Stamp};

use super::check::exists;
use super::decide::{self, Conditions};
use super::files::Files;
use super::outline::{self, Outline};
use super::shadow::Shadows;
use super::{AbsentNames, DIRECTORY, NO_DIRECTORY, Steadiness};

/// What the inputs say together.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// Files that exist without being read.
    pub present: Vec<String>,
    /// Files that do not exist.
    pub absent: Vec<AbsentNames>,
    /// Precompiled headers that the compiler would use.
    pub precompiled: Vec<String>,
    /// The result depends on files that nobody names.
    pub embeds: bool,
    /// The result depends on the time.
    pub time: bool,
    /// More than directives decides what is included.
    pub text_decides: bool,
    /// The conditions cannot be known; no manifest.
    pub unclear: bool,
    /// What each input says to the preprocessor, those of the system left out.
    pub outlines: HashMap<String, Outline>,
    /// What an edit of an input leaves as it is.
    pub steadiness: Steadiness,
}

/// Gathers conditions.
pub struct Learner<'a> {
    directory: &'a str,
    search: Option<&'a SearchPath>,
    /// `__DATE__` and `__TIME__` are fixed by the environment.
    time_fixed: bool,
    /// Whether precompiled headers are looked for, beside each header that may be the first.
    precompiled: bool,
    /// Whether whatever is read is an input.
    whole: bool,
    inputs: HashSet<String>,
    files: Files,
    tried: HashSet<(String, String)>,
    absent: BTreeMap<PathBuf, BTreeSet<String>>,
    found: Learned,
    present: BTreeSet<String>,
    shadows: Shadows,
    /// Names in `#include_next`, and in which file.
    nexts: Vec<(String, String)>,
}

impl<'a> Learner<'a> {
    /// A learner for a command in `directory`. Without a search path nothing can be said about
    /// files that must not appear, and so no manifest can be made.
    #[must_use]
    pub fn new(
        directory: &'a str,
        search: Option<&'a SearchPath>,
        time_fixed: bool,
        precompiled: bool,
        whole: bool,
    ) -> Self {
        Self {
            directory,
            search,
            time_fixed,
            precompiled,
            whole,
            inputs: HashSet::new(),
            files: Files::default(),
            tried: HashSet::new(),
            absent: BTreeMap::new(),
            found: Learned { unclear: search.is_none(), ..Learned::default() },
            present: BTreeSet::new(),
            shadows: Shadows::default(),
            nexts: Vec::new(),
        }
    }

    /// Reads every input. `sources` are those named on the command line, `forced` the operands
    /// of `-include`.
    ///
    /// # Errors
    /// If an input cannot be read.
    pub fn learn(
        mut self,
        inputs: &[String],
        sources: &[String],
        forced: &[String],
    ) -> std::io::Result<Learned> {
        self.inputs = inputs.iter().cloned().collect();
        self.shadows = Shadows::of(inputs, self.directory, &mut self.files)?;
        let suffixes: Vec<String> = inputs.iter().flat_map(|path| suffixes(path)).collect();
        let mut alone = true;
        let (mut by_pragma, mut counts) = (false, false);
        let mut computed = Vec::new();
        for input in inputs {
            let full = paths::absolute(input, self.directory);
            let text = std::fs::read(&full)?;
            let is_source = sources.contains(input);
            let assembler = matches!(
                Path::new(input).extension().and_then(|e| e.to_str()),
                Some("s" | "S" | "sx")
            );
            let facts = scan(&text, assembler);
            let directives = outline::directives(&text);
            alone &= !assembler;
            by_pragma |= decide::by_pragma(&text);
            counts |= decide::counts(&text);
            if !is_of_system(input) {
                let outline = Outline::with(&facts, directives.as_deref());
                self.found.outlines.insert(input.clone(), outline);
            }
            if facts.once
                && let Some(entry) = self.files.look(&full)
            {
                self.shadows.twins.read_once(entry.identity, &text);
            }
            if facts.computed {
                computed.push(input.as_str());
            }
            self.take(input, &facts, is_source, &suffixes);
        }
        self.follow_computed(inputs, &computed)?;
        for name in forced {
            let mention = Mention { name: name.clone(), quoted: true, next: false, asked: false };
            self.mention(None, &mention, self.precompiled);
        }
        let implicit =
            Mention { name: "stdc-predef.h".to_owned(), quoted: false, next: false, asked: false };
        self.mention(None, &implicit, false);
        if let Some(search) = self.search {
            self.found.unclear |= search.depends_on_links(self.directory);
            for directory in &search.ignored {
                self.note_absent(&paths::absolute(directory, self.directory));
            }
            // Also where nothing was looked for: one that cannot be searched is an error.
            for directory in search.quote.iter().chain(&search.angle) {
                let full = paths::absolute(directory, self.directory);
                if self.files.look(&full).is_some_and(|entry| entry.is_dir) {
                    self.absent.entry(PathBuf::from(full)).or_default();
                }
            }
        }
        self.follow_nexts();
        alone &= self.found.precompiled.is_empty() && !self.shadows.twins.are_possible();
        self.found.unclear |= self.shadows.twins_decide(self.directory, &mut self.files);
        self.found.text_decides = by_pragma || (counts && self.count(inputs)?);
        self.found.steadiness = Steadiness {
            // What was only asked for may be read next time, and nobody looked into it.
            by_names: alone && !self.shadows.found && self.present.is_empty(),
            by_directives: alone && !self.found.text_decides,
            counts,
        };
        Ok(self.finish())
    }

    /// A computed directive may name a file that is passed over for its twin.
    fn follow_computed(&mut self, inputs: &[String], computed: &[&str]) -> std::io::Result<()> {
        let Some(search) = self.search.filter(|_| !self.shadows.twins.is_empty()) else {
            return Ok(());
        };
        if computed.is_empty() {
            return Ok(());
        }
        let mut names = BTreeSet::new();
        for input in inputs {
            let text = std::fs::read(paths::absolute(input, self.directory))?;
            names.extend(scan::defined_names(&text));
        }
        let beside = computed.iter().map(|from| &from[..from.len() - paths::file_name(from).len()]);
        let beside: BTreeSet<&str> = beside.collect();
        let searched = search.quote.iter().chain(&search.angle).map(String::as_str);
        let directories: Vec<String> = beside
            .into_iter()
            .chain(searched)
            .map(|at| paths::absolute(at, self.directory))
            .collect();
        for place in names.iter().flat_map(|name| directories.iter().map(move |at| (at, name))) {
            let place = format!("{}/{}", place.0.trim_end_matches('/'), place.1);
            self.shadows.follow(std::iter::once(place), true, &mut self.files);
        }
        Ok(())
    }

    fn count(&self, inputs: &[String]) -> std::io::Result<bool> {
        let mut conditions = Conditions::default();
        for input in inputs {
            conditions.take(&std::fs::read(paths::absolute(input, self.directory))?);
        }
        Ok(conditions.count())
    }

    fn take(&mut self, input: &str, facts: &Facts, is_source: bool, suffixes: &[String]) {
        // Headers of the system do not use these on their own.
        let own = !is_of_system(input);
        self.found.embeds |= facts.embeds && own;
        self.found.time |= own && (facts.timestamp || (facts.time && !self.time_fixed));
        self.found.unclear |= facts.unclear;
        for mention in &facts.mentions {
            self.mention(Some(input), mention, is_source && self.precompiled);
        }
        if facts.computed {
            self.shadows.found |= !self.whole;
            for name in suffixes {
                let mention =
                    Mention { name: name.clone(), quoted: true, next: false, asked: false };
                self.mention(Some(input), &mention, false);
            }
        }
    }

    /// Follows a name through the directories in which it is searched.
    fn mention(&mut self, from: Option<&str>, mention: &Mention, precompiled: bool) {
        let Some(search) = self.search else { return };
        if mention.name.is_empty() {
            return;
        }
        if mention.name.starts_with('/') {
            self.candidate("", mention, precompiled);
            return;
        }
        let mut directories: Vec<&str> = Vec::new();
        let beside = from.map_or("", |from| &from[..from.len() - paths::file_name(from).len()]);
        if mention.quoted {
            directories.push(if beside.is_empty() { "." } else { beside });
            directories.extend(search.quote.iter().map(String::as_str));
        }
        directories.extend(search.angle.iter().map(String::as_str));
        match from.filter(|_| mention.next) {
            Some(from) => self.nexts.push((from.to_owned(), mention.name.clone())),
            // What is only asked for and exists is an input.
            None if mention.asked => {}
            None => {
                let places = directories.iter().map(|directory| self.place(directory, mention));
                let places: Vec<String> = places.collect();
                if mention.quoted && self.files.is_file(&places[0]) {
                    self.shadows.note_beside(&places[0]);
                }
                self.shadows.follow(places.into_iter(), self.whole, &mut self.files);
            }
        }
        for directory in directories {
            if self.candidate(directory, mention, precompiled) && !mention.next {
                return;
            }
        }
    }

    fn place(&self, directory: &str, mention: &Mention) -> String {
        let directory = paths::absolute(directory, self.directory);
        format!("{directory}/{}", mention.name)
    }

    /// Only now is it known which files were found beside the one that names them.
    fn follow_nexts(&mut self) {
        let Some(search) = self.search else { return };
        let chain: Vec<String> = search
            .quote
            .iter()
            .chain(&search.angle)
            .map(|directory| paths::absolute(directory, self.directory))
            .collect();
        for (from, name) in std::mem::take(&mut self.nexts) {
            let passed = self.shadows.passed(&paths::absolute(&from, self.directory), &chain);
            let places = chain[passed..].iter().map(|directory| format!("{directory}/{name}"));
            self.shadows.follow(places, self.whole, &mut self.files);
        }
    }

    /// Looks at one place; answers whether the name is there.
    fn candidate(&mut self, directory: &str, mention: &Mention, precompiled: bool) -> bool {
        let seen = self.tried.contains(&(directory.to_owned(), mention.name.clone()));
        let shown = match directory {
            "" | "." => mention.name.clone(),
            directory => format!("{}/{}", directory.trim_end_matches('/'), mention.name),
        };
        let full = paths::absolute(&shown, self.directory);
        if precompiled {
            let gch = format!("{full}.gch");
            if exists(Path::new(&gch)) {
                self.found.precompiled.push(format!("{shown}.gch"));
            } else {
                self.note_absent(&gch);
            }
        }
        let there = self.files.is_file(&full);
        if seen {
            return there;
        }
        self.tried.insert((directory.to_owned(), mention.name.clone()));
        if there {
            if mention.asked && !self.inputs.contains(&shown) {
                self.present.insert(shown);
            }
        } else {
            self.note_absent(&full);
        }
        there
    }

    /// Notes the shortest part of a path that does not exist.
    fn note_absent(&mut self, full: &str) {
        let mut missing = Path::new(full);
        while let Some(parent) = missing.parent() {
            if parent.to_str().and_then(|path| self.files.look(path)).is_some_and(|it| it.is_dir) {
                break;
            }
            missing = parent;
        }
        let (Some(parent), Some(name)) =
            (missing.parent(), missing.file_name().and_then(|n| n.to_str()))
        else {
            return;
        };
        let kind = match std::fs::symlink_metadata(missing) {
            Err(_) => "",
            // What is no file is no header, and nothing is below what is no directory.
            Ok(it) if it.is_dir() && missing == Path::new(full) => DIRECTORY,
            Ok(it) if it.is_file() && missing != Path::new(full) => NO_DIRECTORY,
            Ok(_) => {
                self.found.unclear = true;
                return;
            }
        };
        let name = format!("{name}{kind}");
        self.absent.entry(parent.to_owned()).or_default().insert(name);
    }

    fn finish(mut self) -> Learned {
        let now = stamp::now();
        for (directory, names) in self.absent {
            let stamp = std::fs::metadata(&directory)
                .ok()
                .map(|metadata| Stamp::of(&metadata))
                .filter(|stamp| stamp.is_settled(now));
            let Some(directory) = directory.to_str() else {
                self.found.unclear = true;
                continue;
            };
            self.found.absent.push(AbsentNames {
                directory: directory.to_owned(),
                stamp,
                names: names.into_iter().collect(),
            });
        }
        self.found.present = self.present.into_iter().collect();
        self.found
    }
}

/// Whether a header is one of the system, which is not edited.
fn is_of_system(path: &str) -> bool {
    path.starts_with("/usr/")
}

/// The ends of a path that an include directive may have named it by.
fn suffixes(path: &str) -> Vec<String> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    (1..=names.len()).map(|count| names[names.len() - count..].join("/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_would_be_found_first_must_stay_away() {
        let folder = tempfile::tempdir().expect("a directory");
        let root = folder.path().to_str().expect("UTF-8").to_owned();
        for (name, text) in [
            ("a.c", "#include \"x.h\"\n#include <sub/y.h>\n#if __has_include(<z.h>)\n#endif\n"),
            ("i2/x.h", "#include \"w.h\"\n"),
            ("i2/w.h", ""),
            ("i2/sub/y.h", ""),
            ("i2/z.h", ""),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("above")).expect("made");
            fs::write(path, text).expect("written");
        }
        fs::create_dir(folder.path().join("i1")).expect("made");
        let search = SearchPath {
            quote: vec![],
            angle: vec!["i1".to_owned(), "i2".to_owned()],
            ignored: vec!["gone".to_owned()],
            duplicates: vec![],
        };
        let inputs = ["a.c", "i2/x.h", "i2/w.h", "i2/sub/y.h"].map(str::to_owned);
        let learned = Learner::new(&root, Some(&search), false, true, true)
            .learn(&inputs, &inputs[..1], &[])
            .expect("read");
        assert!(!learned.unclear && !learned.embeds && !learned.time);
        assert_eq!(learned.present, ["i2/z.h"]);
        let absent = |directory: &str| -> Vec<String> {
            let directory = format!("{root}{directory}");
            learned
                .absent
                .iter()
                .filter(|g| g.directory == directory)
                .flat_map(|g| g.names.clone())
                .collect()
        };
        // `sub` stands for all below it.
        assert_eq!(absent("/i1"), ["stdc-predef.h", "sub", "x.h", "x.h.gch", "z.h", "z.h.gch"]);
        assert_eq!(absent(""), ["gone", "x.h", "x.h.gch"]);
        assert!(absent("/i2").contains(&"x.h.gch".to_owned()));
    }

    /// `<memory>` is found in `i3`, though `i1` has a directory of that name, in which `a.h` is.
    #[test]
    fn a_header_with_the_name_of_a_directory() {
        let folder = tempfile::tempdir().expect("a directory");
        let root = folder.path().to_str().expect("UTF-8").to_owned();
        for (name, text) in [
            ("a.c", "#include \"memory/a.h\"\n#include \"memory/b.h\"\n#include <memory>\n"),
            ("i1/memory/a.h", ""),
            ("i2/none", ""),
            ("i3/memory", ""),
            ("i4/memory/b.h", ""),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("above")).expect("made");
            fs::write(path, text).expect("written");
        }
        let search = SearchPath {
            quote: vec![],
            angle: ["i1", "i2", "i3", "i4"].map(str::to_owned).to_vec(),
            ignored: vec![],
            duplicates: vec![],
        };
        let inputs = ["a.c", "i1/memory/a.h", "i4/memory/b.h", "i3/memory"].map(str::to_owned);
        let learned = Learner::new(&root, Some(&search), false, false, true)
            .learn(&inputs, &inputs[..1], &[])
            .expect("read");
        assert!(!learned.unclear);
        let groups = learned.absent.iter();
        let absent: BTreeMap<&str, Vec<String>> =
            groups.map(|group| (&group.directory[root.len()..], group.names.clone())).collect();
        assert_eq!(absent["/i1/memory"], ["b.h"]);
        assert_eq!(absent["/i2"], ["memory", "stdc-predef.h"]);
        assert!(absent.keys().all(|directory| !directory.ends_with("i3/memory")), "{absent:?}");
    }
}
