//! A miss that runs here: the real tool once, its result stored.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forerunner_proto::reapi::{ActionResult, ExecutedActionMetadata, OutputFile};
use forerunner_reapi::Content;
use prost_types::Timestamp;

use crate::action::Formed;
use crate::cache::{Cache, CacheError};
use crate::paths;
use crate::reason::Reason;
use crate::run::{self, Captured};
use crate::settings::Work;
use crate::stamp;
use crate::stat_cache::is_executable;
use crate::stats::Fate;

use super::aside::Aside;
use super::before::{self, Before};
use super::{Engine, Job, Known, Outcome, Remembered, deliver};

/// Output of a tool up to this size stands in the result itself.
const INLINE_BYTES: usize = 64 << 10;

impl Engine<'_> {
    /// Runs the tool with inputs that are known, and stores the result if nothing is in doubt.
    ///
    /// Nothing is held meanwhile: each input would have to be marked as used anew. What an evictor
    /// takes at this moment it could take in the next, and a result that lacks something is not
    /// served.
    pub(super) fn run_here(
        &mut self,
        cache: &Cache,
        job: &Job,
        known: Known,
        remembered: Remembered,
    ) -> Outcome {
        self.session
            .log
            .info("Action not cached and running in cache-only mode, executing locally");
        let settings = &self.session.settings;
        let stores = settings.upload_local_build || job.work == Work::Tool;
        if !stores || settings.uncacheable {
            self.count(&job.label, Fate::Miss, 0, Duration::ZERO);
            return self.plainly(job);
        }
        let before = Before::of(&known.formed);
        let mut uploaded = Ok(());
        let (captured, outcome) = if job.in_place.is_some() {
            // Inputs that the tool changes must be kept before it does.
            uploaded = self.upload_inputs(cache, &known.formed);
            self.run_tool(job)
        } else {
            self.run_tool_while(job, &job.real, &[], |engine| {
                uploaded = engine.upload_inputs(cache, &known.formed);
            })
        };
        if let Err(error) = uploaded {
            self.session.log.warning(format_args!("{error}; the result is not stored"));
            self.count(&job.label, Fate::Failed, 0, Duration::ZERO);
            return outcome;
        }
        let Some(captured) = captured else { return outcome };
        if captured.code() != 0 && !settings.upload_failed_build {
            self.count(&job.label, Fate::Miss, 0, captured.took);
            return outcome;
        }
        let in_place = |path: &Path| job.makes(path, &self.session.directory);
        if let Some(path) = before.changed(settings.function, in_place) {
            self.session.log.info(format_args!("`{}` changed meanwhile", path.display()));
            self.count(&job.label, Fate::Uncached(Reason::InputChanged), 0, captured.took);
            return outcome;
        }
        if let Some(change) = before::changed_names(&known, job, &self.session.directory) {
            self.session.log.info(format_args!("{change} meanwhile"));
            self.count(&job.label, Fate::Uncached(Reason::InputChanged), 0, captured.took);
            return outcome;
        }
        self.keep(cache, job, &known.formed, &captured);
        remembered.remember(known.variant, Some(cache));
        outcome
    }

    /// Runs the real tool and shows what it says.
    pub(super) fn run_tool(&mut self, job: &Job) -> (Option<Captured>, Outcome) {
        self.run_tool_while(job, &job.real, &[], |_| ())
    }

    /// The same with these words and variables, and something else while it runs.
    pub(super) fn run_tool_while(
        &mut self,
        job: &Job,
        real: &[String],
        environment: &[(&str, String)],
        meanwhile: impl FnOnce(&Self),
    ) -> (Option<Captured>, Outcome) {
        let Some((program, arguments)) = real.split_first() else {
            return (None, Outcome::Exit(127));
        };
        let aside =
            match Aside::prepare(job, &self.session.directory, &self.session.settings.tmpdir) {
                Ok(aside) => aside,
                Err(error) => {
                    // Without room for a copy there is none for the result either, and the tool would
                    // tear what is there.
                    let named = job.products.iter().map(|product| product.local.as_str());
                    let named = named.collect::<Vec<_>>().join("`, `");
                    let _written = writeln!(self.err, "{}: `{named}`: {error}", job.label);
                    return (None, Outcome::Exit(1));
                }
            };
        let stdin = job.stdin.as_deref().map(<[u8]>::to_vec);
        let (arguments, stdin) = match &aside {
            Some(aside) => (aside.words.clone(), aside.script.clone().or(stdin)),
            None => (arguments.to_vec(), stdin),
        };
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let ran = std::thread::scope(|scope| {
            let running =
                scope.spawn(|| run::capture(program, &arguments, stdin.as_deref(), &environment));
            meanwhile(self);
            running.join().unwrap_or_else(|_| Err(io::Error::other("the thread ended")))
        });
        match ran {
            Ok(mut captured) => {
                self.session.figures.time("execute_local_with_action_result", captured.took);
                if let Some(aside) = aside {
                    captured.stdout = aside.said(captured.stdout);
                    captured.stderr = aside.said(captured.stderr);
                    let kept = match &job.in_place {
                        Some(in_place) if captured.code() != 0 => {
                            aside.keep_each(in_place, |words| {
                                run::ask(program, words).is_ok_and(|asked| asked.code() == 0)
                            });
                            Ok(())
                        }
                        _ => aside.keep(),
                    };
                    if let Err(error) = kept {
                        let _written = self.err.write_all(&captured.stderr);
                        let _written = writeln!(self.err, "{}: {error}", job.label);
                        return (None, Outcome::Exit(1));
                    }
                }
                let _written = self.out.write_all(&captured.stdout).and_then(|()| self.out.flush());
                let _written = self.err.write_all(&captured.stderr).and_then(|()| self.err.flush());
                let outcome = Outcome::of(captured.status);
                (Some(captured), outcome)
            }
            Err(error) => {
                let _written = writeln!(self.err, "recc: `{program}` cannot be started: {error}");
                (None, Outcome::Exit(run::start_error_code(&error)))
            }
        }
    }

    /// Stores what the action is made from.
    pub(super) fn upload_inputs(&self, cache: &Cache, formed: &Formed) -> Result<(), CacheError> {
        let tree = &formed.tree;
        let mut blobs: Vec<(_, Content)> = vec![
            (formed.action, Content::Bytes(formed.action_bytes.clone())),
            (formed.command, Content::Bytes(formed.command_bytes.clone())),
        ];
        let made = tree.directories.iter().chain(&tree.made);
        blobs.extend(made.map(|(digest, bytes)| (*digest, Content::Bytes(bytes.clone()))));
        blobs
            .extend(tree.files.iter().map(|(digest, path)| (*digest, Content::File(path.clone()))));
        cache.upload(blobs)
    }

    /// Stores the result of a run; trouble is only reported, the files are there.
    pub(super) fn keep(&mut self, cache: &Cache, job: &Job, formed: &Formed, captured: &Captured) {
        let begun = Instant::now();
        let stored = self.store_result(cache, job, formed, captured);
        self.session.figures.time("upload_missing_local_build_output_blobs", begun.elapsed());
        match stored {
            Ok(Some(bytes)) => {
                let log = &self.session.log;
                log.info(format_args!("Action cache updated for [{}]", formed.action));
                self.count(&job.label, Fate::Miss, bytes, captured.took);
            }
            Ok(None) => {
                self.session.log.info("an output is missing or special, so nothing is stored");
                self.count(&job.label, Fate::Uncached(Reason::Incomplete), 0, captured.took);
            }
            Err(error) => {
                self.session.log.warning(format_args!("{error}; the result is not stored"));
                self.count(&job.label, Fate::Failed, 0, captured.took);
            }
        }
    }

    fn store_result(
        &self,
        cache: &Cache,
        job: &Job,
        formed: &Formed,
        captured: &Captured,
    ) -> Result<Option<u64>, CacheError> {
        let mut output_files = Vec::new();
        let mut bytes = 0;
        for product in &job.products {
            let path = PathBuf::from(paths::absolute(&product.local, &self.session.directory));
            let special = job.in_place.is_none() && deliver::is_special(&path);
            if special || !path.exists() {
                if captured.code() == 0 {
                    return Ok(None);
                }
                continue;
            }
            if job.accept.is_some_and(|accept| !accept(&path)) {
                return Ok(None);
            }
            let failed = |error| CacheError::File(path.clone(), error);
            let executable = is_executable(&std::fs::metadata(&path).map_err(failed)?);
            let digest = cache.put_file(&path)?;
            bytes += digest.size();
            output_files.push(OutputFile {
                path: product.remote.clone(),
                digest: Some(digest.to_proto()),
                is_executable: executable,
                ..OutputFile::default()
            });
        }
        let output_directories = match self.store_directories(cache, job)? {
            Some(stored) => stored,
            None if captured.code() == 0 => return Ok(None),
            None => Vec::new(),
        };
        let end = stamp::now();
        let time = |nanoseconds: i64| Timestamp {
            seconds: nanoseconds / 1_000_000_000,
            nanos: (nanoseconds % 1_000_000_000) as i32,
        };
        let took = captured.took.as_nanos() as i64;
        let mut result = ActionResult {
            output_files,
            output_directories,
            exit_code: captured.code(),
            execution_metadata: Some(ExecutedActionMetadata {
                worker: "recc".to_owned(),
                execution_start_timestamp: Some(time(end - took)),
                execution_completed_timestamp: Some(time(end)),
                ..ExecutedActionMetadata::default()
            }),
            ..ActionResult::default()
        };
        let function = self.session.settings.function;
        let mut texts = Vec::new();
        let mut put = |text: &[u8]| {
            let digest = function.digest(text);
            if text.len() > INLINE_BYTES || !self.session.settings.embedded {
                texts.push((digest, Content::Bytes(Bytes::copy_from_slice(text))));
                (Vec::new(), (!text.is_empty()).then(|| digest.to_proto()))
            } else {
                (text.to_vec(), None)
            }
        };
        let (raw, digest) = put(&captured.stdout);
        (result.stdout_raw, result.stdout_digest) = (raw, digest);
        let (raw, digest) = put(&captured.stderr);
        (result.stderr_raw, result.stderr_digest) = (raw, digest);
        cache.upload(texts)?;
        cache.update(&formed.action, &result)?;
        Ok(Some(bytes))
    }
}
