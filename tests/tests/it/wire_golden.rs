//! Whole messages, byte by byte: each is what we think it is, and is written the same again.

use std::collections::HashMap;

use forerunner_proto::{
    Any, Duration, Timestamp, buildbox, buildgrid, buildstream, bytestream, longrunning, reapi,
    rpc, semver,
};
use prost::Message;

use crate::wire::golden_bytes;

fn golden<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, expected: &M) {
    let bytes = golden_bytes(name);
    let decoded = M::decode(bytes.as_slice()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(&decoded, expected, "{name}");
    assert_eq!(decoded.encode_to_vec(), bytes, "{name}: written differently");
}

fn reapi_name(name: &str) -> String {
    format!("build.bazel.remote.execution.v2.{name}")
}

fn digest(digit: char, size_bytes: i64) -> reapi::Digest {
    reapi::Digest { hash: digit.to_string().repeat(64), size_bytes }
}

fn some(digit: char, size_bytes: i64) -> Option<reapi::Digest> {
    Some(digest(digit, size_bytes))
}

fn time(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

fn platform(name: &str, value: &str) -> Option<reapi::Platform> {
    let property = reapi::platform::Property { name: name.into(), value: value.into() };
    Some(reapi::Platform { properties: vec![property] })
}

fn symlink(path: &str, target: &str) -> reapi::OutputSymlink {
    reapi::OutputSymlink { path: path.into(), target: target.into(), node_properties: None }
}

#[test]
fn digest_directory_tree() {
    golden(&reapi_name("Digest"), &digest('a', 300));
    let run = reapi::NodeProperties {
        properties: Vec::new(),
        mtime: time(1_321_009_871, 0),
        unix_mode: Some(0o755),
    };
    let read_only = reapi::NodeProperty { name: "SubtreeReadOnly".into(), value: "true".into() };
    let directory = reapi::Directory {
        files: vec![
            reapi::FileNode {
                name: "a.c".into(),
                digest: some('a', 12),
                is_executable: false,
                node_properties: None,
            },
            reapi::FileNode {
                name: "run".into(),
                digest: some('b', 0),
                is_executable: true,
                node_properties: Some(run),
            },
        ],
        directories: vec![reapi::DirectoryNode { name: "lib".into(), digest: some('c', 80) }],
        symlinks: vec![reapi::SymlinkNode {
            name: "link".into(),
            target: "../a.c".into(),
            node_properties: None,
        }],
        node_properties: Some(reapi::NodeProperties {
            properties: vec![read_only],
            mtime: None,
            unix_mode: None,
        }),
    };
    golden(&reapi_name("Directory"), &directory);
    // The one encoder of directories writes the same.
    let parsed = forerunner_merkle::Directory::from_proto(directory).expect("well-formed");
    let (_, bytes) = parsed.encode(forerunner_merkle::DigestFunction::Sha256);
    assert_eq!(bytes, golden_bytes(&reapi_name("Directory")));
    let tree = reapi::Tree {
        root: Some(reapi::Directory {
            directories: vec![reapi::DirectoryNode { name: "d".into(), digest: some('c', 4) }],
            ..Default::default()
        }),
        children: vec![reapi::Directory {
            symlinks: vec![reapi::SymlinkNode {
                name: "l".into(),
                target: "/".into(),
                node_properties: None,
            }],
            ..Default::default()
        }],
    };
    golden(&reapi_name("Tree"), &tree);
}

#[test]
#[allow(deprecated)]
fn action_and_command() {
    let action = reapi::Action {
        command_digest: some('a', 10),
        input_root_digest: some('b', 20),
        timeout: Some(Duration { seconds: 60, nanos: 500_000_000 }),
        do_not_cache: true,
        salt: vec![0, 0xff],
        platform: platform("OSFamily", "linux"),
    };
    golden(&reapi_name("Action"), &action);
    let command = reapi::Command {
        arguments: vec!["gcc".into(), "-c".into()],
        environment_variables: vec![reapi::command::EnvironmentVariable {
            name: "PATH".into(),
            value: "/usr/bin".into(),
        }],
        output_files: vec!["old.o".into()],
        output_directories: vec!["old".into()],
        output_paths: vec!["a.o".into()],
        platform: platform("ISA", "x86-64"),
        working_directory: "build".into(),
        output_node_properties: vec!["mtime".into()],
        output_directory_format: reapi::command::OutputDirectoryFormat::TreeAndDirectory as i32,
    };
    golden(&reapi_name("Command"), &command);
}

#[test]
#[allow(deprecated)]
fn action_result_with_subactions() {
    let metadata = reapi::ExecutedActionMetadata {
        worker: "w".into(),
        queued_timestamp: time(1, 0),
        worker_start_timestamp: time(2, 3),
        execution_completed_timestamp: time(9, 0),
        output_upload_completed_timestamp: time(10, 0),
        virtual_execution_duration: Some(Duration { seconds: 4, nanos: 0 }),
        ..Default::default()
    };
    let result = reapi::ActionResult {
        output_files: vec![reapi::OutputFile {
            path: "a.o".into(),
            digest: some('a', 1000),
            is_executable: true,
            contents: b"\x7fELF".to_vec(),
            node_properties: None,
        }],
        output_file_symlinks: vec![symlink("f", "t")],
        output_symlinks: vec![symlink("h", "v")],
        output_directories: vec![reapi::OutputDirectory {
            path: "out".into(),
            tree_digest: some('b', 7),
            is_topologically_sorted: true,
            root_directory_digest: some('c', 8),
        }],
        output_directory_symlinks: vec![symlink("g", "u")],
        exit_code: -1,
        stdout_raw: b"ok\n".to_vec(),
        stdout_digest: some('d', 3),
        stderr_raw: b"!".to_vec(),
        stderr_digest: some('e', 1),
        execution_metadata: Some(metadata),
        subactions: vec![digest('1', 141), digest('2', 142)],
    };
    golden(&reapi_name("ActionResult"), &result);
}

#[test]
fn execution() {
    let request = reapi::ExecuteRequest {
        instance_name: "main".into(),
        skip_cache_lookup: true,
        action_digest: some('a', 5),
        execution_policy: Some(reapi::ExecutionPolicy { priority: -5 }),
        results_cache_policy: Some(reapi::ResultsCachePolicy { priority: 1 }),
        digest_function: reapi::digest_function::Value::Blake3 as i32,
        inline_stdout: true,
        inline_stderr: true,
        inline_output_files: vec!["a.o".into()],
    };
    golden(&reapi_name("ExecuteRequest"), &request);
    let log = reapi::LogFile { digest: some('d', 77), human_readable: true };
    let response = reapi::ExecuteResponse {
        result: Some(reapi::ActionResult {
            exit_code: 2,
            subactions: vec![digest('3', 9)],
            ..Default::default()
        }),
        cached_result: true,
        status: Some(rpc::Status { code: 4, message: "too late".into(), details: Vec::new() }),
        server_logs: HashMap::from([("log".to_owned(), log)]),
        message: "see log".into(),
    };
    golden(&reapi_name("ExecuteResponse"), &response);
    let metadata = reapi::ExecuteOperationMetadata {
        stage: reapi::execution_stage::Value::Completed as i32,
        action_digest: some('a', 5),
        ..Default::default()
    };
    let any = |name: &str, value: Vec<u8>| Any {
        type_url: format!("type.googleapis.com/{}", reapi_name(name)),
        value,
    };
    let done = reapi::ExecuteResponse { cached_result: true, ..Default::default() };
    let response = any("ExecuteResponse", done.encode_to_vec());
    let operation = longrunning::Operation {
        name: "operations/1".into(),
        metadata: Some(any("ExecuteOperationMetadata", metadata.encode_to_vec())),
        done: true,
        result: Some(longrunning::operation::Result::Response(response)),
    };
    golden("google.longrunning.Operation", &operation);
    let usage = buildbox::execution_statistics::ProcessResourceUsage {
        utime: Some(Duration { seconds: 1, nanos: 0 }),
        stime: Some(Duration { seconds: 0, nanos: 7 }),
        maxrss: 1024,
        nivcsw: 3,
        ..Default::default()
    };
    let statistics = buildbox::ExecutionStatistics { command_rusage: Some(usage) };
    golden("build.buildbox.ExecutionStatistics", &statistics);
}

#[test]
fn capabilities_and_metadata() {
    use reapi::digest_function::Value::{Blake3, Sha256};
    let version =
        |minor| Some(semver::SemVer { major: 2, minor, patch: 0, prerelease: String::new() });
    let capabilities = reapi::ServerCapabilities {
        cache_capabilities: Some(reapi::CacheCapabilities {
            digest_functions: vec![Sha256 as i32, Blake3 as i32],
            action_cache_update_capabilities: Some(reapi::ActionCacheUpdateCapabilities {
                update_enabled: true,
            }),
            max_batch_total_size_bytes: 4 * 1024 * 1024,
            symlink_absolute_path_strategy: 2,
            supported_compressors: vec![reapi::compressor::Value::Zstd as i32],
            ..Default::default()
        }),
        execution_capabilities: Some(reapi::ExecutionCapabilities {
            digest_function: Sha256 as i32,
            exec_enabled: true,
            digest_functions: vec![Sha256 as i32],
            ..Default::default()
        }),
        deprecated_api_version: None,
        low_api_version: version(0),
        high_api_version: version(11),
    };
    golden(&reapi_name("ServerCapabilities"), &capabilities);
    let tool = reapi::ToolDetails { tool_name: "recc".into(), tool_version: "1".into() };
    let metadata = reapi::RequestMetadata {
        tool_details: Some(tool),
        action_id: "a".repeat(64),
        tool_invocation_id: "i".into(),
        correlated_invocations_id: "c".into(),
        action_mnemonic: "m".into(),
        target_id: "t".into(),
        configuration_id: "k".into(),
    };
    golden(&reapi_name("RequestMetadata"), &metadata);
}

#[test]
fn transfer() {
    use reapi::batch_read_blobs_response::Response;
    let responses = vec![
        Response {
            digest: some('a', 2),
            data: b"hi".to_vec().into(),
            compressor: reapi::compressor::Value::Zstd as i32,
            status: None,
        },
        Response {
            digest: some('b', 2),
            status: Some(rpc::Status { code: 5, ..Default::default() }),
            ..Default::default()
        },
    ];
    golden(&reapi_name("BatchReadBlobsResponse"), &reapi::BatchReadBlobsResponse { responses });
    let read = bytestream::ReadResponse { data: vec![0, 1].into() };
    golden("google.bytestream.ReadResponse", &read);
    let write = bytestream::WriteRequest {
        resource_name: "uploads/u/blobs/h/2".into(),
        write_offset: 1,
        finish_write: true,
        data: b"z".to_vec().into(),
    };
    golden("google.bytestream.WriteRequest", &write);
    let violation = rpc::precondition_failure::Violation {
        r#type: "MISSING".into(),
        subject: "blobs/h/1".into(),
        description: "d".into(),
    };
    let failure = rpc::PreconditionFailure { violations: vec![violation] };
    golden("google.rpc.PreconditionFailure", &failure);
}

#[test]
fn speculation() {
    use buildstream::speculative_actions::overlay::OverlayType;
    use buildstream::speculative_actions::{Overlay, SpeculativeAction};
    let overlay = |kind: OverlayType, element: &str, path: &str, target| Overlay {
        r#type: kind as i32,
        source_element: element.into(),
        source_action_digest: None,
        source_path: path.into(),
        target_digest: Some(target),
    };
    let produced = Overlay {
        source_action_digest: some('4', 150),
        ..overlay(OverlayType::Action, "libB.bst", "b.o", digest('5', 32))
    };
    let speculative = buildstream::SpeculativeActions {
        actions: vec![SpeculativeAction {
            base_action_digest: some('1', 141),
            overlays: vec![
                overlay(OverlayType::Source, "", "src/a.c", digest('2', 30)),
                overlay(OverlayType::Artifact, "libA.bst", "usr/include/a.h", digest('3', 31)),
                produced,
            ],
        }],
        artifact_overlays: vec![overlay(OverlayType::Artifact, "libA.bst", "", digest('6', 33))],
        ..Default::default()
    };
    golden("buildstream.v2.SpeculativeActions", &speculative);
    let artifact = buildstream::Artifact {
        version: 1,
        build_success: true,
        strong_key: "s".into(),
        files: some('a', 9),
        build_deps: vec![buildstream::artifact::Dependency {
            project_name: "p".into(),
            element_name: "e".into(),
            cache_key: "k".into(),
            was_workspaced: true,
        }],
        speculative_actions: some('b', 600),
        ..Default::default()
    };
    golden("buildstream.v2.Artifact", &artifact);
}

#[test]
fn local_cas() {
    let socket = buildgrid::RemoteApisSocketConfig {
        instance_name: "i".into(),
        path: "run/s".into(),
        action_cache_update_enabled: true,
        instance_map: HashMap::from([("a".to_owned(), "b".to_owned())]),
    };
    let stage = buildgrid::StageTreeRequest {
        instance_name: String::new(),
        root_digest: some('a', 3),
        path: "/tmp/x".into(),
        access_credentials: Some(buildgrid::stage_tree_request::Credentials {
            uid: 1000,
            gid: 100,
        }),
        remote_apis_socket: Some(socket),
        pre_unstage_commands: vec!["true".into()],
        staging_mode: buildgrid::stage_tree_request::StagingMode::CopyOrLink as i32,
    };
    golden("build.buildgrid.StageTreeRequest", &stage);
    let capture = buildgrid::CaptureTreeRequest {
        instance_name: "i".into(),
        root: "/sandbox".into(),
        path: vec!["out".into()],
        bypass_local_cache: true,
        node_properties: vec!["mtime".into()],
        move_files: true,
        output_directory_format: reapi::command::OutputDirectoryFormat::DirectoryOnly as i32,
        skip_upload: true,
        unix_mode_mask: Some(0o777),
        allow_chmod_to_read: true,
    };
    golden("build.buildgrid.CaptureTreeRequest", &capture);
}

/// Every golden file is read by a test here.
#[test]
fn no_golden_file_is_forgotten() {
    let source = include_str!("wire_golden.rs");
    let folder = forerunner_tests::checkout().join("testdata/wire/golden");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("golden files") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let name = name.strip_suffix(".txt").expect("`.txt`");
        let short = name.strip_prefix("build.bazel.remote.execution.v2.").unwrap_or(name);
        assert!(source.contains(&format!("(\"{short}\"")), "{name}");
        count += 1;
    }
    assert!(count >= 20, "{count}");
}
