//! `generate --background`: the build goes on, and what went wrong is not lost.

use std::path::Path;
use std::time::{Duration, Instant};

use forerunner_tests::{at_home, on_path, peer, run, temp};
use serde_json::Value;

/// Guards against a hang only.
const PATIENCE: Duration = Duration::from_secs(300);

/// The text of a file, once it has some.
fn text_of(path: &Path) -> String {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if !text.is_empty() {
            return text;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing in {}", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_goes_on_without_us() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let home = temp();
    let work = home.path().join("work");
    std::fs::create_dir(&work).expect("a folder");
    std::fs::write(work.join("a.c"), "int a;\n").expect("a source");
    let speculate = |words: &str| {
        let mut command = at_home("speculate", &work, home.path());
        command.args(words.split(' '));
        command
    };
    run(&mut speculate("record --element app --sources . -- recc gcc -c a.c"));
    let plain = run(&mut speculate("generate --element app"));
    run(&mut speculate("generate --element app --background --output graph.json"));
    let graph: Value = serde_json::from_str(&text_of(&work.join("graph.json"))).expect("a graph");
    assert_eq!(graph, serde_json::from_str::<Value>(&plain).expect("a graph"));
    // Its caller learns nothing of this, but it is said.
    run(&mut speculate("generate --graph none.json --background --output other.json"));
    let said = text_of(&work.join("other.json.log"));
    assert!(said.contains("none.json"), "{said}");
    assert!(!work.join("other.json").exists());
}
