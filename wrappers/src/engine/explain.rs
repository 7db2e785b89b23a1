//! Saying what a command is.

use std::fmt::Write as _;

use crate::action::Formed;
use crate::cache::Cache;
use crate::manifest::Verdict;
use crate::reason::Reason;

use super::{Engine, Inputs, Job, Outcome};

/// The command of an action, on one line, as the reference logs it.
pub(super) fn command(job: &Job, formed: &Formed) -> String {
    let mut out = String::new();
    for argument in &job.arguments {
        let _ = write!(out, "arguments: {argument:?} ");
    }
    for (name, value) in &job.environment {
        let _ = write!(out, "environment_variables {{ name: {name:?} value: {value:?} }} ");
    }
    for (name, value) in &job.platform {
        let _ = write!(out, "platform {{ name: {name:?} value: {value:?} }} ");
    }
    if !formed.working_directory.is_empty() {
        let _ = write!(out, "working_directory: {:?} ", formed.working_directory);
    }
    for path in &formed.output_paths {
        let _ = write!(out, "output_paths: {path:?} ");
    }
    out.trim_end().to_owned()
}

impl Engine<'_> {
    /// Says why a command is not cached.
    pub fn explain_refusal(&mut self, reason: Reason) -> Outcome {
        let written = writeln!(self.out, "uncacheable: {reason}: {}", reason.help());
        Outcome::Exit(i32::from(written.is_err()))
    }

    /// Says what a command is, what it reads, and what differs from the last time. Runs nothing
    /// but what is needed to find the inputs.
    pub fn explain(&mut self, job: &Job, inputs: &mut dyn Inputs) -> Outcome {
        let mut text = String::new();
        let _ = writeln!(text, "kind: {}", job.label);
        for product in &job.products {
            let _ = writeln!(text, "output: {}", product.remote);
        }
        let mut remembered = self.remembered(job);
        if remembered.manifest.variants.is_empty() {
            let _ = writeln!(text, "manifest: none");
        }
        let function = self.session.settings.function;
        for variant in &mut remembered.manifest.variants {
            let action = variant.action;
            let _ = match variant.check(&self.session.directory, function) {
                Verdict::Holds { .. } => writeln!(text, "manifest: holds for action {action}"),
                Verdict::Fails(change) => {
                    writeln!(text, "manifest: not for action {action}: {change}")
                }
            };
        }
        let mut stats = self.session.stat_cache();
        match self.gather(job, inputs, &mut stats) {
            Err(reason) => {
                let _ = writeln!(text, "uncacheable: {reason}: {}", reason.help());
            }
            Ok(known) => {
                for (digest, path) in &known.formed.tree.files {
                    let _ = writeln!(text, "input: {} {digest}", path.display());
                }
                let _ = writeln!(text, "command: {}", command(job, &known.formed));
                let _ = writeln!(text, "salt: {}", String::from_utf8_lossy(&job.salt));
                let _ = writeln!(text, "input root: {}", known.formed.tree.root);
                let _ = writeln!(text, "action: {}", known.formed.action);
                let found = Cache::open(self.session)
                    .and_then(|cache| cache.action_result(&known.formed.action, &[]));
                let _ = match found {
                    Ok(Some(_)) => writeln!(text, "result: stored"),
                    Ok(None) => writeln!(text, "result: not stored"),
                    Err(error) => writeln!(text, "result: unknown: {error}"),
                };
            }
        }
        stats.save();
        let written = self.out.write_all(text.as_bytes());
        Outcome::Exit(i32::from(written.is_err()))
    }
}
