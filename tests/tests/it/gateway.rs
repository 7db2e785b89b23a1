//! The socket that is served, in front of the embedded store.

use std::path::Path;

use bytes::Bytes;
use forerunner_gateway::{Gateway, Policy, Recorder};
use forerunner_proto::{Kept, reapi};
use forerunner_reapi::{Content, Endpoint, Error};
use forerunner_tests::temp;
use tonic::Code;

use crate::endpoint::{FUNCTION, embedded, noise, remote, runtime};
use crate::scripted::Server;

struct Served {
    folder: tempfile::TempDir,
    recorder: Recorder,
    gateway: Option<Gateway>,
    url: String,
}

fn serve(update_allowed: bool) -> Served {
    serve_at(update_allowed, Path::new("s.sock"))
}

fn serve_at(update_allowed: bool, socket: &Path) -> Served {
    let folder = temp();
    let path = folder.path().join(socket);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let recorder = Recorder::new();
    let policy = Policy { update_allowed };
    let gateway = Gateway::start(&path, &embedded(folder.path()), policy, recorder.clone());
    let gateway = Some(gateway.expect("a socket"));
    Served { url: format!("unix:{}", path.display()), folder, recorder, gateway }
}

fn result(output: &Bytes) -> Kept<reapi::ActionResult> {
    Kept::new(&reapi::ActionResult {
        output_files: vec![reapi::OutputFile {
            path: "o".to_owned(),
            digest: Some(FUNCTION.digest(output).to_proto()),
            ..Default::default()
        }],
        ..Default::default()
    })
}

#[test]
fn what_is_used_is_recorded_once_in_order() {
    let served = serve(true);
    runtime().block_on(async {
        let client = Endpoint::open(&remote(&served.url)).expect("an address");
        let output = noise(1, 100);
        let content = Content::Bytes(output.clone());
        client.upload(vec![(FUNCTION.digest(&output), content)]).await.expect("an upload");
        let actions: Vec<_> = (0..4_u8).map(|number| FUNCTION.digest(&[number])).collect();
        // A miss is no use.
        assert_eq!(client.action_result(&actions[3], &[]).await.expect("an answer"), None);
        for action in [2, 0, 1, 0] {
            let update = client.update_action_result(&actions[action], &result(&output)).await;
            update.expect("an update");
        }
        client.action_result(&actions[1], &[]).await.expect("an answer").expect("a hit");
        let expected = [2, 0, 1].map(|number: usize| actions[number]);
        assert_eq!(served.recorder.subactions(), expected);
    });
}

#[test]
fn the_policy_holds_and_is_told_truthfully() {
    for allowed in [false, true] {
        let served = serve(allowed);
        runtime().block_on(async {
            let client = Endpoint::open(&remote(&served.url)).expect("an address");
            let told = client.capabilities().await.expect("capabilities").update_enabled;
            assert_eq!(told, allowed);
            let output = noise(1, 100);
            let content = Content::Bytes(output.clone());
            client.upload(vec![(FUNCTION.digest(&output), content)]).await.expect("an upload");
            let action = FUNCTION.digest(b"action");
            let updated = client.update_action_result(&action, &result(&output)).await;
            match updated {
                Ok(()) => assert!(allowed),
                Err(error) => {
                    assert!(!allowed);
                    assert_eq!(error.code(), Code::PermissionDenied);
                }
            }
            let hit = client.action_result(&action, &[]).await.expect("an answer").is_some();
            assert_eq!(hit, allowed);
            assert_eq!(served.recorder.subactions().len(), usize::from(allowed));
        });
    }
}

#[test]
fn large_blobs_pass_in_both_directions_for_many_clients() {
    let served = serve(true);
    runtime().block_on(async {
        let mut clients = Vec::new();
        for number in 0..6_u64 {
            let url = served.url.clone();
            clients.push(async move {
                let client = Endpoint::open(&remote(&url)).expect("an address");
                let blob = noise(number, 6_000_000 + number as usize);
                let digest = FUNCTION.digest(&blob);
                let content = Content::Bytes(blob.clone());
                client.upload(vec![(digest, content)]).await.expect("an upload");
                assert_eq!(client.get(&digest).await.expect("the blob"), blob);
            });
        }
        let mut tasks = tokio::task::JoinSet::new();
        for client in clients {
            tasks.spawn(client);
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("a client");
        }
    });
}

#[test]
fn a_wrong_blob_is_refused() {
    let served = serve(true);
    runtime().block_on(async {
        let client = Endpoint::open(&remote(&served.url)).expect("an address");
        for size in [100, 6_000_000] {
            let digest = FUNCTION.digest(&noise(1, size));
            let content = Content::Bytes(noise(2, size));
            let refused = client.upload(vec![(digest, content)]).await;
            assert_eq!(refused.expect_err("wrong").code(), Code::InvalidArgument);
            match client.get(&digest).await {
                Err(Error::MissingBlob(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn an_upload_that_is_given_up_is_no_blob() {
    let served = serve(true);
    runtime().block_on(async {
        let client = Endpoint::open(&remote(&served.url)).expect("an address");
        let mut given_up = 0;
        for number in 0..12_u64 {
            let blob = noise(number, 12_000_000);
            let digest = FUNCTION.digest(&blob);
            let upload = client.upload(vec![(digest, Content::Bytes(blob.clone()))]);
            let patience = std::time::Duration::from_millis(number * 3);
            given_up += u32::from(tokio::time::timeout(patience, upload).await.is_err());
            match client.get(&digest).await {
                Ok(got) => assert_eq!(got, blob),
                Err(Error::MissingBlob(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(given_up > 0, "the first has no time at all");
    });
}

#[test]
fn a_path_longer_than_sun_path_works_and_nothing_is_left() {
    let long = "a-rather-long-name/".repeat(12);
    let mut served = serve_at(true, &Path::new(&long).join("s.sock"));
    assert!(served.url.len() > 200);
    runtime().block_on(async {
        let client = Endpoint::open(&remote(&served.url)).expect("an address");
        client.capabilities().await.expect("capabilities");
    });
    let path = served.url.trim_start_matches("unix:").to_owned();
    assert!(Path::new(&path).exists());
    served.gateway.take().expect("a gateway").stop();
    assert!(!Path::new(&path).exists());
}

#[test]
fn one_that_comes_back_is_connected_to_again() {
    let mut served = serve(true);
    let path = served.url.trim_start_matches("unix:").to_owned();
    runtime().block_on(async {
        let client = Endpoint::open(&remote(&served.url)).expect("an address");
        let ask = async || client.action_result(&FUNCTION.digest(b"none"), &[]).await;
        assert_eq!(ask().await.expect("an answer"), None);
        served.gateway.take().expect("a gateway").stop();
        let error = ask().await.expect_err("nobody is there").to_string();
        assert!(error.contains("cannot be reached") && error.contains(&path), "{error}");
        let store = embedded(served.folder.path());
        let policy = Policy { update_allowed: true };
        let again = Gateway::start(Path::new(&path), &store, policy, Recorder::new());
        let _again = again.expect("a socket");
        assert_eq!(ask().await.expect("an answer"), None);
    });
}

/// More than a connection has under way at once; those who lose interest do not hold up others.
#[test]
fn a_great_many_calls_at_once_are_all_answered() {
    let served = serve(true);
    runtime().block_on(async {
        let client = Endpoint::open(&remote(&served.url)).expect("an address");
        let blob = noise(1, 50_000);
        let digest = FUNCTION.digest(&blob);
        client.upload(vec![(digest, Content::Bytes(blob.clone()))]).await.expect("an upload");
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..1500 {
            let client = client.clone();
            let call = tasks.spawn(async move { client.get(&digest).await.expect("the blob") });
            if number % 3 == 0 {
                tokio::spawn(async move {
                    tokio::task::yield_now().await;
                    call.abort();
                });
            }
        }
        let mut answers = 0;
        while let Some(done) = tasks.join_next().await {
            if let Ok(got) = done {
                assert_eq!(got, blob);
                answers += 1;
            }
        }
        assert!(answers >= 1000, "{answers}");
        client.action_result(&digest, &[]).await.expect("still an answer");
    });
}

#[test]
fn an_action_that_is_not_there_cannot_be_executed() {
    let served = serve(true);
    runtime().block_on(async {
        let client = Endpoint::open(&remote(&served.url)).expect("an address");
        let absent = FUNCTION.digest(b"no action");
        let execution = client.execute(&absent, &forerunner_reapi::ExecuteOptions::default());
        let error = execution.expect("a stream").finish().await.expect_err("nothing to execute");
        assert!(error.to_string().contains(&absent.to_string()), "{error}");
        assert!(served.recorder.subactions().is_empty());
    });
}

#[test]
fn paths_of_a_sandbox_lead_nowhere_else() {
    use forerunner_proto::buildgrid::{CaptureTreeRequest, HashFilesRequest};

    let folder = temp();
    let inside = folder.path().join("inside");
    std::fs::create_dir_all(inside.join("d/empty")).expect("a folder");
    std::fs::write(inside.join("d/file"), "content").expect("a file");
    std::fs::write(folder.path().join("secret"), "outside").expect("a file");
    for (name, target) in
        [("up", "../secret"), ("absolute", "/d/file"), ("proc", "/proc/self/root/etc/passwd")]
    {
        std::os::unix::fs::symlink(target, inside.join(name)).expect("a symlink");
    }
    let path = folder.path().join("s.sock");
    let root = forerunner_gateway::SandboxRoot::new();
    let config = embedded(folder.path());
    let policy = Policy { update_allowed: true };
    let gateway = Gateway::start_for_sandbox(&path, &config, policy, Recorder::new(), root.clone())
        .expect("a socket");
    runtime().block_on(async {
        let endpoint = Endpoint::open(&remote(&format!("unix:{}", path.display()))).expect("it");
        let mut client = endpoint.local_cas().expect("a server");
        let hash = |path: &str| HashFilesRequest {
            path: vec![path.to_owned()],
            ..HashFilesRequest::default()
        };
        let early = client.hash_files(hash("d/file")).await.expect("an answer").into_inner();
        assert_eq!(early.responses[0].status.as_ref().expect("a status").code, 5);
        root.set(std::fs::File::open(&inside).expect("a folder").into());
        for good in ["d/file", "/d/file", "absolute", "../../d/file"] {
            let answer = client.hash_files(hash(good)).await.expect("an answer").into_inner();
            let digest = answer.responses[0].digest.clone().expect(good);
            assert_eq!(digest, FUNCTION.digest(b"content").to_proto(), "{good}");
        }
        for bad in ["up", "proc", "none", "d", "../secret"] {
            let answer = client.hash_files(hash(bad)).await.expect("an answer").into_inner();
            assert_eq!(answer.responses[0].digest, None, "{bad}");
        }
        let request = CaptureTreeRequest { path: vec!["d".to_owned()], ..Default::default() };
        let answer = client.capture_tree(request).await.expect("an answer").into_inner();
        let tree = answer.responses[0].tree_digest.clone().expect("a tree");
        let tree = forerunner_merkle::Digest::from_proto(&tree).expect("a digest");
        let tree: reapi::Tree = endpoint.message(&tree).await.expect("stored");
        assert_eq!(tree.root.expect("a root").directories[0].name, "empty");
        let details = forerunner_proto::buildgrid::GetLocalServerDetailsRequest::default();
        let refused = client.get_local_server_details(details).await.expect_err("not told");
        assert_eq!(refused.code(), Code::PermissionDenied);
    });
    gateway.stop();
}

#[test]
fn a_hit_that_is_asked_for_again_is_remembered() {
    runtime().block_on(async {
        let folder = temp();
        let server = Server::default();
        let behind = remote(&server.serve(folder.path()));
        let path = folder.path().join("s.sock");
        let policy = Policy { update_allowed: true };
        let recorder = Recorder::new();
        let gateway = Gateway::start(&path, &behind, policy, recorder.clone()).expect("a socket");
        let client = remote(&format!("unix:{}", path.display()));
        let client = Endpoint::open(&client).expect("an address");
        let action = FUNCTION.digest(b"an action");
        let asked = || server.calls().iter().filter(|call| *call == "GetActionResult").count();
        let ask = async || client.action_result(&action, &[]).await.expect("an answer");
        // What is not there may be there the next time.
        assert_eq!((ask().await, ask().await, asked()), (None, None, 2));
        let [one, two] = [1, 2].map(|seed| result(&noise(seed, 100)));
        client.update_action_result(&action, &one).await.expect("an update");
        assert_eq!((ask().await, ask().await, asked()), (Some(one.clone()), Some(one), 3));
        // What is written through the socket is what is read.
        client.update_action_result(&action, &two).await.expect("an update");
        assert_eq!((ask().await, asked()), (Some(two), 4));
        assert_eq!(recorder.subactions(), [action]);
        drop(client);
        gateway.stop();
    });
}
