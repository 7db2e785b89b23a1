//! What it costs to start at all.

use std::io::{Write as _, pipe};
use std::process::{Command, Stdio};
use std::time::Duration;

use forerunner_tests::{bin, buildbox};

use crate::measure::{Bench, Timed};

pub(crate) fn run(bench: &mut Bench) {
    if !bench.wanted("start-up") {
        return;
    }
    bench.alone(
        "recc --version",
        &Timed::new("recc", || {
            let mut command = Command::new(bin("recc"));
            command.arg("--version");
            command
        }),
    );
    bench.figure("recc --version, resident", &format!("{} KiB", resident_kib()));
    let Some(reference) = buildbox("buildbox-run") else {
        println!("start-up: the reference buildbox-run is missing, no comparison");
        return;
    };
    let capabilities = |program: std::path::PathBuf| {
        move || {
            let mut command = Command::new(&program);
            command.arg("--capabilities");
            command
        }
    };
    bench.pair(
        "buildbox-run --capabilities",
        &Timed::new("ours", capabilities(bin("buildbox-run"))),
        &Timed::new("reference", capabilities(reference)),
    );
}

/// What `recc --version` has in memory when it is done but for its last write: it has to wait there,
/// for the pipe is full.
fn resident_kib() -> u64 {
    let (reader, mut writer) = pipe().expect("a pipe");
    writer.write_all(&[0; 64 << 10]).expect("room in a pipe");
    let mut child = Command::new(bin("recc"))
        .arg("--version")
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .expect("recc");
    let path = format!("/proc/{}/status", child.id());
    let peak = loop {
        let text = std::fs::read_to_string(&path).expect("a process");
        let line = |name| text.lines().find_map(|line: &str| line.strip_prefix(name));
        if line("State:").is_some_and(|state| state.trim_start().starts_with('S')) {
            break line("VmHWM:").and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    drop(reader);
    drop(child.kill());
    drop(child.wait());
    peak.unwrap_or_default()
}
