//! The embedded store where things go wrong: newer, full, unreadable, read-only, killed.
//!
//! What needs a process of its own (its own mounts, its own user, its own death) is a role that
//! this test program plays when it is started again with `FORERUNNER_STORE_ROLE` set; see `role`.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forerunner_merkle::{Digest, DigestFunction, File, Forest, TreeBuilder, TreePath};
use forerunner_store::{Options, Store, StoreError};
use forerunner_tests::{on_path, peer, temp};
use nix::mount::{MsFlags, mount};

use crate::runner::{Lab, sh};
use crate::store_hammer;

const ROLE: &str = "FORERUNNER_STORE_ROLE";
const FOLDER: &str = "FORERUNNER_STORE_FOLDER";

pub(crate) fn open(root: &Path, size_limit: u64) -> Result<Store, StoreError> {
    Store::open(&Options { root: root.to_owned(), size_limit, function: DigestFunction::Sha256 })
}

/// This program, to play `role` in `folder`.
pub(crate) fn player(mut before: Vec<String>, role: &str, folder: &Path) -> Command {
    let test = std::env::current_exe().expect("this program");
    before.push(test.display().to_string());
    before.extend(["store_faults::role", "--exact", "--nocapture"].map(str::to_owned));
    let mut command = Command::new(&before[0]);
    command.args(&before[1..]).env(ROLE, role).env(FOLDER, folder);
    command
}

/// The other side of the tests here. Does nothing unless it is started by one of them.
#[test]
fn role() {
    let (Some(role), Some(folder)) = (std::env::var_os(ROLE), std::env::var_os(FOLDER)) else {
        return;
    };
    let folder = PathBuf::from(folder);
    match role.to_str().expect("UTF-8").split_once(' ').expect("a role and a number") {
        ("full", _) => full(&folder),
        ("read-only", _) => read_only(&folder),
        ("unreadable", _) => unreadable(&folder),
        ("fill", _) => fill_the_disk(&folder),
        ("hammer", seed) => store_hammer::hammer(&folder, seed.parse().expect("a number")),
        other => panic!("no such role: {other:?}"),
    }
}

/// How to start a program with mounts of its own.
fn with_mounts() -> Option<Vec<String>> {
    let unshare = on_path("unshare")?.display().to_string();
    let ways = [vec!["--mount"], vec!["--mount", "--user", "--map-root-user"]];
    ways.into_iter()
        .map(|flags| {
            [vec![unshare.clone()], flags.into_iter().map(str::to_owned).collect()].concat()
        })
        .find(|way| {
            let mut probe = Command::new(&way[0]);
            probe.args(&way[1..]).arg("true").stderr(Stdio::null());
            probe.status().is_ok_and(|status| status.success())
        })
}

/// Plays `role` with mounts of its own; its temporary files are in its folder, too.
fn play_with_mounts(role: &str) {
    let Some(way) = peer("a mount namespace (`unshare --mount`)", with_mounts()) else { return };
    let folder = temp();
    let mut player = player(way, role, folder.path());
    let said = forerunner_tests::run(player.env("TMPDIR", folder.path()));
    assert!(said.contains("1 passed"), "{said}");
}

fn tmpfs(on: &Path, options: &str) {
    fs::create_dir_all(on).expect("made");
    mount(Some("tmpfs"), on, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("mounted");
}

fn snapshot(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut entries: Vec<(PathBuf, Vec<u8>)> = walkdir::WalkDir::new(root)
        .into_iter()
        .map(|entry| entry.expect("readable").into_path())
        .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
        .collect();
    entries.sort();
    entries
}

#[test]
fn a_newer_store_is_refused_untouched() {
    let folder = temp();
    let root = folder.path().join("store");
    open(&root, 1 << 30).expect("made").put(b"content").expect("put");
    fs::write(root.join("format"), "forerunner-store 2\nwhatever that may mean\n").expect("set");
    let before = snapshot(&root);
    let error = open(&root, 0).expect_err("newer").to_string();
    for part in ["format 2", "format 1", &root.display().to_string(), "newer program"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(snapshot(&root), before);
}

#[test]
fn something_else_in_the_way_is_named() {
    let folder = temp();
    let root = folder.path().join("file");
    fs::write(&root, "not a folder").expect("written");
    let error = open(&root, 0).expect_err("a file").to_string();
    assert!(error.contains(&root.display().to_string()), "{error}");
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing_half() {
    play_with_mounts("full 0");
}

fn full(folder: &Path) {
    let disk = folder.join("disk");
    tmpfs(&disk, "size=512k");
    let root = disk.join("store");
    let store = open(&root, 1 << 30).expect("made");
    let mut there = Vec::new();
    let error = loop {
        let content = vec![there.len() as u8; 50_000];
        match store.put(&content) {
            Ok(digest) => there.push((digest, content)),
            Err(error) => break error,
        }
        assert!(there.len() < 12, "this is more than there is room for");
    };
    assert!(error.is_full(), "{error}");
    for part in [&*root.display().to_string(), "no space left", "FORERUNNER_STORE_SIZE"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let mut writer = store.writer(None).expect("an empty file has room");
    let error = std::io::copy(&mut std::io::repeat(7).take(400_000), &mut writer);
    assert_eq!(error.expect_err("full").kind(), std::io::ErrorKind::StorageFull);
    drop(writer);
    let large = folder.join("large");
    fs::write(&large, vec![9; 2_000_000]).expect("written");
    assert!(store.put_file(&large).expect_err("full").is_full());
    let action = there[0].0;
    let error = store.put_action_result(&action, &[0; 100_000]).expect_err("full");
    assert!(error.is_full(), "{error}");
    assert!(store.action_result(&action).expect("readable").is_none());
    let other = open(&disk.join("other"), 0);
    assert!(other.is_ok() || other.is_err_and(|error| error.is_full()));
    // What was there is there, and nothing else.
    for (digest, content) in &there {
        assert_eq!(store.get(digest).expect("readable").as_ref(), Some(content));
    }
    assert!(store.verify().expect("readable").bad.is_empty());
    assert_eq!(store.stats().expect("readable").blobs, there.len() as u64);
    assert_eq!(files_below(&root.join("tmp")), 0);
    // The way out that the message names.
    drop(store);
    let store = open(&root, 100_000).expect("opened");
    store.gc().expect("room made");
    store.put(&[1; 60_000]).expect("put");
}

fn files_below(folder: &Path) -> usize {
    let entries = walkdir::WalkDir::new(folder).into_iter().flatten();
    entries.filter(|entry| !entry.file_type().is_dir()).count()
}

#[test]
fn a_command_that_fills_the_disk_does_no_harm() {
    play_with_mounts("fill 0");
}

/// In a process with mounts of its own, whose temporary files are in `folder`.
fn fill_the_disk(folder: &Path) {
    tmpfs(folder, "size=32m");
    let Some(lab) = Lab::embedded() else { return };
    let fill = "dd if=/dev/zero of=big bs=1M count=100 2>/dev/null";
    // What it says goes to the same disk.
    let told = lab.ours(&sh(&format!("{fill} || {{ rm big; echo full; }}")));
    assert_eq!((told.exit_status, told.stdout()), (0, "full\n"), "{told:#?}");
    // There is no room for a second one in the store.
    let kept = lab.ours(&sh(fill).out(&["big"]));
    let status = kept.status.clone().unwrap_or_default();
    assert_eq!(kept.exit_status, 1, "{kept:#?}");
    assert!(status.message.contains("no space left"), "{kept:#?}");
    let next = lab.ours(&sh("cat in; echo out > out").file("w/in", "in").out(&["out"]));
    assert_eq!((next.stdout(), next.files()), ("in", vec!["out"]), "{next:#?}");
    assert!(lab.endpoint.store().expect("a store").verify().expect("read").bad.is_empty());
}

#[test]
fn a_read_only_store_can_be_read() {
    play_with_mounts("read-only 0");
}

fn read_only(folder: &Path) {
    let disk = folder.join("disk");
    tmpfs(&disk, "size=4m");
    let root = disk.join("store");
    let blob_path = |digest: &Digest| {
        let hex = digest.hex();
        root.join("cas/sha256").join(&hex[..2]).join(&hex[2..])
    };
    let store = open(&root, 1 << 30).expect("made");
    let good = store.put(b"good").expect("put");
    let bad = store.put(b"bad!").expect("put");
    let unmarked = store.put(b"unmarked").expect("put");
    store.put_action_result(&good, b"").expect("put");
    let mut forest = Forest::new(DigestFunction::Sha256);
    let mut builder = TreeBuilder::new();
    let path = TreePath::parse("a/b").expect("a path");
    builder.file(&path, File::new(good, false)).expect("put");
    let tree = builder.build(&mut forest);
    let made = store.tree(&forest, &tree).expect("made");
    fs::write(blob_path(&bad), b"evil").expect("written");
    fs::write(blob_path(&unmarked), b"unmarked").expect("written");
    drop(store);
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, &disk, None::<&str>, flags, None::<&str>).expect("mounted read-only");

    let store = open(&root, 0).expect("opened");
    for (digest, content) in [(good, &b"good"[..]), (unmarked, b"unmarked")] {
        for _ in 0..2 {
            assert!(store.contains(&digest).expect("readable"));
            assert_eq!(store.get(&digest).expect("readable").as_deref(), Some(content));
        }
        assert!(store.open_blob(&digest).expect("readable").is_some());
        let to = |what: &str| folder.join(format!("{what}-{}", digest.hex()));
        assert!(store.link(&digest, false, &to("link")).expect("copied"));
        assert!(store.copy(&digest, true, &to("copy")).expect("copied"));
        assert_eq!(fs::read(to("link")).expect("read"), content);
    }
    assert_eq!(store.get(&bad).expect("readable"), None);
    assert!(!store.contains(&bad).expect("readable"));
    assert_eq!(store.action_result(&good).expect("readable"), Some(Vec::new()));
    assert_eq!(store.tree(&forest, &tree).expect("there"), made);
    assert_eq!(store.stats().expect("readable").blobs, 3);
    assert_eq!(store.verify().expect("readable").bad, vec![blob_path(&bad)]);
    let empty = DigestFunction::Sha256.digest(b"");
    assert!(store.open_blob(&empty).expect("readable").is_some());
    // Writing is refused, by name.
    for error in [
        store.put(b"new").expect_err("read-only"),
        store.put_action_result(&good, b"").expect_err("read-only"),
        store.hold().expect_err("read-only"),
        store.scratch().expect_err("read-only"),
        open(&disk.join("new"), 0).expect_err("read-only"),
    ] {
        let error = error.to_string();
        assert!(error.contains(&disk.display().to_string()), "{error}");
        assert!(error.contains("ead-only") && error.contains("FORERUNNER_STORE"), "{error}");
    }
    assert!(store.put(b"good").is_ok(), "it is there already");
}

#[test]
fn an_unreadable_store_is_named() {
    let folder = temp();
    let root = folder.path().join("store");
    open(&root, 0).expect("made");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("set");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o000)).expect("set");
    let mut child = player(Vec::new(), "unreadable 0", folder.path());
    if nix::unistd::geteuid().is_root() {
        // Permissions do not bind root.
        child.uid(65534).gid(65534).current_dir("/");
    }
    let output = match child.output() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            peer("a checkout that other users can read", None::<()>);
            None
        }
        output => Some(output.expect("started")),
    };
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("set");
    if let Some(output) = output {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }
}

fn unreadable(folder: &Path) {
    let root = folder.join("store");
    let error = open(&root, 0).expect_err("unreadable");
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    let error = error.to_string();
    for part in [&*root.display().to_string(), "ermission denied", "FORERUNNER_STORE"] {
        assert!(error.contains(part), "{error}");
    }
}
