//! Bad input is named: one clear message, the documented exit status, nothing damaged.

use std::path::Path;
use std::process::{Command, Output};

use forerunner_tests::{bin, temp};

struct Said {
    code: Option<i32>,
    stderr: String,
}

fn run(program: &str, store: &Path, words: &[&str]) -> Said {
    let output: Output = Command::new(bin(program))
        .args(words)
        .env("FORERUNNER_STORE", store)
        .output()
        .expect("the program starts");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    Said {
        code: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `speculate`, and checks its status, that its message names everything, and that it is
/// short.
fn speculate(words: &[&str], code: i32, named: &[&str]) {
    let folder = temp();
    speculate_in(&folder.path().join("store"), words, code, named);
}

fn speculate_in(store: &Path, words: &[&str], code: i32, named: &[&str]) {
    let said = run("speculate", store, words);
    assert_eq!(said.code, Some(code), "{words:?}: {}", said.stderr);
    for name in named {
        assert!(said.stderr.contains(name), "{words:?} does not name `{name}`: {}", said.stderr);
    }
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    assert!(said.stderr.lines().count() <= 8, "{}", said.stderr);
}

fn graph(text: &str) -> (tempfile::TempDir, String) {
    let folder = temp();
    let path = folder.path().join("graph.json");
    std::fs::write(&path, text).expect("a file");
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn an_unreachable_endpoint() {
    let folder = temp();
    let url = format!("unix:{}/none.sock", folder.path().display());
    let (_kept, file) = graph(r#"{"elements": [{"name": "a"}]}"#);
    for words in [
        ["--remote", &url, "generate", "--graph", &file],
        ["--remote", &url, "prime", "--graph", &file],
        ["--remote", &url, "show", "--graph", &file],
    ] {
        speculate(&words, 3, &[&url, "cannot be reached"]);
    }
    speculate(&["--remote", "ftp://x", "show", "--graph", &file], 3, &["ftp://x", "unix:PATH"]);
}

#[test]
fn an_unknown_flag() {
    speculate(&["prime", "--grahp", "x"], 2, &["--grahp", "--graph"]);
    let folder = temp();
    let said = run("buildbox-run", folder.path(), &["--acton=x"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("--acton"), "{}", said.stderr);
}

#[test]
fn a_missing_or_malformed_graph() {
    speculate(&["prime", "--graph", "/nonexistent/g.json"], 2, &["/nonexistent/g.json"]);
    for (text, named) in [
        ("{\n  \"elements\": [\n    {\"name\": \"a\",}\n]}", vec!["line 3"]),
        ("{\"elements\": [{\"name\": \"a\", \"sorces\": null}]}", vec!["sorces", "`a`"]),
        ("{\"elements\": [{\"depends\": []}]}", vec!["name"]),
        ("{\"elements\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}", vec!["`a`"]),
        ("{\"elements\": [{\"name\": \"a\", \"depends\": [\"b\"]}]}", vec!["`a`", "`b`"]),
        ("{\"elements\": [{\"name\": \"a\", \"sources\": \"nonsense\"}]}", vec!["nonsense", "`a`"]),
        ("[]", vec!["line 1"]),
        ("", vec!["line 1"]),
    ] {
        let (_kept, file) = graph(text);
        let mut named = named;
        named.push(&file);
        speculate(&["prime", "--graph", &file], 2, &named);
    }
}

#[test]
fn a_cyclic_graph() {
    let (_kept, file) = graph(
        r#"{"elements": [{"name": "one", "depends": ["two"]},
            {"name": "two", "depends": ["three"]}, {"name": "three", "depends": ["one"]}]}"#,
    );
    speculate(&["generate", "--graph", &file], 2, &["circle", "one", "two", "three"]);
}

#[test]
fn a_missing_blob() {
    let digest = format!("{}/7", "a".repeat(64));
    let text = format!(
        r#"{{"elements": [{{"name": "a", "sources": "{digest}", "subactions": ["{digest}"]}}]}}"#
    );
    let (_kept, file) = graph(&text);
    speculate(&["generate", "--graph", &file], 3, &[&digest]);
}

#[test]
fn a_store_of_a_newer_version_or_no_store_at_all() {
    let folder = temp();
    let store = folder.path().join("store");
    std::fs::create_dir(&store).expect("a folder");
    std::fs::write(store.join("format"), "forerunner-store 999\n").expect("a file");
    speculate_in(&store, &["store", "stats"], 3, &["999", &store.display().to_string()]);
    let left: Vec<_> = std::fs::read_dir(&store).expect("a folder").collect();
    assert_eq!(left.len(), 1, "a newer store was touched");

    let file = folder.path().join("file");
    std::fs::write(&file, "I am a file").expect("a file");
    speculate_in(&file, &["store", "stats"], 3, &[&file.display().to_string()]);
    assert_eq!(std::fs::read(&file).expect("a file"), b"I am a file");
}

#[test]
fn settings_that_make_no_sense() {
    let folder = temp();
    let output = Command::new(bin("speculate"))
        .args(["store", "stats"])
        .env("FORERUNNER_STORE", folder.path())
        .env("FORERUNNER_STORE_SIZE", "a lot")
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("FORERUNNER_STORE_SIZE") && stderr.contains("a lot"), "{stderr}");
}

#[test]
fn an_action_that_cannot_be_run() {
    let folder = temp();
    let store = folder.path().join("store");
    let action = folder.path().join("action");
    let result = folder.path().join("result");
    let words =
        [format!("--action={}", action.display()), format!("--action-result={}", result.display())];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = run("buildbox-run", &store, &words);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains(&action.display().to_string()), "{}", said.stderr);

    std::fs::write(&action, b"\xff\xff\xff\xff").expect("a file");
    let said = run("buildbox-run", &store, &words);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(!result.exists(), "a result without a run");
    let status = result.with_file_name("result.error-status");
    assert!(status.exists(), "the caller finds no status");
}
