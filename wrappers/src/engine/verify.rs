//! `RECC_VERIFY`: the same command here and there, compared.

use std::path::{Path, PathBuf};

use forerunner_merkle::Digest;
use forerunner_proto::reapi::{ActionResult, Tree};
use forerunner_store::scan;
use prost::Message as _;

use crate::cache::{Cache, CacheError};
use crate::paths;
use crate::run;
use crate::stat_cache::{StatCache, hash_file};

use super::{Engine, Inputs, Job, Outcome};

/// What there is under a name: here, or there.
type Found = Vec<(String, Digest)>;

impl Engine<'_> {
    /// Runs the command here, where its result is stored, executes it at the endpoint, and compares
    /// exit status, files and directories. Exit status 1 if they differ.
    pub(super) fn verify(
        &mut self,
        job: &Job,
        inputs: &mut dyn Inputs,
        stats: &mut StatCache,
    ) -> Outcome {
        let session = self.session;
        session.log.info("recc verify: Local build");
        let salted = |salt: &str| Job { salt: salt.as_bytes().to_vec(), ..job.clone() };
        let (local, remote) = (salted("verify:local"), salted("verify:remote"));
        let known = self.gather(&local, inputs, stats).and_then(|here| {
            let there = self.gather(&remote, inputs, stats)?;
            Ok((here.formed, there.formed))
        });
        let (here, there) = match known {
            Ok(known) => known,
            Err(reason) => return self.uncached(&job.label, reason, &job.real),
        };
        let (captured, outcome) = self.run_tool(job);
        let Some(captured) = captured else { return outcome };
        let cache = Cache::with_runtime(session);
        if let (Ok(cache), Outcome::Exit(0)) = (&cache, &outcome) {
            match self.upload_inputs(cache, &here) {
                Ok(()) => self.keep(cache, &local, &here, &captured),
                Err(error) => {
                    session.log.warning(format_args!("{error}; the result is not stored"));
                }
            }
        }
        session.log.info("recc verify: Remote execution");
        let executed = cache.and_then(|cache| {
            self.upload_inputs(&cache, &there)?;
            session
                .log
                .info(format_args!("Executing action remotely... [actionDigest={}]", there.action));
            let result = cache.execute(&there.action, true)?.result.unwrap_or_default();
            session.log.info(format_args!(
                "Remote execution finished with exit code {}",
                result.exit_code
            ));
            session.log.info(format_args!(
                "recc verify: Local action digest {}, remote action digest {}",
                here.action, there.action
            ));
            self.differences(&cache, job, captured.code(), &result)
        });
        let differences = match executed {
            Ok(differences) => differences,
            Err(error) => {
                let _written =
                    writeln!(self.err, "recc verify failed during remote execution: {error}");
                return Outcome::Exit(1);
            }
        };
        for difference in &differences {
            let _written = writeln!(self.err, "recc verify: {difference}");
        }
        if differences.is_empty() { outcome } else { Outcome::Exit(1) }
    }

    fn differences(
        &self,
        cache: &Cache,
        job: &Job,
        code: i32,
        result: &ActionResult,
    ) -> Result<Vec<String>, CacheError> {
        let mut differences = Vec::new();
        if result.exit_code != code {
            differences
                .push(format!("Exit code mismatch: local {code}, remote {}", result.exit_code));
        }
        let there = |path: &str, digest: Option<&forerunner_proto::reapi::Digest>| {
            let digest = Digest::required(digest)
                .map_err(|error| CacheError::Execution(format!("output `{path}`: {error}")))?;
            Ok::<_, CacheError>((path.to_owned(), digest))
        };
        let files = result.output_files.iter();
        let files = files.map(|file| there(&file.path, file.digest.as_ref()));
        let same = |name: &str, other: &Digest| {
            name.ends_with(".o") && self.same_without_symbols(cache, job, name, other)
        };
        let files = files.collect::<Result<Found, _>>()?;
        self.compare("File", &self.files_here(job)?, &files, same, &mut differences);
        let directories = result.output_directories.iter();
        let directories = directories.map(|found| there(&found.path, found.tree_digest.as_ref()));
        let directories = directories.collect::<Result<Found, _>>()?;
        let here = self.directories_here(job)?;
        self.compare("Directory", &here, &directories, |_, _| false, &mut differences);
        Ok(differences)
    }

    /// Compares what is here with what is there; both by name. In the words of the reference.
    fn compare(
        &self,
        kind: &str,
        here: &Found,
        there: &Found,
        same: impl Fn(&str, &Digest) -> bool,
        differences: &mut Vec<String>,
    ) {
        if here.len() != there.len() {
            let kinds = if kind == "File" { "files" } else { "directories" };
            differences.push(format!("Different number of output {kinds}"));
            return;
        }
        let sorted = |found: &Found| {
            let mut found = found.clone();
            found.sort();
            found
        };
        for ((name, local), (other, remote)) in sorted(here).into_iter().zip(sorted(there)) {
            if name != other {
                differences.push(format!("{kind} path mismatch: local '{name}', remote '{other}'"));
            } else if local == remote {
                let log = &self.session.log;
                log.info(format_args!("recc verify: {kind} digest match for '{name}': {local}"));
            } else if same(&name, &remote) {
                self.session.log.info(format_args!(
                    "recc verify: {kind} digest match for '{name}' without symbols: \
                     local {local}, remote {remote}"
                ));
            } else {
                differences.push(format!(
                    "{kind} digest mismatch for '{name}': local {local}, remote {remote}"
                ));
            }
        }
    }

    fn files_here(&self, job: &Job) -> Result<Found, CacheError> {
        let mut found = Vec::new();
        for product in &job.products {
            let path = self.place(&product.local);
            if path.is_file() {
                let digest = hash_file(&path, self.session.settings.function)
                    .map_err(|error| CacheError::File(path, error))?;
                found.push((product.remote.clone(), digest));
            }
        }
        Ok(found)
    }

    fn directories_here(&self, job: &Job) -> Result<Found, CacheError> {
        let function = self.session.settings.function;
        let mut found = Vec::new();
        for name in &job.output_directories {
            let path = self.place(name);
            if path.is_dir() {
                let scanned = scan::directory(&path, function, scan::Attributes::default())?;
                let tree: Tree = scanned
                    .forest
                    .tree(scanned.root)
                    .map_err(|error| CacheError::File(path, std::io::Error::other(error)))?;
                found.push((name.clone(), function.digest(&tree.encode_to_vec())));
            }
        }
        Ok(found)
    }

    fn place(&self, name: &str) -> PathBuf {
        PathBuf::from(paths::absolute(name, &self.session.directory))
    }

    /// Whether two objects are the same once what `strip` takes away is gone.
    fn same_without_symbols(&self, cache: &Cache, job: &Job, name: &str, there: &Digest) -> bool {
        let Some(product) = job.products.iter().find(|product| product.remote == name) else {
            return false;
        };
        self.stripped_alike(cache, &self.place(&product.local), there).unwrap_or(false)
    }

    fn stripped_alike(
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
