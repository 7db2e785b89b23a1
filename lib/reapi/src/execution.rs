//! An action that is being executed.

use forerunner_merkle::Digest;
use forerunner_proto::longrunning::{Operation, operation};
use forerunner_proto::{Kept, Message, reapi};
use tokio::sync::watch;
use tonic::{Code, Status, Streaming};

use crate::Error;
use crate::remote::RemoteEndpoint;

/// How an action is to be executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecuteOptions {
    /// Execute even if the result is in the action cache.
    pub skip_cache_lookup: bool,
    /// REAPI's ExecutionPolicy.priority: lower numbers first, 0 is the default. On the embedded
    /// store, runners of more than 0 are `nice`.
    pub priority: i32,
}

/// A running execution. Dropping it gives up interest in it: on the embedded store an action that
/// nobody waits for any more is ended.
pub struct Execution {
    source: Source,
}

enum Source {
    Remote(Box<RemoteExecution>),
    /// The newest state; `None` before the first.
    Local {
        states: watch::Receiver<Operation>,
        first: bool,
    },
}

struct RemoteExecution {
    endpoint: RemoteEndpoint,
    request: Start,
    name: String,
    stream: Option<Streaming<Operation>>,
    tried: u32,
    done: bool,
}

/// What an execution begins with.
pub(crate) enum Start {
    Execute(Box<reapi::ExecuteRequest>),
    Wait,
}

impl Execution {
    pub(crate) fn remote(endpoint: RemoteEndpoint, request: Start, name: String) -> Self {
        let execution =
            RemoteExecution { endpoint, request, name, stream: None, tried: 0, done: false };
        Self { source: Source::Remote(Box::new(execution)) }
    }

    pub(crate) fn local(states: watch::Receiver<Operation>) -> Self {
        Self { source: Source::Local { states, first: true } }
    }

    /// The next state, as the server sent it; `None` after the last. A stream that breaks is
    /// taken up again with WaitExecution.
    ///
    /// # Errors
    /// If the server refuses the execution or cannot be reached any more.
    pub async fn next(&mut self) -> Result<Option<Operation>, Error> {
        match &mut self.source {
            Source::Remote(remote) => remote.next().await,
            Source::Local { states, first } => {
                if std::mem::take(first) {
                    return Ok(Some(states.borrow_and_update().clone()));
                }
                match states.changed().await {
                    Ok(()) => Ok(Some(states.borrow_and_update().clone())),
                    Err(_) => Ok(None),
                }
            }
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// As [`Self::next`], and if the operation failed. An ExecuteResponse whose `status` is not OK
    /// is no error here.
    pub async fn finish(mut self) -> Result<Kept<reapi::ExecuteResponse>, Error> {
        let mut last = None;
        while let Some(operation) = self.next().await? {
            if operation.done {
                return response(&operation);
            }
            last = Some(operation.name);
        }
        let name = last.unwrap_or_default();
        Err(Error::malformed(format!("operation `{name}`"), "its stream ended before it was done"))
    }
}

/// What stands in an operation that is done.
fn response(operation: &Operation) -> Result<Kept<reapi::ExecuteResponse>, Error> {
    let what = || format!("operation `{}`", operation.name);
    match &operation.result {
        Some(operation::Result::Response(any)) => {
            let response = Kept::from_bytes(any.value.clone().into());
            let known: reapi::ExecuteResponse =
                response.message().map_err(|error| Error::malformed(what(), error))?;
            drop(known);
            Ok(response)
        }
        Some(operation::Result::Error(status)) => {
            let details = status.encode_to_vec().into();
            let status =
                Status::with_details(Code::from(status.code), status.message.clone(), details);
            Err(Error::Call { endpoint: what(), call: "Execute", status: Box::new(status) })
        }
        None => Err(Error::malformed(what(), "it is done and has no result")),
    }
}

impl RemoteExecution {
    async fn next(&mut self) -> Result<Option<Operation>, Error> {
        if self.done {
            return Ok(None);
        }
        loop {
            match self.step().await {
                Ok(Some(operation)) => {
                    self.tried = 0;
                    self.done = operation.done;
                    self.name.clone_from(&operation.name);
                    return Ok(Some(operation));
                }
                // A server may close the stream before the end and expect WaitExecution.
                Ok(None) => self.recover(Status::unavailable("the stream ended early")).await?,
                Err(status) => self.recover(status).await?,
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Operation>, Status> {
        if self.stream.is_none() {
            self.stream = Some(self.begin().await?);
        }
        match &mut self.stream {
            Some(stream) => stream.message().await,
            None => Ok(None),
        }
    }

    async fn begin(&self) -> Result<Streaming<Operation>, Status> {
        let server = &self.endpoint.execution;
        let mut client = self.endpoint.execution_client();
        let answer = match &self.request {
            Start::Execute(request) if self.name.is_empty() => {
                let request = server.request(request.as_ref().clone());
                server.within_timeout(client.execute(request)).await?
            }
            _ => {
                let request = reapi::WaitExecutionRequest { name: self.name.clone() };
                server.within_timeout(client.wait_execution(server.request(request))).await?
            }
        };
        Ok(answer.into_inner())
    }

    async fn recover(&mut self, status: Status) -> Result<(), Error> {
        self.stream = None;
        let server = &self.endpoint.execution;
        let begun = !self.name.is_empty();
        let restart = matches!(self.request, Start::Execute(_));
        // A server that was restarted no longer knows the operation: begin anew.
        let forgotten = begun && restart && status.code() == Code::NotFound;
        if forgotten {
            self.name.clear();
        }
        let hopeless = match forgotten {
            true => self.tried >= server.connection.retry_limit,
            false => !server.may_pass(&status, self.tried),
        };
        if hopeless {
            return Err(server.error("Execute", status));
        }
        server.pause(self.tried).await;
        self.tried += 1;
        Ok(())
    }
}

/// The digest of the action that an operation executes, as its metadata says.
#[must_use]
pub fn operation_action(operation: &Operation) -> Option<Digest> {
    let metadata = operation.metadata.as_ref()?;
    let metadata = reapi::ExecuteOperationMetadata::decode(metadata.value.as_slice()).ok()?;
    Digest::required(metadata.action_digest.as_ref()).ok()
}
