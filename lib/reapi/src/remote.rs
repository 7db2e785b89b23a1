//! A REAPI server, or several that share the work.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction, Forest};
use forerunner_proto::reapi::execution_client::ExecutionClient;
use forerunner_proto::{Kept, reapi};
use tokio::sync::OnceCell;
use tonic::Code;

use crate::server::{Server, Wire};
use crate::unary::{GET_ACTION_RESULT, Method, UPDATE_ACTION_RESULT};
use crate::{Capabilities, Error, Remote, Tool};

/// Largest message we take. A server's own limit is smaller; this bounds what a hostile one can
/// make us hold.
pub(crate) const LARGEST_MESSAGE_BYTES: usize = 256 * 1024 * 1024;

const FIND_MISSING_BLOBS: Method =
    Method("/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs");
const BATCH_READ_BLOBS: Method =
    Method("/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs");
const GET_CAPABILITIES: Method =
    Method("/build.bazel.remote.execution.v2.Capabilities/GetCapabilities");

/// What fits into one batch at any server, so that asking for its limit can be left out.
pub(crate) const SMALL_BATCH_BYTES: u64 = 60_000;

/// Digests in one FindMissingBlobs request: about 100 bytes each, within a 4 MiB message.
const DIGESTS_PER_REQUEST: usize = 20_000;

/// The services of a remote endpoint.
#[derive(Clone, Debug)]
pub(crate) struct RemoteEndpoint {
    pub(crate) cas: Server,
    pub(crate) action_cache: Server,
    pub(crate) execution: Server,
    pub(crate) function: DigestFunction,
    /// The folder of [`crate::Endpoint::noting_in`].
    pub(crate) notes: Option<Arc<Path>>,
    capabilities: Arc<OnceCell<Capabilities>>,
}

impl RemoteEndpoint {
    pub(crate) fn new(
        remote: &Remote,
        function: DigestFunction,
        tool: &Tool,
    ) -> Result<Self, Error> {
        let cas = Server::new(&remote.cas, tool)?;
        // One connection serves all services of one server. Nobody is asked for what is done here.
        let same = |it: &crate::Connection| *it == remote.cas || it.url == Remote::HERE;
        let other = |connection: &crate::Connection| match same(connection) {
            true => Ok(cas.clone()),
            false => Server::new(connection, tool),
        };
        Ok(Self {
            action_cache: other(&remote.action_cache)?,
            execution: other(&remote.execution)?,
            cas,
            function,
            notes: None,
            capabilities: Arc::default(),
        })
    }

    pub(crate) fn execution_client(&self) -> ExecutionClient<Wire> {
        ExecutionClient::new(self.execution.wire.clone())
            .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
    }

    /// Connects to the server of results ahead of the first call, if that takes no waiting.
    pub(crate) async fn connect(&self) {
        self.action_cache.connect().await;
    }

    /// The server's capabilities, asked for once.
    pub(crate) async fn capabilities(&self) -> Result<Capabilities, Error> {
        self.capabilities.get_or_try_init(|| self.ask_capabilities()).await.cloned()
    }

    async fn ask_capabilities(&self) -> Result<Capabilities, Error> {
        let mut capabilities = Capabilities::from_proto(ask(&self.cas).await?);
        if self.action_cache.connection != self.cas.connection {
            let cache = Capabilities::from_proto(ask(&self.action_cache).await?);
            capabilities.update_enabled = cache.update_enabled;
        }
        if self.execution.connection != self.cas.connection {
            let execution = Capabilities::from_proto(ask(&self.execution).await?);
            capabilities.execution_enabled = execution.execution_enabled;
            let message = execution.message.execution_capabilities;
            capabilities.message.execution_capabilities = message;
        }
        Ok(capabilities)
    }

    /// Most bytes for one batch that carries `total` altogether.
    pub(crate) async fn batch_limit(&self, total: u64) -> Result<u64, Error> {
        if total <= SMALL_BATCH_BYTES {
            return Ok(SMALL_BATCH_BYTES);
        }
        Ok(self.capabilities().await?.max_batch_bytes)
    }

    pub(crate) async fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        let mut missing = Vec::new();
        for part in digests.chunks(DIGESTS_PER_REQUEST) {
            let request = reapi::FindMissingBlobsRequest {
                instance_name: self.cas.instance(),
                blob_digests: part.iter().map(Digest::to_proto).collect(),
                digest_function: self.function.to_proto() as i32,
            };
            let answer: reapi::FindMissingBlobsResponse =
                self.cas.ask(FIND_MISSING_BLOBS, &request).await?;
            for digest in &answer.missing_blob_digests {
                missing.push(Digest::from_proto(digest)?);
            }
        }
        Ok(missing)
    }

    /// Every directory below `roots`, by GetTree where it works and level by level elsewhere.
    pub(crate) async fn load(&self, forest: &mut Forest, roots: &[Digest]) -> Result<(), Error> {
        loop {
            let missing = forest.missing_below(roots);
            if missing.is_empty() {
                return Ok(());
            }
            let found = self.get_many(&missing).await?;
            for digest in missing {
                let bytes = found.get(&digest).ok_or(Error::MissingBlob(digest))?;
                forest.insert_encoded(digest, bytes)?;
            }
        }
    }

    pub(crate) async fn get_many(
        &self,
        digests: &[Digest],
    ) -> Result<HashMap<Digest, Bytes>, Error> {
        let mut found = HashMap::with_capacity(digests.len());
        let total = digests.iter().map(Digest::size).sum();
        let limit = self.batch_limit(total).await?;
        let (small, large): (Vec<Digest>, Vec<Digest>) =
            digests.iter().partition(|digest| digest.size() <= limit);
        for batch in batches(small, limit, Digest::size) {
            self.get_batch(&batch, &mut found).await?;
        }
        for digest in large {
            match self.get_streamed(&digest).await {
                Ok(bytes) => {
                    found.insert(digest, bytes);
                }
                Err(Error::MissingBlob(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn get_batch(
        &self,
        batch: &[Digest],
        found: &mut HashMap<Digest, Bytes>,
    ) -> Result<(), Error> {
        let request = reapi::BatchReadBlobsRequest {
            instance_name: self.cas.instance(),
            digests: batch.iter().map(Digest::to_proto).collect(),
            digest_function: self.function.to_proto() as i32,
            ..Default::default()
        };
        let answer: reapi::BatchReadBlobsResponse =
            self.cas.ask(BATCH_READ_BLOBS, &request).await?;
        for response in answer.responses {
            let digest = Digest::required(response.digest.as_ref())?;
            let status = response.status.unwrap_or_default();
            match Code::from(status.code) {
                Code::Ok => {
                    let got = self.function.digest(&response.data);
                    if got != digest {
                        return Err(Error::WrongBlob { wanted: digest, got });
                    }
                    found.insert(digest, response.data);
                }
                Code::NotFound => {}
                code => {
                    let status = tonic::Status::new(code, status.message);
                    return Err(self.cas.error(BATCH_READ_BLOBS.name(), status));
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn action_result(
        &self,
        action: &Digest,
        inline: &[String],
    ) -> Result<Option<Kept<reapi::ActionResult>>, Error> {
        let request = reapi::GetActionResultRequest {
            instance_name: self.action_cache.instance(),
            action_digest: Some(action.to_proto()),
            inline_output_files: inline.to_vec(),
            digest_function: self.function.to_proto() as i32,
            ..Default::default()
        };
        match self.action_cache.ask(GET_ACTION_RESULT, &request).await {
            Ok(result) => Ok(Some(result)),
            Err(error) if error.code() == Code::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn update_action_result(
        &self,
        action: &Digest,
        result: &Kept<reapi::ActionResult>,
    ) -> Result<(), Error> {
        let request = reapi::UpdateActionResultRequest {
            instance_name: self.action_cache.instance(),
            action_digest: Some(action.to_proto()),
            digest_function: self.function.to_proto() as i32,
            ..Default::default()
        };
        // The result goes in as it is: fields unknown to us included.
        let request = Kept::new(&request).with_field(3, std::slice::from_ref(result));
        let kept =
            self.action_cache.ask::<Kept<reapi::ActionResult>>(UPDATE_ACTION_RESULT, &request);
        kept.await.map(|_| ())
    }
}

async fn ask(server: &Server) -> Result<reapi::ServerCapabilities, Error> {
    let request = reapi::GetCapabilitiesRequest { instance_name: server.instance() };
    server.ask(GET_CAPABILITIES, &request).await
}

/// Splits `items` into runs of at most `limit` bytes.
pub(crate) fn batches<T>(items: Vec<T>, limit: u64, size: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    /// What a digest, a status and their framing take in a message.
    const OVERHEAD_BYTES: u64 = 128;
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut filled = 0;
    for item in items {
        let bytes = size(&item) + OVERHEAD_BYTES;
        if filled + bytes > limit && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            filled = 0;
        }
        filled += bytes;
        batch.push(item);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::batches;

    #[test]
    fn batches_stay_within_the_limit_and_lose_nothing() {
        let made = batches(vec![500_u64, 500, 2000, 10, 10], 1300, |size| *size);
        assert_eq!(made, vec![vec![500, 500], vec![2000], vec![10, 10]]);
        assert!(batches(Vec::<u64>::new(), 10, |size| *size).is_empty());
    }
}
