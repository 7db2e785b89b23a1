//! `RECC_LINK_METRICS_ONLY`: commands that are looked up for the figures, and run all the same.

use std::time::Duration;

use crate::cache::Cache;
use crate::reason::Reason;
use crate::stats::Fate;

use super::{Engine, Inputs, Job, Outcome, Remembered};

impl Engine<'_> {
    /// Looks the action up and runs the command. The result that is stored for the next time has
    /// no outputs: it only says that the command was seen.
    pub fn only_count(&mut self, job: &Job, inputs: &mut dyn Inputs) -> Outcome {
        let mut stats = self.session.stat_cache();
        let outcome = match self.gather(job, inputs, &mut stats) {
            Err(reason) => self.uncached_job(job, reason),
            Ok(_) if self.session.settings.no_execute => {
                self.session.log.info("RECC_NO_EXECUTE is enabled, exiting.");
                Outcome::Exit(0)
            }
            Ok(known) => {
                let found = Cache::open(self.session).and_then(|cache| {
                    let seen = self.ask(&cache, job, &known.formed.action, true)?;
                    Ok((cache, seen.is_some()))
                });
                match found {
                    Ok((cache, false)) => self.run_here(&cache, job, known, Remembered::default()),
                    Ok((_, true)) => {
                        self.count(&job.label, Fate::Uncached(Reason::LinkOff), 0, Duration::ZERO);
                        Outcome::Replace(job.real.clone())
                    }
                    Err(error) => self.failed(job, &error),
                }
            }
        };
        stats.save();
        outcome
    }
}
