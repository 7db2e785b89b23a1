//! The wrappers and `speculate` with servers of others: with those that only cache, what is executed
//! is executed here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use forerunner_tests::{BuildGrid, Casd, bin, bin_dir, temp};

const MAKEFILE: &str = "\
prog: main.o liba.a
\t$(CC) -o prog main.o liba.a
liba.a: a.o
\trm -f liba.a; $(AR) rc liba.a a.o; $(RANLIB) liba.a
a.o: a.c a.h
\t$(CC) -c -o a.o a.c
main.o: main.c
\t$(CC) -c -o main.o main.c
";

const FILES: &[(&str, &str)] = &[
    ("Makefile", MAKEFILE),
    ("main.c", "int a(void);\nint main(void) { return a(); }\n"),
    ("a.c", "#include \"a.h\"\nint a(void) { return A; }\n"),
    ("a.h", "#define A 0\n"),
];

#[test]
fn buildgrid_keeps_what_a_build_needs() {
    let Some(server) = BuildGrid::start() else { return };
    build_on(&server.url(), false);
}

#[test]
fn casd_keeps_what_a_build_needs() {
    let Some(server) = Casd::start() else { return };
    build_on(&server.url(), true);
}

/// BuildGrid with PostgreSQL, stock workers that start our runner, remote execution.
#[test]
fn a_cluster_builds_and_primes() {
    if !forerunner_tests::long() {
        return;
    }
    let Some(server) = BuildGrid::start_cluster(&["--host-toolchain"]) else { return };
    let folder = temp();
    let work = project(folder.path());
    let environment = |command: &mut Command| {
        command
            .current_dir(&work)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin_dir().display()))
            .env("HOME", folder.path())
            .env("RECC_LOG_LEVEL", "info")
            .env("RECC_LINK", "1")
            .env("RECC_REMOTE_PLATFORM_OSFamily", "linux");
    };
    let make = |header: &str| {
        clean(&work);
        std::fs::write(work.join("a.h"), header).expect("a header");
        let mut command = Command::new("make");
        environment(&mut command);
        command.args(["CC=recc gcc", "AR=rear", "RANLIB=reranlib"]);
        let output = command.env("RECC_SERVER", server.url()).output().expect("make");
        assert!(output.status.success(), "{output:?}\n{}", server.log());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let remote = text.matches("Remote execution finished with exit code 0").count();
        (remote, text.matches("Action Cache hit").count())
    };
    // Two compiles and a link there; archives are made here.
    assert_eq!(make("#define A 1\n"), (3, 0));
    assert_eq!(make("#define A 1\n"), (0, 5));

    let speculate = |words: &[&str]| {
        let mut command = Command::new(bin("speculate"));
        environment(&mut command);
        command.arg(words[0]).arg(format!("--remote={}", server.url()));
        command.args(["--element=app", "--sources=."]).args(&words[1..]);
        let output = command.output().expect("speculate");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {text}\n{}", server.log());
        text
    };
    let record = ["record", "--", "make", "CC=recc gcc", "AR=rear", "RANLIB=reranlib"];
    clean(&work);
    speculate(&record);
    speculate(&["generate"]);
    std::fs::write(work.join("a.h"), "#define A 2\n").expect("a header");
    let table = speculate(&["prime"]);
    assert_eq!(table.matches(": executed in").count(), 4, "{table}");
    clean(&work);
    assert_eq!(speculate(&record).matches("Action Cache hit").count(), 5);
}

/// The sources, in a folder of their own.
fn project(folder: &Path) -> PathBuf {
    let work = folder.canonicalize().expect("a path").join("work");
    std::fs::create_dir(&work).expect("a directory");
    for (name, text) in FILES {
        std::fs::write(work.join(name), text).expect("a file");
    }
    work
}

fn build_on(url: &str, executes: bool) {
    let folder = temp();
    let work = project(folder.path());
    let run = |words: &[&str]| -> Output {
        Command::new(bin("speculate"))
            .arg(words[0])
            .arg(format!("--remote={url}"))
            .args(["--element=app", "--sources=."])
            .args(&words[1..])
            .current_dir(&work)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin_dir().display()))
            .env("HOME", folder.path())
            .env("RECC_LOG_LEVEL", "info")
            .output()
            .expect("speculate")
    };
    let speculate = |words: &[&str]| -> Output {
        let output = run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        output
    };
    let make = ["record", "--", "make", "CC=recc gcc", "AR=rear", "RANLIB=reranlib"];
    let hits = || {
        clean(&work);
        let output = speculate(&make);
        let program = std::fs::read(work.join("prog")).expect("the program");
        (String::from_utf8_lossy(&output.stderr).matches("Action Cache hit").count(), program)
    };
    let (first, program) = hits();
    assert_eq!(first, 0);
    assert_eq!(hits(), (5, program));

    let graph = speculate(&["generate"]);
    let graph: serde_json::Value = serde_json::from_slice(&graph.stdout).expect("a graph");
    assert_eq!(graph["elements"][0]["subactions"].as_array().map(Vec::len), Some(5));
    std::fs::write(work.join("a.h"), "#define A (1 - 1)\n").expect("a header");
    let lines = String::from_utf8(speculate(&["instantiate"]).stdout).expect("text");
    let states: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line"))
        .map(|line| line["state"].as_str().expect("a state").to_owned())
        .collect();
    assert_eq!(states, ["unchanged", "changed", "deferred", "deferred", "deferred"]);

    if !executes {
        let refused = run(&["prime"]);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && text.contains("--exec-remote"), "{text}");
    }
    speculate(&["prime", "--exec-remote=local:"]);
    assert_eq!(hits().0, 5);
}

fn clean(work: &Path) {
    for product in ["main.o", "a.o", "liba.a", "prog"] {
        let _ = std::fs::remove_file(work.join(product));
    }
}
