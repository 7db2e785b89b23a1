//! `RECC_VERIFY`: the same command here and there, compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forerunner_merkle::Digest;
use forerunner_proto::reapi::ActionResult;

use crate::cache::{Cache, CacheError};
use crate::paths;
use crate::run;
use crate::stat_cache::{StatCache, hash_file};

use super::{Engine, Inputs, Job, Outcome};

impl Engine<'_> {
    /// Runs the command here, executes it at the endpoint, and compares exit status and files.
    /// Exit status 1 if they differ.
    pub(super) fn verify(
        &mut self,
        job: &Job,
        inputs: &mut dyn Inputs,
        stats: &mut StatCache,
    ) -> Outcome {
        let mut remote = job.clone();
        remote.salt = b"verify:remote".to_vec();
        let known = match self.gather(&remote, inputs, stats) {
            Ok(known) => known,
            Err(reason) => return self.uncached(&job.label, reason, &job.real),
        };
        let executed = Cache::with_runtime(self.session).and_then(|cache| {
            self.upload_inputs(&cache, &known.formed)?;
            let response = cache.execute(&known.formed.action, true)?;
            Ok((cache, response.result.unwrap_or_default()))
        });
        let (captured, outcome) = self.run_tool(job);
        let Some(captured) = captured else { return outcome };
        let differences = match executed {
            Ok((cache, result)) => self.differences(&cache, job, captured.code(), &result),
            Err(error) => vec![format!("remote execution failed: {error}")],
        };
        if differences.is_empty() {
            return outcome;
        }
        for difference in differences {
            let _written = writeln!(self.err, "recc verify: {difference}");
        }
        Outcome::Exit(1)
    }

    fn differences(
        &self,
        cache: &Cache,
        job: &Job,
        code: i32,
        result: &ActionResult,
    ) -> Vec<String> {
        let mut found = Vec::new();
        if result.exit_code != code {
            found.push(format!("exit code {code} here, {} there", result.exit_code));
        }
        let there: BTreeMap<&str, Digest> = result
            .output_files
            .iter()
            .filter_map(|file| {
                Some((file.path.as_str(), Digest::required(file.digest.as_ref()).ok()?))
            })
            .collect();
        for product in &job.products {
            let path = PathBuf::from(paths::absolute(&product.local, &self.session.directory));
            let here = hash_file(&path, self.session.settings.function).ok();
            let name = &product.remote;
            match (here, there.get(name.as_str())) {
                (None, None) => {}
                (Some(_), None) => found.push(format!("`{name}` was not made there")),
                (None, Some(_)) => found.push(format!("`{name}` was not made here")),
                (Some(here), Some(there)) if here == *there => {}
                (Some(here), Some(there)) => {
                    let stripped = name.ends_with(".o")
                        && self.same_without_symbols(cache, &path, there).unwrap_or(false);
                    if !stripped {
                        found.push(format!("`{name}` is {here} here, {there} there"));
                    }
                }
            }
        }
        found
    }

    /// Whether two objects are the same once what `strip` takes away is gone.
    fn same_without_symbols(
        &self,
        cache: &Cache,
        here: &Path,
        there: &Digest,
    ) -> Result<bool, CacheError> {
        let tmpdir = &self.session.settings.tmpdir;
        let failed = |error| CacheError::File(tmpdir.clone(), error);
        let folder = tempfile::tempdir_in(tmpdir).map_err(failed)?;
        let (one, other) = (folder.path().join("here.o"), folder.path().join("there.o"));
        std::fs::copy(here, &one).map_err(failed)?;
        std::fs::write(&other, cache.get(there)?).map_err(failed)?;
        let names = [&one, &other].map(|path| path.to_string_lossy().into_owned());
        let stripped = run::ask("strip", &names).is_ok_and(|asked| asked.code() == 0);
        let same = std::fs::read(one).map_err(failed)? == std::fs::read(other).map_err(failed)?;
        Ok(stripped && same)
    }
}
