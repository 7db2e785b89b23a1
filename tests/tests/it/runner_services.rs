//! Every method of every service, on the socket in our sandbox and in the reference's.

use std::collections::BTreeMap;

use forerunner_merkle::Digest;
use forerunner_proto::asset::fetch_client::FetchClient;
use forerunner_proto::asset::push_client::PushClient;
use forerunner_proto::asset::{
    FetchBlobRequest, FetchDirectoryRequest, PushBlobRequest, PushDirectoryRequest,
};
use forerunner_proto::buildgrid::local_content_addressable_storage_client::LocalContentAddressableStorageClient;
use forerunner_proto::bytestream::byte_stream_client::ByteStreamClient;
use forerunner_proto::bytestream::{QueryWriteStatusRequest, ReadRequest, WriteRequest};
use forerunner_proto::longrunning::operations_client::OperationsClient;
use forerunner_proto::reapi::action_cache_client::ActionCacheClient;
use forerunner_proto::reapi::capabilities_client::CapabilitiesClient;
use forerunner_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use forerunner_proto::reapi::execution_client::ExecutionClient;
use forerunner_proto::{Kept, buildgrid, longrunning, reapi};
use forerunner_reapi::Content;
use forerunner_tests::{bin, buildbox, peer};
use nix::libc::SIGSEGV;
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

use crate::endpoint::FUNCTION;
use crate::runner::{Lab, forgiving, sh};
use crate::runner_socket::{waiting, with_program};

/// Where ours says something else, and why.
const DIFFERENCES: [(&str, Code, Code); 6] = [
    // Both refuse; ours says whose fault it is.
    ("FindMissingBlobs, nonsense", Code::InvalidArgument, Code::Unknown),
    // What the reference leaves out.
    ("QueryWriteStatus", Code::Ok, Code::Unimplemented),
    ("FetchMissingBlobs", Code::Ok, Code::Unimplemented),
    ("UploadMissingBlobs", Code::Ok, Code::Unimplemented),
    // Both refuse.
    ("StageTree", Code::Unimplemented, Code::FailedPrecondition),
    ("NestedServer", Code::Unimplemented, Code::FailedPrecondition),
];

/// What was said to each call.
type Answers = BTreeMap<&'static str, Code>;

/// What the calls are about.
struct Subject {
    /// A tree with one file, and that file.
    root: reapi::Digest,
    file: reapi::Digest,
    /// An action with a result.
    action: reapi::Digest,
    nothing: reapi::Digest,
}

fn code<T>(answer: Result<Response<T>, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// Of a stream, what its first message says.
async fn first<T>(answer: Result<Response<Streaming<T>>, Status>) -> Code {
    match answer {
        Ok(stream) => match stream.into_inner().message().await {
            Ok(_) => Code::Ok,
            Err(status) => status.code(),
        },
        Err(status) => status.code(),
    }
}

fn name(digest: &reapi::Digest) -> String {
    format!("blobs/{}/{}", digest.hash, digest.size_bytes)
}

async fn content(channel: &Channel, it: &Subject) -> Answers {
    let mut cas = ContentAddressableStorageClient::new(channel.clone());
    let mut bytes = ByteStreamClient::new(channel.clone());
    let digests = || vec![it.file.clone(), it.nothing.clone()];
    let wrong = reapi::Digest { hash: "x".to_owned(), size_bytes: -1 };
    let find = |blob_digests| reapi::FindMissingBlobsRequest { blob_digests, ..Default::default() };
    let tree = |digest: &reapi::Digest| reapi::GetTreeRequest {
        root_digest: Some(digest.clone()),
        ..Default::default()
    };
    let blob = reapi::batch_update_blobs_request::Request {
        digest: Some(FUNCTION.digest(b"new").to_proto()),
        data: b"new".as_slice().into(),
        ..Default::default()
    };
    let update = reapi::BatchUpdateBlobsRequest { requests: vec![blob], ..Default::default() };
    let read = reapi::BatchReadBlobsRequest { digests: digests(), ..Default::default() };
    let split =
        reapi::SplitBlobRequest { blob_digest: Some(it.file.clone()), ..Default::default() };
    let splice = reapi::SpliceBlobRequest {
        blob_digest: Some(it.file.clone()),
        chunk_digests: vec![it.file.clone()],
        ..Default::default()
    };
    let stream =
        |digest: &reapi::Digest| ReadRequest { resource_name: name(digest), ..Default::default() };
    let upload = |digest: &Digest, data: &'static [u8]| {
        let resource_name =
            format!("uploads/11111111-2222-4333-8444-555555555555/{}", name(&digest.to_proto()));
        let request = WriteRequest {
            resource_name,
            finish_write: true,
            data: data.into(),
            ..Default::default()
        };
        tokio_stream::once(request)
    };
    let status = QueryWriteStatusRequest { resource_name: name(&it.nothing) };
    BTreeMap::from([
        ("FindMissingBlobs", code(cas.find_missing_blobs(find(digests())).await)),
        ("FindMissingBlobs, nonsense", code(cas.find_missing_blobs(find(vec![wrong])).await)),
        ("BatchUpdateBlobs", code(cas.batch_update_blobs(update).await)),
        ("BatchReadBlobs", code(cas.batch_read_blobs(read).await)),
        ("GetTree", first(cas.get_tree(tree(&it.root)).await).await),
        ("GetTree, missing", first(cas.get_tree(tree(&it.nothing)).await).await),
        ("SplitBlob", code(cas.split_blob(split).await)),
        ("SpliceBlob", code(cas.splice_blob(splice).await)),
        ("Read", first(bytes.read(stream(&it.file)).await).await),
        ("Read, missing", first(bytes.read(stream(&it.nothing)).await).await),
        ("Write", code(bytes.write(upload(&FUNCTION.digest(b"more"), b"more")).await)),
        ("Write, wrong", code(bytes.write(upload(&FUNCTION.digest(b"more1"), b"more2")).await)),
        ("QueryWriteStatus", code(bytes.query_write_status(status).await)),
    ])
}

/// casd takes an empty result for none.
fn kept_result() -> reapi::ActionResult {
    reapi::ActionResult { stdout_raw: vec![b'x'], ..Default::default() }
}

async fn actions(channel: &Channel, it: &Subject) -> Answers {
    let mut cache = ActionCacheClient::new(channel.clone());
    let mut execution = ExecutionClient::new(channel.clone());
    let mut capabilities = CapabilitiesClient::new(channel.clone());
    let get = |digest: &reapi::Digest| reapi::GetActionResultRequest {
        action_digest: Some(digest.clone()),
        ..Default::default()
    };
    let update = Kept::new(&reapi::UpdateActionResultRequest {
        action_digest: Some(it.action.clone()),
        action_result: Some(kept_result()),
        ..Default::default()
    });
    let execute =
        reapi::ExecuteRequest { action_digest: Some(it.nothing.clone()), ..Default::default() };
    let wait = reapi::WaitExecutionRequest { name: "none".to_owned() };
    let ask = reapi::GetCapabilitiesRequest::default();
    BTreeMap::from([
        ("GetCapabilities", code(capabilities.get_capabilities(ask).await)),
        ("GetActionResult", code(cache.get_action_result(get(&it.action)).await)),
        ("GetActionResult, missing", code(cache.get_action_result(get(&it.nothing)).await)),
        ("UpdateActionResult", code(cache.update_action_result(update).await)),
        ("Execute, missing", first(execution.execute(execute).await).await),
        ("WaitExecution, missing", first(execution.wait_execution(wait).await).await),
    ])
}

async fn local(channel: &Channel, it: &Subject) -> Answers {
    let mut local = LocalContentAddressableStorageClient::new(channel.clone());
    let blob_digests = || vec![it.file.clone()];
    let fetch =
        buildgrid::FetchMissingBlobsRequest { blob_digests: blob_digests(), ..Default::default() };
    let upload =
        buildgrid::UploadMissingBlobsRequest { blob_digests: blob_digests(), ..Default::default() };
    let fetch_tree = |digest: &reapi::Digest| buildgrid::FetchTreeRequest {
        root_digest: Some(digest.clone()),
        fetch_file_blobs: true,
        ..Default::default()
    };
    let upload_tree =
        buildgrid::UploadTreeRequest { root_digest: Some(it.root.clone()), ..Default::default() };
    let stage = buildgrid::StageTreeRequest {
        root_digest: Some(it.root.clone()),
        path: "/w/staged".to_owned(),
        ..Default::default()
    };
    let export = buildgrid::ExportFilesRequest {
        path: "/w".to_owned(),
        output_files: vec![reapi::OutputFile {
            path: "exported".to_owned(),
            digest: Some(it.file.clone()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let path = || vec!["/w".to_owned()];
    let tree = buildgrid::CaptureTreeRequest { path: path(), ..Default::default() };
    let file = || vec!["/w/in".to_owned()];
    let files = buildgrid::CaptureFilesRequest { path: file(), ..Default::default() };
    let hash = buildgrid::HashFilesRequest { path: file(), ..Default::default() };
    let nested = buildgrid::NestedServerRequest { path: "/w/s".to_owned(), ..Default::default() };
    let details = buildgrid::GetLocalServerDetailsRequest::default();
    BTreeMap::from([
        ("GetLocalServerDetails", code(local.get_local_server_details(details).await)),
        ("FetchMissingBlobs", code(local.fetch_missing_blobs(fetch).await)),
        ("UploadMissingBlobs", code(local.upload_missing_blobs(upload).await)),
        ("FetchTree", code(local.fetch_tree(fetch_tree(&it.root)).await)),
        ("FetchTree, missing", code(local.fetch_tree(fetch_tree(&it.nothing)).await)),
        ("UploadTree", code(local.upload_tree(upload_tree).await)),
        ("StageTree", first(local.stage_tree(tokio_stream::once(stage)).await).await),
        ("ExportFiles", code(local.export_files(export).await)),
        ("CaptureTree", code(local.capture_tree(tree).await)),
        ("CaptureFiles", code(local.capture_files(files).await)),
        ("HashFiles", code(local.hash_files(hash).await)),
        (
            "GetInstanceNameForRemote",
            code(
                local
                    .get_instance_name_for_remote(
                        buildgrid::GetInstanceNameForRemoteRequest::default(),
                    )
                    .await,
            ),
        ),
        (
            "GetInstanceNameForRemotes",
            code(
                local
                    .get_instance_name_for_remotes(
                        buildgrid::GetInstanceNameForRemotesRequest::default(),
                    )
                    .await,
            ),
        ),
        (
            "GetLocalDiskUsage",
            code(local.get_local_disk_usage(buildgrid::GetLocalDiskUsageRequest::default()).await),
        ),
        ("NestedServer", first(local.nested_server(tokio_stream::once(nested)).await).await),
    ])
}

async fn others(channel: &Channel) -> Answers {
    let mut fetch = FetchClient::new(channel.clone());
    let mut push = PushClient::new(channel.clone());
    let mut operations = OperationsClient::new(channel.clone());
    let uris = vec!["urn:none".to_owned()];
    let blob = FetchBlobRequest { uris: uris.clone(), ..Default::default() };
    let tree = FetchDirectoryRequest { uris: uris.clone(), ..Default::default() };
    let push_blob = PushBlobRequest { uris: uris.clone(), ..Default::default() };
    let push_tree = PushDirectoryRequest { uris, ..Default::default() };
    let name = || "none".to_owned();
    let list = longrunning::ListOperationsRequest::default();
    let get = longrunning::GetOperationRequest { name: name() };
    let delete = longrunning::DeleteOperationRequest { name: name() };
    let cancel = longrunning::CancelOperationRequest { name: name() };
    BTreeMap::from([
        ("FetchBlob", code(fetch.fetch_blob(blob).await)),
        ("FetchDirectory", code(fetch.fetch_directory(tree).await)),
        ("PushBlob", code(push.push_blob(push_blob).await)),
        ("PushDirectory", code(push.push_directory(push_tree).await)),
        ("ListOperations", code(operations.list_operations(list).await)),
        ("GetOperation", code(operations.get_operation(get).await)),
        ("DeleteOperation", code(operations.delete_operation(delete).await)),
        ("CancelOperation", code(operations.cancel_operation(cancel).await)),
    ])
}

#[test]
fn each_method_answers_as_the_reference_does() {
    let Some(lab) = Lab::casd() else { return };
    let Some(reference) = peer("buildbox-run", buildbox("buildbox-run")) else { return };
    let digest = |bytes: &[u8]| FUNCTION.digest(bytes);
    let (action, _) = lab.upload(&sh("true"));
    let file = reapi::FileNode {
        name: "f".to_owned(),
        digest: Some(digest(b"file").to_proto()),
        ..Default::default()
    };
    let directory = reapi::Directory { files: vec![file], ..Default::default() };
    let directory = forerunner_proto::Message::encode_to_vec(&directory);
    let subject = Subject {
        root: digest(&directory).to_proto(),
        file: digest(b"file").to_proto(),
        action: action.to_proto(),
        nothing: digest(b"nowhere").to_proto(),
    };
    lab.runtime.block_on(async {
        let blob = |bytes: Vec<u8>| (digest(&bytes), Content::Bytes(bytes.into()));
        let blobs = vec![blob(b"file".to_vec()), blob(directory)];
        lab.endpoint.upload(blobs).await.expect("an upload");
        let result = Kept::new(&kept_result());
        lab.endpoint.update_action_result(&action, &result).await.expect("an update");
    });
    let ask = |program: &std::path::Path, option: &str| -> [Answers; 4] {
        // The reference does not make the folder of the socket.
        let case = waiting("true").file("w/in", "input").folder("run").option(option);
        let attempt = || {
            let mut answers = None;
            let outcome = with_program(&lab, program, &case, async |socket, _| {
                let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{socket}"));
                let channel = endpoint.expect("an address").connect().await.expect("a server");
                answers = Some([
                    content(&channel, &subject).await,
                    actions(&channel, &subject).await,
                    local(&channel, &subject).await,
                    others(&channel).await,
                ]);
            });
            (outcome, answers)
        };
        let (outcome, answers) =
            forgiving(program, attempt, |(outcome, _)| outcome.exit_status == -SIGSEGV);
        assert_eq!(outcome.exit_status, 0, "{outcome:#?}");
        answers.expect("answers")
    };
    for option in ["--log-level=info", "--nested-ac-enable-update"] {
        let (ours, theirs) = (ask(&bin("buildbox-run"), option), ask(&reference, option));
        let mut differences = Vec::new();
        for (ours, theirs) in ours.iter().zip(&theirs) {
            for (&name, &answer) in ours {
                if answer != theirs[name] {
                    differences.push((name, answer, theirs[name]));
                }
            }
        }
        differences.sort_by_key(|it| DIFFERENCES.iter().position(|known| known == it));
        assert_eq!(differences, DIFFERENCES, "{option}");
    }
}
