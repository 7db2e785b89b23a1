//! Capabilities.

use forerunner_proto::reapi;
use forerunner_proto::reapi::capabilities_server::Capabilities;
use tonic::{Request, Response, Status};

use crate::Front;

#[tonic::async_trait]
impl Capabilities for Front {
    /// The endpoint's own answer, but truthful about writing to the action cache through this
    /// socket, and without what it does not pass on.
    async fn get_capabilities(
        &self,
        _: Request<reapi::GetCapabilitiesRequest>,
    ) -> Result<Response<reapi::ServerCapabilities>, Status> {
        let capabilities = self.endpoint.capabilities().await.map_err(|error| error.to_status())?;
        let allowed = capabilities.update_enabled && self.policy.update_allowed;
        let mut message = capabilities.message;
        let cache = message.cache_capabilities.get_or_insert_default();
        cache.action_cache_update_capabilities =
            Some(reapi::ActionCacheUpdateCapabilities { update_enabled: allowed });
        cache.digest_functions = vec![self.endpoint.function().to_proto() as i32];
        cache.max_batch_total_size_bytes = capabilities.max_batch_bytes as i64;
        cache.supported_compressors.clear();
        cache.supported_batch_update_compressors.clear();
        cache.split_blob_support = false;
        cache.splice_blob_support = false;
        cache.fast_cdc_2020_params = None;
        cache.rep_max_cdc_params = None;
        Ok(Response::new(message))
    }
}
