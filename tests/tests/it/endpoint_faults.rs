//! `lib/reapi` against a server that refuses, lies, breaks off or falls silent.

use std::time::Duration;

use bytes::Bytes;
use forerunner_proto::reapi;
use forerunner_reapi::{Config, Content, Endpoint, Error, ExecuteOptions, Remote};
use forerunner_tests::temp;
use tonic::{Code, Status};

use crate::endpoint::{FUNCTION, noise, remote, runtime};
use crate::scripted::lies::Lie;
use crate::scripted::operations::{failed, over, under_way};
use crate::scripted::{Content as Held, Fault, Rpc, Server};

/// Runs `case` with a server that was told what to do.
fn with(script: impl FnOnce(&Server), retries: u32, case: impl AsyncFn(&Endpoint, &Server)) {
    with_blob(&Bytes::new(), script, retries, case);
}

/// The same with a server that has a blob.
fn with_blob(
    blob: &Bytes,
    script: impl FnOnce(&Server),
    retries: u32,
    case: impl AsyncFn(&Endpoint, &Server),
) {
    runtime().block_on(async {
        let folder = temp();
        let blobs = [(FUNCTION.digest(blob), blob.clone())].into();
        let server = Server::with(Held { blobs, ..Held::default() });
        script(&server);
        let url = server.serve(folder.path());
        case(&Endpoint::open(&patient(&url, retries)).expect("an address"), &server).await;
    });
}

fn patient(url: &str, retries: u32) -> Config {
    let mut config = remote(url);
    let Some(Remote { cas, .. }) = &config.remote else { unreachable!() };
    let mut connection = cas.clone();
    connection.retry_limit = retries;
    connection.retry_delay = Duration::from_millis(1);
    config.remote = Some(Remote::all(connection));
    config
}

#[test]
fn what_passes_is_tried_again_and_no_more_often_than_said() {
    let script = |server: &Server| {
        server.set_fault_times(Rpc::FindMissingBlobs, Fault::Refuse(Code::Unavailable), 2);
    };
    let digest = FUNCTION.digest(b"x");
    with(script, 2, async |endpoint, server| {
        assert_eq!(endpoint.missing(&[digest]).await.expect("the third try"), vec![digest]);
        assert_eq!(server.calls().len(), 3);
    });
    with(script, 1, async |endpoint, server| {
        let error = endpoint.missing(&[digest]).await.expect_err("only two tries");
        assert_eq!(error.code(), Code::Unavailable);
        assert!(error.to_string().contains("as the script says"), "{error}");
        assert_eq!(server.calls().len(), 2);
    });
}

#[test]
fn a_silent_server_is_left_after_the_timeout() {
    runtime().block_on(async {
        let folder = temp();
        let server = Server::default();
        server.set_fault(Some((Rpc::FindMissingBlobs, Fault::Silent)));
        let url = server.serve(folder.path());
        let mut config = patient(&url, 0);
        if let Some(remote) = &mut config.remote {
            remote.cas.request_timeout = Some(Duration::from_secs(1));
        }
        let endpoint = Endpoint::open(&config).expect("an address");
        let error = endpoint.missing(&[FUNCTION.digest(b"x")]).await.expect_err("no answer");
        assert_eq!(error.code(), Code::DeadlineExceeded);
    });
}

#[test]
fn lies_about_content_are_found_out() {
    for (size, rpc) in [(10, Rpc::BatchReadBlobs), (5_000_000, Rpc::Read)] {
        let blob = noise(3, size);
        let digest = FUNCTION.digest(&blob);
        let script = |server: &Server| server.set_fault(Some((rpc, Fault::Lie(Lie::Other))));
        with_blob(&blob, script, 0, async |endpoint, _| {
            match endpoint.get(&digest).await {
                Err(Error::WrongBlob { wanted, .. }) => assert_eq!(wanted, digest),
                other => panic!("{other:?}"),
            }
            let folder = temp();
            let path = folder.path().join("file");
            let fetched = endpoint.fetch_files(&[(digest, path.clone(), false)]).await;
            assert!(fetched.is_err() && !path.exists());
        });
    }
}

#[test]
fn a_stream_that_is_cut_goes_on_where_it_ended() {
    let blob = noise(5, 6_000_000);
    let digest = FUNCTION.digest(&blob);
    let script = |server: &Server| server.set_fault_times(Rpc::Read, Fault::BreakOff(1_500_000), 3);
    with_blob(&blob, script, 1, async |endpoint, server| {
        assert_eq!(endpoint.get(&digest).await.expect("the blob"), blob);
        let reads = server.calls().iter().filter(|call| *call == "Read").count();
        assert_eq!(reads, 4);
    });
}

#[test]
fn a_stream_that_is_too_short_is_no_blob() {
    let blob = noise(6, 6_000_000);
    let digest = FUNCTION.digest(&blob);
    let script = |server: &Server| server.set_fault(Some((Rpc::Read, Fault::Lie(Lie::Less))));
    with_blob(&blob, script, 0, async |endpoint, _| {
        let error = endpoint.get(&digest).await.expect_err("a part only");
        assert_eq!(error.code(), Code::DataLoss, "{error}");
    });
}

#[test]
fn batches_keep_to_the_servers_limit() {
    let blobs: Vec<Bytes> = (0..40).map(|seed| noise(seed, 4_000)).collect();
    with(
        |server| server.set_batch_limit(65_536),
        0,
        async |endpoint, server| {
            let uploads =
                blobs.iter().map(|blob| (FUNCTION.digest(blob), Content::Bytes(blob.clone())));
            endpoint.upload(uploads.collect()).await.expect("an upload");
            let batches = server.calls().iter().filter(|call| *call == "BatchUpdateBlobs").count();
            assert!((3..=5).contains(&batches), "{batches}");
            let digests: Vec<_> = blobs.iter().map(|blob| FUNCTION.digest(blob)).collect();
            assert_eq!(endpoint.get_many(&digests).await.expect("blobs").len(), blobs.len());
            // A blob over the limit goes by ByteStream.
            let large = noise(99, 100_000);
            let content = Content::Bytes(large.clone());
            endpoint.upload(vec![(FUNCTION.digest(&large), content)]).await.expect("an upload");
            assert!(server.calls().contains(&"Write".to_owned()));
            assert_eq!(endpoint.get(&FUNCTION.digest(&large)).await.expect("it"), large);
        },
    );
}

async fn execute(endpoint: &Endpoint) -> Result<reapi::ExecuteResponse, Error> {
    let action = FUNCTION.digest(b"an action");
    let execution = endpoint.execute(&action, &ExecuteOptions::default())?;
    Ok(execution.finish().await?.message().expect("a response"))
}

fn exit_code(response: &reapi::ExecuteResponse) -> Option<i32> {
    response.result.as_ref().map(|result| result.exit_code)
}

#[test]
fn a_broken_execution_is_waited_for() {
    let broken = Status::unavailable("restarting");
    let operations = vec![
        vec![Ok(under_way("op-1")), Err(broken.clone())],
        vec![Ok(under_way("op-1"))],
        vec![Ok(under_way("op-1")), Ok(over("op-1", 7))],
    ];
    with(
        |server| server.set_operations(operations),
        2,
        async |endpoint, server| {
            assert_eq!(exit_code(&execute(endpoint).await.expect("a result")), Some(7));
            let calls = ["Execute", "WaitExecution", "op-1", "WaitExecution", "op-1"];
            assert_eq!(server.calls(), calls);
        },
    );
}

#[test]
fn a_forgotten_execution_is_begun_anew() {
    let operations = vec![
        vec![Ok(under_way("op-1")), Err(Status::unavailable("restarting"))],
        vec![Err(Status::not_found("never heard of it"))],
        vec![Ok(over("op-2", 0))],
    ];
    with(
        |server| server.set_operations(operations),
        3,
        async |endpoint, server| {
            assert_eq!(exit_code(&execute(endpoint).await.expect("a result")), Some(0));
            assert_eq!(server.calls(), ["Execute", "WaitExecution", "op-1", "Execute"]);
        },
    );
}

#[test]
fn what_the_server_refuses_is_not_tried_again() {
    let refusal = Status::failed_precondition("the command is missing");
    let operations = vec![vec![Err(refusal)]];
    with(
        |server| server.set_operations(operations),
        5,
        async |endpoint, server| {
            let error = execute(endpoint).await.expect_err("refused");
            assert_eq!(error.code(), Code::FailedPrecondition);
            assert_eq!(server.calls().len(), 1);
        },
    );
    let operations = vec![vec![Ok(failed("op", "no worker"))]];
    with(
        |server| server.set_operations(operations),
        5,
        async |endpoint, _| {
            let error = execute(endpoint).await.expect_err("failed").to_string();
            assert!(error.contains("no worker"), "{error}");
        },
    );
}
