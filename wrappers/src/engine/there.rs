//! A miss that is executed by the endpoint.

use forerunner_proto::reapi::ActionResult;

use crate::action::Formed;
use crate::cache::{Cache, CacheError};
use crate::stats::Fate;

use super::{Engine, Job, deliver};

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
        self.upload_inputs(cache, formed)?;
        self.session.log.info("Executing action remotely...");
        let response = cache.execute(&formed.action, self.session.settings.skip_cache)?;
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
