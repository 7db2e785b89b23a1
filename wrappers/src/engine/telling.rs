//! A miss that runs here and whose own run tells what it reads.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::make_rule;
use crate::paths;
use crate::reason::Reason;
use crate::stamp::{self, Stamp};
use crate::stats::Fate;

use super::before::{self, Before, Seen};
use super::{Cold, Engine, Gathered, Inputs, Job, Known, OWN_LIST, Outcome, Unknown};

/// What a run left, and what was known before it.
struct Ran<'a> {
    /// Lists of what it read.
    rules: &'a [PathBuf],
    /// Inputs that were digested before it began.
    before: &'a Before,
    /// When it began, by the clock of the file system.
    started: i64,
}

impl Engine<'_> {
    /// Runs the tool so that it tells its inputs, and stores the result if nothing is in doubt.
    pub(super) fn run_cold(
        &mut self,
        cache: &Cache,
        job: &Job,
        cold: &Cold,
        unknown: Unknown<'_>,
    ) -> Outcome {
        let Unknown { inputs, stats, remembered, likely } = unknown;
        let settings = &self.session.settings;
        let file =
            tempfile::Builder::new().prefix("recc-").suffix(".d").tempfile_in(&settings.tmpdir);
        let Ok(file) = file else {
            return self.uncached_job(job, Reason::DepsFailed);
        };
        let shown = file.path().to_string_lossy().into_owned();
        let real: Vec<String> =
            cold.real.iter().map(|word| word.replace(OWN_LIST, &shown)).collect();
        let environment: Vec<(&str, String)> = cold
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.replace(OWN_LIST, &shown)))
            .collect();
        let before = likely.as_ref().map(|known| Before::of(&known.formed)).unwrap_or_default();
        // What changed before this moment must differ in time from what changes after it, unless
        // it was read before.
        let started = match likely {
            Some(_) => stamp::file_clock(),
            None => stamp::file_clock_past(self.session.begun_at),
        };
        let mut uploaded = false;
        let (captured, outcome) = self.run_tool_while(job, &real, &environment, |engine| {
            let put = |known: &Known| engine.upload_inputs(cache, &known.formed).is_ok();
            uploaded = likely.as_ref().is_some_and(put);
        });
        let Some(captured) = captured else { return outcome };
        let wrote = file.path().metadata().is_ok_and(|metadata| metadata.len() > 0);
        let due = cold.other_rule && (wrote || captured.code() == 0);
        if due && !inputs.write_rule(file.path()) {
            // Once more as it stands.
            return self.uncached_job(job, Reason::DepsFailed);
        }
        if captured.code() != 0 {
            self.count(&job.label, Fate::Miss, 0, captured.took);
            return outcome;
        }
        let local = |own: &String| PathBuf::from(paths::absolute(own, &self.session.directory));
        let mut rules: Vec<PathBuf> = cold.own.iter().map(local).collect();
        if rules.is_empty() {
            rules.push(file.path().to_owned());
        }
        let ran = Ran { rules: &rules, before: &before, started };
        let stored = self.listed(cold, inputs, &ran).and_then(|gathered| {
            let paths = self.with_further(job, &gathered.paths);
            let (known, uploaded) = match likely {
                Some(known) if known.reads(&paths) => {
                    let changed = before::changed_names(&known, job, &self.session.directory);
                    if let Some(change) = changed {
                        self.session.log.info(format_args!("{change} meanwhile"));
                        return Err(Reason::InputChanged);
                    }
                    (known, uploaded)
                }
                _ => (self.known(job, &gathered, true, stats)?, false),
            };
            self.check_unchanged(&known, paths, &ran)?;
            Ok((known, uploaded))
        });
        match stored {
            Ok((known, uploaded)) => {
                let inputs =
                    if uploaded { Ok(()) } else { self.upload_inputs(cache, &known.formed) };
                match inputs {
                    Ok(()) => {
                        self.keep(cache, job, &known.formed, &captured);
                        remembered.remember(known.variant, Some(cache));
                    }
                    Err(error) => {
                        let log = &self.session.log;
                        log.warning(format_args!("{error}; the result is not stored"));
                        self.count(&job.label, Fate::Failed, 0, captured.took);
                    }
                }
            }
            Err(reason) => {
                self.session.log.info(format_args!("{reason}: {}", reason.help()));
                self.count(&job.label, Fate::Uncached(reason), 0, captured.took);
            }
        }
        outcome
    }

    /// What a run that is over says that it read, and what it does not say.
    fn listed(
        &self,
        cold: &Cold,
        inputs: &mut dyn Inputs,
        ran: &Ran<'_>,
    ) -> Result<Gathered, Reason> {
        let mut listed = Vec::new();
        for rule in ran.rules {
            let text = std::fs::read_to_string(rule).map_err(|_| Reason::DepsFailed)?;
            let more = make_rule::prerequisites(&text);
            if more.is_empty() {
                return Err(Reason::DepsFailed);
            }
            listed.extend(more);
        }
        listed.extend(cold.besides.iter().cloned());
        let mut gathered = inputs.besides()?;
        listed.append(&mut gathered.paths);
        let mut seen = HashSet::new();
        listed.retain(|path| seen.insert(path.clone()));
        Ok(Gathered { paths: listed, ..gathered })
    }

    /// These paths and those of inputs that no list names.
    fn with_further<'p>(&self, job: &'p Job, paths: &'p [String]) -> HashSet<Cow<'p, str>> {
        let (possible, _) = self.possible(job);
        let named = paths.iter().chain(&job.further_inputs).map(|path| Cow::from(path.as_str()));
        named.chain(possible.into_iter().map(Cow::from)).collect()
    }

    /// Whether all inputs are what they were when the run began.
    fn check_unchanged(
        &self,
        known: &Known,
        paths: HashSet<Cow<'_, str>>,
        ran: &Ran<'_>,
    ) -> Result<(), Reason> {
        let function = self.session.settings.function;
        let before: HashMap<&Path, &Seen> =
            ran.before.seen.iter().map(|seen| (seen.path.as_path(), seen)).collect();
        let same = |path: &Path| match before.get(path) {
            Some(seen) => seen.is_unchanged(function, ran.before.taken),
            None => std::fs::metadata(path).is_ok_and(|m| Stamp::of(&m).ctime < ran.started),
        };
        let local = |path: &str| PathBuf::from(paths::absolute(path, &self.session.directory));
        let present = known.variant.iter().flat_map(|variant| &variant.present);
        let mut all: HashSet<PathBuf> = paths.iter().map(|path| local(path)).collect();
        all.extend(present.map(|path| local(path)));
        all.extend(known.formed.tree.files.iter().map(|(_, path)| path.clone()));
        if all.iter().all(|path| same(path)) { Ok(()) } else { Err(Reason::InputChanged) }
    }
}

impl Known {
    /// Whether its inputs are these and no others.
    fn reads(&self, paths: &HashSet<Cow<'_, str>>) -> bool {
        let Some(variant) = &self.variant else { return false };
        let known: HashSet<&str> = variant.inputs.iter().map(|fact| fact.path.as_str()).collect();
        known.len() == paths.len() && paths.iter().all(|path| known.contains(&**path))
    }
}
