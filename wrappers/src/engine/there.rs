//! A miss that is executed by the endpoint.

use std::time::Instant;

use forerunner_proto::reapi::ActionResult;

use crate::action::Formed;
use crate::cache::{Cache, CacheError};
use crate::stats::Fate;

use super::{Engine, Job, deliver, jobserver};

impl Engine<'_> {
    /// Uploads, executes and writes the outputs; the exit status.
    pub(super) fn run_there(
        &mut self,
        cache: &Cache,
        job: &Job,
        formed: &Formed,
    ) -> Result<i32, CacheError> {
        let opened;
        let cache = match cache {
            Cache::Endpoint(..) => cache,
            Cache::Embedded(_) => {
                opened = Cache::with_runtime(self.session)?;
                &opened
            }
        };
        let begun = Instant::now();
        self.session
            .log
            .info(format_args!("Executing action remotely... [actionDigest={}]", formed.action));
        self.upload_inputs(cache, formed)?;
        self.session.figures.time("upload_missing_input_blobs", begun.elapsed());
        let begun = Instant::now();
        let released =
            self.session.settings.use_jobserver.then(|| {
                jobserver::release(self.session.variable("MAKEFLAGS").unwrap_or_default())
            });
        let response = cache.execute(&formed.action, self.session.settings.skip_cache);
        drop(released);
        self.session.figures.time("execute_remote_with_action_result", begun.elapsed());
        let response = response?;
        let result: ActionResult = response.result.unwrap_or_default();
        self.session
            .log
            .info(format_args!("Remote execution finished with exit code {}", result.exit_code));
        let bytes = self.deliver(cache, job, &formed.action, &result, None)?;
        let fate = if response.cached_result { Fate::Hit } else { Fate::Miss };
        self.count(&job.label, fate, bytes, deliver::execution_time(&result));
        Ok(result.exit_code)
    }
}
