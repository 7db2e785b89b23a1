//! The invariants of ARCHITECTURE.md that a look at the code can hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use forerunner_tests::{checkout, run};
use walkdir::WalkDir;

/// Who may import whom, directly. The three tools never import each other.
const EDGES: &[(&str, &[&str])] = &[
    ("forerunner-proto", &[]),
    ("forerunner-merkle", &["forerunner-proto"]),
    ("forerunner-store", &["forerunner-merkle", "forerunner-proto"]),
    ("forerunner-reapi", &["forerunner-store", "forerunner-merkle", "forerunner-proto"]),
    (
        "forerunner-gateway",
        &["forerunner-reapi", "forerunner-store", "forerunner-merkle", "forerunner-proto"],
    ),
    (
        "buildbox-run",
        &[
            "forerunner-gateway",
            "forerunner-reapi",
            "forerunner-store",
            "forerunner-merkle",
            "forerunner-proto",
        ],
    ),
    (
        "forerunner-wrappers",
        &["forerunner-reapi", "forerunner-store", "forerunner-merkle", "forerunner-proto"],
    ),
    (
        "speculate",
        &[
            "forerunner-gateway",
            "forerunner-reapi",
            "forerunner-store",
            "forerunner-merkle",
            "forerunner-proto",
        ],
    ),
    ("xtask", &[]),
];

/// Longest a source file may be. Tables and generated code aside, more wants to be several files.
const LONGEST_LINES: usize = 700;

fn sources() -> Vec<(PathBuf, String)> {
    let root = checkout();
    let mut files = Vec::new();
    for room in ["proto", "lib", "runner", "wrappers", "speculate", "tests", "xtask"] {
        for entry in WalkDir::new(root.join(room)) {
            let path = entry.expect("a readable checkout").into_path();
            let generated = path.components().any(|part| part.as_os_str() == "gen");
            if path.extension().is_some_and(|extension| extension == "rs") && !generated {
                let text = std::fs::read_to_string(&path).expect("UTF-8");
                let path = path.strip_prefix(&root).expect("inside").to_owned();
                files.push((path, text));
            }
        }
    }
    assert!(files.len() > 50, "the checkout was not found");
    files
}

/// The code of a file: without comments, and without its tests, which stand last.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_point_down_only() {
    let metadata = run(std::process::Command::new("cargo").current_dir(checkout()).args([
        "metadata",
        "--no-deps",
        "--format-version=1",
        "--offline",
    ]));
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON");
    let mut checked = BTreeSet::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let Some((_, allowed)) = EDGES.iter().find(|(from, _)| *from == name) else {
            assert_eq!(name, "forerunner-tests", "{name} has no place in the house");
            continue;
        };
        checked.insert(name.to_owned());
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            let ours = EDGES.iter().any(|(package, _)| *package == to);
            let test_only = dependency["kind"] == "dev";
            assert!(!ours || test_only || allowed.contains(&to), "{name} must not import {to}");
        }
    }
    assert_eq!(checked.len(), EDGES.len(), "{checked:?}");
}

#[test]
fn unsafe_stays_in_its_folder() {
    for (path, text) in sources() {
        // What runs processes in namespaces; and one file that maps files.
        let inside = path.starts_with("runner/src/sys")
            || path == Path::new("runner/src/sys.rs")
            || path == Path::new("speculate/src/mapped.rs");
        let mut previous = Vec::new();
        for line in code_with_comments(&text) {
            let used = line.contains("unsafe {")
                || line.contains("unsafe fn")
                || line.contains("unsafe impl")
                || line.contains("allow(unsafe_code)");
            assert!(!used || inside, "{}: {line}", path.display());
            if line.contains("unsafe {") {
                let said = previous.iter().rev().take(8).any(|l: &String| l.contains("SAFETY"));
                assert!(said, "{}: no SAFETY line before `{}`", path.display(), line.trim());
            }
            previous.push(line);
        }
    }
}

/// Lines of a file that are code or comment, but no string of this very test.
fn code_with_comments(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.contains("line.contains("));
    lines.map(str::to_owned).collect()
}

#[test]
fn only_the_endpoint_and_the_gateway_open_sockets() {
    let words = ["UnixStream::", "TcpStream::", "UnixListener::", "TcpListener::", "UdpSocket::"];
    // Metrics and metadata of recc are datagrams to a local port, as the reference sends them;
    // a casd that was just started is tried until it listens.
    let exceptions = ["wrappers/src/datagram.rs", "speculate/src/casd.rs"];
    for (path, text) in sources() {
        let name = path.display().to_string();
        let allowed = name.starts_with("lib/reapi")
            || name.starts_with("lib/gateway")
            || name.starts_with("tests")
            || exceptions.iter().any(|exception| name.starts_with(exception));
        let found = words.iter().find(|word| code(&text).contains(**word));
        assert!(allowed || found.is_none(), "{name}: {found:?}");
    }
}

#[test]
fn libraries_neither_read_the_environment_nor_print_nor_exit() {
    let words = ["env::var", "println!(", "eprintln!(", "process::exit", "env::args"];
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("lib")) {
        let found = words.iter().find(|word| code(text).contains(**word));
        assert!(found.is_none(), "{}: {found:?}", path.display());
    }
}

#[test]
fn the_trees_do_no_io() {
    let words = ["std::fs", "std::net", "async fn", "tokio", "std::env", "std::process"];
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("lib/merkle/src")) {
        let found = words.iter().find(|word| code(text).contains(**word));
        assert!(found.is_none(), "{}: {found:?}", path.display());
    }
}

#[test]
fn one_function_encodes_a_directory() {
    let mut encoders = Vec::new();
    for (path, text) in sources() {
        let library = !path.starts_with("tests") && !path.starts_with("lib/merkle");
        if library && code(&text).contains("reapi::Directory {") {
            encoders.push(path);
        }
    }
    assert!(encoders.is_empty(), "only lib/merkle makes Directory messages: {encoders:?}");
}

#[test]
fn files_are_rooms_one_can_look_through() {
    let mut lengths = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_LINES, "{} has {lines} lines", path.display());
        lengths.push(lines);
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median < 250, "the median file has {median} lines");
}

#[test]
fn no_room_is_called_by_a_name_that_says_nothing() {
    for (path, _) in sources() {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for word in ["util", "utils", "common", "helpers", "helper", "manager", "misc"] {
            assert_ne!(stem, word, "{}", path.display());
        }
    }
}

#[test]
fn every_test_file_is_part_of_the_program() {
    let folder = checkout().join("tests/tests/it");
    let main = std::fs::read_to_string(folder.join("main.rs")).expect("main.rs");
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if stem != "main" {
            assert!(main.contains(&format!("mod {stem};")), "main.rs lacks `mod {stem};`");
        }
    }
}

#[test]
fn every_module_is_declared() {
    let files: BTreeMap<PathBuf, String> = sources().into_iter().collect();
    for path in files.keys() {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new(""));
        let root = ["lib", "main", "mod"].contains(&stem.as_str());
        let program = ["bin", "benches", "examples"].iter().any(|end| folder.ends_with(end));
        if root
            || program
            || folder.components().any(|part| part.as_os_str() == "tests")
            || stem == "build" && folder == Path::new("")
        {
            continue;
        }
        let above = folder.parent().unwrap_or(Path::new(""));
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parents = [
            folder.join("lib.rs"),
            folder.join("main.rs"),
            folder.join("mod.rs"),
            above.join(format!("{name}.rs")),
        ];
        let declared = parents.iter().filter_map(|parent| files.get(parent)).any(|text| {
            text.lines().any(|line| {
                let line =
                    line.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
                line.trim_start_matches("pub ") == format!("mod {stem};")
            })
        });
        assert!(declared, "{} is declared nowhere", path.display());
    }
}

#[test]
fn the_lints_hold_everywhere() {
    for entry in WalkDir::new(checkout()).max_depth(3) {
        let path = entry.expect("a readable checkout").into_path();
        let relative = path.strip_prefix(checkout()).expect("inside").to_owned();
        if path.file_name().is_some_and(|name| name == "Cargo.toml")
            && relative != Path::new("Cargo.toml")
            && !relative.starts_with("target")
        {
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            assert!(text.contains("[lints]\nworkspace = true"), "{}", relative.display());
        }
    }
}
