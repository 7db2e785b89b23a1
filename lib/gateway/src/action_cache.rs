//! ActionCache.

use std::time::Instant;

use forerunner_proto::reapi::action_cache_server::ActionCache;
use forerunner_proto::{Kept, reapi};
use forerunner_reapi::MANIFEST_WORKER;
use tonic::{Request, Response, Status};

use crate::Front;

#[tonic::async_trait]
impl ActionCache for Front {
    async fn get_action_result(
        &self,
        request: Request<reapi::GetActionResultRequest>,
    ) -> Result<Response<Kept<reapi::ActionResult>>, Status> {
        let request = request.into_inner();
        self.check_function(request.digest_function)?;
        let action = Self::digest(request.action_digest.as_ref())?;
        let inline = request.inline_output_files;
        // The embedded store is as near as we are.
        let remembers = self.endpoint.store().is_none();
        if remembers && let Some(result) = self.memory.get(&action, &inline, Instant::now()) {
            return Ok(Response::new(result));
        }
        let call = self.vigil.call();
        let found = self.endpoint.action_result(&action, &inline).await;
        drop(call);
        match found.map_err(|error| error.to_status())? {
            Some(result) => {
                if is_of_action(&result) {
                    self.recorder.note(action);
                }
                if remembers {
                    self.memory.put(action, inline, result.clone(), Instant::now());
                }
                Ok(Response::new(result))
            }
            None => {
                self.recorder.asked(action);
                Err(Status::not_found(format!("no result of action {action}")))
            }
        }
    }

    async fn update_action_result(
        &self,
        request: Request<Kept<reapi::UpdateActionResultRequest>>,
    ) -> Result<Response<Kept<reapi::ActionResult>>, Status> {
        if !self.policy.update_allowed {
            // The words of the reference, which clients look for.
            return Err(Status::permission_denied("Write access to action cache denied"));
        }
        let kept = request.into_inner();
        let malformed = |error: prost::DecodeError| Status::invalid_argument(error.to_string());
        let request = kept.message().map_err(malformed)?;
        self.check_function(request.digest_function)?;
        let action = Self::digest(request.action_digest.as_ref())?;
        let result = kept
            .field(3)
            .map_err(malformed)?
            .ok_or_else(|| Status::invalid_argument("the action result is missing"))?;
        let updated = self.endpoint.update_action_result(&action, &result).await;
        self.memory.forget(&action);
        updated.map_err(|error| error.to_status())?;
        if is_of_action(&result) {
            self.recorder.note(action);
        }
        Ok(Response::new(result))
    }
}

/// Whether a result is one of an action, and not what a wrapper remembers there.
fn is_of_action(result: &Kept<reapi::ActionResult>) -> bool {
    result.message().map_or(true, |result| {
        result.execution_metadata.is_none_or(|metadata| metadata.worker != MANIFEST_WORKER)
    })
}
