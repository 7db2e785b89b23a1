//! ContentAddressableStorage.

use std::collections::HashMap;

use forerunner_merkle::{Digest, Forest};
use forerunner_proto::reapi::content_addressable_storage_server::ContentAddressableStorage;
use forerunner_proto::{reapi, rpc};
use forerunner_reapi::Error;
use tokio_stream::Iter;
use tonic::{Request, Response, Status};

use crate::Front;
use crate::status::to_rpc;

/// Directories in one answer of GetTree.
const DIRECTORIES_PER_PAGE: usize = 500;

#[tonic::async_trait]
impl ContentAddressableStorage for Front {
    type GetTreeStream = Iter<std::vec::IntoIter<Result<reapi::GetTreeResponse, Status>>>;

    async fn find_missing_blobs(
        &self,
        request: Request<reapi::FindMissingBlobsRequest>,
    ) -> Result<Response<reapi::FindMissingBlobsResponse>, Status> {
        let request = request.into_inner();
        self.check_function(request.digest_function)?;
        let digests = parse_all(&request.blob_digests)?;
        let _call = self.vigil.call();
        let missing = self.endpoint.missing(&digests).await.map_err(|error| error.to_status())?;
        Ok(Response::new(reapi::FindMissingBlobsResponse {
            missing_blob_digests: missing.iter().map(Digest::to_proto).collect(),
        }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<reapi::BatchUpdateBlobsRequest>,
    ) -> Result<Response<reapi::BatchUpdateBlobsResponse>, Status> {
        let request = request.into_inner();
        self.check_function(request.digest_function)?;
        let mut blobs = Vec::with_capacity(request.requests.len());
        for blob in request.requests {
            if blob.compressor != reapi::compressor::Value::Identity as i32 {
                return Err(Status::invalid_argument("compressed blobs are not supported here"));
            }
            let digest = Self::digest(blob.digest.as_ref())?;
            let got = self.endpoint.function().digest(&blob.data);
            if got != digest {
                return Err(Status::invalid_argument(format!(
                    "the content of blob {digest} has the digest {got}"
                )));
            }
            blobs.push((digest, blob.data));
        }
        let statuses =
            self.endpoint.update_batch(blobs).await.map_err(|error| error.to_status())?;
        let responses = statuses.into_iter().map(|(digest, status)| {
            reapi::batch_update_blobs_response::Response {
                digest: Some(digest.to_proto()),
                status: Some(to_rpc(&status)),
            }
        });
        Ok(Response::new(reapi::BatchUpdateBlobsResponse { responses: responses.collect() }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<reapi::BatchReadBlobsRequest>,
    ) -> Result<Response<reapi::BatchReadBlobsResponse>, Status> {
        let request = request.into_inner();
        self.check_function(request.digest_function)?;
        let digests = parse_all(&request.digests)?;
        let total: u64 = digests.iter().map(Digest::size).fold(0, u64::saturating_add);
        let limit =
            self.endpoint.capabilities().await.map_err(|error| error.to_status())?.max_batch_bytes;
        if total > limit {
            return Err(Status::invalid_argument(format!(
                "{total} bytes in one batch are more than the limit of {limit}"
            )));
        }
        let _call = self.vigil.call();
        let mut found: HashMap<_, _> =
            self.endpoint.get_many(&digests).await.map_err(|error| error.to_status())?;
        let responses = digests.into_iter().map(|digest| match found.remove(&digest) {
            Some(data) => reapi::batch_read_blobs_response::Response {
                digest: Some(digest.to_proto()),
                data,
                status: Some(rpc::Status::default()),
                ..Default::default()
            },
            None => reapi::batch_read_blobs_response::Response {
                digest: Some(digest.to_proto()),
                status: Some(to_rpc(&Error::MissingBlob(digest).to_status())),
                ..Default::default()
            },
        });
        Ok(Response::new(reapi::BatchReadBlobsResponse { responses: responses.collect() }))
    }

    async fn get_tree(
        &self,
        request: Request<reapi::GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        let request = request.into_inner();
        self.check_function(request.digest_function)?;
        let root = Self::digest(request.root_digest.as_ref())?;
        let mut forest = Forest::new(self.endpoint.function());
        self.endpoint.load(&mut forest, &[root]).await.map_err(|error| error.to_status())?;
        let order = forest.walk(root).map_err(|error| Status::not_found(error.to_string()))?;
        let pages = order.chunks(DIRECTORIES_PER_PAGE).map(|page| {
            let directories =
                page.iter().filter_map(|digest| forest.get(digest)).map(|d| d.to_proto());
            Ok(reapi::GetTreeResponse { directories: directories.collect(), ..Default::default() })
        });
        let pages: Vec<_> = pages.collect();
        Ok(Response::new(tokio_stream::iter(pages)))
    }

    async fn split_blob(
        &self,
        _: Request<reapi::SplitBlobRequest>,
    ) -> Result<Response<reapi::SplitBlobResponse>, Status> {
        Err(Status::unimplemented("blobs are not split here, as GetCapabilities says"))
    }

    async fn splice_blob(
        &self,
        _: Request<reapi::SpliceBlobRequest>,
    ) -> Result<Response<reapi::SpliceBlobResponse>, Status> {
        Err(Status::unimplemented("blobs are not spliced here, as GetCapabilities says"))
    }
}

fn parse_all(digests: &[reapi::Digest]) -> Result<Vec<Digest>, Status> {
    digests.iter().map(|digest| Front::digest(Some(digest))).collect()
}
