//! A server that misbehaves as it is told.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use forerunner_merkle::Digest;
use forerunner_proto::bytestream::byte_stream_server::{ByteStream, ByteStreamServer};
use forerunner_proto::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
    WriteResponse,
};
use forerunner_proto::longrunning::{Operation, operation};
use forerunner_proto::reapi::capabilities_server::{Capabilities, CapabilitiesServer};
use forerunner_proto::reapi::content_addressable_storage_server::{
    ContentAddressableStorage, ContentAddressableStorageServer,
};
use forerunner_proto::reapi::execution_server::{Execution, ExecutionServer};
use forerunner_proto::{Any, Message, reapi, rpc};
use tokio_stream::Iter;
use tonic::{Request, Response, Status, Streaming};

/// What the server is to do wrong, and what it was asked.
#[derive(Default)]
pub(crate) struct Script {
    /// Calls of each method that are to be answered UNAVAILABLE before one goes through.
    pub(crate) unavailable: HashMap<&'static str, u32>,
    /// Never answer this method.
    pub(crate) silent: Option<&'static str>,
    pub(crate) blobs: HashMap<Digest, Bytes>,
    /// Deliver this instead of every blob.
    pub(crate) lie: Option<Bytes>,
    /// Cut ByteStream reads after so many bytes, this many times.
    pub(crate) cut: Option<(usize, u32)>,
    pub(crate) batch_limit: i64,
    /// What each Execute or WaitExecution answers, in turn.
    pub(crate) operations: Vec<Vec<Result<Operation, Status>>>,
    /// Every method that was called.
    pub(crate) calls: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Faulty {
    pub(crate) script: Arc<Mutex<Script>>,
}

impl Faulty {
    pub(crate) fn new(script: Script) -> Self {
        Self { script: Arc::new(Mutex::new(script)) }
    }

    /// Serves on a socket in `folder`, in the runtime of the caller.
    pub(crate) fn serve(&self, folder: &std::path::Path) -> String {
        let path: PathBuf = folder.join("faulty.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        let router = tonic::transport::Server::builder()
            .add_service(CapabilitiesServer::new(self.clone()))
            .add_service(ByteStreamServer::new(self.clone()))
            .add_service(ContentAddressableStorageServer::new(self.clone()))
            .add_service(ExecutionServer::new(self.clone()));
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        tokio::spawn(router.serve_with_incoming(incoming));
        format!("unix:{}", path.display())
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.script.lock().expect("a script").calls.clone()
    }

    async fn enter(&self, method: &'static str) -> Result<(), Status> {
        let silent = {
            let mut script = self.script.lock().expect("a script");
            script.calls.push(method.to_owned());
            if let Some(left) = script.unavailable.get_mut(method)
                && *left > 0
            {
                *left -= 1;
                return Err(Status::unavailable("come back later"));
            }
            script.silent == Some(method)
        };
        if silent {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

/// An operation that is still under way.
pub(crate) fn under_way(name: &str) -> Operation {
    Operation { name: name.to_owned(), ..Operation::default() }
}

/// An operation that is over, with this exit status.
pub(crate) fn over(name: &str, exit_code: i32) -> Operation {
    let result = reapi::ActionResult { exit_code, ..Default::default() };
    let response = reapi::ExecuteResponse { result: Some(result), ..Default::default() };
    let value = response.encode_to_vec();
    let any = Any { type_url: "type.googleapis.com/x".to_owned(), value };
    Operation {
        name: name.to_owned(),
        done: true,
        result: Some(operation::Result::Response(any)),
        ..Operation::default()
    }
}

/// An operation that failed.
pub(crate) fn failed(name: &str, message: &str) -> Operation {
    let status = rpc::Status { code: 13, message: message.to_owned(), details: Vec::new() };
    Operation {
        name: name.to_owned(),
        done: true,
        result: Some(operation::Result::Error(status)),
        ..Operation::default()
    }
}

type Operations = Iter<std::vec::IntoIter<Result<Operation, Status>>>;

#[tonic::async_trait]
impl Execution for Faulty {
    type ExecuteStream = Operations;
    type WaitExecutionStream = Operations;

    async fn execute(
        &self,
        _: Request<reapi::ExecuteRequest>,
    ) -> Result<Response<Operations>, Status> {
        self.enter("Execute").await?;
        Ok(Response::new(self.next_operations()?))
    }

    async fn wait_execution(
        &self,
        request: Request<reapi::WaitExecutionRequest>,
    ) -> Result<Response<Operations>, Status> {
        self.enter("WaitExecution").await?;
        self.script.lock().expect("a script").calls.push(request.into_inner().name);
        Ok(Response::new(self.next_operations()?))
    }
}

impl Faulty {
    fn next_operations(&self) -> Result<Operations, Status> {
        let mut script = self.script.lock().expect("a script");
        if script.operations.is_empty() {
            return Err(Status::internal("the script is at its end"));
        }
        let mut next = script.operations.remove(0);
        // A first error stands for the call itself.
        if let Some(Err(status)) = next.first() {
            return Err(status.clone());
        }
        Ok(tokio_stream::iter(std::mem::take(&mut next)))
    }
}

#[tonic::async_trait]
impl Capabilities for Faulty {
    async fn get_capabilities(
        &self,
        _: Request<reapi::GetCapabilitiesRequest>,
    ) -> Result<Response<reapi::ServerCapabilities>, Status> {
        self.enter("GetCapabilities").await?;
        let limit = self.script.lock().expect("a script").batch_limit;
        Ok(Response::new(reapi::ServerCapabilities {
            cache_capabilities: Some(reapi::CacheCapabilities {
                max_batch_total_size_bytes: limit,
                ..Default::default()
            }),
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl ContentAddressableStorage for Faulty {
    type GetTreeStream = Iter<std::vec::IntoIter<Result<reapi::GetTreeResponse, Status>>>;

    async fn find_missing_blobs(
        &self,
        request: Request<reapi::FindMissingBlobsRequest>,
    ) -> Result<Response<reapi::FindMissingBlobsResponse>, Status> {
        self.enter("FindMissingBlobs").await?;
        let script = self.script.lock().expect("a script");
        let there = |digest: &reapi::Digest| {
            let digest = Digest::from_proto(digest).expect("a digest");
            script.blobs.contains_key(&digest)
        };
        let mut missing = request.into_inner().blob_digests;
        missing.retain(|digest| !there(digest));
        Ok(Response::new(reapi::FindMissingBlobsResponse { missing_blob_digests: missing }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<reapi::BatchUpdateBlobsRequest>,
    ) -> Result<Response<reapi::BatchUpdateBlobsResponse>, Status> {
        self.enter("BatchUpdateBlobs").await?;
        let mut script = self.script.lock().expect("a script");
        let requests = request.into_inner().requests;
        let total: usize = requests.iter().map(|blob| blob.data.len()).sum();
        if script.batch_limit > 0 && total as i64 > script.batch_limit {
            return Err(Status::invalid_argument(format!("{total} bytes in one batch")));
        }
        let mut responses = Vec::new();
        for blob in requests {
            let digest = Digest::required(blob.digest.as_ref()).expect("a digest");
            script.blobs.insert(digest, blob.data);
            responses.push(reapi::batch_update_blobs_response::Response {
                digest: blob.digest,
                status: None,
            });
        }
        Ok(Response::new(reapi::BatchUpdateBlobsResponse { responses }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<reapi::BatchReadBlobsRequest>,
    ) -> Result<Response<reapi::BatchReadBlobsResponse>, Status> {
        self.enter("BatchReadBlobs").await?;
        let script = self.script.lock().expect("a script");
        let mut responses = Vec::new();
        for wanted in request.into_inner().digests {
            let digest = Digest::from_proto(&wanted).expect("a digest");
            let data = script.lie.as_ref().or(script.blobs.get(&digest));
            let code = if data.is_some() { 0 } else { 5 };
            responses.push(reapi::batch_read_blobs_response::Response {
                digest: Some(wanted),
                data: data.cloned().unwrap_or_default(),
                status: Some(rpc::Status { code, ..Default::default() }),
                ..Default::default()
            });
        }
        Ok(Response::new(reapi::BatchReadBlobsResponse { responses }))
    }

    async fn get_tree(
        &self,
        _: Request<reapi::GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        Err(Status::unimplemented("no trees here"))
    }

    async fn split_blob(
        &self,
        _: Request<reapi::SplitBlobRequest>,
    ) -> Result<Response<reapi::SplitBlobResponse>, Status> {
        Err(Status::unimplemented("no splitting here"))
    }

    async fn splice_blob(
        &self,
        _: Request<reapi::SpliceBlobRequest>,
    ) -> Result<Response<reapi::SpliceBlobResponse>, Status> {
        Err(Status::unimplemented("no splicing here"))
    }
}

#[tonic::async_trait]
impl ByteStream for Faulty {
    type ReadStream = Iter<std::vec::IntoIter<Result<ReadResponse, Status>>>;

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        self.enter("Read").await?;
        let request = request.into_inner();
        let mut script = self.script.lock().expect("a script");
        let (_, name) = request.resource_name.split_once("blobs/").expect("a name");
        let digest: Digest = name.parse().expect("a digest");
        let blob = script.lie.as_ref().or(script.blobs.get(&digest)).cloned();
        let blob = blob.ok_or_else(|| Status::not_found("no such blob"))?;
        let rest = blob.slice(request.read_offset as usize..);
        let mut pieces: Vec<_> = Vec::new();
        let until = match &mut script.cut {
            Some((after, times)) if *times > 0 => {
                *times -= 1;
                Some(*after)
            }
            _ => None,
        };
        let whole = rest.slice(..until.unwrap_or(rest.len()).min(rest.len()));
        for piece in whole.chunks(100_000) {
            pieces.push(Ok(ReadResponse { data: whole.slice_ref(piece) }));
        }
        if until.is_some() {
            pieces.push(Err(Status::unavailable("cut")));
        }
        Ok(Response::new(tokio_stream::iter(pieces)))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        self.enter("Write").await?;
        let mut stream = request.into_inner();
        let mut content = Vec::new();
        let mut name = String::new();
        while let Some(piece) = stream.message().await? {
            if name.is_empty() {
                name = piece.resource_name;
            }
            content.extend_from_slice(&piece.data);
        }
        let (_, name) = name.split_once("blobs/").expect("a name");
        let committed_size = content.len() as i64;
        let digest: Digest = name.parse().expect("a digest");
        self.script.lock().expect("a script").blobs.insert(digest, content.into());
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        _: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        Err(Status::unimplemented("as some servers say"))
    }
}
