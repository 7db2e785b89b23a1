//! The wrappers and `speculate` with servers of others, which only cache: what is executed is
//! executed here.

use std::path::Path;
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

fn build_on(url: &str, executes: bool) {
    let folder = temp();
    let work = folder.path().canonicalize().expect("a path").join("work");
    std::fs::create_dir(&work).expect("a directory");
    for (name, text) in FILES {
        std::fs::write(work.join(name), text).expect("a file");
    }
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
