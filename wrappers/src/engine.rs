//! What all wrappers do: look the action up, write its outputs; or run it, and store its result.

pub mod aside;
mod before;
mod deliver;
mod directories;
mod explain;
mod gather;
mod here;
mod jobserver;
mod leftovers;
mod only_count;
mod place;
mod remembered;
mod runner;
mod shared;
mod telling;
mod there;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use bytes::Bytes;
use forerunner_merkle::Digest;
use forerunner_proto::reapi::ActionResult;

use crate::action::{self, Formed, Parts};
use crate::cache::{Cache, CacheError};
use crate::command::Product;
use crate::manifest::{Change, Key, Likeness, Manifest, Sources as Contents, Variant, Verdict};
use crate::paths;
use crate::reason::Reason;
use crate::run;
use crate::search_path::SearchPath;
use crate::session::Session;
use crate::settings::{Level, Work};
use crate::stat_cache::StatCache;
use crate::stats::{self, Event, Fate};

use aside::InPlace;
use remembered::Remembered;

/// How a run of a wrapper ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program replaces itself by the real tool.
    Replace(Vec<String>),
    /// It exits with this status.
    Exit(i32),
    /// It ends by this signal, as the tool did.
    Signal(i32),
}

impl Outcome {
    /// The end of a tool as that of the wrapper.
    #[must_use]
    pub fn of(status: ExitStatus) -> Self {
        status.signal().map_or_else(|| Self::Exit(run::code(status)), Self::Signal)
    }
}

/// A command that is understood, as far as it is known before its inputs are.
#[derive(Clone, Debug)]
pub struct Job {
    /// What kind of work, for the settings.
    pub work: Work,
    /// Its name in figures: `compile`, `link`, `ar`.
    pub label: String,
    /// The real command: program and arguments.
    pub real: Vec<String>,
    /// The action's arguments.
    pub arguments: Vec<String>,
    /// The action's environment.
    pub environment: BTreeMap<String, String>,
    /// The action's platform.
    pub platform: BTreeMap<String, String>,
    /// Its outputs.
    pub products: Vec<Product>,
    /// Output directories that the user names.
    pub output_directories: Vec<String>,
    /// Sets it apart.
    pub salt: Vec<u8>,
    /// Further parts of the manifest's key.
    pub key: Vec<String>,
    /// What stands for the toolchain on this machine only; empty if the action or its platform
    /// says what the toolchain is.
    pub machine: String,
    /// Content that exists only in the action: name and bytes.
    pub made: Vec<(String, Bytes)>,
    /// Directories whose existence matters.
    pub directories: Vec<String>,
    /// Directories whose paths can be followed.
    pub passages: Vec<String>,
    /// Inputs that the tool's own list does not show, such as response files.
    pub further_inputs: Vec<String>,
    /// Files that are inputs if they are there.
    pub possible_inputs: Vec<String>,
    /// How the inputs can be learned from the run itself.
    pub cold: Option<Cold>,
    /// Whether a manifest says anything: not for tools whose inputs stand on the command line.
    pub manifest: bool,
    /// Whether the sources are read for what dependency lists do not show.
    pub sources: Option<Sources>,
    /// What the tool reads from standard input, if that was read already.
    pub stdin: Option<Bytes>,
    /// Tells from an output whether it is a function of the inputs.
    pub accept: Option<fn(&Path) -> bool>,
    /// How it names its outputs, if these are files that the tool changes in place.
    pub in_place: Option<InPlace>,
}

/// Stands for the name of the file that a run is to write its inputs to. No word of a command can
/// have it.
pub const OWN_LIST: &str = "\0";

/// A command whose run tells its inputs.
#[derive(Clone, Debug)]
pub struct Cold {
    /// The command that is run, so that it writes what is wanted; [`OWN_LIST`] in it.
    pub real: Vec<String>,
    /// Variables that it gets besides; the same.
    pub environment: Vec<(String, String)>,
    /// The files that the command writes anyway, instead.
    pub own: Vec<String>,
    /// Inputs that are not in it.
    pub besides: Vec<String>,
    /// The command would have written another: [`Inputs::write_rule`].
    pub other_rule: bool,
}

/// What is known of a compile command's sources.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Named on the command line.
    pub named: Vec<String>,
    /// Included first.
    pub forced: Vec<String>,
    /// Whether precompiled headers may be picked up.
    pub precompiled: bool,
}

/// What a command reads.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Files, as the command names them.
    pub paths: Vec<String>,
    /// Files that must not appear, absolute.
    pub absent: BTreeSet<PathBuf>,
    /// Where headers are searched, if that is known and matters.
    pub search: Option<SearchPath>,
}

/// Finds what a command reads.
pub trait Inputs {
    /// Asks the tool.
    ///
    /// # Errors
    /// Why the command is not cached.
    fn find(&mut self) -> Result<Gathered, Reason>;

    /// What a run that tells what it reads does not tell: libraries, what must not appear, where
    /// headers are searched.
    ///
    /// # Errors
    /// Why the command is not cached.
    fn besides(&mut self) -> Result<Gathered, Reason> {
        Ok(Gathered::default())
    }

    /// Writes the dependency file that the command was to write, from the one with all inputs;
    /// answers whether that could be done.
    fn write_rule(&mut self, _all: &Path) -> bool {
        false
    }
}

/// The engine at work on one command.
pub struct Engine<'a> {
    /// What it works with.
    pub session: &'a Session,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

/// A command whose inputs its own run is to tell.
struct Unknown<'a> {
    inputs: &'a mut dyn Inputs,
    stats: &'a mut StatCache,
    remembered: Remembered,
    /// The action, if the run reads what an earlier one did.
    likely: Option<Known>,
}

/// An action whose inputs are known.
struct Known {
    formed: Formed,
    /// For the manifest; `None` if none can be made.
    variant: Option<Variant>,
}

impl Engine<'_> {
    /// Does the work.
    pub fn run(&mut self, job: &Job, inputs: &mut dyn Inputs) -> Outcome {
        let settings = &self.session.settings;
        let mut stats = self.session.stat_cache();
        let outcome = if settings.no_execute {
            self.only_form(job, inputs, &mut stats)
        } else if settings.verify {
            self.verify(job, inputs, &mut stats)
        } else {
            match Cache::open(self.session) {
                Ok(cache) => self.with_cache(&cache, job, inputs, &mut stats),
                Err(error) => self.failed(job, &error),
            }
        };
        stats.save();
        outcome
    }

    /// A command that is not cached: it is replaced by the real one, and counted.
    pub fn uncached(&mut self, label: &str, reason: Reason, real: &[String]) -> Outcome {
        let session = self.session;
        session.log.info(format_args!("{reason}: {}", reason.help()));
        if session.settings.no_execute {
            session
                .log
                .info("Command would have run locally but RECC_NO_EXECUTE is enabled, exiting.");
            return Outcome::Exit(0);
        }
        if reason == Reason::InvalidInput {
            session.figures.count("invalid_paths_command", 1);
        }
        self.count(label, Fate::Uncached(reason), 0, Duration::ZERO);
        Outcome::Replace(real.to_vec())
    }

    /// Runs a command whose standard input was read already.
    pub fn run_with_stdin(&mut self, words: &[String], stdin: &[u8]) -> Outcome {
        let Some((program, arguments)) = words.split_first() else { return Outcome::Exit(127) };
        match run::capture(program, arguments, Some(stdin), &[]) {
            Ok(captured) => {
                let _written = self.out.write_all(&captured.stdout).and_then(|()| self.out.flush());
                let _written = self.err.write_all(&captured.stderr).and_then(|()| self.err.flush());
                Outcome::of(captured.status)
            }
            Err(error) => {
                let _written = writeln!(self.err, "recc: `{program}` cannot be started: {error}");
                Outcome::Exit(run::start_error_code(&error))
            }
        }
    }

    /// A command that was understood and is not cached all the same.
    pub fn uncached_job(&mut self, job: &Job, reason: Reason) -> Outcome {
        match self.uncached(&job.label, reason, &job.real) {
            Outcome::Replace(_) => self.plainly(job),
            ended => ended,
        }
    }

    /// Runs the real command; what it changes in place stays whole even so.
    fn plainly(&mut self, job: &Job) -> Outcome {
        match job.in_place {
            Some(_) => self.run_tool(job).1,
            None => Outcome::Replace(job.real.clone()),
        }
    }

    fn only_form(&mut self, job: &Job, inputs: &mut dyn Inputs, stats: &mut StatCache) -> Outcome {
        let log = &self.session.log;
        match self.gather(job, inputs, stats) {
            Ok(_) => {
                log.info("RECC_NO_EXECUTE is enabled, exiting.");
                Outcome::Exit(0)
            }
            Err(reason) => self.uncached_job(job, reason),
        }
    }

    fn with_cache(
        &mut self,
        cache: &Cache,
        job: &Job,
        inputs: &mut dyn Inputs,
        stats: &mut StatCache,
    ) -> Outcome {
        let settings = &self.session.settings;
        cache.connect();
        let mut remembered = self.remembered(job);
        remembered.complete(cache);
        if let Some((at, renewed)) = self.holding(&mut remembered.manifest) {
            let variant = remembered.manifest.variants.remove(at);
            let action = variant.action;
            self.session.action.set(Some(action));
            self.session.log.debug(format_args!("Action Digest: {action} (its manifest holds)"));
            let hit = self.look_up(cache, job, &action, true, stats);
            remembered.manifest.variants.insert(0, variant.clone());
            if at > 0 || renewed {
                remembered.save();
            }
            match hit {
                Ok(Some(code)) => return Outcome::Exit(code),
                Ok(None) => {}
                Err(error) => self.session.log.warning(format_args!("{error}")),
            }
            // The inputs are those of the manifest, so nothing needs to be asked.
            return match self.known_from(job, &variant, stats) {
                Ok(known) => self.miss(cache, job, known, remembered),
                Err(reason) => self.uncached_job(job, reason),
            };
        }
        remembered.sources = self.sources(job, stats);
        // A command that is new to the store was never stored there: it is not looked up. Nor is one
        // whose source never was what it is now, unless somebody executes in advance.
        let first = remembered.manifest.variants.is_empty();
        let is_new = settings.embedded && remembered.is_new();
        if is_new
            && first
            && let Some(cold) = self.tells(cache, job)
        {
            let unknown = Unknown { inputs, stats, remembered, likely: None };
            return self.run_cold(cache, job, cold, unknown);
        }
        if let Some((likeness, known)) = self.edited(job, &remembered.manifest, stats) {
            let certain = likeness == Likeness::SameFiles;
            match self.look_up(cache, job, &known.formed.action, certain, stats) {
                Ok(Some(code)) => {
                    remembered.remember(known.variant, None);
                    return Outcome::Exit(code);
                }
                Ok(None) => {}
                Err(error) => self.session.log.warning(format_args!("{error}")),
            }
            if certain {
                return self.miss(cache, job, known, remembered);
            }
            // It may read other files now, and their action may be known, too. Without somebody who
            // executes in advance that is not worth a run of the preprocessor.
            if let Some(cold) = self.tells(cache, job).filter(|_| !settings.primed) {
                let steady = |variant: &Variant| variant.steadiness.by_names;
                let likely = known.variant.as_ref().is_some_and(steady).then_some(known);
                let unknown = Unknown { inputs, stats, remembered, likely };
                return self.run_cold(cache, job, cold, unknown);
            }
        }
        if is_new
            && !settings.primed
            && let Some(cold) = self.tells(cache, job)
        {
            let unknown = Unknown { inputs, stats, remembered, likely: None };
            return self.run_cold(cache, job, cold, unknown);
        }
        let known = match self.gather(job, inputs, stats) {
            Ok(known) => known,
            Err(reason) => return self.uncached_job(job, reason),
        };
        match self.look_up(cache, job, &known.formed.action, true, stats) {
            Ok(Some(code)) => {
                remembered.remember(known.variant, None);
                return Outcome::Exit(code);
            }
            Ok(None) => {}
            Err(error) => self.session.log.warning(format_args!("{error}")),
        }
        self.miss(cache, job, known, remembered)
    }

    /// A miss: here or there.
    fn miss(&mut self, cache: &Cache, job: &Job, known: Known, remembered: Remembered) -> Outcome {
        let here = self.runs_here(cache, job);
        let by_runner = self.uses_runner(job);
        if here && !by_runner {
            return self.run_here(cache, job, known, remembered);
        }
        let ran = match here {
            true => self.run_with_runner(cache, job, &known.formed),
            false => self.run_there(cache, job, &known.formed),
        };
        match ran {
            Ok(code) => {
                remembered.remember(known.variant, None);
                Outcome::Exit(code)
            }
            Err(error) => self.failed(job, &error),
        }
    }

    /// Whether a miss that runs here is executed by a runner. The other wrappers know nothing of
    /// this setting.
    fn uses_runner(&self, job: &Job) -> bool {
        !self.session.settings.runner_command.is_empty() && job.work != Work::Tool
    }

    fn runs_here(&self, cache: &Cache, job: &Job) -> bool {
        use crate::settings::Miss;
        let settings = &self.session.settings;
        match (job.work, settings.miss) {
            (Work::Tool, _) if settings.force_remote => settings.cache_only,
            (Work::Tool, Miss::Local) => true,
            (Work::Tool, Miss::Remote) => false,
            (Work::Tool, Miss::Auto) => settings.cache_only || cache.may_update().unwrap_or(true),
            (work, _) => settings.runs_misses_here(work),
        }
    }

    /// What happens if the endpoint fails before anything was run.
    fn failed(&mut self, job: &Job, error: &CacheError) -> Outcome {
        let settings = &self.session.settings;
        let tolerant = settings.runs_misses_here(job.work)
            || (job.work == Work::Tool && !settings.force_remote);
        self.count(&job.label, Fate::Failed, 0, Duration::ZERO);
        if settings.fallback_to_local && !settings.runs_misses_here(job.work) {
            self.session.figures.count("fallback", 1);
            let log = &self.session.log;
            log.error(format_args!("recc failed, falling back to local execution: {error}"));
            return self.plainly(job);
        }
        if tolerant {
            self.session.log.warning(format_args!("{error}; running locally"));
            return self.plainly(job);
        }
        // Not through the log: the exit status must not come without a word.
        let _written = writeln!(self.err, "recc: {error}");
        Outcome::Exit(error.exit_code())
    }

    /// How a run of the command tells what it read, if it is run here and its result is stored.
    fn tells<'b>(&self, cache: &Cache, job: &'b Job) -> Option<&'b Cold> {
        let settings = &self.session.settings;
        let stores = settings.upload_local_build && !settings.uncacheable;
        let runs = stores && self.runs_here(cache, job) && !self.uses_runner(job);
        job.cold.as_ref().filter(|_| runs)
    }

    /// The action of a command whose inputs were edited, if an older variant says what it reads.
    fn edited(
        &self,
        job: &Job,
        manifest: &Manifest,
        stats: &mut StatCache,
    ) -> Option<(Likeness, Known)> {
        let mut found = None;
        for variant in &manifest.variants {
            // What the run itself tells needs no further candidate of the same files.
            let same = |(_, known): &(Likeness, Variant)| known.has_inputs_of(variant);
            if job.cold.is_some() && found.as_ref().is_some_and(same) {
                continue;
            }
            let mut variant = variant.clone();
            let Some(likeness) = variant.compare(&self.session.directory, stats) else { continue };
            let certain = likeness == Likeness::SameFiles;
            if found.is_none() || certain {
                found = Some((likeness, variant));
            }
            if certain {
                break;
            }
        }
        let (likeness, variant) = found?;
        self.session.log.debug(format_args!("{likeness:?} as for action {}", variant.action));
        Some((likeness, self.known_from(job, &variant, stats).ok()?))
    }

    /// Looks an action up and writes its outputs; the exit status on a hit. Unless it is `certain`
    /// that this is the action, a failure says nothing.
    fn look_up(
        &mut self,
        cache: &Cache,
        job: &Job,
        action: &Digest,
        certain: bool,
        stats: &mut StatCache,
    ) -> Result<Option<i32>, CacheError> {
        let Some(result) = self.ask(cache, job, action, certain)? else { return Ok(None) };
        let begun = Instant::now();
        let bytes = match self.deliver(cache, job, action, &result, Some(stats)) {
            Ok(bytes) => bytes,
            // A result that cannot be used counts as none.
            Err(error) => {
                self.session.log.warning(format_args!("{error}; not used"));
                return Ok(None);
            }
        };
        self.session.figures.time("download_blobs", begun.elapsed());
        self.count(&job.label, Fate::Hit, bytes, deliver::execution_time(&result));
        Ok(Some(result.exit_code))
    }

    /// The stored result of an action, if it may be used; counted.
    fn ask(
        &self,
        cache: &Cache,
        job: &Job,
        action: &Digest,
        certain: bool,
    ) -> Result<Option<ActionResult>, CacheError> {
        let settings = &self.session.settings;
        let figures = &self.session.figures;
        if settings.skip_cache {
            figures.count("action_cache_skip", 1);
            return Ok(None);
        }
        let is_link = job.work == Work::Link;
        let begun = Instant::now();
        let inline: Vec<String> = job.products.iter().map(|p| p.remote.clone()).collect();
        let found = cache.action_result(action, &inline);
        figures.time("query_action_cache", begun.elapsed());
        let failures = certain && !settings.ignore_failure_result;
        let usable = |result: &ActionResult| result.exit_code == 0 || failures;
        let Some(result) = found?.filter(usable) else {
            figures.count(if is_link { "link_action_cache_miss" } else { "action_cache_miss" }, 1);
            return Ok(None);
        };
        self.session.log.info(format_args!("Action Cache hit for [{action}]"));
        figures.count(if is_link { "link_action_cache_hit" } else { "action_cache_hit" }, 1);
        Ok(Some(result))
    }

    /// The first variant that holds, and whether its stamps were renewed.
    fn holding(&self, manifest: &mut Manifest) -> Option<(usize, bool)> {
        let function = self.session.settings.function;
        for (at, variant) in manifest.variants.iter_mut().enumerate() {
            match variant.check(&self.session.directory, function) {
                Verdict::Holds { renewed } => return Some((at, renewed)),
                Verdict::Fails(change) => self.say_change(&change),
            }
        }
        None
    }

    fn say_change(&self, change: &Change) {
        self.session.log.debug(format_args!("manifest does not hold: {change}"));
    }

    /// Stands for what the sources of a command are now.
    fn sources(&self, job: &Job, stats: &mut StatCache) -> Option<u64> {
        let local = |path: &String| PathBuf::from(paths::absolute(path, &self.session.directory));
        let named = job.sources.iter().flat_map(|sources| &sources.named);
        let digests = named.map(|path| Some(stats.know(&local(path)).ok()?.digest));
        let digests: Option<Vec<Digest>> = digests.collect();
        digests.map(|digests| Contents::content(&digests))
    }

    /// What is known about the command from earlier.
    fn remembered(&self, job: &Job) -> Remembered {
        if !job.manifest || !self.session.settings.manifest {
            return Remembered::default();
        }
        let key = job.manifest_key(self.session);
        let place = self.session.aside("manifest").map(|folder| key.path(&folder));
        let manifest = place.as_deref().map(Manifest::load).unwrap_or_default();
        // Elsewhere the same command is only the same with the same toolchain.
        let shared = job.machine.is_empty().then_some(key);
        Remembered { manifest, place, shared, sources: None }
    }

    fn form(
        &self,
        job: &Job,
        inputs: &[(String, action::Place, Option<PathBuf>)],
    ) -> Result<Formed, Reason> {
        let begun = Instant::now();
        let formed = action::form(&Parts {
            settings: &self.session.settings,
            rules: &self.session.rules,
            arguments: &job.arguments,
            environment: &job.environment,
            platform: &job.platform,
            inputs,
            products: &job.products,
            output_directories: &job.output_directories,
            salt: &job.salt,
            function: self.session.settings.function,
        });
        self.session.figures.time("build_merkle_tree", begun.elapsed());
        let formed = formed?;
        self.session.action.set(Some(formed.action));
        self.session.figures.count("input_size_bytes", formed.input_bytes());
        let log = &self.session.log;
        if log.wants(Level::Debug) {
            log.debug(format_args!("Command: {}", explain::command(job, &formed)));
            log.debug(format_args!(
                "Action Digest: {} Action Contents: command_digest {} input_root_digest {}",
                formed.action, formed.command, formed.tree.root
            ));
        }
        Ok(formed)
    }

    fn count(&self, label: &str, fate: Fate, bytes: u64, instead_of: Duration) {
        let Some(folder) = self.session.aside("stats") else { return };
        stats::note(
            &folder,
            &Event {
                tool: label,
                fate,
                bytes,
                took: self.session.begun.elapsed(),
                instead_of,
                directory: &self.session.directory,
            },
        );
    }
}

impl Job {
    /// Whether an absolute path is one of what it makes, run in `directory`.
    fn makes(&self, path: &Path, directory: &str) -> bool {
        let at = |own: &str| PathBuf::from(paths::absolute(own, directory));
        self.output_directories.iter().any(|own| path.starts_with(at(own)))
            || self.products.iter().any(|product| at(&product.local) == path)
    }

    /// Everything but the content of files that decides what the action is.
    fn manifest_key(&self, session: &Session) -> Key {
        let settings = &session.settings;
        let mut key = Key::builder();
        key.add(&self.label);
        key.add(&session.directory);
        key.add_all(&self.real);
        key.add_all(&self.key);
        key.add(&self.machine);
        key.add_all(&self.arguments);
        key.add_all(self.environment.iter().flat_map(|(name, value)| [name, value]));
        key.add_all(self.platform.iter().flat_map(|(name, value)| [name, value]));
        key.add_all(self.products.iter().flat_map(|p| [&p.remote, &p.local]));
        key.add_all(&self.output_directories);
        key.add_all(&self.possible_inputs);
        key.add(&self.salt);
        key.add(format!(
            "{} {} {} {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {}",
            settings.function.name(),
            settings.reapi_minor,
            settings.no_path_rewrite,
            settings.global_paths,
            settings.project_root,
            settings.prefix_map,
            settings.working_dir_prefix,
            settings.exclude_paths,
            settings.extra_symlinks,
            settings.deps_override,
            settings.deps_directory,
            settings.deps_env,
            settings.uncacheable,
        ));
        key.add_all(
            crate::environment::SEARCH
                .iter()
                .map(|name| session.variable(name).unwrap_or("\0unset")),
        );
        key.finish()
    }
}
