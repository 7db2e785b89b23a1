//! From a command to its action: inputs found, digested and put into a tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use forerunner_merkle::File;

use crate::action::Place;
use crate::links;
use crate::manifest::{AbsentNames, InputFact, Learned, Learner, Steadiness, Variant};
use crate::paths;
use crate::reason::Reason;
use crate::refused;
use crate::settings::Work;
use crate::stat_cache::{Known as KnownFile, StatCache};

use super::{Engine, Gathered, Inputs, Job, Known};

/// Inputs with what stands at their place in the action.
type Places = Vec<(String, Place, Option<PathBuf>)>;

/// The same while they are put together, by their place.
type Gathering = BTreeMap<String, (Place, Option<PathBuf>)>;

impl Engine<'_> {
    /// Finds the inputs and forms the action.
    pub(super) fn gather(
        &self,
        job: &Job,
        inputs: &mut dyn Inputs,
        stats: &mut StatCache,
    ) -> Result<Known, Reason> {
        let settings = &self.session.settings;
        if !settings.deps_directory.is_empty() {
            return self.whole_directory(job, stats);
        }
        let gathered = if settings.deps_override.is_empty() {
            let begun = Instant::now();
            let found = inputs.find();
            let name = if job.work == Work::Link { "linker_deps" } else { "compiler_deps" };
            self.session.figures.time(name, begun.elapsed());
            found?
        } else {
            Gathered {
                paths: settings.deps_override.iter().cloned().collect(),
                ..Gathered::default()
            }
        };
        self.known(job, &gathered, false, stats)
    }

    /// The action for inputs that are known, by the run of the command itself (`ran`) or before.
    pub(super) fn known(
        &self,
        job: &Job,
        gathered: &Gathered,
        ran: bool,
        stats: &mut StatCache,
    ) -> Result<Known, Reason> {
        let mut paths = gathered.paths.clone();
        for path in &job.further_inputs {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        if job.work == Work::Tool {
            // Of a compiler's command only what it names itself counts, which was looked at.
            refused::by_name(self.session, &paths)?;
        }
        let mut learned = self.learn(job, gathered, &paths)?;
        // Without compiling, text between directives is passed over.
        if learned.text_decides && !ran && self.session.settings.deps_override.is_empty() {
            return Err(Reason::TextDecides);
        }
        paths.extend(learned.precompiled.iter().cloned());
        let (possible, absent) = self.possible(job);
        paths.extend(possible);
        // What `__has_include` finds decides the result without being listed. The reference
        // leaves it out; of the system's headers we do so too, or no action would be shared.
        let (inputs, present) = std::mem::take(&mut learned.present)
            .into_iter()
            .partition(|path| self.session.settings.local_defaults || !path.starts_with("/usr/"));
        paths.extend::<Vec<String>>(inputs);
        let (places, mut facts) = self.places(job, &paths, stats)?;
        let formed = self.form(job, &places)?;
        for fact in &mut facts {
            fact.outline = learned.outlines.get(&fact.path).copied();
        }
        let variant = (!learned.unclear).then(|| Variant {
            action: formed.action,
            inputs: facts,
            present,
            steadiness: learned.steadiness,
            absent: merge(learned.absent, gathered.absent.iter().chain(&absent)),
        });
        Ok(Known { formed, variant })
    }

    /// Of the files that are inputs if they are there: those that are, and where the others would
    /// be.
    pub(super) fn possible(&self, job: &Job) -> (Vec<String>, Vec<PathBuf>) {
        let local = |path: &String| PathBuf::from(paths::absolute(path, &self.session.directory));
        let (there, missing): (Vec<&String>, Vec<&String>) =
            job.possible_inputs.iter().partition(|path| local(path).is_file());
        let missing = missing.into_iter().map(local).filter(|path| !path.is_dir());
        (there.into_iter().cloned().collect(), missing.collect())
    }

    /// The action for the inputs of a manifest, as they are now.
    pub(super) fn known_from(
        &self,
        job: &Job,
        variant: &Variant,
        stats: &mut StatCache,
    ) -> Result<Known, Reason> {
        let paths: Vec<String> = variant.inputs.iter().map(|input| input.path.clone()).collect();
        let (places, facts) = self.places(job, &paths, stats)?;
        let formed = self.form(job, &places)?;
        let mut variant = variant.clone();
        variant.action = formed.action;
        for (input, fact) in variant.inputs.iter_mut().zip(facts) {
            // An outline is of the content that was compared.
            let outline = input.outline.filter(|_| input.digest == fact.digest);
            *input = InputFact { outline, ..fact };
        }
        Ok(Known { formed, variant: Some(variant) })
    }

    /// Everything below a directory, at its own path; links stay links.
    fn whole_directory(&self, job: &Job, stats: &mut StatCache) -> Result<Known, Reason> {
        let session = self.session;
        let named = session.settings.deps_directory.as_str();
        let root = paths::absolute(named, &session.directory);
        // Within the project it is named from there; the project itself is all there is.
        let own = match named.starts_with('/') {
            true => session.rules.rewrite_input(named),
            false => paths::normalise(named),
        };
        let own = if own == "." { String::new() } else { own.trim_end_matches('/').to_owned() };
        let mut places = Gathering::new();
        let mut queue = vec![(PathBuf::from(root), own)];
        while let Some((at, name)) = queue.pop() {
            let entries = std::fs::read_dir(&at).map_err(|_| Reason::DepsFailed)?;
            for entry in entries {
                let entry = entry.map_err(|_| Reason::DepsFailed)?;
                let path = entry.path();
                let own = entry.file_name().into_string().map_err(|_| Reason::InputName)?;
                let remote = if name.is_empty() { own } else { format!("{name}/{own}") };
                let kind = entry.file_type().map_err(|_| Reason::DepsFailed)?;
                if kind.is_dir() {
                    places.insert(remote.clone(), (Place::Directory, None));
                    queue.push((path, remote));
                } else if kind.is_symlink() {
                    let target = std::fs::read_link(&path).map_err(|_| Reason::DepsFailed)?;
                    let target = target.to_str().ok_or(Reason::InputName)?.to_owned();
                    places.insert(remote, (Place::Symlink(target), None));
                } else {
                    let known = stats.know(&path).map_err(|_| Reason::InputChanged)?;
                    let file = File::new(known.digest, known.executable);
                    places.insert(remote, (Place::File(file), Some(path)));
                }
            }
        }
        self.named_besides(job, &mut places)?;
        let formed = self.form(job, &listed(places))?;
        Ok(Known { formed, variant: None })
    }

    fn learn(&self, job: &Job, gathered: &Gathered, paths: &[String]) -> Result<Learned, Reason> {
        let Some(sources) = &job.sources else { return Ok(Learned::default()) };
        let settings = &self.session.settings;
        let time_fixed = self.session.variable("SOURCE_DATE_EPOCH").is_some();
        let mut learned = Learner::new(
            &self.session.directory,
            gathered.search.as_ref(),
            time_fixed,
            sources.precompiled,
            settings.global_paths && settings.exclude_paths.is_empty(),
        )
        .learn(paths, &sources.named, &sources.forced)
        .map_err(|_| Reason::InputChanged)?;
        // Other rules for what a directive is, or a macro that counts.
        let named = |part: &str| job.key.iter().any(|word| word.contains(part));
        learned.text_decides |= named("__COUNTER__");
        if learned.text_decides || named("assembler") || named("traditional") {
            learned.steadiness = Steadiness::default();
        }
        if learned.embeds {
            return Err(Reason::Embed);
        }
        // The reference stores such objects, and a server's users expect its rules.
        if learned.time && settings.local_defaults {
            return Err(Reason::TimeMacro);
        }
        Ok(learned)
    }

    fn places(
        &self,
        job: &Job,
        paths: &[String],
        stats: &mut StatCache,
    ) -> Result<(Places, Vec<InputFact>), Reason> {
        let session = self.session;
        let mut places = Gathering::new();
        let mut facts = Vec::new();
        for path in paths {
            let local = PathBuf::from(paths::absolute(path, &session.directory));
            let known = stats.know(&local).map_err(|_| Reason::InputChanged)?;
            let file = File::new(known.digest, known.executable);
            facts.push(fact(path, &known));
            if let Some(remote) = self.settle(path, &mut places) {
                places.insert(remote, (Place::File(file), Some(local)));
            }
        }
        self.named_besides(job, &mut places)?;
        Ok((listed(places), facts))
    }

    /// What stands in the action besides its inputs. Inputs come first.
    fn named_besides(&self, job: &Job, places: &mut Gathering) -> Result<(), Reason> {
        let (session, settings) = (self.session, &self.session.settings);
        let local = |path: &str| paths::absolute(path, &session.directory);
        let whole = !settings.deps_directory.is_empty();
        let out = |remote: &str| {
            whole && remote.starts_with('/') && !settings.global_paths && !settings.keeps_links()
        };
        // With a whole directory, response files are in it or nowhere.
        for (name, content) in job.made.iter().filter(|_| !whole) {
            if let Some(remote) = self.settle(name, places) {
                places.insert(remote, (Place::Made(content.clone()), None));
            }
        }
        for directory in job.directories.iter().filter(|path| Path::new(&local(path)).is_dir()) {
            if let Some(remote) = self.settle(directory, places).filter(|remote| !out(remote)) {
                places.entry(remote).or_insert((Place::Directory, None));
            }
        }
        if !settings.local_defaults {
            // The reference looks whether the directory is there without following links.
            let there = |path: &&String| Path::new(&paths::normalise(&local(path))).is_dir();
            for directory in job.passages.iter().filter(there) {
                // Where links are kept, settling notes what is on the way; that is all.
                let remote = self.settle(directory, places);
                if let Some(remote) = remote.filter(|path| path.split('/').any(|p| p == "..")) {
                    places.entry(remote).or_insert((Place::Passage, None));
                }
            }
        }
        for link in &settings.extra_symlinks {
            let Ok(target) = std::fs::read_link(local(link)) else { continue };
            let target = target.to_str().ok_or(Reason::InputName)?.to_owned();
            if let Some(remote) = self.settle(link, places).filter(|remote| !out(remote)) {
                // A directory that something stands in is one.
                let within = format!("{remote}/");
                let next = places.range(within.clone()..).next();
                if next.is_some_and(|(path, _)| path.starts_with(&within)) {
                    continue;
                }
                places.entry(remote).or_insert((Place::Symlink(target), None));
            }
        }
        Ok(())
    }

    /// Where a path stands in the action; `None` if it is left out. Where paths are kept, the
    /// reference puts the links on the way there too, and a file at its real place.
    fn settle(&self, path: &str, places: &mut Gathering) -> Option<String> {
        let settings = &self.session.settings;
        let rules = &self.session.rules;
        let relative = !path.starts_with('/');
        let prefixed = !settings.working_dir_prefix.is_empty();
        if !settings.keeps_links() || (relative && prefixed) {
            return Some(rules.rewrite_input(path));
        }
        let full =
            if relative { paths::absolute(path, &rules.directory) } else { rules.map_input(path) };
        let found = links::follow(&full);
        for (link, target) in found.links {
            places.insert(link, (Place::Symlink(target), None));
        }
        for left in found.left {
            places.entry(left).or_insert((Place::Directory, None));
        }
        let here = !prefixed && paths::is_below(&found.real, &rules.directory);
        (here || settings.global_paths).then_some(found.real)
    }
}

fn listed(places: Gathering) -> Places {
    places.into_iter().map(|(remote, (place, local))| (remote, place, local)).collect()
}

fn fact(path: &str, known: &KnownFile) -> InputFact {
    let settled = known.stamp.is_settled(crate::stamp::now());
    InputFact {
        path: path.to_owned(),
        digest: known.digest,
        executable: known.executable,
        stamp: settled.then_some(known.stamp),
        outline: None,
    }
}

/// What must not appear, from both sources.
fn merge<'a>(
    mut absent: Vec<AbsentNames>,
    further: impl Iterator<Item = &'a PathBuf>,
) -> Vec<AbsentNames> {
    let mut by_directory: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in further {
        let Some(text) = path.to_str() else { continue };
        let name = paths::file_name(text);
        let directory = text[..text.len() - name.len()].trim_end_matches('/');
        let directory = if directory.is_empty() { "/" } else { directory };
        by_directory.entry(directory.to_owned()).or_default().push(name.to_owned());
    }
    absent.extend(by_directory.into_iter().map(|(directory, names)| AbsentNames {
        directory,
        stamp: None,
        names,
    }));
    absent
}
