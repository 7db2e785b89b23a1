//! LocalCAS: content by path, for processes inside a sandbox. Paths are those of the sandbox.

use std::io::{Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::pin::Pin;

use forerunner_merkle::{Digest, Forest};
use forerunner_proto::buildgrid::local_content_addressable_storage_server::LocalContentAddressableStorage;
use forerunner_proto::buildgrid::{self, capture_files_response, capture_tree_response};
use forerunner_proto::buildgrid::{export_files_response, hash_files_response};
use forerunner_proto::{Message, reapi, rpc};
use forerunner_reapi::{Content, Error};
use forerunner_store::scan;
use futures_core::Stream;
use nix::fcntl::OFlag;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::Front;
use crate::root::{Opened, SandboxRoot};
use crate::status::to_rpc;

/// LocalCAS for one sandbox.
#[derive(Clone)]
pub(crate) struct LocalCas {
    pub(crate) front: Front,
    pub(crate) root: SandboxRoot,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A file that was read: its digest, and whether it may be executed.
struct Hashed {
    opened: Opened,
    digest: Digest,
    executable: bool,
}

impl LocalCas {
    /// The path that a request means: `root` and `path` are both paths of the sandbox.
    fn join(root: &str, path: &str) -> String {
        if root.is_empty() || path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{root}/{path}")
        }
    }

    fn hash(&self, path: &str) -> Result<Hashed, Status> {
        let mut opened =
            self.root.open(path, OFlag::O_RDONLY).map_err(|error| failed(path, &error))?;
        let metadata = opened.file.metadata().map_err(|error| failed(path, &error))?;
        if !metadata.is_file() {
            return Err(Status::invalid_argument(format!("`{path}` is no regular file")));
        }
        let mut hasher = self.front.endpoint.function().hasher();
        std::io::copy(&mut opened.file, &mut hasher).map_err(|error| failed(path, &error))?;
        let executable = metadata.permissions().mode() & 0o100 != 0;
        Ok(Hashed { opened, digest: hasher.finish(), executable })
    }

    async fn capture_file(&self, path: &str, upload: bool) -> Result<Hashed, Status> {
        /// What is sent from memory rather than read a second time.
        const SMALL_BYTES: u64 = 1024 * 1024;
        let mut hashed = self.hash(path)?;
        if upload {
            let content = if hashed.digest.size() <= SMALL_BYTES {
                let mut bytes = Vec::new();
                hashed.opened.file.rewind().map_err(|error| failed(path, &error))?;
                hashed.opened.file.read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
                // It may have changed; then this is what was captured.
                hashed.digest = self.front.endpoint.function().digest(&bytes);
                Content::Bytes(bytes.into())
            } else {
                Content::File(hashed.opened.path())
            };
            self.upload(vec![(hashed.digest, content)]).await?;
        }
        Ok(hashed)
    }

    async fn upload(&self, blobs: Vec<(Digest, Content)>) -> Result<(), Status> {
        self.front.endpoint.upload(blobs).await.map_err(|error| error.to_status())
    }

    async fn capture_tree(
        &self,
        path: &str,
        request: &buildgrid::CaptureTreeRequest,
    ) -> Result<(Option<Digest>, Option<Digest>, u64), Status> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let opened = self.root.open(path, flags).map_err(|error| failed(path, &error))?;
        let asked = |name: &str| request.node_properties.iter().any(|property| property == name);
        let attributes = scan::Attributes { mtime: asked("mtime"), unix_mode: asked("unix_mode") };
        let function = self.front.endpoint.function();
        let scanned = scan::directory(&opened.path(), function, attributes);
        let mut scanned =
            scanned.map_err(|error| Status::internal(format!("`{path}`: {error}")))?;
        let total = scanned.files.iter().map(|(digest, _)| digest.size()).sum();
        let format = request.output_directory_format;
        let as_tree = format != reapi::command::OutputDirectoryFormat::DirectoryOnly as i32;
        let as_directory = format != reapi::command::OutputDirectoryFormat::TreeOnly as i32;
        let mut blobs: Vec<(Digest, Content)> = Vec::new();
        let mut tree = None;
        if as_tree {
            let message = scanned.forest.tree(scanned.root);
            let message = message.map_err(|error| Status::internal(error.to_string()))?;
            let bytes = message.encode_to_vec();
            let digest = function.digest(&bytes);
            blobs.push((digest, Content::Bytes(bytes.into())));
            tree = Some(digest);
        }
        if as_directory {
            let made = scanned.forest.take_made().into_iter();
            blobs.extend(made.map(|(digest, bytes)| (digest, Content::Bytes(bytes))));
        }
        if !request.skip_upload {
            let files = scanned.files.into_iter();
            blobs.extend(files.map(|(digest, path)| (digest, Content::File(path))));
            self.upload(blobs).await?;
        }
        Ok((tree, as_directory.then_some(scanned.root), total))
    }

    /// The directories and, if asked for, files below `root` that cannot be had.
    async fn check_tree(&self, root: Option<&reapi::Digest>, files: bool) -> Result<(), Status> {
        let root = Front::digest(root)?;
        let endpoint = &self.front.endpoint;
        let mut forest = Forest::new(endpoint.function());
        endpoint.load(&mut forest, &[root]).await.map_err(|error| error.to_status())?;
        if !files {
            return Ok(());
        }
        let mut digests = Vec::new();
        for directory in forest.walk(root).map_err(|error| Status::not_found(error.to_string()))? {
            if let Some(directory) = forest.get(&directory) {
                digests.extend(directory.files().iter().map(|(_, file)| file.digest));
            }
        }
        let missing = endpoint.missing(&digests).await.map_err(|error| error.to_status())?;
        match missing.first() {
            None => Ok(()),
            Some(digest) => Err(Error::MissingBlob(*digest).to_status()),
        }
    }

    async fn presence(
        &self,
        digests: &[reapi::Digest],
    ) -> Result<Vec<(reapi::Digest, rpc::Status)>, Status> {
        let parsed: Vec<Digest> =
            digests.iter().map(|digest| Front::digest(Some(digest))).collect::<Result<_, _>>()?;
        let missing =
            self.front.endpoint.missing(&parsed).await.map_err(|error| error.to_status())?;
        let status = |digest: &Digest| match missing.contains(digest) {
            true => to_rpc(&Error::MissingBlob(*digest).to_status()),
            false => rpc::Status::default(),
        };
        Ok(parsed.iter().map(|digest| (digest.to_proto(), status(digest))).collect())
    }

    async fn export(&self, file: &reapi::OutputFile, path: &str) -> Result<(), Status> {
        let digest = Front::digest(file.digest.as_ref())?;
        let mut stream =
            self.front.endpoint.read(&digest, 0, u64::MAX).map_err(|error| error.to_status())?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let mut opened = self.root.open(path, flags).map_err(|error| failed(path, &error))?;
        while let Some(piece) = stream.next().await.map_err(|error| error.to_status())? {
            std::io::Write::write_all(&mut opened.file, &piece)
                .map_err(|error| failed(path, &error))?;
        }
        let mode = if file.is_executable { 0o755 } else { 0o644 };
        let mode = std::fs::Permissions::from_mode(mode);
        opened.file.set_permissions(mode).map_err(|error| failed(path, &error))
    }
}

fn failed(path: &str, error: &std::io::Error) -> Status {
    let message = format!("`{path}`: {error}");
    match error.kind() {
        std::io::ErrorKind::NotFound => Status::not_found(message),
        std::io::ErrorKind::PermissionDenied => Status::permission_denied(message),
        std::io::ErrorKind::AlreadyExists => Status::already_exists(message),
        _ => Status::new(Code::Internal, message),
    }
}

fn outcome<T>(result: Result<T, Status>) -> (Option<T>, Option<rpc::Status>) {
    match result {
        Ok(value) => (Some(value), Some(rpc::Status::default())),
        Err(status) => (None, Some(to_rpc(&status))),
    }
}

#[tonic::async_trait]
impl LocalContentAddressableStorage for LocalCas {
    type StageTreeStream = Answers<buildgrid::StageTreeResponse>;
    type NestedServerStream = Answers<buildgrid::NestedServerResponse>;

    async fn get_local_server_details(
        &self,
        _: Request<buildgrid::GetLocalServerDetailsRequest>,
    ) -> Result<Response<buildgrid::LocalServerDetails>, Status> {
        // What runs outside is none of the sandbox's business; the reference says the same.
        Err(Status::permission_denied("not told inside a sandbox"))
    }

    async fn fetch_missing_blobs(
        &self,
        request: Request<buildgrid::FetchMissingBlobsRequest>,
    ) -> Result<Response<buildgrid::FetchMissingBlobsResponse>, Status> {
        use buildgrid::fetch_missing_blobs_response::Response as Entry;
        let found = self.presence(&request.into_inner().blob_digests).await?.into_iter();
        let responses = found
            .filter(|(_, status)| status.code != 0)
            .map(|(digest, status)| Entry { digest: Some(digest), status: Some(status) });
        let responses = responses.collect();
        Ok(Response::new(buildgrid::FetchMissingBlobsResponse { responses }))
    }

    async fn upload_missing_blobs(
        &self,
        request: Request<buildgrid::UploadMissingBlobsRequest>,
    ) -> Result<Response<buildgrid::UploadMissingBlobsResponse>, Status> {
        use buildgrid::upload_missing_blobs_response::Response as Entry;
        let found = self.presence(&request.into_inner().blob_digests).await?.into_iter();
        let responses = found
            .filter(|(_, status)| status.code != 0)
            .map(|(digest, status)| Entry { digest: Some(digest), status: Some(status) });
        let responses = responses.collect();
        Ok(Response::new(buildgrid::UploadMissingBlobsResponse { responses }))
    }

    async fn fetch_tree(
        &self,
        request: Request<buildgrid::FetchTreeRequest>,
    ) -> Result<Response<buildgrid::FetchTreeResponse>, Status> {
        let request = request.into_inner();
        self.check_tree(request.root_digest.as_ref(), request.fetch_file_blobs).await?;
        Ok(Response::new(buildgrid::FetchTreeResponse {}))
    }

    async fn upload_tree(
        &self,
        request: Request<buildgrid::UploadTreeRequest>,
    ) -> Result<Response<buildgrid::UploadTreeResponse>, Status> {
        self.check_tree(request.into_inner().root_digest.as_ref(), true).await?;
        Ok(Response::new(buildgrid::UploadTreeResponse {}))
    }

    async fn stage_tree(
        &self,
        _: Request<Streaming<buildgrid::StageTreeRequest>>,
    ) -> Result<Response<Self::StageTreeStream>, Status> {
        Err(Status::unimplemented("trees are not staged inside a sandbox; use ExportFiles"))
    }

    async fn nested_server(
        &self,
        _: Request<Streaming<buildgrid::NestedServerRequest>>,
    ) -> Result<Response<Self::NestedServerStream>, Status> {
        Err(Status::unimplemented("use this socket; it may be shared"))
    }

    async fn export_files(
        &self,
        request: Request<buildgrid::ExportFilesRequest>,
    ) -> Result<Response<buildgrid::ExportFilesResponse>, Status> {
        let request = request.into_inner();
        let mut responses = Vec::new();
        for file in &request.output_files {
            let path = Self::join(&request.path, &file.path);
            let (_, status) = outcome(self.export(file, &path).await);
            responses.push(export_files_response::Response { path: file.path.clone(), status });
        }
        Ok(Response::new(buildgrid::ExportFilesResponse { responses }))
    }

    async fn capture_tree(
        &self,
        request: Request<buildgrid::CaptureTreeRequest>,
    ) -> Result<Response<buildgrid::CaptureTreeResponse>, Status> {
        let request = request.into_inner();
        let mut responses = Vec::new();
        for path in &request.path {
            let full = Self::join(&request.root, path);
            let (found, status) = outcome(Self::capture_tree(self, &full, &request).await);
            let (tree, root, total) = found.unwrap_or_default();
            responses.push(capture_tree_response::Response {
                path: path.clone(),
                tree_digest: tree.as_ref().map(Digest::to_proto),
                root_directory_digest: root.as_ref().map(Digest::to_proto),
                total_size_bytes: total as i64,
                status,
            });
        }
        Ok(Response::new(buildgrid::CaptureTreeResponse { responses }))
    }

    async fn capture_files(
        &self,
        request: Request<buildgrid::CaptureFilesRequest>,
    ) -> Result<Response<buildgrid::CaptureFilesResponse>, Status> {
        let request = request.into_inner();
        let mut responses = Vec::new();
        for path in &request.path {
            let full = Self::join(&request.root, path);
            let (found, status) = outcome(self.capture_file(&full, !request.skip_upload).await);
            responses.push(capture_files_response::Response {
                path: path.clone(),
                digest: found.as_ref().map(|hashed| hashed.digest.to_proto()),
                is_executable: found.is_some_and(|hashed| hashed.executable),
                status,
                node_properties: None,
            });
        }
        Ok(Response::new(buildgrid::CaptureFilesResponse { responses }))
    }

    async fn hash_files(
        &self,
        request: Request<buildgrid::HashFilesRequest>,
    ) -> Result<Response<buildgrid::HashFilesResponse>, Status> {
        let request = request.into_inner();
        let mut responses = Vec::new();
        for path in &request.path {
            let full = Self::join(&request.root, path);
            let (found, status) = outcome(self.hash(&full));
            responses.push(hash_files_response::Response {
                path: path.clone(),
                digest: found.as_ref().map(|hashed| hashed.digest.to_proto()),
                is_executable: found.is_some_and(|hashed| hashed.executable),
                status,
                node_properties: None,
            });
        }
        Ok(Response::new(buildgrid::HashFilesResponse { responses }))
    }

    async fn get_instance_name_for_remote(
        &self,
        _: Request<buildgrid::GetInstanceNameForRemoteRequest>,
    ) -> Result<Response<buildgrid::GetInstanceNameForRemoteResponse>, Status> {
        Err(Status::permission_denied("a sandbox may not add remotes"))
    }

    async fn get_instance_name_for_remotes(
        &self,
        _: Request<buildgrid::GetInstanceNameForRemotesRequest>,
    ) -> Result<Response<buildgrid::GetInstanceNameForRemotesResponse>, Status> {
        Err(Status::permission_denied("a sandbox may not add remotes"))
    }

    async fn get_local_disk_usage(
        &self,
        _: Request<buildgrid::GetLocalDiskUsageRequest>,
    ) -> Result<Response<buildgrid::GetLocalDiskUsageResponse>, Status> {
        let endpoint = &self.front.endpoint;
        if let Some(mut server) = endpoint.local_cas() {
            let request = buildgrid::GetLocalDiskUsageRequest::default();
            return server.get_local_disk_usage(request).await;
        }
        let Some(store) = endpoint.store() else {
            return Err(Status::unimplemented("the endpoint is not on this machine"));
        };
        let stats = store.stats().map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(buildgrid::GetLocalDiskUsageResponse {
            size_bytes: stats.bytes as i64,
            quota_bytes: store.size_limit() as i64,
        }))
    }
}
