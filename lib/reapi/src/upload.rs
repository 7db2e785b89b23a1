//! Sending blobs to a server.

use bytes::Bytes;
use forerunner_merkle::Digest;
use forerunner_proto::reapi;
use tonic::{Code, Status};

use crate::remote::{RemoteEndpoint, batches};
use crate::unary::Method;
use crate::{Content, Error};

const BATCH_UPDATE_BLOBS: Method =
    Method("/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs");

impl RemoteEndpoint {
    /// Sends blobs that the server does not have.
    pub(crate) async fn upload(&self, blobs: Vec<(Digest, Content)>) -> Result<(), Error> {
        let total = blobs.iter().map(|(digest, _)| digest.size()).sum();
        let limit = self.batch_limit(total).await?;
        let (small, large): (Vec<_>, Vec<_>) =
            blobs.into_iter().partition(|(digest, _)| digest.size() < limit / 2);
        for batch in batches(small, limit, |(digest, _)| digest.size()) {
            let mut loaded = Vec::with_capacity(batch.len());
            for (digest, content) in batch {
                loaded.push((digest, load(content)?));
            }
            for (_, status) in self.update_batch(loaded).await? {
                if status.code() != Code::Ok {
                    return Err(self.cas.error(BATCH_UPDATE_BLOBS.name(), status));
                }
            }
        }
        for (digest, content) in large {
            self.write_streamed(&digest, &content).await?;
        }
        Ok(())
    }

    /// Sends one batch; answers with the status of each blob.
    pub(crate) async fn update_batch(
        &self,
        blobs: Vec<(Digest, Bytes)>,
    ) -> Result<Vec<(Digest, Status)>, Error> {
        let requests =
            blobs.into_iter().map(|(digest, data)| reapi::batch_update_blobs_request::Request {
                digest: Some(digest.to_proto()),
                data,
                ..Default::default()
            });
        let request = reapi::BatchUpdateBlobsRequest {
            instance_name: self.cas.instance(),
            requests: requests.collect(),
            digest_function: self.function.to_proto() as i32,
        };
        let answer: reapi::BatchUpdateBlobsResponse =
            self.cas.ask(BATCH_UPDATE_BLOBS, &request).await?;
        let mut statuses = Vec::with_capacity(answer.responses.len());
        for response in answer.responses {
            let digest = Digest::required(response.digest.as_ref())?;
            let status = response.status.unwrap_or_default();
            statuses.push((digest, Status::new(Code::from(status.code), status.message)));
        }
        Ok(statuses)
    }
}

fn load(content: Content) -> Result<Bytes, Error> {
    match content {
        Content::Bytes(bytes) => Ok(bytes),
        Content::File(path) => {
            std::fs::read(&path).map(Bytes::from).map_err(|error| Error::file(&path, error))
        }
    }
}
