//! The socket in the sandbox, what is recorded through it, and our runner as casd's.

use forerunner_merkle::Digest;
use forerunner_proto::{Message, reapi};
use forerunner_reapi::{Content, Endpoint, ExecuteOptions, record};
use forerunner_tests::bin;

use crate::endpoint::FUNCTION;
use crate::runner::{Case, Lab, Outcome, args, exit_status, sh};

/// A program for the sandbox that looks up, executes or updates actions through the socket:
/// this test program itself would be too large, so the request is made by a small runner of ours.
///
/// `buildbox-run` started in the sandbox reads a Command and an input tree through the socket and
/// writes an element record through it, if it may: that is an update of the action cache.
fn inner(lab: &Lab, case: &Case) -> (Vec<u8>, Vec<u8>) {
    let program = std::fs::read(bin("buildbox-run")).expect("the runner");
    (program, lab.upload(case).1.to_vec())
}

fn nested(lab: &Lab, script: &str, inside: &Case) -> Case {
    let (program, action) = inner(lab, inside);
    let text = "buildbox-run --remote=unix:/run/reapi.sock --disable-localcas --action=/w/action";
    let mut case = sh(&script.replace("NESTED", text))
        .program("bin/buildbox-run", &program)
        .property("remoteApisSocketPath", "run/reapi.sock")
        // Root without capabilities may not make user namespaces that have a root.
        .property("unixUID", "1000");
    case.tree.push(("w/action".to_owned(), crate::runner::Entry::File(action, false)));
    case.env(&[("PATH", "/bin"), ("HOME", "/w"), ("TMPDIR", "/tmp")])
}

#[test]
fn a_sandbox_within_a_sandbox_works_through_the_socket() {
    let labs = [Lab::embedded(), Lab::casd()];
    for lab in labs.into_iter().flatten() {
        let inside = sh("echo deep; echo o > o; grep CapEff /proc/self/status").out(&["o"]);
        let case = nested(&lab, "NESTED --action-result=/w/r && echo done", &inside).out(&["r"]);
        let outcome = lab.ours(&case);
        assert_eq!(outcome.stdout(), "done\n", "{outcome:#?}");
        let digest = outcome.result.as_ref().expect("a result").output_files[0].digest.clone();
        let bytes = lab.get(&digest.expect("a digest"));
        let result = reapi::ActionResult::decode(bytes).expect("a result");
        let mut deep = Outcome::default();
        lab.fill(&mut deep, result);
        assert_eq!(deep.stdout(), "deep\nCapEff:\t0000000000000000\n");
        assert_eq!(deep.files(), ["o"]);
    }
}

/// Runs `work` against a socket that the runner serves, while the command waits for a file.
pub(crate) fn with_socket(lab: &Lab, case: &Case, work: impl AsyncFnOnce(&Endpoint)) -> Outcome {
    with_runner(lab, case, async |socket, _| work(socket).await)
}

/// The same for work that looks at the runner's process.
pub(crate) fn with_runner(
    lab: &Lab,
    case: &Case,
    work: impl AsyncFnOnce(&Endpoint, u32),
) -> Outcome {
    with_program(lab, &bin("buildbox-run"), case, async |socket, runner| {
        let endpoint = Endpoint::open(&crate::endpoint::remote(&format!("unix:{socket}")));
        work(&endpoint.expect("an address"), runner).await;
    })
}

/// The same for any runner; `work` gets the socket's path and the runner's process.
pub(crate) fn with_program(
    lab: &Lab,
    program: &std::path::Path,
    case: &Case,
    work: impl AsyncFnOnce(&str, u32),
) -> Outcome {
    let shared = forerunner_tests::temp();
    let mount = format!("--bind-mount={}:/shared", shared.path().display());
    let case = case.clone().option(&mount);
    let (mut command, files) = lab.command(program, &case);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("a runner");
    // The command says when it runs; the socket is reached through its root.
    let pid = shared.path().join("pid");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(900);
    let number = || std::fs::read_to_string(&pid).unwrap_or_default().trim().to_owned();
    while number().is_empty() && std::time::Instant::now() < deadline {
        if child.try_wait().expect("a child").is_some() {
            let output = child.wait_with_output().expect("an end");
            panic!("it ended early: {output:?} {:?}", lab.read(&files).status);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let socket = socket_of(child.id(), &number());
    lab.runtime.block_on(work(&socket, child.id()));
    std::fs::write(shared.path().join("go"), "").expect("a file");
    let output = child.wait_with_output().expect("an end");
    let mut outcome = lab.read(&files);
    outcome.exit_status = exit_status(output.status);
    outcome.log = String::from_utf8_lossy(&output.stderr).into_owned();
    outcome
}

/// The socket as the command of a runner sees it, by way of /proc; `inside` is the command's number
/// in its sandbox. Any other process there may be gone the next moment.
fn socket_of(runner: u32, inside: &str) -> String {
    let children = |pid: u32| -> Vec<u32> {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    };
    let is_the_command = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("NSpid:"));
        let numbers: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        numbers.len() > 2 && numbers.last() == Some(&inside)
    };
    let mut level = vec![runner];
    while !level.is_empty() {
        let path = |pid: &u32| format!("/proc/{pid}/root/run/reapi.sock");
        let mut commands = level.iter().filter(|pid| is_the_command(pid)).map(path);
        // What is executed beside it has a command with such a number, too, but no socket.
        if let Some(found) = commands.find(|path| std::fs::exists(path).unwrap_or(false)) {
            return found;
        }
        level = level.into_iter().flat_map(children).collect();
    }
    panic!("no process below {runner} is {inside} in a sandbox with a socket");
}

const WAIT: &str = "echo $$ > /shared/pid; while ! test -e /shared/go; do sleep 0.02; done; ";

pub(crate) fn waiting(more: &str) -> Case {
    sh(&format!("{WAIT}{more}")).property("remoteApisSocketPath", "run/reapi.sock")
}

async fn put_result(endpoint: &Endpoint, lab_endpoint: &Endpoint, action: &Digest) {
    let output = b"output".to_vec();
    let digest = FUNCTION.digest(&output);
    let blobs = vec![(digest, Content::Bytes(output.into()))];
    lab_endpoint.upload(blobs).await.expect("an upload");
    let result = reapi::ActionResult {
        output_files: vec![reapi::OutputFile {
            path: "o".to_owned(),
            digest: Some(digest.to_proto()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let result = forerunner_proto::Kept::new(&result);
    endpoint.update_action_result(action, &result).await.expect("an update");
}

pub(crate) fn subactions(outcome: &Outcome) -> Vec<Digest> {
    let result = outcome.result.as_ref().unwrap_or_else(|| panic!("no result: {outcome:#?}"));
    let list = result.subactions.iter().map(|digest| Digest::from_proto(digest).expect("a digest"));
    list.collect()
}

#[test]
fn what_a_command_asks_for_is_recorded_in_order() {
    let labs = [Lab::embedded(), Lab::casd()];
    for (number, lab) in labs.into_iter().flatten().enumerate() {
        let actions: Vec<Digest> =
            (0..3).map(|n| lab.upload(&sh(&format!("echo {number} {n}"))).0).collect();
        lab.runtime.block_on(async {
            put_result(&lab.endpoint, &lab.endpoint, &actions[0]).await;
            put_result(&lab.endpoint, &lab.endpoint, &actions[1]).await;
        });
        let element = format!("buildstream/p/e{number}.bst");
        let case = waiting("exit 0").cd(&element).option("--nested-ac-enable-update");
        let outcome = with_socket(&lab, &case, async |socket| {
            assert!(socket.capabilities().await.expect("capabilities").update_enabled);
            socket.action_result(&actions[1], &[]).await.expect("an answer").expect("a hit");
            socket.action_result(&actions[0], &[]).await.expect("an answer").expect("a hit");
            assert!(socket.action_result(&actions[2], &[]).await.expect("an answer").is_none());
            put_result(socket, &lab.endpoint, &actions[2]).await;
            socket.action_result(&actions[1], &[]).await.expect("an answer").expect("a hit");
        });
        assert_eq!(outcome.exit_status, 0, "{outcome:#?}");
        let expected = vec![actions[1], actions[0], actions[2]];
        assert_eq!(subactions(&outcome), expected);
        let record = lab.runtime.block_on(record::read(&lab.endpoint, &element));
        let record = record.expect("an answer").expect("a record");
        assert_eq!((record.subactions, record.partial), (expected, false));
        // An action that used nothing leaves the record alone.
        let quiet = lab.ours(&sh("true").cd(&element).property("remoteApisSocketPath", "run/s"));
        assert_eq!(quiet.exit_status, 0);
        let again = lab.runtime.block_on(record::read(&lab.endpoint, &element));
        assert_eq!(again.expect("an answer").expect("a record").subactions.len(), 3);
    }
}

#[test]
fn a_failed_or_ended_command_leaves_a_partial_record() {
    let Some(lab) = Lab::embedded() else { return };
    let (action, _) = lab.upload(&sh("echo used"));
    lab.runtime.block_on(put_result(&lab.endpoint, &lab.endpoint, &action));
    for (name, case, exit) in
        [("failed", waiting("exit 4"), 0), ("late", waiting("sleep 60").timeout(1), 142)]
    {
        let case = case.property("forerunnerElement", name);
        let outcome = with_socket(&lab, &case, async |socket| {
            socket.action_result(&action, &[]).await.expect("an answer").expect("a hit");
        });
        assert_eq!(outcome.exit_status, exit, "{outcome:#?}");
        assert_eq!(subactions(&outcome), [action]);
        let record = lab.runtime.block_on(record::read(&lab.endpoint, name));
        let record = record.expect("an answer").expect("a record");
        assert!(record.partial);
        assert_eq!(record.subactions, [action]);
    }
}

#[test]
fn a_runner_that_is_told_to_stop_says_what_was_used() {
    use nix::sys::signal::{Signal, kill};

    let Some(lab) = Lab::embedded() else { return };
    let (action, _) = lab.upload(&sh("echo used"));
    lab.runtime.block_on(put_result(&lab.endpoint, &lab.endpoint, &action));
    let case = waiting("true").property("forerunnerElement", "stopped");
    let outcome = with_runner(&lab, &case, async |socket, runner| {
        socket.action_result(&action, &[]).await.expect("an answer").expect("a hit");
        kill(nix::unistd::Pid::from_raw(runner.cast_signed()), Signal::SIGTERM).expect("a signal");
    });
    assert_eq!(outcome.exit_status, 143, "{outcome:#?}");
    assert_eq!(subactions(&outcome), [action]);
    let record = lab.runtime.block_on(record::read(&lab.endpoint, "stopped"));
    let record = record.expect("an answer").expect("a record");
    assert_eq!((record.subactions, record.partial), (vec![action], true));
}

#[test]
fn the_action_cache_is_closed_unless_opened() {
    let Some(lab) = Lab::embedded() else { return };
    let (action, _) = lab.upload(&sh("echo closed"));
    let outcome = with_socket(&lab, &waiting("true"), async |socket| {
        assert!(!socket.capabilities().await.expect("capabilities").update_enabled);
        let result = forerunner_proto::Kept::new(&reapi::ActionResult::default());
        let refused = socket.update_action_result(&action, &result).await.expect_err("a refusal");
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    });
    assert!(subactions(&outcome).is_empty());
}

#[test]
fn actions_are_executed_through_the_socket() {
    let Some(lab) = Lab::embedded() else { return };
    let (action, _) = lab.upload(&sh("echo executed; echo o > o").out(&["o"]));
    let outcome = with_socket(&lab, &waiting("true"), async |socket| {
        let execution = socket.execute(&action, &ExecuteOptions::default()).expect("an execution");
        let response = execution.finish().await.expect("an end").message().expect("a response");
        let result = response.result.expect("a result");
        assert_eq!((result.exit_code, result.output_files.len()), (0, 1));
    });
    assert_eq!(subactions(&outcome), [action]);
}

#[test]
fn files_of_the_sandbox_are_captured_and_exported_by_path() {
    use forerunner_proto::buildgrid::{CaptureFilesRequest, ExportFilesRequest};

    let labs = [Lab::embedded(), Lab::casd()];
    for lab in labs.into_iter().flatten() {
        let stored = b"exported".to_vec();
        let exported = FUNCTION.digest(&stored);
        let blobs = vec![(exported, Content::Bytes(stored.into()))];
        lab.runtime.block_on(lab.endpoint.upload(blobs)).expect("an upload");
        let mut case = waiting("cat /w/exported").file("in", "input").link("out", "/../../etc");
        case.arguments[2] = format!("echo made > /w/made; {}", case.arguments[2]);
        let outcome = with_socket(&lab, &case, async |socket| {
            let mut client = socket.local_cas().expect("a server");
            let paths = ["/in", "/w/made", "w/made", "/out/hostname", "/etc/hostname", "/shared"];
            let request = CaptureFilesRequest {
                path: paths.map(str::to_owned).to_vec(),
                ..CaptureFilesRequest::default()
            };
            let answer = client.capture_files(request).await.expect("an answer").into_inner();
            let digest = |content: &[u8]| Some(FUNCTION.digest(content).to_proto());
            let made = digest(b"made\n");
            let expected = [digest(b"input"), made.clone(), made.clone(), None, None, None];
            let found: Vec<_> = answer.responses.into_iter().map(|it| it.digest).collect();
            assert_eq!(found, expected);
            let request = ExportFilesRequest {
                path: "/w".to_owned(),
                output_files: vec![reapi::OutputFile {
                    path: "exported".to_owned(),
                    digest: Some(exported.to_proto()),
                    ..Default::default()
                }],
                ..Default::default()
            };
            let answer = client.export_files(request).await.expect("an answer").into_inner();
            assert_eq!(answer.responses[0].status.as_ref().map(|status| status.code), Some(0));
        });
        assert_eq!(outcome.stdout(), "exported", "{outcome:#?}");
        // What was captured is stored.
        lab.get(&FUNCTION.digest(b"made\n").to_proto());
    }
}

/// The most memory that a process has used so far.
fn peak_kib(process: u32) -> u64 {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(path).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

#[test]
fn a_large_blob_passes_in_little_memory() {
    use std::io::Write;

    let mebibytes: u64 = if forerunner_tests::long() { 1024 } else { 128 };
    let labs = [Lab::embedded(), Lab::casd()];
    for lab in labs.into_iter().flatten() {
        let path = lab.folder.path().join("large");
        let mut file = std::fs::File::create(&path).expect("a file");
        let mut hasher = FUNCTION.hasher();
        let mut piece = vec![7; 1 << 20];
        for number in 0..mebibytes {
            piece[..8].copy_from_slice(&number.to_le_bytes());
            hasher.update(&piece);
            file.write_all(&piece).expect("space");
        }
        let digest = hasher.finish();
        let outcome = with_runner(&lab, &waiting("true"), async |socket, runner| {
            let blobs = vec![(digest, Content::File(path.clone()))];
            socket.upload(blobs).await.expect("an upload");
            let mut stream = socket.read(&digest, 0, u64::MAX).expect("a stream");
            let mut size = 0;
            while let Some(piece) = stream.next().await.expect("a piece") {
                size += piece.len() as u64;
            }
            assert_eq!(size, mebibytes << 20);
            let peak = peak_kib(runner);
            assert!(peak <= 64 * 1024, "{peak} KiB");
        });
        assert_eq!(outcome.exit_status, 0, "{outcome:#?}");
    }
}

#[test]
fn a_long_path_of_a_socket_works() {
    let Some(lab) = Lab::embedded() else { return };
    let long = "d".repeat(100);
    let path = format!("{long}/{long}/reapi.sock");
    let case =
        sh(&format!("test -S /{path} && echo there")).property("remoteApisSocketPath", &path);
    assert_eq!(lab.ours(&case).stdout(), "there\n");
}

/// Has the endpoint execute a case.
pub(crate) fn execute(lab: &Lab, case: &Case) -> Outcome {
    let (action, _) = lab.upload(case);
    let options = ExecuteOptions { skip_cache_lookup: true, ..Default::default() };
    let response = lab.runtime.block_on(async {
        let execution = lab.endpoint.execute(&action, &options).expect("an execution");
        execution.finish().await.expect("an end").message().expect("a response")
    });
    let mut outcome = Outcome { status: response.status, ..Outcome::default() };
    if let Some(result) = response.result {
        lab.fill(&mut outcome, result);
    }
    outcome
}

#[test]
fn stock_casd_executes_through_our_runner() {
    let Some(lab) = Lab::casd_with(&[format!("--buildbox-run={}", bin("buildbox-run").display())])
    else {
        return;
    };
    let execute = |case: &Case| execute(&lab, case);
    let fine = execute(&sh("echo out; echo err >&2; mkdir d; echo f > d/f").out(&["d", "none"]));
    assert_eq!((fine.stdout(), fine.code()), ("out\n", 0));
    assert_eq!(fine.stderr.as_deref(), Some("err\n"));
    assert_eq!(fine.trees.len(), 1);
    assert_eq!(execute(&sh("exit 7")).code(), 7);
    assert_eq!(execute(&sh("kill -9 $$")).code(), 137);
    assert_eq!(execute(&args(&["none"])).code(), 127);
    let late = execute(&sh("sleep 60").timeout(1));
    assert_eq!(late.status.expect("a status").code, tonic::Code::DeadlineExceeded as i32);
    let bad = execute(&sh("true").property("OSFamily", "windows"));
    assert_ne!(bad.status.map(|status| status.code), Some(0));
}
