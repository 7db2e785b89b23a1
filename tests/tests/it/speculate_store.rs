//! What records keep in the embedded store, and for how long.

use std::path::Path;
use std::process::Command;

use forerunner_tests::{at_home, on_path, peer, run, temp};

/// Units, each of which becomes an object file of 300,000 bytes.
const UNITS: usize = 8;

/// Less than twice all of them. Records keep three quarters of it.
const LIMIT: &str = "4M";

fn speculate(home: &Path, arguments: &[&str]) -> Command {
    let mut command = at_home("speculate", &home.join("work"), home);
    command.args(arguments).env("FORERUNNER_STORE_SIZE", LIMIT);
    command
}

/// Builds [`UNITS`] units with different content; answers with what `generate` says.
fn build(home: &Path, element: &str, first: usize) -> String {
    let work = home.join("work");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir(&work).expect("a folder");
    let mut script = String::new();
    for unit in first..first + UNITS {
        let text = format!("char large{unit}[300000] = {{{}}};\n", unit + 1);
        std::fs::write(work.join(format!("u{unit}.c")), text).expect("a unit");
        script.push_str(&format!("recc gcc -c u{unit}.c -o u{unit}.o\n"));
    }
    let record = ["record", "--element", element, "--sources", ".", "--", "sh", "-ec", &script];
    run(&mut speculate(home, &record));
    let output = speculate(home, &["generate", "--element", element]).output().expect("an end");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_a_build_used_is_there_when_its_record_is_written() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let home = temp();
    let said = build(home.path(), "old", 0);
    assert!(said.contains("old: 8 actions") && !said.contains("not on the endpoint"), "{said}");
    // Too much for both; what the other record keeps does not go while this one is built.
    let said = build(home.path(), "new", UNITS);
    assert!(said.contains("new: 8 actions") && !said.contains("not on the endpoint"), "{said}");
    // Then the limit comes first, and the record that was used last.
    run(&mut speculate(home.path(), &["store", "gc"]));
    let stats = run(&mut speculate(home.path(), &["store", "stats"]));
    let bytes = stats.lines().nth(1).and_then(|line| line.split_whitespace().next()?.parse().ok());
    assert!(bytes.is_some_and(|bytes: u64| bytes <= 4 << 20), "{stats}");
    let output =
        speculate(home.path(), &["generate", "--element", "new"]).output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("new: 8 actions") && !said.contains("not on the endpoint"), "{said}");
}

#[test]
fn records_of_gone_elements_are_forgotten() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let home = temp();
    let at = home.path();
    std::fs::create_dir(at.join("work")).expect("a folder");
    std::fs::write(at.join("work/a.c"), "int a;\n").expect("a unit");
    for element in ["stays", "goes"] {
        let build = ["recc", "gcc", "-c", "a.c", "-o", "a.o"];
        run(&mut speculate(at, &[&["record", "--element", element, "--"], &build[..]].concat()));
        run(&mut speculate(at, &["generate", "--element", element]));
    }
    let records = || {
        let stats = run(&mut speculate(at, &["store", "stats"]));
        stats.lines().find(|line| line.contains("element records")).expect("a line").to_owned()
    };
    // Of each the record, and the generations of its speculative actions.
    assert!(records().contains(" 4 of them"), "{}", records());
    run(&mut speculate(at, &["store", "forget", "goes"]));
    assert!(records().contains(" 2 of them"), "{}", records());
    let again = speculate(at, &["store", "forget", "goes"]).output().expect("an end");
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(said.contains("no record of element `goes`"), "{said}");
}

/// The record to start from is not always the newest: what an edit touched, and builds that failed, hide
/// none. Under eviction, what it refers to stays as long as it may be the one.
#[test]
fn a_base_stays_while_it_may_be_one() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let home = temp();
    let at = home.path();
    let said = build(at, "app", 0);
    assert!(said.contains("app: 8 actions"), "{said}");
    let work = at.join("work");
    let mut number = 0;
    let mut edit = |status: i32| {
        number += 1;
        let text = format!("char small{number}[1000] = {{1}};\n");
        std::fs::write(work.join("u0.c"), text).expect("a unit");
        let script = format!("recc gcc -c u0.c -o u0.o; exit {status}");
        let record = ["record", "--element", "app", "--sources", ".", "--", "sh", "-ec", &script];
        let output = speculate(at, &record).output().expect("an end");
        assert_eq!(output.status.code(), Some(status), "{output:?}");
    };
    // More than there is room for, and used later than the actions of the base.
    let flood = |first: usize| {
        for unit in first..first + 2 * UNITS {
            let text = format!("char flood{unit}[300000] = {{{unit}}};\n");
            std::fs::write(work.join("flood.c"), text).expect("a unit");
            let mut recc = at_home("recc", &work, at);
            recc.args(["gcc", "-c", "flood.c", "-o", "flood.o"]);
            recc.env("FORERUNNER_STORE_SIZE", LIMIT);
            run(&mut recc);
        }
        run(&mut speculate(at, &["store", "gc"]));
        let output = speculate(at, &["generate", "--element", "app"]).output().expect("an end");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    edit(0);
    edit(3);
    let said = flood(100);
    assert!(said.contains("app: 8 actions") && !said.contains("not on the endpoint"), "{said}");
    // Eight later, nobody remembers it.
    (0..8).for_each(|_| edit(0));
    let said = flood(200);
    assert!(said.contains("app: 1 actions") && !said.contains("not on the endpoint"), "{said}");
    let stats = run(&mut speculate(at, &["store", "stats"]));
    let bytes = stats.lines().nth(1).and_then(|line| line.split_whitespace().next()?.parse().ok());
    assert!(bytes.is_some_and(|bytes: u64| bytes <= 4 << 20), "{stats}");
}
