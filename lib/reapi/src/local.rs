//! Execution on the embedded store: `buildbox-run` is started for each action.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use forerunner_merkle::Digest;
use forerunner_proto::longrunning::{Operation, operation};
use forerunner_proto::{Any, Kept, Message, reapi, rpc};
use forerunner_store::Store;
use tokio::process::Command;
use tokio::sync::{Semaphore, watch};
use tonic::{Code, Status};

use crate::stream::unique;
use crate::{Error, ExecuteOptions, Execution, LocalExecution};

const RESPONSE_URL: &str = "type.googleapis.com/build.bazel.remote.execution.v2.ExecuteResponse";
const METADATA_URL: &str =
    "type.googleapis.com/build.bazel.remote.execution.v2.ExecuteOperationMetadata";

/// Starts runners, at most so many at once, and one per action.
#[derive(Clone)]
pub(crate) struct Executor {
    store: Store,
    settings: LocalExecution,
    slots: Arc<Semaphore>,
    running: Arc<Mutex<HashMap<String, watch::Receiver<Operation>>>>,
}

impl Executor {
    pub(crate) fn new(store: Store, settings: LocalExecution) -> Self {
        let slots = Arc::new(Semaphore::new(settings.jobs.max(1)));
        Self { store, settings, slots, running: Arc::default() }
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
        if self.store.get(action)?.is_none() {
            return Err(Error::MissingBlob(*action));
        }
        if !options.skip_cache_lookup
            && let Some(bytes) = self.store.action_result(action)?
        {
            let result = Kept::from_bytes(bytes.into());
            let operation = done(&unique(), action, Ok((result, true)));
            return Ok(Execution::local(watch::channel(operation).1));
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
        tokio::spawn(async move {
            let work = executor.work(&name, &action, &sender);
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
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
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
        sender: &watch::Sender<Operation>,
    ) -> Option<Operation> {
        let _slot = self.slots.acquire().await.ok()?;
        sender.send_replace(state(name, action, reapi::execution_stage::Value::Executing));
        let result = self.run(action).await.map(|result| (result, false));
        Some(done(name, action, result))
    }

    async fn run(&self, action: &Digest) -> Result<Kept<reapi::ActionResult>, Error> {
        let _hold = self.store.hold()?;
        let scratch = self.store.scratch()?;
        let action_file = scratch.path().join("action");
        let result_file = scratch.path().join("action-result");
        let bytes = self.store.get(action)?.ok_or(Error::MissingBlob(*action))?;
        std::fs::write(&action_file, &bytes).map_err(|error| Error::file(&action_file, error))?;
        let runner = &self.settings.runner;
        let failed =
            |reason: String, status| Error::Runner { runner: runner.clone(), reason, status };
        let mut option = std::ffi::OsString::from("--action=");
        option.push(&action_file);
        let mut command = Command::new(runner);
        command.arg(option);
        let mut option = std::ffi::OsString::from("--action-result=");
        option.push(&result_file);
        command
            .arg(option)
            .arg(format!("--digest-function={}", self.store.function()))
            .args(&self.settings.runner_arguments)
            .env("FORERUNNER_STORE", self.store.root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
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
        let wanted: reapi::Action = reapi::Action::decode(
            self.store.get(action)?.ok_or(Error::MissingBlob(*action))?.as_slice(),
        )
        .map_err(|error| Error::malformed(format!("action {action}"), error))?;
        if known.exit_code == 0 && !wanted.do_not_cache {
            self.store.put_action_result(action, result.bytes())?;
        }
        Ok(result)
    }
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
