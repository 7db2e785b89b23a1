//! Execution.

use forerunner_proto::longrunning::Operation;
use forerunner_proto::reapi;
use forerunner_proto::reapi::execution_server::Execution;
use forerunner_reapi::{ExecuteOptions, operation_action};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::Front;
use crate::memory::Memory;

#[tonic::async_trait]
impl Execution for Front {
    type ExecuteStream = ReceiverStream<Result<Operation, Status>>;
    type WaitExecutionStream = Self::ExecuteStream;

    async fn execute(
        &self,
        request: Request<reapi::ExecuteRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let request = request.into_inner();
        self.check_function(request.digest_function)?;
        let action = Self::digest(request.action_digest.as_ref())?;
        let options = ExecuteOptions {
            skip_cache_lookup: request.skip_cache_lookup,
            priority: request.execution_policy.map_or(0, |policy| policy.priority),
        };
        self.recorder.asked(action);
        self.memory.forget(&action);
        let execution =
            self.endpoint.execute(&action, &options).map_err(|error| error.to_status())?;
        self.recorder.note(action);
        Ok(Response::new(pass_on(None, execution, self.memory.clone())))
    }

    async fn wait_execution(
        &self,
        request: Request<reapi::WaitExecutionRequest>,
    ) -> Result<Response<Self::WaitExecutionStream>, Status> {
        let name = request.into_inner().name;
        let mut execution =
            self.endpoint.wait_execution(&name).map_err(|error| error.to_status())?;
        let first = execution.next().await.map_err(|error| error.to_status())?;
        if let Some(action) = first.as_ref().and_then(operation_action) {
            self.recorder.note(action);
        }
        Ok(Response::new(pass_on(first, execution, self.memory.clone())))
    }
}

fn pass_on(
    first: Option<Operation>,
    mut execution: forerunner_reapi::Execution,
    memory: Memory,
) -> ReceiverStream<Result<Operation, Status>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Some(first) = first
            && sender.send(Ok(first)).await.is_err()
        {
            return;
        }
        loop {
            // A client that went away gives up its interest in the execution.
            let state = tokio::select! {
                state = execution.next() => state,
                () = sender.closed() => return,
            };
            let state = match state {
                Ok(Some(operation)) => {
                    // What was asked meanwhile is not what the client expects now.
                    if operation.done
                        && let Some(action) = operation_action(&operation)
                    {
                        memory.forget(&action);
                    }
                    Ok(operation)
                }
                Ok(None) => return,
                Err(error) => Err(error.to_status()),
            };
            let last = state.is_err();
            if sender.send(state).await.is_err() || last {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}
