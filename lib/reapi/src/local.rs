//! Execution on this machine: `buildbox-run` is started for each action.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forerunner_merkle::{Digest, DigestFunction};
use forerunner_proto::longrunning::{Operation, operation};
use forerunner_proto::{Any, Kept, Message, reapi, rpc};
use forerunner_store::Store;
use tokio::process::Command;
use tokio::sync::{Semaphore, watch};
use tonic::{Code, Status};

use crate::nice::at_lowest_priority;
use crate::remote::RemoteEndpoint;
use crate::stream::unique;
use crate::{Connection, Error, ExecuteOptions, Execution, LocalExecution};

const RESPONSE_URL: &str = "type.googleapis.com/build.bazel.remote.execution.v2.ExecuteResponse";
const METADATA_URL: &str =
    "type.googleapis.com/build.bazel.remote.execution.v2.ExecuteOperationMetadata";

/// Names to a runner the process that waits for it, with which it is to end.
const PARENT: &str = "FORERUNNER_PARENT";

/// Starts runners, at most so many at once, and one per action.
#[derive(Clone)]
pub(crate) struct Executor {
    home: Home,
    settings: LocalExecution,
    slots: Arc<Semaphore>,
    running: Arc<Mutex<HashMap<String, watch::Receiver<Operation>>>>,
}

/// Where actions and results are.
#[derive(Clone)]
pub(crate) enum Home {
    Store(Store),
    Remote(Box<RemoteEndpoint>),
}

impl Executor {
    pub(crate) fn new(home: Home, settings: LocalExecution) -> Self {
        let slots = Arc::new(Semaphore::new(settings.jobs().max(1)));
        Self { home, settings, slots, running: Arc::default() }
    }

    /// Takes up an execution by its operation's name.
    pub(crate) fn wait(&self, name: &str) -> Option<Execution> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.get(name).cloned().map(Execution::local)
    }

    pub(crate) fn execute(
        &self,
        action: &Digest,
        options: &ExecuteOptions,
    ) -> Result<Execution, Error> {
        if let Home::Store(store) = &self.home {
            if store.get(action)?.is_none() {
                return Err(Error::MissingBlob(*action));
            }
            if !options.skip_cache_lookup
                && let Some(bytes) = store.action_result(action)?
            {
                let result = Kept::from_bytes(bytes.into());
                let operation = done(&unique(), action, Ok((result, true)));
                return Ok(Execution::local(watch::channel(operation).1));
            }
        }
        // Two that ask for the same action wait for one execution.
        let name = match options.skip_cache_lookup {
            true => unique(),
            false => format!("action-{}", action.hex()),
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(states) = running.get(&name) {
            return Ok(Execution::local(states.clone()));
        }
        let queued = state(&name, action, reapi::execution_stage::Value::Queued);
        let (sender, receiver) = watch::channel(queued);
        running.insert(name.clone(), receiver.clone());
        let (executor, action) = (self.clone(), *action);
        let options = options.clone();
        tokio::spawn(async move {
            let work = executor.work(&name, &action, &options, &sender);
            let last = tokio::select! {
                last = work => last,
                () = executor.interest(&name, &sender) => None,
            };
            if let Some(last) = last {
                sender.send_replace(last);
            }
            executor.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        });
        Ok(Execution::local(receiver))
    }

    /// Ends when only the map still holds a receiver of the execution.
    async fn interest(&self, name: &str, sender: &watch::Sender<Operation>) {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            // Taken under the lock, so that nobody joins while it is decided.
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if sender.receiver_count() <= 1 {
                running.remove(name);
                return;
            }
        }
    }

    async fn work(
        &self,
        name: &str,
        action: &Digest,
        options: &ExecuteOptions,
        sender: &watch::Sender<Operation>,
    ) -> Option<Operation> {
        // In a store, that was done already.
        if !options.skip_cache_lookup
            && let Home::Remote(remote) = &self.home
        {
            match remote.action_result(action, &[]).await {
                Ok(None) => {}
                Ok(Some(result)) => return Some(done(name, action, Ok((result, true)))),
                Err(error) => return Some(done(name, action, Err(error))),
            }
        }
        let _slot = self.slots.acquire().await.ok()?;
        sender.send_replace(state(name, action, reapi::execution_stage::Value::Executing));
        let result = match &self.home {
            Home::Store(store) => self.run_on_store(store, action, options).await,
            Home::Remote(remote) => self.run_on_server(remote, action, options).await,
        };
        Some(done(name, action, result.map(|result| (result, false))))
    }

    async fn run_on_store(
        &self,
        store: &Store,
        action: &Digest,
        options: &ExecuteOptions,
    ) -> Result<Kept<reapi::ActionResult>, Error> {
        let _hold = store.hold()?;
        let scratch = store.scratch()?;
        let bytes = store.get(action)?.ok_or(Error::MissingBlob(*action))?;
        let mut command = self.runner(store.function(), options);
        command.env("FORERUNNER_STORE", store.root());
        let (result, keep) = self.run(command, scratch.path(), action, &bytes).await?;
        if keep {
            store.put_action_result(action, result.bytes())?;
        }
        Ok(result)
    }

    async fn run_on_server(
        &self,
        remote: &RemoteEndpoint,
        action: &Digest,
        options: &ExecuteOptions,
    ) -> Result<Kept<reapi::ActionResult>, Error> {
        let scratch =
            tempfile::tempdir().map_err(|error| Error::file(&tempfile::env::temp_dir(), error))?;
        let bytes = remote.get_many(&[*action]).await?.remove(action);
        let bytes = bytes.ok_or(Error::MissingBlob(*action))?;
        let mut command = self.runner(remote.function, options);
        let connection = &remote.cas.connection;
        command.args(connection_arguments(connection)).args(connection.security.arguments());
        let (result, keep) = self.run(command, scratch.path(), action, &bytes).await?;
        if keep {
            remote.update_action_result(action, &result).await?;
        }
        Ok(result)
    }

    /// What is less urgent than others, runs with the lowest priority that there is here.
    fn runner(&self, function: DigestFunction, options: &ExecuteOptions) -> Command {
        let runner = &self.settings.runner;
        let mut command = match options.priority > 0 {
            true => Command::from(at_lowest_priority(runner)),
            false => Command::new(runner),
        };
        command
            .arg(format!("--digest-function={function}"))
            .env(PARENT, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs an action; answers also whether its result is one to keep.
    async fn run(
        &self,
        mut command: Command,
        scratch: &Path,
        action: &Digest,
        bytes: &[u8],
    ) -> Result<(Kept<reapi::ActionResult>, bool), Error> {
        let wanted: reapi::Action = reapi::Action::decode(bytes)
            .map_err(|error| Error::malformed(format!("action {action}"), error))?;
        let action_file = scratch.join("action");
        let result_file = scratch.join("action-result");
        std::fs::write(&action_file, bytes).map_err(|error| Error::file(&action_file, error))?;
        let runner = &self.settings.runner;
        let failed =
            |reason: String, status| Error::Runner { runner: runner.clone(), reason, status };
        for (name, file) in [("--action=", &action_file), ("--action-result=", &result_file)] {
            let mut option = std::ffi::OsString::from(name);
            option.push(file);
            command.arg(option);
        }
        command.args(&self.settings.runner_arguments);
        let child = command.spawn().map_err(|error| failed(error.to_string(), None))?;
        let output =
            child.wait_with_output().await.map_err(|error| failed(error.to_string(), None))?;
        if !output.status.success() {
            let status = error_status(&result_file);
            let said = String::from_utf8_lossy(&output.stderr);
            let reason = match said.trim() {
                "" => format!("it ended with {}", output.status),
                said => said.lines().last().unwrap_or(said).to_owned(),
            };
            return Err(failed(reason, status));
        }
        let bytes =
            std::fs::read(&result_file).map_err(|error| Error::file(&result_file, error))?;
        let result: Kept<reapi::ActionResult> = Kept::from_bytes(bytes.into());
        let known = result
            .message()
            .map_err(|error| Error::malformed("the result of buildbox-run", error))?;
        Ok((result, known.exit_code == 0 && !wanted.do_not_cache))
    }
}

/// The options by which a runner reaches the same server.
fn connection_arguments(connection: &Connection) -> Vec<String> {
    let seconds = |time: Option<Duration>| time.map_or(0, |time| time.as_secs().max(1));
    vec![
        format!("--remote={}", connection.url),
        format!("--instance={}", connection.instance),
        format!("--retry-limit={}", connection.retry_limit),
        format!("--retry-delay={}", connection.retry_delay.as_millis()),
        format!("--request-timeout={}", seconds(connection.request_timeout)),
        format!("--keepalive-time={}", seconds(connection.keepalive)),
    ]
}

/// What the runner left beside the result it could not write.
fn error_status(result_file: &Path) -> Option<Box<Status>> {
    let mut path = result_file.as_os_str().to_owned();
    path.push(".error-status");
    let status = rpc::Status::decode(std::fs::read(path).ok()?.as_slice()).ok()?;
    Some(Box::new(Status::new(Code::from(status.code), status.message)))
}

fn state(name: &str, action: &Digest, stage: reapi::execution_stage::Value) -> Operation {
    let metadata = reapi::ExecuteOperationMetadata {
        stage: stage as i32,
        action_digest: Some(action.to_proto()),
        ..Default::default()
    };
    Operation {
        name: name.to_owned(),
        metadata: Some(Any { type_url: METADATA_URL.to_owned(), value: metadata.encode_to_vec() }),
        done: false,
        result: None,
    }
}

fn done(
    name: &str,
    action: &Digest,
    result: Result<(Kept<reapi::ActionResult>, bool), Error>,
) -> Operation {
    let response = match result {
        Ok((result, cached)) => {
            Kept::new(&reapi::ExecuteResponse { cached_result: cached, ..Default::default() })
                .with_field(1, &[result])
        }
        Err(error) => Kept::new(&reapi::ExecuteResponse {
            status: Some(rpc::Status {
                code: error.code() as i32,
                message: error.to_string(),
                details: Vec::new(),
            }),
            ..Default::default()
        }),
    };
    let mut operation = state(name, action, reapi::execution_stage::Value::Completed);
    operation.done = true;
    operation.result = Some(operation::Result::Response(Any {
        type_url: RESPONSE_URL.to_owned(),
        value: response.bytes().to_vec(),
    }));
    operation
}
