//! `lib/reapi` against a server that refuses, lies, breaks off or falls silent.

mod server;

use std::time::Duration;

use bytes::Bytes;
use forerunner_proto::reapi;
use forerunner_reapi::{Config, Content, Endpoint, Error, ExecuteOptions, Remote};
use forerunner_tests::temp;
use tonic::{Code, Status};

use crate::endpoint::{FUNCTION, noise, remote, runtime};
use server::{Faulty, Script, failed, over, under_way};

/// Runs `case` with a server that follows `script`.
fn with(script: Script, retries: u32, case: impl AsyncFn(&Endpoint, &Faulty)) {
    runtime().block_on(async {
        let folder = temp();
        let server = Faulty::new(script);
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
    let script = || Script { unavailable: [("FindMissingBlobs", 2)].into(), ..Script::default() };
    let digest = FUNCTION.digest(b"x");
    with(script(), 2, async |endpoint, server| {
        assert_eq!(endpoint.missing(&[digest]).await.expect("the third try"), vec![digest]);
        assert_eq!(server.calls().len(), 3);
    });
    with(script(), 1, async |endpoint, server| {
        let error = endpoint.missing(&[digest]).await.expect_err("only two tries");
        assert_eq!(error.code(), Code::Unavailable);
        assert!(error.to_string().contains("come back later"), "{error}");
        assert_eq!(server.calls().len(), 2);
    });
}

#[test]
fn a_silent_server_is_left_after_the_timeout() {
    let script = Script { silent: Some("FindMissingBlobs"), ..Script::default() };
    runtime().block_on(async {
        let folder = temp();
        let url = Faulty::new(script).serve(folder.path());
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
    for size in [10, 5_000_000] {
        let digest = FUNCTION.digest(&noise(3, size));
        let script = Script { lie: Some(noise(4, size)), ..Script::default() };
        with(script, 0, async |endpoint, _| {
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
    let script = Script {
        blobs: [(digest, blob.clone())].into(),
        cut: Some((1_500_000, 3)),
        ..Script::default()
    };
    with(script, 1, async |endpoint, server| {
        assert_eq!(endpoint.get(&digest).await.expect("the blob"), blob);
        let reads = server.calls().iter().filter(|call| *call == "Read").count();
        assert_eq!(reads, 4);
    });
}

#[test]
fn a_stream_that_is_too_short_is_no_blob() {
    let digest = FUNCTION.digest(&noise(6, 6_000_000));
    let script = Script { lie: Some(noise(6, 5_000_000)), ..Script::default() };
    with(script, 0, async |endpoint, _| {
        let error = endpoint.get(&digest).await.expect_err("a part only");
        assert_eq!(error.code(), Code::DataLoss, "{error}");
    });
}

#[test]
fn batches_keep_to_the_servers_limit() {
    let blobs: Vec<Bytes> = (0..40).map(|seed| noise(seed, 4_000)).collect();
    let script = Script { batch_limit: 65_536, ..Script::default() };
    with(script, 0, async |endpoint, server| {
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
    });
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
    let script = Script {
        operations: vec![
            vec![Ok(under_way("op-1")), Err(broken.clone())],
            vec![Ok(under_way("op-1"))],
            vec![Ok(under_way("op-1")), Ok(over("op-1", 7))],
        ],
        ..Script::default()
    };
    with(script, 2, async |endpoint, server| {
        assert_eq!(exit_code(&execute(endpoint).await.expect("a result")), Some(7));
        let calls = ["Execute", "WaitExecution", "op-1", "WaitExecution", "op-1"];
        assert_eq!(server.calls(), calls);
    });
}

#[test]
fn a_forgotten_execution_is_begun_anew() {
    let script = Script {
        operations: vec![
            vec![Ok(under_way("op-1")), Err(Status::unavailable("restarting"))],
            vec![Err(Status::not_found("never heard of it"))],
            vec![Ok(over("op-2", 0))],
        ],
        ..Script::default()
    };
    with(script, 3, async |endpoint, server| {
        assert_eq!(exit_code(&execute(endpoint).await.expect("a result")), Some(0));
        assert_eq!(server.calls(), ["Execute", "WaitExecution", "op-1", "Execute"]);
    });
}

#[test]
fn what_the_server_refuses_is_not_tried_again() {
    let refusal = Status::failed_precondition("the command is missing");
    let script = Script { operations: vec![vec![Err(refusal)]], ..Script::default() };
    with(script, 5, async |endpoint, server| {
        let error = execute(endpoint).await.expect_err("refused");
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert_eq!(server.calls().len(), 1);
    });
    let script =
        Script { operations: vec![vec![Ok(failed("op", "no worker"))]], ..Script::default() };
    with(script, 5, async |endpoint, _| {
        let error = execute(endpoint).await.expect_err("failed").to_string();
        assert!(error.contains("no worker"), "{error}");
    });
}
