//! From a command to its action: inputs found, digested and put into a tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use forerunner_merkle::File;

use crate::action::{Input, Place};
use crate::links;
use crate::manifest::{AbsentNames, InputFact, Learned, Learner, Steadiness, Variant};
use crate::paths;
use crate::reason::Reason;
use crate::settings::Work;
use crate::stat_cache::{Known as KnownFile, StatCache};

use super::{Engine, Gathered, Inputs, Job, Known};

/// Inputs with what stands at their place in the action.
type Places = Vec<(String, Place, Option<PathBuf>)>;

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
        self.refuse_by_name(&paths)?;
        let mut learned = self.learn(job, gathered, &paths)?;
        // Without compiling, text between directives is passed over.
        if learned.text_decides && !ran && self.session.settings.deps_override.is_empty() {
            return Err(Reason::TextDecides);
        }
        paths.extend(learned.precompiled.iter().cloned());
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
            absent: merge(learned.absent, gathered),
        });
        Ok(Known { formed, variant })
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
        let root = paths::absolute(&session.settings.deps_directory, &session.directory);
        let mut places: Places = Vec::new();
        let own = paths::normalise(&session.settings.deps_directory);
        let own =
            if own == "." { String::new() } else { format!("/{}", own.trim_start_matches('/')) };
        let mut queue = vec![(PathBuf::from(root), own)];
        while let Some((at, name)) = queue.pop() {
            let entries = std::fs::read_dir(&at).map_err(|_| Reason::DepsFailed)?;
            for entry in entries {
                let entry = entry.map_err(|_| Reason::DepsFailed)?;
                let path = entry.path();
                let own = entry.file_name().into_string().map_err(|_| Reason::InputName)?;
                let remote = format!("{name}/{own}");
                let kind = entry.file_type().map_err(|_| Reason::DepsFailed)?;
                if kind.is_dir() {
                    places.push((remote.clone(), Place::Directory, None));
                    queue.push((path, remote));
                } else if kind.is_symlink() {
                    let target = std::fs::read_link(&path).map_err(|_| Reason::DepsFailed)?;
                    let target = target.to_str().ok_or(Reason::InputName)?.to_owned();
                    places.push((remote, Place::Symlink(target), None));
                } else {
                    let known = stats.know(&path).map_err(|_| Reason::InputChanged)?;
                    let file = File::new(known.digest, known.executable);
                    places.push((remote, Place::File(file), Some(path)));
                }
            }
        }
        let formed = self.form(job, &places)?;
        Ok(Known { formed, variant: None })
    }

    fn refuse_by_name(&self, paths: &[String]) -> Result<(), Reason> {
        for pattern in &self.session.settings.invalid_inputs {
            let Ok(pattern) = regex_lite::Regex::new(&format!("^(?:{pattern})$")) else {
                self.session.log.warning(format_args!(
                    "RECC_INVALID_INPUT_PATHS_REGEX: `{pattern}` is not a regular expression"
                ));
                continue;
            };
            if paths.iter().any(|path| pattern.is_match(path)) {
                return Err(Reason::InvalidInput);
            }
        }
        Ok(())
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
        let (session, settings) = (self.session, &self.session.settings);
        let mut places: BTreeMap<String, (Place, Option<PathBuf>)> = BTreeMap::new();
        let mut facts = Vec::new();
        for path in paths {
            let input = Input::new(path, &session.rules);
            let local = PathBuf::from(&input.local);
            let known = stats.know(&local).map_err(|_| Reason::InputChanged)?;
            let file = File::new(known.digest, known.executable);
            facts.push(fact(path, &known));
            let remote = if self.keeps_links(path) {
                followed(path, &session.directory, &mut places)
            } else {
                input.remote
            };
            places.insert(remote, (Place::File(file), Some(local)));
        }
        for (name, content) in &job.made {
            places.insert(name.clone(), (Place::Made(content.clone()), None));
        }
        for directory in &job.directories {
            let input = Input::new(directory, &session.rules);
            if Path::new(&input.local).is_dir() {
                places.entry(input.remote).or_insert((Place::Directory, None));
            }
        }
        for link in &settings.extra_symlinks {
            let input = Input::new(link, &session.rules);
            if let Ok(target) = std::fs::read_link(&input.local) {
                let target = target.to_str().ok_or(Reason::InputName)?.to_owned();
                places.insert(input.remote, (Place::Symlink(target), None));
            }
        }
        let places =
            places.into_iter().map(|(remote, (place, local))| (remote, place, local)).collect();
        Ok((places, facts))
    }
}

impl Engine<'_> {
    /// Where paths are kept, the reference keeps symbolic links too.
    fn keeps_links(&self, path: &str) -> bool {
        let settings = &self.session.settings;
        settings.no_path_rewrite
            && !settings.local_defaults
            && settings.working_dir_prefix.is_empty()
            && (settings.global_paths || !path.starts_with('/'))
    }
}

/// Puts the links that lead to a file; answers with its real place, in the form of `path`.
fn followed(
    path: &str,
    directory: &str,
    places: &mut BTreeMap<String, (Place, Option<PathBuf>)>,
) -> String {
    let shown = |full: &str| {
        if path.starts_with('/') { full.to_owned() } else { paths::relative(full, directory) }
    };
    let found = links::follow(&paths::absolute(path, directory));
    for (link, target) in found.links {
        places.insert(shown(&link), (Place::Symlink(target), None));
    }
    for left in found.left {
        places.entry(shown(&left)).or_insert((Place::Directory, None));
    }
    shown(&found.real)
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
fn merge(mut absent: Vec<AbsentNames>, gathered: &Gathered) -> Vec<AbsentNames> {
    let mut by_directory: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in &gathered.absent {
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
