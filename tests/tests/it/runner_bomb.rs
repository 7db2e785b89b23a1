//! Commands that fork without end, as a user whose limit of processes binds the runner as well.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use forerunner_tests::{bin, on_path, peer, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::runner::{Case, Files, Lab, Outcome, exit_status, sh};
use crate::runner_escape::compiled;
use crate::runner_kill::wait_until;

/// What the user may have; few enough for the machine to bear.
const MOST: u32 = 120;

/// Forks twice, each time into a session of its own, for ever; deaf to all signals that may be
/// ignored. It stays at the limit, and says when it is there.
const BOMB: &str = r#"
#define _GNU_SOURCE
#include <signal.h>
#include <unistd.h>

int main(void) {
    for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
    for (int told = 0;;) {
        int pid = fork();
        if (pid < 0) {
            if (!told) { told = 1; write(2, "can't fork\n", 11); }
            usleep(2000);
        } else if (pid == 0) {
            setsid();
            if (fork() > 0) _exit(0);
            setsid();
        }
    }
}
"#;

/// The well-known one, before `after`. Whatever cannot fork any more ends, so it goes up and down.
fn classic(after: &str) -> Case {
    sh(&format!("echo x > made; mkfifo f; exec 9<>f; b() {{ b | b & }}; echo ready; b; {after}"))
}

/// One that stays, before `after`.
fn lasting(after: &str) -> Case {
    let script = format!("echo x > made; mkfifo f; exec 9<>f; echo ready; ./bomb & {after}");
    sh(&script).program("w/bomb", &compiled(BOMB))
}

/// Without a process for it.
const FOR_EVER: &str = "read x <&9";

/// A user of one test only.
struct User {
    uid: u32,
    program: PathBuf,
}

impl User {
    fn new(lab: &Lab) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: only root can be another user");
            return None;
        }
        peer("prlimit", on_path("prlimit"))?;
        let uid = 1_000_000 + 8 * std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed);
        let program = lab.folder.path().join("buildbox-run");
        std::fs::copy(bin("buildbox-run"), &program).expect("a copy");
        Some(Self { uid, program })
    }

    /// Starts a case when the user may have so many processes.
    fn start(&self, lab: &Lab, case: &Case, most: u32) -> (Child, Files) {
        let (inner, files) = lab.command(&self.program, case);
        let log = std::fs::File::create(files.at("log")).expect("a file");
        let owner = format!("{0}:{0}", self.uid);
        run(Command::new("chown").args(["-R", &owner]).arg(lab.folder.path()));
        let mut command = Command::new("prlimit");
        command.arg(format!("--nproc={most}:{most}")).arg(inner.get_program());
        command
            .args(inner.get_args())
            .env_clear()
            .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.arg(format!("--stdout-file={}", files.at("stdout").display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.uid(self.uid).gid(self.uid).current_dir("/").spawn();
        (child.expect("a runner"), files)
    }

    /// Waits until a runner ends. One that does not is killed, and its sandbox with it.
    fn end(&self, lab: &Lab, mut child: Child, files: &Files) -> Outcome {
        let pid = child.id();
        let mut status = None;
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("the runner ends", || {
                status = child.try_wait().expect("a status");
                status.is_some()
            });
        }));
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the runner {pid} does not end");
        }
        let mut outcome = lab.read(files);
        outcome.exit_status = exit_status(status.expect("a status"));
        outcome.log = std::fs::read_to_string(files.at("log")).expect("a log");
        assert!(!outcome.log.contains("panicked"), "{}", outcome.log);
        outcome
    }

    fn run(&self, lab: &Lab, case: &Case, most: u32) -> Outcome {
        let (child, files) = self.start(lab, case, most);
        self.end(lab, child, &files)
    }

    /// The processes of this user, without those that are dead already.
    fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else { continue };
            if status.contains(&format!("\nUid:\t{}\t", self.uid)) {
                found.push(status.lines().next().unwrap_or_default().to_owned());
            }
        }
        found
    }

    fn wait_for_full_house(&self) {
        wait_until("the bomb grows", || self.processes().len() >= MOST as usize * 9 / 10);
    }
}

#[test]
fn a_bomb_ends_at_the_timeout() {
    let Some(lab) = Lab::embedded() else { return };
    let Some(user) = User::new(&lab) else { return };
    for bomb in [classic, lasting] {
        // On a slow machine it takes a while to get to the limit.
        let reached = [3, 15, 60, 300].into_iter().any(|seconds| {
            let case = bomb(FOR_EVER).timeout(seconds).out(&["made"]);
            let outcome = user.run(&lab, &case, MOST);
            assert_eq!(user.processes(), Vec::<String>::new());
            assert_eq!((outcome.exit_status, outcome.code()), (142, 137), "{outcome:#?}");
            let status = outcome.status.as_ref().expect("a status");
            assert_eq!(status.code, tonic::Code::DeadlineExceeded as i32, "{outcome:#?}");
            assert_eq!(outcome.files(), ["made"]);
            outcome.stderr.expect("output").contains("can't fork")
        });
        assert!(reached);
    }
}

#[test]
fn a_bomb_ends_with_its_command() {
    let Some(lab) = Lab::embedded() else { return };
    let Some(user) = User::new(&lab) else { return };
    for bomb in [classic, lasting] {
        let case = bomb("read -t 2 x <&9; exit 5").out(&["made"]);
        let outcome = user.run(&lab, &case.property("remoteApisSocketPath", "run/s"), MOST);
        assert_eq!(user.processes(), Vec::<String>::new());
        assert_eq!((outcome.exit_status, outcome.code()), (0, 5), "{outcome:#?}");
        assert_eq!(outcome.files(), ["made"]);
    }
}

#[test]
fn a_bomb_ends_with_its_runner() {
    let Some(lab) = Lab::embedded() else { return };
    let Some(user) = User::new(&lab) else { return };
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
        let (child, files) = user.start(&lab, &lasting(FOR_EVER).out(&["made"]), MOST);
        user.wait_for_full_house();
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("a signal");
        let outcome = user.end(&lab, child, &files);
        if signal == Signal::SIGKILL {
            assert_eq!(outcome.exit_status, -9);
            wait_until("the kernel ends the sandbox", || user.processes().is_empty());
        } else {
            assert_eq!(user.processes(), Vec::<String>::new());
            assert_eq!((outcome.exit_status, outcome.code()), (128 + signal as i32, 137));
        }
    }
    let outcome = user.run(&lab, &sh("echo fine"), MOST);
    assert_eq!(outcome.stdout(), "fine\n", "{outcome:#?}");
    let own = format!("{}-", std::process::id());
    let left = std::fs::read_dir(lab.folder.path().join("store/tmp")).expect("a folder").flatten();
    let left = left.map(|entry| entry.file_name().to_string_lossy().into_owned());
    assert_eq!(left.filter(|name| !name.starts_with(&own)).count(), 0);
}

#[test]
fn a_bomb_does_not_take_away_what_others_made() {
    let Some(lab) = Lab::embedded() else { return };
    let Some(user) = User::new(&lab) else { return };
    // It waits for a word, without a process.
    let sign = lab.folder.path().join("sign");
    std::fs::write(&sign, "").expect("a file");
    let script = "mkdir d; for i in 1 2 3; do echo $i > d/$i; done; mkfifo f; exec 9<>f; \
        echo ready; while ! read x < sign; do read -t 1 x <&9; done; echo end";
    let case = sh(script)
        .out(&["d"])
        .property("remoteApisSocketPath", "run/s")
        .option(&format!("--bind-mount={}:/w/sign", sign.display()));
    let (patient, files) = user.start(&lab, &case, MOST);
    wait_until("the command starts", || {
        std::fs::read_to_string(files.at("stdout")).unwrap_or_default().contains("ready")
    });
    let (bomb, bomb_files) = user.start(&lab, &lasting(FOR_EVER), MOST);
    user.wait_for_full_house();
    // Who starts now is told why it cannot, or gets through in a moment of luck.
    let late = user.run(&lab, &sh("echo x > made").out(&["made"]), MOST);
    match late.exit_status {
        0 => {}
        1 => {
            let message = late.status.expect("a status").message;
            assert!(message.contains("ulimit -u"), "{message}");
        }
        _ => panic!("{late:#?}"),
    }
    std::fs::write(&sign, "go\n").expect("a file");
    let outcome = user.end(&lab, patient, &files);
    assert!(user.processes().len() > MOST as usize / 2, "the bomb is still there");
    assert_eq!((outcome.exit_status, outcome.stdout()), (0, "ready\nend\n"), "{outcome:#?}");
    assert_eq!(outcome.trees.len(), 1, "{outcome:#?}");
    kill(Pid::from_raw(bomb.id().cast_signed()), Signal::SIGTERM).expect("a signal");
    assert_eq!(user.end(&lab, bomb, &bomb_files).exit_status, 143);
    assert_eq!(user.processes(), Vec::<String>::new());
}

#[test]
fn with_few_processes_it_works_or_says_why_not() {
    let Some(lab) = Lab::embedded() else { return };
    let Some(user) = User::new(&lab) else { return };
    let mut worked = 0;
    for most in 1..12 {
        // Another tree each time, so that it has to be made.
        let mut case = sh("echo x > made").out(&["made"]).property("remoteApisSocketPath", "run/s");
        for number in 0..50 {
            case = case.file(&format!("in/{most}/{number}"), "in");
        }
        let outcome = user.run(&lab, &case, most);
        match outcome.exit_status {
            0 if outcome.code() == 0 => {
                assert_eq!(outcome.files(), ["made"], "{most}: {outcome:#?}");
                worked += 1;
            }
            1 => {
                let message = &outcome.status.as_ref().expect("a status").message;
                let why = ["ulimit -u", "Resource temporarily unavailable"];
                assert!(why.iter().any(|why| message.contains(why)), "{most}: {message}");
            }
            _ => panic!("{most}: {outcome:#?}"),
        }
        assert_eq!(user.processes(), Vec::<String>::new());
    }
    assert!(worked > 3, "{worked}");
}
