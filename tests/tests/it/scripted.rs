//! A server that works, except for what it is told to do wrong. Each method can be refused, never
//! answered, answered with a lie, or break the connection, always or a few times.

pub(crate) mod lies;
pub(crate) mod operations;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction};
use forerunner_proto::bytestream::byte_stream_server::{ByteStream, ByteStreamServer};
use forerunner_proto::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
    WriteResponse,
};
use forerunner_proto::longrunning::Operation;
use forerunner_proto::reapi::action_cache_server::{ActionCache, ActionCacheServer};
use forerunner_proto::reapi::capabilities_server::{Capabilities, CapabilitiesServer};
use forerunner_proto::reapi::content_addressable_storage_server::{
    ContentAddressableStorage, ContentAddressableStorageServer,
};
use forerunner_proto::reapi::execution_server::{Execution, ExecutionServer};
use forerunner_proto::{Kept, reapi, rpc, semver};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Router;
use tonic::{Code, Request, Response, Status, Streaming};

use lies::Lie;

/// A blob on its way to a client.
type Pieces = ReceiverStream<Result<ReadResponse, Status>>;

/// Most bytes of one batch: small, so that objects of tests travel as streams too.
pub(crate) const BATCH_LIMIT_BYTES: usize = 20_000;

/// A method of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rpc {
    GetCapabilities,
    GetActionResult,
    UpdateActionResult,
    FindMissingBlobs,
    BatchUpdateBlobs,
    BatchReadBlobs,
    Read,
    Write,
    Execute,
    WaitExecution,
}

/// What goes wrong with a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answers with an error.
    Refuse(Code),
    /// It never answers.
    Silent,
    /// The connection breaks, for a stream in the middle of it.
    Cut,
    /// A stream ends as UNAVAILABLE after so many bytes.
    BreakOff(usize),
    /// It answers with something wrong.
    Lie(Lie),
}

/// What the server holds.
#[derive(Clone, Default)]
pub(crate) struct Content {
    pub(crate) blobs: HashMap<Digest, Bytes>,
    pub(crate) results: HashMap<Digest, Bytes>,
}

/// The server.
#[derive(Clone, Default)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    /// Breaks every connection (see `line`).
    pub(crate) scissors: Arc<Notify>,
}

#[derive(Default)]
struct State {
    content: Content,
    fault: Option<(Rpc, Fault)>,
    /// How often it is still to go wrong; always if `None`.
    left: Option<u32>,
    /// How often the fault was met.
    met: u32,
    /// Most bytes of a batch, if not as ever.
    batch_limit: Option<usize>,
    /// What each Execute or WaitExecution answers, in turn.
    operations: VecDeque<Vec<Result<Operation, Status>>>,
    /// Every method that was called, and the names of operations that were waited for.
    calls: Vec<String>,
    /// Every blob that was read.
    read: Vec<Digest>,
    /// Every action whose result was looked up.
    looked_up: Vec<Digest>,
    /// What it says of executing; nothing if `None`.
    execution: Option<reapi::ExecutionCapabilities>,
    /// Every request to execute something.
    executed: Vec<reapi::ExecuteRequest>,
    /// The instances that lookups were for.
    instances: BTreeSet<String>,
}

impl State {
    fn due(&self, rpc: Rpc) -> Option<Fault> {
        let fault = self.fault.filter(|(at, _)| *at == rpc && self.left != Some(0));
        fault.map(|(_, fault)| fault)
    }

    fn batch_limit(&self) -> usize {
        self.batch_limit.unwrap_or(BATCH_LIMIT_BYTES)
    }
}

impl Server {
    pub(crate) fn with(content: Content) -> Self {
        let server = Self::default();
        server.state().content = content;
        server
    }

    /// From now on this goes wrong, or nothing.
    pub(crate) fn set_fault(&self, fault: Option<(Rpc, Fault)>) {
        let mut state = self.state();
        (state.fault, state.left) = (fault, None);
    }

    /// The next so many calls of a method go wrong.
    pub(crate) fn set_fault_times(&self, rpc: Rpc, fault: Fault, times: u32) {
        let mut state = self.state();
        (state.fault, state.left) = (Some((rpc, fault)), Some(times));
    }

    /// Most bytes that one batch may have.
    pub(crate) fn set_batch_limit(&self, bytes: usize) {
        self.state().batch_limit = Some(bytes);
    }

    /// What each Execute or WaitExecution answers, in turn; a first error stands for the call.
    pub(crate) fn set_operations(&self, operations: Vec<Vec<Result<Operation, Status>>>) {
        self.state().operations = operations.into();
    }

    /// Says that it executes; its priorities have these ranges.
    pub(crate) fn set_execution(&self, priorities: &[(i32, i32)]) {
        use reapi::priority_capabilities::PriorityRange;
        let range = |(min_priority, max_priority)| PriorityRange { min_priority, max_priority };
        let priorities = priorities.iter().copied().map(range).collect();
        self.state().execution = Some(reapi::ExecutionCapabilities {
            digest_function: DigestFunction::Sha256.to_proto() as i32,
            exec_enabled: true,
            execution_priority_capabilities: Some(reapi::PriorityCapabilities { priorities }),
            ..Default::default()
        });
    }

    /// Every request to execute something.
    pub(crate) fn executed(&self) -> Vec<reapi::ExecuteRequest> {
        self.state().executed.clone()
    }

    /// The instances that lookups were for.
    pub(crate) fn instances(&self) -> BTreeSet<String> {
        self.state().instances.clone()
    }

    /// Every method that was called, and the names of operations that were waited for.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Every blob that was read, as often as it was.
    pub(crate) fn read_blobs(&self) -> Vec<Digest> {
        self.state().read.clone()
    }

    /// Every action whose result was looked up, as often as it was.
    pub(crate) fn looked_up(&self) -> Vec<Digest> {
        self.state().looked_up.clone()
    }

    /// Forgets what was called and asked for.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        (state.calls, state.read, state.looked_up) = Default::default();
    }

    /// Adds content.
    pub(crate) fn add(&self, more: Content) {
        let mut state = self.state();
        state.content.blobs.extend(more.blobs);
        state.content.results.extend(more.results);
    }

    /// Serves on a socket in `folder`, in the runtime of the caller.
    pub(crate) fn serve(&self, folder: &std::path::Path) -> String {
        let path = folder.join("scripted.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        tokio::spawn(self.router().serve_with_incoming(incoming));
        format!("unix:{}", path.display())
    }

    /// How often the fault was met so far.
    pub(crate) fn met(&self) -> u32 {
        self.state().met
    }

    pub(crate) fn content(&self) -> Content {
        self.state().content.clone()
    }

    pub(crate) fn router(&self) -> Router {
        tonic::transport::Server::builder()
            .add_service(CapabilitiesServer::new(self.clone()))
            .add_service(ByteStreamServer::new(self.clone()))
            .add_service(ContentAddressableStorageServer::new(self.clone()))
            .add_service(ActionCacheServer::new(self.clone()))
            .add_service(ExecutionServer::new(self.clone()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic before")
    }

    /// Does what is wrong with a method; answers with the lie it is to tell, if any.
    async fn enter(&self, rpc: Rpc) -> Result<Option<Lie>, Status> {
        let fault = {
            let mut state = self.state();
            state.calls.push(format!("{rpc:?}"));
            let fault = state.due(rpc);
            if fault.is_some() {
                state.met += 1;
                state.left = state.left.map(|left| left - 1);
            }
            fault
        };
        match fault {
            None | Some(Fault::BreakOff(_)) => Ok(None),
            Some(Fault::Lie(lie)) => Ok(Some(lie)),
            Some(Fault::Refuse(code)) => Err(Status::new(code, "as the script says")),
            Some(Fault::Silent) => std::future::pending().await,
            Some(Fault::Cut) => {
                self.scissors.notify_waiters();
                std::future::pending().await
            }
        }
    }
}

fn digest(message: Option<&reapi::Digest>) -> Result<Digest, Status> {
    Digest::required(message).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn named(resource: &str) -> Result<Digest, Status> {
    let name = resource.split_once("blobs/").map(|(_, name)| name).unwrap_or_default();
    name.parse().map_err(|_| Status::invalid_argument("a name of no blob"))
}

#[tonic::async_trait]
impl Capabilities for Server {
    async fn get_capabilities(
        &self,
        _: Request<reapi::GetCapabilitiesRequest>,
    ) -> Result<Response<reapi::ServerCapabilities>, Status> {
        let lie = self.enter(Rpc::GetCapabilities).await?;
        let version = |minor| semver::SemVer { major: 2, minor, ..Default::default() };
        let cache = reapi::CacheCapabilities {
            digest_functions: vec![DigestFunction::Sha256.to_proto() as i32],
            max_batch_total_size_bytes: self.state().batch_limit() as i64,
            action_cache_update_capabilities: Some(reapi::ActionCacheUpdateCapabilities {
                update_enabled: true,
            }),
            ..Default::default()
        };
        let mut capabilities = reapi::ServerCapabilities {
            cache_capabilities: Some(cache),
            execution_capabilities: self.state().execution.clone(),
            low_api_version: Some(version(0)),
            high_api_version: Some(version(3)),
            ..Default::default()
        };
        lies::about_capabilities(lie, &mut capabilities);
        Ok(Response::new(capabilities))
    }
}

#[tonic::async_trait]
impl ActionCache for Server {
    async fn get_action_result(
        &self,
        request: Request<reapi::GetActionResultRequest>,
    ) -> Result<Response<Kept<reapi::ActionResult>>, Status> {
        let lie = self.enter(Rpc::GetActionResult).await?;
        let request = request.into_inner();
        let action = digest(request.action_digest.as_ref())?;
        self.state().instances.insert(request.instance_name);
        self.state().looked_up.push(action);
        let found = self.state().content.results.get(&action).cloned();
        let found = found.ok_or_else(|| Status::not_found("no such result"))?;
        let result = Kept::from_bytes(found);
        Ok(Response::new(match lie {
            Some(lie) => lies::about_result(lie, &result),
            None => result,
        }))
    }

    async fn update_action_result(
        &self,
        request: Request<Kept<reapi::UpdateActionResultRequest>>,
    ) -> Result<Response<Kept<reapi::ActionResult>>, Status> {
        let lie = self.enter(Rpc::UpdateActionResult).await?;
        let kept = request.into_inner();
        let message =
            kept.message().map_err(|error| Status::invalid_argument(error.to_string()))?;
        let action = digest(message.action_digest.as_ref())?;
        let result = Kept::new(&message.action_result.unwrap_or_default());
        if lie.is_some() {
            // It says that it stored something and did not.
            return Ok(Response::new(Kept::default()));
        }
        self.state().content.results.insert(action, result.bytes().clone());
        Ok(Response::new(result))
    }
}

#[tonic::async_trait]
impl ContentAddressableStorage for Server {
    type GetTreeStream = ReceiverStream<Result<reapi::GetTreeResponse, Status>>;

    async fn find_missing_blobs(
        &self,
        request: Request<reapi::FindMissingBlobsRequest>,
    ) -> Result<Response<reapi::FindMissingBlobsResponse>, Status> {
        let lie = self.enter(Rpc::FindMissingBlobs).await?;
        let asked = request.into_inner().blob_digests;
        let state = self.state();
        let there = |message: &reapi::Digest| {
            digest(Some(message)).is_ok_and(|digest| state.content.blobs.contains_key(&digest))
        };
        let missing: Vec<_> = asked.iter().filter(|digest| !there(digest)).cloned().collect();
        let missing = match lie {
            Some(lie) => lies::about_missing(lie, asked),
            None => missing,
        };
        Ok(Response::new(reapi::FindMissingBlobsResponse { missing_blob_digests: missing }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<reapi::BatchUpdateBlobsRequest>,
    ) -> Result<Response<reapi::BatchUpdateBlobsResponse>, Status> {
        let lie = self.enter(Rpc::BatchUpdateBlobs).await?;
        let requests = request.into_inner().requests;
        let total: usize = requests.iter().map(|blob| blob.data.len()).sum();
        let mut state = self.state();
        if total > state.batch_limit() && requests.len() > 1 {
            return Err(Status::invalid_argument(format!("{total} bytes in one batch")));
        }
        let mut responses = Vec::new();
        for blob in requests {
            let name = digest(blob.digest.as_ref())?;
            if lie.is_none() && DigestFunction::Sha256.digest(&blob.data) != name {
                return Err(Status::invalid_argument(format!("{name} is another blob")));
            }
            let data = lie.map_or(Some(blob.data.clone()), |lie| lies::about_blob(lie, &blob.data));
            if let Some(data) = data {
                state.content.blobs.insert(name, data);
            }
            responses.push(reapi::batch_update_blobs_response::Response {
                digest: blob.digest,
                status: None,
            });
        }
        if let Some(lie) = lie {
            lies::about_updates(lie, &mut responses);
        }
        Ok(Response::new(reapi::BatchUpdateBlobsResponse { responses }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<reapi::BatchReadBlobsRequest>,
    ) -> Result<Response<reapi::BatchReadBlobsResponse>, Status> {
        let lie = self.enter(Rpc::BatchReadBlobs).await?;
        let mut state = self.state();
        let mut responses = Vec::new();
        for wanted in request.into_inner().digests {
            let name = digest(Some(&wanted))?;
            state.read.push(name);
            let found = state.content.blobs.get(&name).cloned();
            let data = match lie {
                Some(lie) => found.and_then(|data| lies::about_blob(lie, &data)),
                None => found,
            };
            let code = if data.is_some() { Code::Ok } else { Code::NotFound };
            responses.push(reapi::batch_read_blobs_response::Response {
                digest: Some(wanted),
                data: data.unwrap_or_default(),
                status: Some(rpc::Status { code: code as i32, ..Default::default() }),
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
impl ByteStream for Server {
    type ReadStream = Pieces;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Pieces>, Status> {
        let request = request.into_inner();
        let due = self.state().due(Rpc::Read);
        let cut = due == Some(Fault::Cut);
        let lie = if cut { None } else { self.enter(Rpc::Read).await? };
        let name = named(&request.resource_name)?;
        self.state().read.push(name);
        let found = self.state().content.blobs.get(&name).cloned();
        let blob = found.ok_or_else(|| Status::not_found("no such blob"))?;
        let blob = lie.map_or(Some(blob.clone()), |lie| lies::about_blob(lie, &blob));
        let blob = blob.ok_or_else(|| Status::not_found("no such blob"))?;
        let offset = usize::try_from(request.read_offset).unwrap_or_default().min(blob.len());
        let mut rest = blob.slice(offset..);
        let broken = match due {
            Some(Fault::Cut) => Some(rest.len() / 2),
            Some(Fault::BreakOff(after)) => Some(after),
            _ => None,
        };
        rest.truncate(broken.unwrap_or(rest.len()));
        let (sender, receiver) = mpsc::channel(1);
        let server = self.clone();
        tokio::spawn(async move {
            for piece in rest.chunks(8_000) {
                let piece = ReadResponse { data: rest.slice_ref(piece) };
                if sender.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
            if cut {
                // Room in the channel: the last piece is on its way.
                let _permit = sender.reserve().await;
                let _cut = server.enter(Rpc::Read).await;
            } else if broken.is_some() {
                let _sent = sender.send(Err(Status::unavailable("broken off"))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        let mut stream = request.into_inner();
        let mut first = stream.message().await?.unwrap_or_default();
        // The stream has begun when something goes wrong.
        let lie = self.enter(Rpc::Write).await?;
        let name = named(&first.resource_name)?;
        let mut content = first.data.to_vec();
        while !first.finish_write {
            let Some(piece) = stream.message().await? else { break };
            content.extend_from_slice(&piece.data);
            first.finish_write = piece.finish_write;
        }
        let content = Bytes::from(content);
        let mut committed_size = content.len() as i64;
        if let Some(lie) = lie {
            committed_size = lies::about_size(lie, committed_size);
        } else if DigestFunction::Sha256.digest(&content) != name {
            return Err(Status::invalid_argument(format!("{name} is another blob")));
        }
        let content = lie.map_or(Some(content.clone()), |lie| lies::about_blob(lie, &content));
        if let Some(content) = content {
            self.state().content.blobs.insert(name, content);
        }
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        _: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        Err(Status::unimplemented("as some servers say"))
    }
}

type Operations = ReceiverStream<Result<Operation, Status>>;

#[tonic::async_trait]
impl Execution for Server {
    type ExecuteStream = Operations;
    type WaitExecutionStream = Operations;

    async fn execute(
        &self,
        request: Request<reapi::ExecuteRequest>,
    ) -> Result<Response<Operations>, Status> {
        let lie = self.enter(Rpc::Execute).await?;
        self.state().executed.push(request.into_inner());
        let (sender, receiver) = mpsc::channel(1);
        if let Some(lie) = lie {
            let _sent = sender.send(Ok(lies::about_execution(lie))).await;
            return Ok(Response::new(ReceiverStream::new(receiver)));
        }
        let nothing = || Status::unimplemented("nothing is executed here");
        self.next_operations().ok_or_else(nothing)?
    }

    async fn wait_execution(
        &self,
        request: Request<reapi::WaitExecutionRequest>,
    ) -> Result<Response<Operations>, Status> {
        self.enter(Rpc::WaitExecution).await?;
        self.state().calls.push(request.into_inner().name);
        let nothing = || Status::not_found("nothing is executed here");
        self.next_operations().ok_or_else(nothing)?
    }
}

impl Server {
    fn next_operations(&self) -> Option<Result<Response<Operations>, Status>> {
        let next = self.state().operations.pop_front()?;
        if let Some(Err(status)) = next.first() {
            return Some(Err(status.clone()));
        }
        let (sender, receiver) = mpsc::channel(next.len().max(1));
        for operation in next {
            sender.try_send(operation).expect("room");
        }
        Some(Ok(Response::new(ReceiverStream::new(receiver))))
    }
}
