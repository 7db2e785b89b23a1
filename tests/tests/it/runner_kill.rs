//! Runners that are killed or told to stop, at any moment.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use forerunner_tests::{bin, long};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::runner::{Case, Lab, exit_status, sh};
use crate::runner_cgroup::Folder;

const LIMIT: Duration = Duration::from_secs(900);

fn send(child: &std::process::Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).expect("a signal");
}

/// Processes whose command line contains `mark`.
pub(crate) fn processes(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains(mark) {
                found.push(format!("{name}: {line}"));
            }
        }
    }
    found
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a case whose command says when it runs.
fn started(lab: &Lab, case: &Case) -> (std::process::Child, crate::runner::Files) {
    let (mut command, files) = lab.command(&bin("buildbox-run"), case);
    let sign = files.at("stdout");
    command.arg(format!("--stdout-file={}", sign.display()));
    let child = command.stderr(Stdio::piped()).spawn().expect("a runner");
    wait_until("the command starts", || {
        std::fs::read_to_string(&sign).unwrap_or_default().contains("ready")
    });
    (child, files)
}

#[test]
fn signals_end_the_command_and_are_told() {
    let Some(lab) = Lab::embedded() else { return };
    for (signal, exit) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let case = sh("trap '' TERM INT; echo ready; while :; do sleep 1; done");
        let (mut child, files) = started(&lab, &case);
        send(&child, signal);
        assert_eq!(exit_status(child.wait().expect("an end")), exit);
        let outcome = lab.read(&files);
        assert_eq!(outcome.status.as_ref().expect("a status").code, 14);
        assert_eq!(outcome.code(), 137);
    }
}

#[test]
fn a_command_may_end_gracefully() {
    let Some(lab) = Lab::embedded() else { return };
    let case = sh("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
        .option("--graceful-shutdown-seconds=60");
    let (mut child, files) = started(&lab, &case);
    send(&child, Signal::SIGTERM);
    assert_eq!(exit_status(child.wait().expect("an end")), 143);
    assert_eq!(lab.read(&files).code(), 9);
    // One that does not is killed.
    let case = sh("trap '' TERM; echo ready; while :; do sleep 0.1; done")
        .option("--graceful-shutdown-seconds=1");
    let (mut child, files) = started(&lab, &case);
    send(&child, Signal::SIGTERM);
    assert_eq!(exit_status(child.wait().expect("an end")), 143);
    assert_eq!(lab.read(&files).code(), 137);
}

#[test]
fn no_process_outlives_the_action() {
    let Some(lab) = Lab::embedded() else { return };
    let mark = format!("1{:09}", std::process::id());
    let case = sh(&format!(
        "(setsid sh -c 'trap \"\" TERM HUP; sleep {mark}' &) ; (setsid setsid sleep {mark} &); \
         sleep {mark} & sleep 0.2; echo done"
    ));
    let outcome = lab.ours(&case);
    assert_eq!(outcome.stdout(), "done\n");
    assert_eq!(processes(&format!("sleep\0{mark}")), Vec::<String>::new());
}

#[test]
fn suspending_and_resuming_works() {
    let Some(lab) = Lab::embedded() else { return };
    let (mut command, files) =
        lab.command(&bin("buildbox-run"), &sh("echo ready; sleep 1; echo end"));
    use std::os::unix::process::CommandExt;
    let sign = files.at("stdout");
    command.process_group(0).arg(format!("--stdout-file={}", sign.display()));
    let mut child = command.spawn().expect("a runner");
    wait_until("the command starts", || {
        std::fs::read_to_string(&sign).unwrap_or_default().contains("ready")
    });
    let group = Pid::from_raw(-(child.id() as i32));
    kill(group, Signal::SIGSTOP).expect("a signal");
    kill(group, Signal::SIGCONT).expect("a signal");
    assert_eq!(exit_status(child.wait().expect("an end")), 0);
    assert_eq!(std::fs::read_to_string(&sign).expect("output"), "ready\nend\n");
}

/// What a runner may leave behind in the whole system.
fn leftovers(lab: &Lab, mark: &str) -> Vec<String> {
    let mut found = processes(&format!("sleep\0{mark}"));
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let folder = lab.folder.path().display().to_string();
    found.extend(mounts.lines().filter(|line| line.contains(&folder)).map(str::to_owned));
    let temporaries = lab.folder.path().join("store/tmp");
    for entry in std::fs::read_dir(temporaries).into_iter().flatten().flatten() {
        // This process has the store open, too.
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(&format!("{}-", std::process::id())) {
            found.push(name);
        }
    }
    found
}

#[test]
fn killed_at_any_moment_nothing_is_left_after_the_next_start() {
    let Some(lab) = Lab::embedded() else { return };
    let mark = format!("2{:09}", std::process::id());
    let script = format!(
        "mkdir -p d/e; echo x > d/e/f; chmod 0 d/e; (setsid sleep {mark} &); sleep {mark} & \
         for i in 1 2 3; do echo $i >> in; done; sleep 0.02; chmod 755 d/e"
    );
    let case = sh(&script)
        .file("w/in", "fine")
        .out(&["d", "in"])
        .property("remoteApisSocketPath", "run/s");
    let groups = Folder::new("kill");
    let case = match &groups {
        Some(groups) => case.option(&format!("--cgroup={}", groups.path.display())),
        None => case,
    };
    let rounds = if long() { 1000 } else { 20 };
    // The moments are spread over the time that one run takes.
    let begin = Instant::now();
    assert_eq!(lab.ours(&case).exit_status, 0);
    let whole = begin.elapsed().max(Duration::from_millis(10));
    let mut state = 0x9e37_79b9_u32;
    for _ in 0..rounds {
        let (mut command, _files) = lab.command(&bin("buildbox-run"), &case);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a runner");
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(whole.mul_f64(f64::from(state >> 8) / f64::from(1 << 24)));
        let _ = child.kill();
        child.wait().expect("an end");
    }
    // A killed sandbox takes a moment to be gone; then one more start cleans up.
    wait_until("all processes end", || processes(&format!("sleep\0{mark}")).is_empty());
    let outcome = lab.ours(&sh("cat in").file("w/in", "fine"));
    assert_eq!(outcome.stdout(), "fine");
    assert_eq!(leftovers(&lab, &mark), Vec::<String>::new());
    if let Some(groups) = groups {
        assert_eq!(lab.ours(&case).exit_status, 0);
        assert_eq!(groups.groups(), Vec::<String>::new());
    }
    let verified = lab.endpoint.store().expect("a store").verify().expect("verified");
    assert!(verified.bad.is_empty(), "{verified:?}");
}

#[test]
fn killed_runners_leave_casd_clean() {
    let Some(lab) = Lab::casd() else { return };
    let case = sh("sleep 0.02; echo x").file("w/in", "fine");
    for round in 0..10_u64 {
        let (mut command, _files) = lab.command(&bin("buildbox-run"), &case);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a runner");
        std::thread::sleep(Duration::from_millis(round * 8));
        let _ = child.kill();
        child.wait().expect("an end");
    }
    let casd = lab.casd.as_ref().expect("casd");
    let folder = casd.socket().parent().expect("a folder").display().to_string();
    wait_until("casd removes what it staged", || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        !mounts.lines().any(|line| line.contains(&folder))
    });
    assert_eq!(lab.ours(&case).exit_status, 0);
    let left = std::fs::read_dir(std::env::temp_dir()).expect("a folder").flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("buildbox-run-"))
        .filter(|name| {
            let pid = name.split('-').nth(2).unwrap_or_default();
            !std::path::Path::new("/proc").join(pid).exists()
        })
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn an_ordinary_user_can_do_the_same() {
    let Some(lab) = Lab::embedded() else { return };
    if !nix::unistd::geteuid().is_root() {
        // Then all other tests show it.
        return;
    }
    let case = sh("id -u; id -g; mkdir d; echo x > d/x; chmod 0 d/x d; ls -ld /w | cut -c1-10")
        .out(&["d"])
        .property("unixUID", "7");
    let (_, action) = lab.upload(&case);
    let folder = forerunner_tests::temp();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("action"), action).expect("a file");
    // The programs and the store must be reachable for that user.
    std::fs::copy(bin("buildbox-run"), path("buildbox-run")).expect("a copy");
    let run = |command: &mut Command| assert!(command.status().expect("a program").success());
    run(Command::new("cp").arg("-r").arg(lab.folder.path().join("store")).arg(path("store")));
    run(Command::new("chown").args(["-R", "65534:65534"]).arg(folder.path()));
    let output = {
        use std::os::unix::process::CommandExt;
        Command::new(path("buildbox-run"))
            .uid(65534)
            .gid(65534)
            .current_dir(folder.path())
            .env_clear()
            .env("FORERUNNER_STORE", path("store"))
            .arg(format!("--action={}", path("action").display()))
            .arg(format!("--action-result={}", path("result").display()))
            .arg(format!("--stdout-file={}", path("out").display()))
            .output()
            .expect("a runner")
    };
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert_eq!(
        std::fs::read_to_string(path("out")).expect("output"),
        "7\n0\ndrwxr-xr-x\n",
        "{log}"
    );
    let result = std::fs::read(path("result")).expect("a result");
    let result: forerunner_proto::reapi::ActionResult =
        forerunner_proto::Message::decode(&result[..]).expect("a result");
    assert_eq!((result.exit_code, result.output_directories.len()), (0, 1), "{log}");
    assert!(std::fs::read_dir(path("store/tmp")).into_iter().flatten().next().is_none());
}
