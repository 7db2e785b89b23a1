//! Control groups, real ones: accounting, limits, and that none is left behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forerunner_proto::{Message, ours};
use forerunner_tests::{bin, on_path, peer};

use crate::runner::{Case, Lab, Outcome, args, sh};
use crate::runner_escape::attempts;

/// A group of the tests' own; removed when dropped.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    /// One in the hierarchy of this machine.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let mounted = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let at = mounted.and_then(|line| line.split(' ').nth(4)).map(PathBuf::from);
        let path = at?.join(format!("forerunner-{name}-{}", std::process::id()));
        let made = std::fs::create_dir(&path).is_ok().then_some(Self { path: path.clone() });
        peer(&format!("a cgroup v2 hierarchy that can be written ({})", path.display()), made)
    }

    fn option(&self) -> String {
        format!("--cgroup={}", self.path.display())
    }

    /// The groups in it.
    pub(crate) fn groups(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).expect("the group").flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Whether limits of this kind can be enforced here.
    fn has(&self, controller: &str) -> bool {
        let file = self.path.join("cgroup.controllers");
        let text = std::fs::read_to_string(file).expect("controllers");
        text.split_whitespace().any(|one| one == controller)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.path);
    }
}

fn usage(outcome: &Outcome) -> ours::SandboxUsage {
    let result = outcome.result.as_ref().unwrap_or_else(|| panic!("{outcome:#?}"));
    let metadata = result.execution_metadata.as_ref().expect("metadata");
    let [statistics, usage] = &metadata.auxiliary_metadata[..] else { panic!("{metadata:#?}") };
    assert!(statistics.type_url.ends_with(".Digest"), "{metadata:#?}");
    assert!(usage.type_url.ends_with("/forerunner.v1.SandboxUsage"), "{metadata:#?}");
    ours::SandboxUsage::decode(&usage.value[..]).expect("usage")
}

#[test]
fn each_action_has_a_group_of_its_own() {
    let Some(lab) = Lab::embedded() else { return };
    let Some(folder) = Folder::new("own") else { return };
    let case = sh("grep ^0:: /proc/self/cgroup; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done")
        .option(&folder.option())
        .option("--collect-execution-stats");
    let outcome = lab.ours(&case);
    // It sees nothing of what is above its own.
    assert_eq!(outcome.stdout(), "0::/\n", "{outcome:#?}");
    let used = usage(&outcome);
    assert!(used.cpu_user_microseconds > 0, "{used:?}");
    assert_eq!(used.memory_peak_bytes > 0, folder.has("memory"), "{used:?}");
    assert_eq!(folder.groups(), Vec::<String>::new());
    // What was left by runners that were killed goes, what is in use stays.
    let dead = folder.path.join("buildbox-run-1-0");
    for path in [dead.clone(), dead.join("sandbox"), dead.join("sandbox/nested")] {
        std::fs::create_dir(path).expect("a group");
    }
    let used = folder.path.join("buildbox-run-1-1");
    std::fs::create_dir(&used).expect("a group");
    let lock = std::fs::File::open(&used).expect("the group");
    lock.lock().expect("a lock");
    assert_eq!(lab.ours(&case).code(), 0);
    assert_eq!(folder.groups(), ["buildbox-run-1-1"]);
    drop(lock);
    assert_eq!(lab.ours(&case).code(), 0);
    assert_eq!(folder.groups(), Vec::<String>::new());
}

#[test]
fn a_limit_is_enforced_or_refused() {
    let Some(lab) = Lab::embedded() else { return };
    let Some(folder) = Folder::new("limit") else { return };
    let limited = |case: Case| lab.ours(&case.option(&folder.option()));
    let refused = |outcome: &Outcome, controller: &str| {
        assert_eq!(outcome.exit_status, 1, "{outcome:#?}");
        let status = outcome.status.as_ref().expect("a status");
        let named = format!("the controller `{controller}`");
        assert!(status.message.contains(&named), "{outcome:#?}");
        assert!(status.message.contains("cgroup.subtree_control"), "{outcome:#?}");
    };
    // Memory: `tail` keeps all that has no line end.
    let eater = sh("head -c 300000000 /dev/zero | tail | wc -c; echo still here");
    let outcome = limited(eater.clone().option("--memory-limit=64M"));
    if folder.has("memory") {
        assert_eq!(outcome.stdout(), "0\nstill here\n", "{outcome:#?}");
        assert!(outcome.log.contains("its memory limit of 67108864 bytes"), "{outcome:#?}");
    } else {
        refused(&outcome, "memory");
    }
    // The stricter of what the machine allows and the action asks for.
    let case = eater.option("--memory-limit=1T").property("forerunnerMemory", "64M");
    let outcome = limited(case);
    if folder.has("memory") {
        assert_eq!(outcome.stdout(), "0\nstill here\n", "{outcome:#?}");
    } else {
        refused(&outcome, "memory");
    }
    // Processes: a bomb of forks gets no further.
    let bomb = "i=0; while [ $i -lt 50 ]; do sleep 60 & i=$((i+1)); done; echo all";
    let outcome = limited(sh(bomb).option("--process-limit=10"));
    if folder.has("pids") {
        assert!(!outcome.stdout().contains("all"), "{outcome:#?}");
        assert_ne!(outcome.code(), 0);
        let outcome = limited(sh(bomb).property("forerunnerProcesses", "60"));
        assert_eq!(outcome.stdout(), "all\n", "{outcome:#?}");
    } else {
        refused(&outcome, "pids");
    }
    // Processors.
    let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    let case = sh(busy).option("--cpu-limit=0.1").option("--collect-execution-stats");
    let outcome = limited(case);
    if folder.has("cpu") {
        assert!(usage(&outcome).cpu_throttled_microseconds > 0, "{outcome:#?}");
    } else {
        refused(&outcome, "cpu");
    }
    assert_eq!(folder.groups(), Vec::<String>::new());
}

#[test]
fn a_group_that_is_none_is_an_error() {
    let Some(lab) = Lab::embedded() else { return };
    for folder in [lab.folder.path(), Path::new("/nowhere")] {
        let outcome = lab.ours(&sh("true").option(&format!("--cgroup={}", folder.display())));
        assert_eq!(outcome.exit_status, 1, "{outcome:#?}");
        let status = outcome.status.expect("a status");
        assert!(status.message.contains(&folder.display().to_string()), "{status:?}");
    }
}

#[test]
fn without_a_delegated_group_the_way_out_is_named() {
    let Some(lab) = Lab::embedded() else { return };
    let Some(unshare) = peer("unshare", on_path("unshare")) else { return };
    // Where no hierarchy is mounted, none is delegated.
    let run = |case: &Case| {
        let (command, files) = lab.command(&bin("buildbox-run"), case);
        let mut hidden = Command::new(&unshare);
        hidden.args(["-rm", "sh", "-c", "mount -t tmpfs none /sys && exec \"$@\"", "sh"]);
        hidden.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            hidden.env(name, value.expect("a value"));
        }
        let output = hidden.stdin(Stdio::null()).output().expect("unshare");
        let mut outcome = lab.read(&files);
        outcome.log = String::from_utf8_lossy(&output.stderr).into_owned();
        outcome
    };
    let outcome = run(&sh("echo fine"));
    assert_eq!(outcome.stdout(), "fine\n", "{outcome:#?}");
    assert!(outcome.log.contains("[INFO] no control group is delegated"), "{outcome:#?}");
    assert!(outcome.log.contains("Delegate=yes"), "{outcome:#?}");
    let outcome = run(&sh("echo fine").option("--memory-limit=1G"));
    assert!(outcome.result.is_none(), "{outcome:#?}");
    let message = outcome.status.expect("a status").message;
    assert!(message.contains("no control group is delegated"), "{message}");
}

#[test]
fn a_group_that_was_delegated_is_found() {
    let Some(lab) = Lab::embedded() else { return };
    let Some(folder) = Folder::new("found") else { return };
    if !folder.has("pids") {
        // Nothing could be delegated here; `each_action_has…` shows the rest.
        eprintln!("SKIPPED: no controllers in the cgroup v2 hierarchy of this machine");
        return;
    }
    // As systemd does it: our own group is in the one that is ours.
    let leaf = folder.path.join("leaf");
    std::fs::create_dir(&leaf).expect("a group");
    let (command, files) = lab.command(
        &bin("buildbox-run"),
        &sh("grep ^0:: /proc/self/cgroup").option("--process-limit=20"),
    );
    let mut inside = Command::new("sh");
    inside.args(["-c", "echo $$ > \"$1\" && shift && exec \"$@\"", "sh"]);
    inside.arg(leaf.join("cgroup.procs")).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        inside.env(name, value.expect("a value"));
    }
    let output = inside.stdin(Stdio::null()).output().expect("a shell");
    let outcome = lab.read(&files);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(outcome.stdout(), "0::/\n", "{log}");
    assert_eq!(folder.groups(), ["leaf"]);
    std::fs::remove_dir(&leaf).expect("an empty group");
}

/// Whoever has a view of the hierarchy with capabilities can lift limits in it, or kill.
#[test]
fn a_command_cannot_reach_its_limits() {
    let Some(lab) = Lab::embedded() else { return };
    let Some(folder) = Folder::new("lift") else { return };
    let program = attempts();
    for attempt in ["cgroup-namespace", "cgroup-clone", "cgroup-clone3"] {
        for option in ["--verbose".to_owned(), folder.option()] {
            let case = args(&["./try", attempt]).program("w/try", &program).option(&option);
            let outcome = lab.ours(&case);
            assert!(outcome.stdout().starts_with("refused"), "{attempt}: {outcome:#?}");
        }
    }
    // With the capability it can look; then only its own group is there, where there are no limits.
    let look = "mount -t cgroup2 none /w && cat /w/cgroup.max.descendants; ls -d /w/buildbox-run*";
    let case = sh(look).cd("v").folder("w").property("capability", "CAP_SYS_ADMIN");
    let outcome = lab.ours(&case.clone().option(&folder.option()));
    assert_eq!(outcome.stdout(), "max\n", "{outcome:#?}");
    if std::fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| text.contains("\n0::/\n")) {
        // Without a group of its own, nothing.
        assert_eq!(lab.ours(&case).stdout(), "");
    }
    assert_eq!(folder.groups(), Vec::<String>::new());
}
