//! Which programs a build starts, by strace: nothing that our wrappers say of themselves.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use forerunner_tests::{on_path, peer};

/// Programs that a build of hits only does not start.
const TOOLS: &[&str] = &[
    "ar",
    "as",
    "c++",
    "cc",
    "cc1",
    "cc1plus",
    "clang",
    "clang++",
    "collect2",
    "g++",
    "gcc",
    "gcc-ar",
    "gcc-ranlib",
    "ld",
    "ld.bfd",
    "lto-wrapper",
    "lto1",
    "objcopy",
    "objdump",
    "ranlib",
    "strip",
];

/// Whether programs can be watched here.
pub(crate) fn available() -> bool {
    let works = on_path("strace").filter(|strace| {
        let mut probe = Command::new(strace);
        probe.args(["-f", "-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    peer("strace, allowed to trace", works).is_some()
}

/// A command that also writes down what it and its children start.
pub(crate) fn watch(log: &Path, program: &str, arguments: &[&str]) -> Command {
    watch_calls("execve,execveat", log, program, arguments)
}

/// The same for other calls.
pub(crate) fn watch_calls(calls: &str, log: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "--seccomp-bpf", "-s", "4096", "-e"])
        .arg(format!("trace={calls}"))
        .args(["-e", "signal=none"])
        .arg("-o")
        .arg(log)
        .arg(program)
        .args(arguments);
    command
}

/// The tools of a compiler that were started, each with its arguments.
pub(crate) fn tools(log: &Path) -> Vec<String> {
    let text = String::from_utf8_lossy(&std::fs::read(log).expect("a log")).into_owned();
    let started: Vec<&str> = text
        .lines()
        // What could not be started, such as a name looked for on PATH.
        .filter(|line| line.contains("execve(\"") && !line.contains(") = -1 "))
        .collect();
    assert!(!started.is_empty(), "nothing was watched:\n{text}");
    let mut found = BTreeSet::new();
    for line in started {
        let Some((_, rest)) = line.split_once("execve(\"") else { continue };
        let Some((path, rest)) = rest.split_once('"') else { continue };
        let program = Path::new(path);
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_prefix("x86_64-linux-gnu-").unwrap_or(&name);
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
        if TOOLS.contains(&name) && program.exists() {
            let arguments = rest.split_once('[').map_or(rest, |(_, rest)| rest);
            let arguments = arguments.split_once("], ").map_or(arguments, |(words, _)| words);
            found.insert(arguments.chars().take(600).collect::<String>());
        }
    }
    found.into_iter().collect()
}
