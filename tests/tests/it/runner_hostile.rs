//! Actions and trees that no honest client sends, and commands that misbehave.

use forerunner_merkle::Digest;
use forerunner_proto::{Message, reapi};
use forerunner_reapi::Content;

use crate::endpoint::FUNCTION;
use crate::runner::{Case, Lab, args, sh};

fn node(name: &str, digest: &Digest) -> reapi::FileNode {
    reapi::FileNode { name: name.to_owned(), digest: Some(digest.to_proto()), ..Default::default() }
}

fn folder(name: &str, digest: &Digest) -> reapi::DirectoryNode {
    reapi::DirectoryNode { name: name.to_owned(), digest: Some(digest.to_proto()) }
}

fn link(name: &str, target: &str) -> reapi::SymlinkNode {
    let (name, target) = (name.to_owned(), target.to_owned());
    reapi::SymlinkNode { name, target, node_properties: None }
}

/// Stores bytes under the digest that they have.
fn put(lab: &Lab, bytes: Vec<u8>) -> Digest {
    let digest = FUNCTION.digest(&bytes);
    let blobs = vec![(digest, Content::Bytes(bytes.into()))];
    lab.runtime.block_on(lab.endpoint.upload(blobs)).expect("an upload");
    digest
}

fn with_root(root: Digest) -> Case {
    let mut case = args(&["/bin/true"]);
    case.input_root = Some(root);
    case
}

#[test]
fn malformed_directories_are_refused() {
    let Some(lab) = Lab::embedded() else { return };
    let file = put(&lab, b"x".to_vec());
    let empty = put(&lab, Vec::new());
    let absent = FUNCTION.digest(b"absent");
    let huge = Digest::from_hex(&file.hex(), u64::MAX >> 1).expect("a digest");
    let mut bad: Vec<(&str, reapi::Directory)> = Vec::new();
    for name in ["", ".", "..", "a/b", "/etc/passwd", "../x", "a\0b", "/"] {
        bad.push((
            "a file name",
            reapi::Directory { files: vec![node(name, &file)], ..Default::default() },
        ));
        bad.push((
            "a folder name",
            reapi::Directory { directories: vec![folder(name, &empty)], ..Default::default() },
        ));
        bad.push((
            "a link name",
            reapi::Directory { symlinks: vec![link(name, "t")], ..Default::default() },
        ));
    }
    bad.extend([
        (
            "unsorted",
            reapi::Directory {
                files: vec![node("b", &file), node("a", &file)],
                ..Default::default()
            },
        ),
        (
            "duplicate",
            reapi::Directory {
                files: vec![node("a", &file), node("a", &file)],
                ..Default::default()
            },
        ),
        (
            "a file and a folder",
            reapi::Directory {
                files: vec![node("a", &file)],
                directories: vec![folder("a", &empty)],
                ..Default::default()
            },
        ),
        (
            "a file and a link",
            reapi::Directory {
                files: vec![node("a", &file)],
                symlinks: vec![link("a", "b")],
                ..Default::default()
            },
        ),
        (
            "no digest",
            reapi::Directory {
                files: vec![reapi::FileNode { name: "a".to_owned(), ..Default::default() }],
                ..Default::default()
            },
        ),
        (
            "a missing file",
            reapi::Directory { files: vec![node("a", &absent)], ..Default::default() },
        ),
        (
            "a missing folder",
            reapi::Directory { directories: vec![folder("a", &absent)], ..Default::default() },
        ),
        (
            "an absurd size",
            reapi::Directory { files: vec![node("a", &huge)], ..Default::default() },
        ),
        (
            "an absurd size of a folder",
            reapi::Directory { directories: vec![folder("a", &huge)], ..Default::default() },
        ),
        (
            "a file as a folder",
            reapi::Directory { directories: vec![folder("a", &file)], ..Default::default() },
        ),
        (
            "an empty target",
            reapi::Directory { symlinks: vec![link("a", "")], ..Default::default() },
        ),
        (
            "NUL in a target",
            reapi::Directory { symlinks: vec![link("a", "x\0y")], ..Default::default() },
        ),
    ]);
    for (what, directory) in bad {
        let root = put(&lab, directory.encode_to_vec());
        let outcome = lab.ours(&with_root(root));
        assert_eq!(outcome.exit_status, 1, "{what}: {outcome:#?}");
        let status = outcome.status.clone().unwrap_or_else(|| panic!("{what}: {outcome:#?}"));
        assert!(status.code != 0 && !status.message.is_empty(), "{what}");
        assert!(!outcome.log.contains("panicked"), "{what}: {}", outcome.log);
    }
}

#[test]
fn a_tree_that_expands_without_bounds_is_refused() {
    let Some(lab) = Lab::embedded() else { return };
    let mut below = put(&lab, Vec::new());
    for _ in 0..40 {
        let directories = ["a", "b", "c", "d"].map(|name| folder(name, &below)).to_vec();
        below = put(&lab, reapi::Directory { directories, ..Default::default() }.encode_to_vec());
    }
    let outcome = lab.ours(&with_root(below));
    assert_eq!(outcome.exit_status, 1, "{outcome:#?}");
}

#[test]
fn garbage_is_no_action() {
    let Some(lab) = Lab::embedded() else { return };
    let program = forerunner_tests::bin("buildbox-run");
    let garbage: [&[u8]; 4] = [b"", b"\xff\xff\xff", b"\x0a\x7f", &[0; 100]];
    for bytes in garbage {
        let (mut command, files) = lab.command(&program, &args(&["/bin/true"]));
        std::fs::write(files.at("action"), bytes).expect("a file");
        let output = command.output().expect("a runner");
        assert_eq!(output.status.code(), Some(1));
        assert!(lab.read(&files).status.is_some());
    }
    let (mut command, files) = lab.command(&program, &args(&["/bin/true"]));
    std::fs::remove_file(files.at("action")).expect("removed");
    assert_eq!(command.output().expect("a runner").status.code(), Some(1));
    assert!(lab.read(&files).status.is_some());
}

#[test]
fn impossible_commands_are_refused() {
    let Some(lab) = Lab::embedded() else { return };
    for (what, case) in [
        ("no arguments", args(&[])),
        ("NUL in an argument", args(&["/bin/echo", "a\0b"])),
        ("NUL in a variable", sh("true").env(&[("A", "x\0y")])),
        ("a variable without a name", sh("true").env(&[("", "x")])),
        ("a variable with =", sh("true").env(&[("A=B", "x")])),
        ("a negative timeout", sh("true").timeout(-1)),
        ("NUL in an output", sh("true").out(&["a\0b"])),
        ("a socket at the root", sh("true").property("remoteApisSocketPath", ".")),
        ("a socket outside", sh("true").property("remoteApisSocketPath", "../s")),
        ("a file in the way of an output", sh("true").file("w/f", "x").out(&["f/x/y"])),
        ("a file in the way of the directory", sh("true").file("f", "x").cd("f")),
        ("a link to nowhere in the way", sh("true").link("w/l", "nowhere").out(&["l/x/y"])),
    ] {
        let outcome = lab.ours(&case);
        assert_eq!(outcome.exit_status, 1, "{what}: {outcome:#?}");
        assert!(outcome.status.is_some_and(|status| !status.message.is_empty()), "{what}");
    }
}

#[test]
fn hostile_trees_do_no_harm() {
    let Some(lab) = Lab::embedded() else { return };
    // Each lies where the sandbox mounts something.
    for (what, case) in [
        ("/dev leads out", sh("test -c /dev/null && echo fine").link("dev", "../../../etc")),
        ("/proc leads out", sh("echo fine").link("proc", "../../../../proc")),
        ("/tmp leads to the root", sh("echo fine").link("tmp", "/")),
        ("/dev/null is a file", sh("test -c /dev/null && echo fine").file("dev/null", "x")),
        ("the working directory leads out", sh("pwd -P; echo fine").link("w", "../../../../..")),
    ] {
        let outcome = lab.ours(&case);
        let harmless =
            outcome.exit_status == 1 || outcome.stdout().ends_with("fine\n") || outcome.code() != 0;
        assert!(harmless, "{what}: {outcome:#?}");
    }
    assert!(std::path::Path::new("/etc/passwd").exists());
}

#[test]
fn misbehaving_commands_are_contained() {
    let Some(lab) = Lab::embedded() else { return };
    let closed = lab.ours(&sh("exec 0<&- 1>&- 2>&-; exit 5"));
    assert_eq!(closed.code(), 5);
    let signals =
        lab.ours(&sh("kill -STOP 1; kill -KILL 1; kill -TERM 1; kill -CHLD 1; sleep 0.1; exit 6"));
    assert_eq!(signals.code(), 6, "{signals:#?}");
    let all = lab.ours(&sh("kill -KILL -1; exit 7"));
    assert!(all.exit_status == 0, "{all:#?}");
    let stopped = lab.ours(&sh("(sleep 0.3; kill -CONT $$) & kill -STOP $$; exit 8"));
    assert_eq!(stopped.code(), 8);
    let many = lab.ours(&sh("for i in $(seq 200); do sleep 100 & done; exit 9").timeout(100));
    assert_eq!(many.code(), 9);
    let gone = lab.ours(&sh("rm -rf /w /bin; exit 10").out(&["x"]));
    assert_eq!(gone.code(), 10, "{gone:#?}");
    let links = lab.ours(&sh("rmdir o; ln -s / o; ln -s /proc/self/root p").out(&[
        "o/w/x",
        "p/etc/passwd",
        "o/o/o/o/in",
    ]));
    assert_eq!(links.exit_status, 0, "{links:#?}");
}

#[test]
fn a_missing_store_is_explained() {
    let Some(lab) = Lab::embedded() else { return };
    let program = forerunner_tests::bin("buildbox-run");
    let (mut command, files) = lab.command(&program, &args(&["/bin/true"]));
    let output = command.env("FORERUNNER_STORE", "/proc/nowhere").output().expect("a runner");
    assert_eq!(output.status.code(), Some(1));
    let status = lab.read(&files).status.expect("a status");
    assert!(status.message.contains("/proc/nowhere"), "{}", status.message);
    let (mut command, files) = lab.command(&program, &args(&["/bin/true"]));
    let output = command
        .args(["--remote=unix:/nowhere/sock", "--retry-limit=0"])
        .output()
        .expect("a runner");
    assert_eq!(output.status.code(), Some(1));
    let status = lab.read(&files).status.expect("a status");
    assert_eq!(status.code, tonic::Code::Unavailable as i32, "{}", status.message);
}
