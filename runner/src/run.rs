//! The life of one action.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use forerunner_gateway::{Gateway, Policy, Recorder, SandboxRoot};
use forerunner_merkle::{Digest, Forest};
use forerunner_proto::{Message, reapi};
use forerunner_reapi::{Config, Content, Endpoint, Record};
use nix::sys::signal::Signal;
use tokio::sync::watch;

use crate::blueprint;
use crate::capture::{Captured, capture};
use crate::cgroup::Group;
use crate::failure::Failure;
use crate::job::Job;
use crate::logs::Logs;
use crate::plan::{Plan, plan};
use crate::report::{Metadata, statistics, timestamp, write_result};
use crate::sandbox::{Ended, Ending, Limits, Waiting, interrupted, start};
use crate::scratch::Scratch;
use crate::settings::Settings;
use crate::speculation::Speculation;
use crate::stage::{Staged, Stager};
use crate::toolchain;

mod group;
mod post;
mod settle;
mod upload;

/// What a run has to do with.
pub(crate) struct Run<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) config: &'a Config,
    pub(crate) endpoint: &'a Endpoint,
    /// Where temporary files go if not into the store.
    pub(crate) temporary: PathBuf,
    /// Becomes a signal when we are told to stop.
    pub(crate) interrupt: watch::Receiver<Option<Signal>>,
    /// The actions that the command asks for through its socket.
    pub(crate) recorder: Recorder,
}

impl Run<'_> {
    /// Runs the action and writes its result.
    ///
    /// # Errors
    /// If there is no result, or none that counts. Even then the result may be written.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let mut metadata = Metadata::begin(self.settings.metadata_file.clone());
        let job = self.unless_interrupted(Job::read(self.endpoint, &self.settings.action)).await?;
        tracing::debug!("running action {}", job.action);
        let done = self.execute(&job, &mut metadata).await;
        let result = match done {
            Ok((result, Ending::Itself)) => Ok(result),
            Ok((result, ending)) => Err((Some(result), ending.failure())),
            Err(failure @ Failure::Interrupted(_)) => {
                let exit_code = 128 + Signal::SIGKILL as i32;
                let result = reapi::ActionResult { exit_code, ..Default::default() };
                Err((Some(result), failure))
            }
            Err(failure) => Err((None, failure)),
        };
        let file = self.settings.action_result.as_deref();
        let exit_code = match &result {
            Ok(result) => Some(result.exit_code),
            Err(_) => None,
        };
        self.record(&job, exit_code != Some(0)).await;
        match result {
            Ok(result) => write_result(file, &self.complete(result, metadata)),
            Err((result, failure)) => {
                if let Some(result) = result {
                    write_result(file, &self.complete(result, metadata))?;
                }
                Err(failure)
            }
        }
    }

    /// From the input root to the outputs.
    async fn execute(
        &self,
        job: &Job,
        metadata: &mut Metadata,
    ) -> Result<(reapi::ActionResult, Ending), Failure> {
        let scratch = match self.endpoint.store() {
            Some(store) if self.settings.workspace.is_none() => Scratch::in_store(store)?,
            _ => Scratch::below(&self.temporary)?,
        };
        let logs = Logs::open(self.settings, &scratch)?;
        let bounds = self.settings.bounds.and(job.platform.bounds);
        let group = group::make(self.settings.cgroup.as_deref(), &bounds)?;

        metadata.message.input_fetch_start_timestamp = Some(timestamp());
        metadata.publish();
        let mut forest = Forest::new(self.endpoint.function());
        let root = self.unless_interrupted(self.tree(job, &mut forest)).await?;
        let mut stager = Stager {
            endpoint: self.endpoint,
            settings: self.settings,
            forest: &mut forest,
            scratch: &scratch,
        };
        let staged = self.unless_interrupted(stager.stage(&root)).await?;
        tracing::debug!("the input root {root} is staged {}", staged.how);
        metadata.message.input_fetch_completed_timestamp = Some(timestamp());

        let (staged, plan, waiting) =
            self.begin(job, &mut stager, &root, staged, &logs, group.as_ref()).await?;
        metadata.message.execution_start_timestamp = Some(timestamp());
        metadata.publish();
        let gateway = self.gateway(job, &scratch, waiting.root.as_fd())?;
        let limits = Limits {
            timeout: job.timeout,
            grace: self.settings.grace,
            interrupt: self.interrupt.clone(),
        };
        // Not worth a thread if there is nothing to read.
        let reader = (!job.outputs.list.is_empty()).then(upload::Reader::start).transpose()?;
        let speculation = self.speculate(job, stager.forest, &root, gateway.is_some());
        let (sandbox_root, ended) = waiting.run(&plan, limits).await?;
        metadata.message.execution_completed_timestamp = Some(timestamp());
        if let Some(speculation) = &speculation {
            speculation.end();
        }
        let used = group.map(|group| group::end(group, &bounds));
        if let Some(gateway) = gateway {
            gateway.stop();
        }
        post::run(self.settings, sandbox_root.as_fd()).await;

        if let Ending::Interrupted(_) = ended.ending {
            let result = reapi::ActionResult { exit_code: ended.exit_code, ..Default::default() };
            return Ok((result, ended.ending));
        }
        metadata.message.output_upload_start_timestamp = Some(timestamp());
        metadata.publish();
        let finish = self.finish(job, (sandbox_root, reader), &scratch, &logs, &ended, metadata);
        let result = self.unless_interrupted(finish).await?;
        if let Some(used) = used.filter(|_| self.settings.statistics) {
            metadata.add_usage(&used);
        }
        metadata.message.output_upload_completed_timestamp = Some(timestamp());
        if self.settings.workspace.is_some() {
            staged.end().await;
        }
        Ok((result, ended.ending))
    }

    /// The tree that is staged. Of its directories only those are loaded that are needed to know;
    /// staging may have no need of the others.
    async fn tree(&self, job: &Job, forest: &mut Forest) -> Result<Digest, Failure> {
        let root = job.merge(self.settings, self.endpoint, forest).await?;
        if self.settings.host_toolchain || self.endpoint.store().is_some() {
            toolchain::load(self.endpoint, forest, &root).await?;
        }
        Ok(root)
    }

    /// Starts the sandbox; where the kernel refuses an overlay, with copies.
    async fn begin(
        &self,
        job: &Job,
        stager: &mut Stager<'_>,
        root: &Digest,
        mut staged: Staged,
        logs: &Logs,
        group: Option<&Group>,
    ) -> Result<(Staged, Plan, Waiting), Failure> {
        loop {
            let blueprint = blueprint::blueprint(
                self.settings,
                job,
                &staged,
                stager.scratch,
                stager.forest,
                root,
                group.is_some(),
            )?;
            let plan = plan(&blueprint).map_err(crate::sandbox::SandboxError::from)?;
            let input = std::io::stdin();
            let stdio = crate::sys::Stdio {
                input: input.as_fd(),
                output: logs.output.as_fd(),
                error: logs.error.as_fd(),
            };
            let group = group.map(Group::as_fd);
            match self.unless_interrupted(async { Ok(start(&plan, stdio, group).await?) }).await {
                Ok(waiting) => return Ok((staged, plan, waiting)),
                Err(Failure::Sandbox(error)) if error.is_overlay() => {
                    tracing::info!("{error}: copying the input tree instead");
                    staged = self.unless_interrupted(stager.copy(root)).await?;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Serves the socket that the action asks for, at a place that the plan binds into the sandbox.
    /// Paths that clients name are those below `root`.
    fn gateway(
        &self,
        job: &Job,
        scratch: &Scratch,
        root: BorrowedFd<'_>,
    ) -> Result<Option<Gateway>, Failure> {
        if job.platform.socket.is_none() {
            return Ok(None);
        }
        let mut config = self.config.clone();
        if let (Some(remote), Some(instance)) = (&mut config.remote, &self.settings.nested_instance)
        {
            for connection in [&mut remote.cas, &mut remote.action_cache, &mut remote.execution] {
                connection.instance.clone_from(instance);
            }
        }
        let policy = Policy { update_allowed: self.settings.nested_update };
        let path = blueprint::socket(scratch);
        let inside = SandboxRoot::new();
        let root = root.try_clone_to_owned();
        inside.set(root.map_err(Failure::file("open the root beside", &path))?);
        let recorder = self.recorder.clone();
        Ok(Some(Gateway::start_for_sandbox(&path, &config, policy, recorder, inside)?))
    }

    /// Executes ahead of the command what it will ask for, if that is wanted and it can ask.
    fn speculate(
        &self,
        job: &Job,
        forest: &Forest,
        root: &Digest,
        can_ask: bool,
    ) -> Option<Speculation> {
        let element = job.element().filter(|_| can_ask)?;
        let host = self.settings.host_toolchain && !toolchain::stands_alone(forest, *root);
        Speculation::start(self.settings, self.endpoint, element, &self.recorder, host)
    }

    /// Takes and uploads what the command left.
    async fn finish(
        &self,
        job: &Job,
        (root, reader): (OwnedFd, Option<upload::Reader>),
        scratch: &Scratch,
        logs: &Logs,
        ended: &Ended,
        metadata: &mut Metadata,
    ) -> Result<reapi::ActionResult, Failure> {
        let function = self.endpoint.function();
        let outputs = job.outputs.clone();
        let folder = scratch.path().to_owned();
        let (captured, by_others) = match reader {
            None => (Captured::default(), false),
            Some(reader) => {
                upload::upload(self.endpoint, reader, move |sink| {
                    capture(root.as_fd(), &outputs, function, &folder, sink)
                })
                .await?
            }
        };
        if by_others {
            settle::settle(self.endpoint, &captured.directories).await;
        }
        let mut result = reapi::ActionResult {
            output_files: captured.files,
            output_directories: captured.directories,
            output_symlinks: captured.symlinks,
            exit_code: ended.exit_code,
            ..Default::default()
        };
        let mut blobs = Vec::new();
        let mut bytes = captured.bytes;
        if self.settings.upload_logs {
            if let Some((digest, path)) = logs.output.content(function)? {
                bytes += digest.size();
                result.stdout_digest = Some(digest.to_proto());
                blobs.push((digest, Content::File(path)));
            }
            if let Some((digest, path)) = logs.error.content(function)? {
                bytes += digest.size();
                result.stderr_digest = Some(digest.to_proto());
                blobs.push((digest, Content::File(path)));
            }
        }
        if self.settings.statistics {
            let message = statistics(&ended.resources);
            let digest = function.digest(&message);
            blobs.push((digest, Content::Bytes(message.into())));
            metadata.add_statistics(&digest);
        }
        if !blobs.is_empty() {
            self.endpoint.upload(blobs).await?;
        }
        tracing::info!("Action output size {bytes} bytes");
        Ok(result)
    }

    /// Adds what is known at the end only.
    fn complete(
        &self,
        mut result: reapi::ActionResult,
        mut metadata: Metadata,
    ) -> reapi::ActionResult {
        metadata.message.worker_completed_timestamp = Some(timestamp());
        metadata.publish();
        result.execution_metadata = Some(metadata.message);
        result.subactions = self.recorder.subactions().iter().map(Digest::to_proto).collect();
        tracing::debug!("the result has {} bytes", result.encoded_len());
        result
    }

    /// Writes down what the element's build used. Nothing of this can make a build fail.
    async fn record(&self, job: &Job, partial: bool) {
        let subactions = self.recorder.subactions();
        if subactions.is_empty() {
            return;
        }
        let Some(element) = job.element() else {
            tracing::debug!(
                "the action has neither `forerunnerElement` nor a working directory: what it used is not recorded"
            );
            return;
        };
        let record = Record {
            element,
            subactions,
            input_root: Some(job.input_root),
            partial,
            written: timestamp().seconds,
            ..Default::default()
        };
        // A server that hangs shall not keep the build waiting.
        let limit = std::time::Duration::from_secs(20);
        let write = forerunner_reapi::record::write(self.endpoint, &record);
        match tokio::time::timeout(limit, write).await {
            Ok(Ok(())) => tracing::debug!("recorded what `{}` used", record.element),
            Ok(Err(error)) => {
                tracing::warn!("cannot record what `{}` used: {error}", record.element);
            }
            Err(_) => tracing::warn!("cannot record what `{}` used: no answer", record.element),
        }
    }

    /// Does `work` unless we are told to stop.
    async fn unless_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut interrupt = self.interrupt.clone();
        tokio::select! {
            result = work => result,
            signal = interrupted(&mut interrupt) => {
                tracing::info!("Caught signal");
                Err(Failure::Interrupted(signal))
            }
        }
    }
}

impl Ending {
    fn failure(self) -> Failure {
        match self {
            Self::Interrupted(signal) => Failure::Interrupted(signal),
            Self::TimedOut | Self::Itself => Failure::TimedOut,
        }
    }
}
