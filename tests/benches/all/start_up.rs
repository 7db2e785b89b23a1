//! What it costs to start at all.

use std::process::Command;

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
