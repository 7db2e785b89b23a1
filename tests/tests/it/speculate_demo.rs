//! `speculate demo`: what a newcomer sees.

use std::process::Command;

use forerunner_tests::{bin, on_path, peer, run, temp};
use serde_json::Value;

/// A shell sandbox can be made here, and there is a C++ compiler.
fn able() -> bool {
    peer("g++", on_path("g++")).is_some()
}

fn speculate(home: &std::path::Path) -> Command {
    let mut command = Command::new(bin("speculate"));
    command.env("FORERUNNER_STORE", home.join("store")).env("HOME", home);
    command
}

#[test]
fn the_primed_rebuild_is_hits_only() {
    if !able() {
        return;
    }
    let home = temp();
    let text = run(speculate(home.path()).args(["demo", "--json"]));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let rounds = value["rounds"].as_array().expect("rounds");
    let names: Vec<&str> = rounds.iter().filter_map(|round| round["round"].as_str()).collect();
    assert_eq!(names.len(), 4, "{text}");
    for element in rounds[2]["elements"].as_array().expect("elements") {
        assert_eq!(element["executed"], 0, "{text}");
        assert!(element["hits"].as_u64() > Some(0), "{text}");
    }
    let primed: u64 = rounds[1]["elements"]
        .as_array()
        .expect("elements")
        .iter()
        .filter(|line| line["element"] != "all, at once")
        .filter_map(|line| line["executed"].as_u64())
        .sum();
    assert!(primed >= 6, "{text}");
    assert_eq!(value["verdict"]["good"], true, "{text}");
}

#[test]
fn bad_input_is_named() {
    let home = temp();
    let complaint = |arguments: &[&str], status: i32| {
        let output = speculate(home.path()).args(arguments).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        said
    };
    let file = home.path().join("graph.json");
    let graph = file.to_str().expect("a path").to_owned();
    let said = complaint(&["prime", "--graph", &graph], 2);
    assert!(said.contains("graph.json") && said.contains("No such file"), "{said}");
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    write("{\"elements\": [\n{\"name\": \"a\", \"colour\": 1}]}");
    let said = complaint(&["generate", "--graph", &graph], 2);
    assert!(said.contains("line 2: element `a`, key `colour`"), "{said}");
    write(r#"{"elements": [{"name":"a","depends":["b"]},{"name":"b","depends":["a"]}]}"#);
    let said = complaint(&["instantiate", "--graph", &graph], 2);
    assert!(said.contains("a -> b -> a") || said.contains("b -> a -> b"), "{said}");
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/1";
    write(&format!(
        r#"{{"elements": [{{"name":"a","sources":"{digest}","subactions":["{digest}"]}}]}}"#
    ));
    let said = complaint(&["generate", "--graph", &graph], 3);
    assert!(said.contains("element `a`") && said.contains(digest), "{said}");
    write(r#"{"elements": [{"name":"a","sources":{"path":"nowhere"}}]}"#);
    let said = complaint(&["generate", "--graph", &graph], 1);
    assert!(said.contains("element `a`") && said.contains("nowhere"), "{said}");
    let socket = format!("--remote=unix:{}/none.sock", home.path().display());
    let said = complaint(&["show", "--element", "a", &socket], 3);
    assert!(said.contains("none.sock"), "{said}");
    complaint(&["prime", "--graph", &graph, "--colour"], 2);
    complaint(&["prime", "--graph", &graph, "--max-share", "2"], 2);
}
