//! `RECC_RUNNER_COMMAND`: a miss is executed on this machine by a runner, from what is stored.

use std::process::{Command, Stdio};
use std::time::Instant;

use forerunner_proto::reapi::ActionResult;
use prost::Message as _;

use crate::action::Formed;
use crate::cache::{Cache, CacheError};
use crate::command::response;
use crate::run;
use crate::stats::Fate;

use super::{Engine, Job, deliver};

impl Engine<'_> {
    /// Uploads the inputs, lets the runner execute the action and writes the outputs; the exit
    /// status. The result is stored as that of a local run would be.
    pub(super) fn run_with_runner(
        &mut self,
        cache: &Cache,
        job: &Job,
        formed: &Formed,
    ) -> Result<i32, CacheError> {
        let settings = &self.session.settings;
        let begun = Instant::now();
        self.session.log.info(format_args!(
            "Executing action in local runner... [actionDigest={}]",
            formed.action
        ));
        let _hold = cache.hold();
        self.upload_inputs(cache, formed)?;
        self.session.figures.time("upload_missing_input_blobs", begun.elapsed());
        let begun = Instant::now();
        let result = self.start_runner(formed)?;
        self.session.figures.time("execute_remote_with_action_result", begun.elapsed());
        self.session
            .log
            .info(format_args!("Remote execution finished with exit code {}", result.exit_code));
        let bytes = self.deliver(cache, job, &formed.action, &result, None)?;
        let stores = settings.upload_local_build && !settings.uncacheable;
        if stores && (result.exit_code == 0 || settings.upload_failed_build) {
            match cache.update(&formed.action, &result) {
                Ok(()) => self
                    .session
                    .log
                    .info(format_args!("Action cache updated for [{}]", formed.action)),
                Err(error) => {
                    self.session.log.warning(format_args!("{error}; the result is not stored"));
                }
            }
        }
        self.count(&job.label, Fate::Miss, bytes, deliver::execution_time(&result));
        Ok(result.exit_code)
    }

    fn start_runner(&self, formed: &Formed) -> Result<ActionResult, CacheError> {
        let settings = &self.session.settings;
        let tmpdir = &settings.tmpdir;
        let failed = |error| CacheError::File(tmpdir.clone(), error);
        let folder =
            tempfile::Builder::new().prefix("recc-runner-").tempdir_in(tmpdir).map_err(failed)?;
        let action = folder.path().join("action");
        let answer = folder.path().join("action-result");
        std::fs::write(&action, &formed.action_bytes).map_err(failed)?;
        let words = response::split(&settings.runner_command);
        let (program, arguments) = words.split_first().ok_or(CacheError::NoStore)?;
        let bad = |reason: String| CacheError::Execution(format!("`{program}` {reason}"));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg(format!("--action={}", action.display()))
            .arg(format!("--action-result={}", answer.display()))
            .arg(format!("--digest-function={}", settings.function))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(remote) = &settings.connections {
            let cas = &remote.cas;
            command
                .arg(format!("--remote={}", cas.url))
                .arg(format!("--retry-limit={}", cas.retry_limit))
                .arg(format!("--retry-delay={}", cas.retry_delay.as_millis()));
            if !cas.instance.is_empty() {
                command.arg(format!("--instance={}", cas.instance));
            }
            if let Some(limit) = cas.request_timeout {
                command.arg(format!("--request-timeout={}", limit.as_secs()));
            }
            if let Some(interval) = cas.keepalive {
                command.arg(format!("--keepalive-time={}", interval.as_secs()));
            }
        } else if let Some(store) = self.session.store() {
            command.env("FORERUNNER_STORE", store.root());
        }
        let status =
            command.status().map_err(|error| bad(format!("cannot be started: {error}")))?;
        if !status.success() {
            return Err(bad(format!("ended with exit status {}", run::code(status))));
        }
        let bytes =
            std::fs::read(&answer).map_err(|error| bad(format!("left no result: {error}")))?;
        ActionResult::decode(bytes.as_slice())
            .map_err(|error| CacheError::Malformed(formed.action, error.to_string()))
    }
}
