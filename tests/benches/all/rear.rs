//! A hit of rear on an archive of 200 members against plain ar.

use std::path::Path;
use std::process::Command;

use forerunner_tests::{bin, run as run_command, temp};

use crate::measure::{Bench, Timed};

pub(crate) fn run(bench: &mut Bench) {
    if !bench.wanted("rear") {
        return;
    }
    let folder = temp();
    let mut members = Vec::new();
    for number in 0..200 {
        let name = format!("m{number}.o");
        let source = folder.path().join(format!("m{number}.c"));
        let functions: Vec<String> =
            (0..20).map(|f| format!("int f{number}_{f}(int x) {{ return x * {f}; }}")).collect();
        std::fs::write(&source, functions.join("\n")).expect("a file");
        run_command(
            Command::new("gcc").arg("-c").arg(&source).arg("-o").arg(folder.path().join(&name)),
        );
        members.push(name);
    }
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command
            .current_dir(folder.path())
            .args(["rcs", "lib.a"])
            .args(&members)
            .env("FORERUNNER_STORE", folder.path().join("store"));
        command
    };
    let remove = || drop(std::fs::remove_file(folder.path().join("lib.a")));
    let (rear, ar) = (bin("rear"), Path::new("ar"));
    bench.pair(
        "rear rcs, 200 members, hit, no archive there",
        &Timed::new("rear", || command(&rear)).before(remove),
        &Timed::new("ar", || command(ar)).before(remove),
    );
    bench.pair(
        "rear rcs, 200 members, hit, equal archive in place",
        &Timed::new("rear", || command(&rear)),
        &Timed::new("ar", || command(ar)),
    );
}
