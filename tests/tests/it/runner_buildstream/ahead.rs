//! `FORERUNNER_SPECULATE=1 bst build`.

use std::path::Path;
use std::process::{Child, Command};

use super::{Project, Runner, processes, wait_until};

/// Results in the action cache of BuildStream's casd.
fn results(project: &Project) -> usize {
    fn files(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => files(&entry.path()),
                false => 1,
            })
            .sum()
    }
    files(&project.path("ours/actioncache/objects"))
}

/// Lets the command go on that waits for a file in its sandbox.
fn go_on(project: &Project, mut build: Child) {
    let shells = processes(&project.duration.to_string());
    let (id, _) = shells.first().expect("a shell");
    std::fs::write(format!("/proc/{id}/root/tmp/go"), "").expect("a file");
    let status = build.wait().expect("an end");
    assert!(status.success(), "{}", project.log("ahead"));
}

#[test]
fn a_build_finds_what_the_runner_executed_ahead() {
    let Some(project) = Project::new() else { return };
    let build = |variable: Option<&str>| -> Command {
        let mut command = project.bst(Runner::Ours, &["build", "ahead.bst"]);
        command.envs(variable.map(|value| ("FORERUNNER_SPECULATE", value)));
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    };
    go_on(&project, project.start(&mut build(None), "ahead"));
    let log = project.log("ahead");
    assert!(!log.contains("Action Cache hit for ["), "{log}");

    std::fs::remove_dir_all(project.path("ours/logs")).expect("logs");
    let header = project.path("project/files/ahead/one.h");
    std::fs::write(header, "#define NUMBER 2\n").expect("the header");
    let before = results(&project);
    let second = project.start(&mut build(Some("1")), "ahead");
    // BuildStream's casd has it before the element asks for it.
    wait_until("the compile is primed", || results(&project) > before);
    go_on(&project, second);
    let log = project.log("ahead");
    assert!(log.contains("priming what `buildstream/runner/ahead.bst` asked for"), "{log}");
    assert!(log.contains("Action Cache hit for ["), "{log}");
    project.is_clean();
}
