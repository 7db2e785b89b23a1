//! The store as its callers see it.

use std::fs::{self, FileTimes};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use forerunner_merkle::{Digest, DigestFunction, File, Forest, TreeBuilder, TreePath};
use forerunner_proto::{Message, reapi};

use crate::layout::Variant;
use crate::trust::{MARK_SECONDS, mark};
use crate::{Options, Store, StoreError};

const ROOMY: u64 = 1 << 40;

fn open(folder: &tempfile::TempDir, size_limit: u64) -> Store {
    let root = folder.path().join("store");
    Store::open(&Options { root, size_limit, function: DigestFunction::Sha256 }).expect("opened")
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, ROOMY);
    (folder, store)
}

fn path_of(store: &Store, digest: &Digest) -> std::path::PathBuf {
    store.layout().blob(store.function(), digest, Variant::Plain)
}

/// Makes something look as if it had last been used long ago.
fn age(path: &Path, hours: u64) {
    let used = SystemTime::now() - Duration::from_secs(hours * 3600);
    let file = fs::File::open(path).expect("opened");
    file.set_times(FileTimes::new().set_accessed(used)).expect("aged");
}

#[test]
fn blobs_in_and_out() {
    let (_folder, store) = store();
    let digest = store.put(b"content").expect("put");
    assert_eq!(digest, DigestFunction::Sha256.digest(b"content"));
    assert!(store.contains(&digest).expect("asked"));
    assert_eq!(store.get(&digest).expect("got").as_deref(), Some(&b"content"[..]));
    let mut text = String::new();
    let mut file = store.open_blob(&digest).expect("opened").expect("there");
    file.read_to_string(&mut text).expect("read");
    assert_eq!(text, "content");
    let absent = DigestFunction::Sha256.digest(b"absent");
    assert!(!store.contains(&absent).expect("asked"));
    assert_eq!(store.get(&absent).expect("got"), None);
    assert!(store.open_blob(&absent).expect("opened").is_none());
    let metadata = fs::metadata(path_of(&store, &digest)).expect("stat");
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (MARK_SECONDS, 0));
    assert_eq!(metadata.mode() & 0o7777, 0o644);
}

#[test]
fn the_empty_blob_is_always_there() {
    let (folder, store) = store();
    let digest = DigestFunction::Sha256.digest(b"");
    assert!(store.contains(&digest).expect("asked"));
    assert_eq!(store.get(&digest).expect("got"), Some(Vec::new()));
    assert_eq!(store.put(b"").expect("put"), digest);
    for (name, executable) in [("plain", false), ("executable", true)] {
        let to = folder.path().join(name);
        assert!(store.link(&digest, executable, &to).expect("linked"));
        assert_eq!(fs::metadata(&to).expect("stat").len(), 0);
    }
    let mut content = Vec::new();
    let mut file = store.open_blob(&digest).expect("opened").expect("there");
    file.read_to_end(&mut content).expect("read");
    assert!(content.is_empty());
}

#[test]
fn a_wrong_size_is_another_blob() {
    let (_folder, store) = store();
    let digest = store.put(b"content").expect("put");
    let other = Digest::from_hex(&digest.hex(), 8).expect("a digest");
    assert!(!store.contains(&other).expect("asked"));
    assert_eq!(store.get(&other).expect("got"), None);
    assert!(store.contains(&digest).expect("the right one stays"));
}

#[test]
fn a_writer_shows_nothing_before_commit() {
    let (_folder, store) = store();
    let digest = DigestFunction::Sha256.digest(b"in pieces");
    let mut writer = store.writer(Some(digest)).expect("begun");
    writer.write_all(b"in ").expect("written");
    writer.write_all(b"pieces").expect("written");
    assert!(!store.contains(&digest).expect("asked"));
    assert_eq!(writer.commit().expect("committed"), digest);
    assert!(store.contains(&digest).expect("asked"));
    let mut writer = store.writer(Some(digest)).expect("begun");
    writer.write_all(b"something else").expect("written");
    assert!(matches!(writer.commit(), Err(StoreError::Mismatch { .. })));
    drop(store.writer(None).expect("begun"));
    let left = walkdir::WalkDir::new(store.layout().temporaries())
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .count();
    assert_eq!(left, 0);
}

#[test]
fn large_files_are_put() {
    let (folder, store) = store();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let path = folder.path().join("large");
    fs::write(&path, &content).expect("written");
    let digest = store.put_file(&path).expect("put");
    assert_eq!(digest, DigestFunction::Sha256.digest(&content));
    assert_eq!(store.put_file(&path).expect("put again"), digest);
    assert_eq!(store.get(&digest).expect("got"), Some(content));
    assert!(store.put_file(folder.path()).is_err(), "a directory is no file");
}

/// Invariant 9: whatever happened to the file, a wrong blob is never served.
#[test]
fn tampered_blobs_are_never_served() {
    type Tamper = fn(&Path);
    let tampering: [(&str, Tamper); 6] = [
        ("content", |path| fs::write(path, b"CONTENT").expect("written")),
        ("truncated", |path| fs::write(path, b"cont").expect("written")),
        ("emptied", |path| fs::write(path, b"").expect("written")),
        ("grown", |path| fs::write(path, b"content and more").expect("written")),
        ("symlink", |path| {
            fs::remove_file(path).expect("removed");
            std::os::unix::fs::symlink("/etc/passwd", path).expect("linked");
        }),
        ("directory", |path| {
            fs::remove_file(path).expect("removed");
            fs::create_dir(path).expect("made");
            fs::write(path.join("x"), "x").expect("written");
        }),
    ];
    for (what, tamper) in tampering {
        let (folder, store) = store();
        let digest = store.put(b"content").expect("put");
        let path = path_of(&store, &digest);
        tamper(&path);
        assert_eq!(store.get(&digest).expect(what), None, "{what}");
        assert!(!store.link(&digest, false, &folder.path().join("to")).expect(what), "{what}");
        assert!(!path.exists(), "{what}: removed");
        assert_eq!(store.put(b"content").expect(what), digest);
        assert_eq!(store.get(&digest).expect(what).as_deref(), Some(&b"content"[..]), "{what}");
    }
}

#[test]
fn a_right_blob_without_its_mark_gets_it_back() {
    let (_folder, store) = store();
    let digest = store.put(b"content").expect("put");
    let path = path_of(&store, &digest);
    fs::write(&path, b"content").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
    assert_eq!(store.get(&digest).expect("got").as_deref(), Some(&b"content"[..]));
    let metadata = fs::metadata(&path).expect("stat");
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (MARK_SECONDS, 0));
    assert_eq!(metadata.mode() & 0o7777, 0o644);
}

#[test]
fn what_is_older_than_this_boot_is_checked() {
    let (_folder, store) = store();
    let digest = store.put(b"content").expect("put");
    let path = path_of(&store, &digest);
    // Torn by a crash, with all its attributes.
    let file = fs::File::options().write(true).open(&path).expect("opened");
    file.set_len(0).expect("cut");
    file.set_len(7).expect("filled with zeros");
    file.set_modified(mark()).expect("marked");
    drop(file);
    // The machine boots: the marker is made anew, after the last change of the blob.
    let marker = fs::read_dir(store.layout().boots()).expect("listed").flatten().next();
    let marker = marker.expect("a marker").path();
    loop {
        fs::remove_file(&marker).expect("removed");
        fs::write(&marker, "").expect("made");
        // The clock of a file system is coarse.
        let changed = |path: &Path| {
            let metadata = fs::metadata(path).expect("stat");
            (metadata.ctime(), metadata.ctime_nsec())
        };
        if changed(&marker) > changed(&path) {
            break;
        }
    }
    let options = Options {
        root: store.root().to_owned(),
        size_limit: ROOMY,
        function: DigestFunction::Sha256,
    };
    let again = Store::open(&options).expect("opened");
    assert_eq!(again.get(&digest).expect("got"), None);
}

#[test]
fn links_share_and_copies_do_not() {
    let (folder, store) = store();
    let digest = store.put(b"#!/bin/sh\n").expect("put");
    let to = |name: &str| folder.path().join(name);
    assert!(store.link(&digest, false, &to("link")).expect("linked"));
    assert!(store.link(&digest, true, &to("run")).expect("linked"));
    assert!(store.copy(&digest, true, &to("copy")).expect("copied"));
    let stat = |name: &str| fs::metadata(to(name)).expect("stat");
    let blob = fs::metadata(path_of(&store, &digest)).expect("stat");
    assert_eq!(stat("link").ino(), blob.ino());
    assert_ne!(stat("run").ino(), blob.ino());
    assert_eq!(stat("link").mode() & 0o7777, 0o644);
    assert_eq!(stat("run").mode() & 0o7777, 0o755);
    assert_eq!(stat("run").mtime(), MARK_SECONDS);
    assert_eq!((stat("copy").nlink(), stat("copy").mode() & 0o7777), (1, 0o755));
    assert_eq!(fs::read(to("copy")).expect("read"), b"#!/bin/sh\n");
    let error = store.link(&digest, false, &to("link")).expect_err("is there").to_string();
    assert!(error.contains("link"), "{error}");
    let absent = DigestFunction::Sha256.digest(b"absent");
    assert!(!store.link(&absent, true, &to("absent")).expect("asked"));
    assert!(!store.copy(&absent, true, &to("absent")).expect("asked"));
}

#[test]
fn executables_that_several_make_at_once_are_linked_by_all() {
    let (folder, store) = store();
    for round in 0_u8..40 {
        // As large as a library, so that all find none, and the last one replaces the others'.
        let digest = store.put(&vec![round; 200_000]).expect("put");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let store = open(&folder, ROOMY);
                let to = folder.path().join(format!("{round}-{number}"));
                scope.spawn(move || {
                    for turn in 0..20 {
                        let to = to.with_extension(turn.to_string());
                        assert!(store.link(&digest, true, &to).expect("linked"));
                    }
                });
            }
        });
    }
}

#[test]
fn results_in_and_out() {
    let (_folder, store) = store();
    let action = store.put(b"action").expect("put");
    assert_eq!(store.action_result(&action).expect("asked"), None);
    let output = store.put(b"output").expect("put");
    let result = reapi::ActionResult {
        output_files: vec![reapi::OutputFile {
            path: "a.o".into(),
            digest: Some(output.to_proto()),
            ..Default::default()
        }],
        ..Default::default()
    }
    .encode_to_vec();
    store.put_action_result(&action, &result).expect("put");
    assert_eq!(store.action_result(&action).expect("asked"), Some(result.clone()));
    // An output is gone: so is the result.
    fs::remove_file(path_of(&store, &output)).expect("removed");
    assert_eq!(store.action_result(&action).expect("asked"), None);
    store.put(b"output").expect("put");
    assert_eq!(store.action_result(&action).expect("asked"), Some(result));
    // Torn, at every length.
    let path = store.layout().result(store.function(), &action);
    let whole = fs::read(&path).expect("read");
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).expect("written");
        assert_eq!(store.action_result(&action).expect("asked"), None, "{length} bytes");
    }
    // Of another action.
    let other = store.put(b"other").expect("put");
    let path = store.layout().result(store.function(), &other);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(&path, &whole).expect("written");
    assert_eq!(store.action_result(&other).expect("asked"), None);
}

#[test]
fn a_result_needs_the_files_of_its_trees() {
    let (_folder, store) = store();
    let action = store.put(b"action").expect("put");
    let inner = store.put(b"inner").expect("put");
    let mut forest = Forest::new(DigestFunction::Sha256);
    let mut builder = TreeBuilder::new();
    let path = TreePath::parse("lib/x.so").expect("a path");
    builder.file(&path, File::new(inner, true)).expect("put");
    let root = builder.build(&mut forest);
    let tree = store.put(&forest.tree(root).expect("a tree").encode_to_vec()).expect("put");
    let result = |directory| {
        let output_directories = vec![directory];
        reapi::ActionResult { output_directories, ..Default::default() }.encode_to_vec()
    };
    let by_tree =
        result(reapi::OutputDirectory { tree_digest: Some(tree.to_proto()), ..Default::default() });
    let by_root = result(reapi::OutputDirectory {
        root_directory_digest: Some(root.to_proto()),
        ..Default::default()
    });
    store.put_action_result(&action, &by_root).expect("put");
    assert_eq!(store.action_result(&action).expect("asked"), None, "no directories yet");
    for (_, bytes) in forest.take_made() {
        store.put(&bytes).expect("put");
    }
    for result in [by_tree, by_root] {
        store.put(b"inner").expect("put");
        store.put_action_result(&action, &result).expect("put");
        assert_eq!(store.action_result(&action).expect("asked").as_ref(), Some(&result));
        fs::remove_file(path_of(&store, &inner)).expect("removed");
        assert_eq!(store.action_result(&action).expect("asked"), None);
    }
}

#[test]
fn the_least_recently_used_goes_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, ROOMY);
    let blobs: Vec<Digest> = (0..20_u8).map(|n| store.put(&[n; 1000]).expect("put")).collect();
    for (hours, digest) in (10..).zip(blobs.iter().rev()) {
        age(&path_of(&store, digest), hours);
    }
    // The oldest is used again.
    assert!(store.contains(&blobs[0]).expect("asked"));
    drop(store);
    let store = open(&folder, 10_000);
    let collected = store.gc().expect("collected");
    assert_eq!((collected.evicted, collected.left_bytes), (11, 9000));
    let there = |digest: &Digest| path_of(&store, digest).exists();
    assert!(there(&blobs[0]));
    assert!(blobs[1..12].iter().all(|digest| !there(digest)));
    assert!(blobs[12..].iter().all(there));
    assert_eq!(store.stats().expect("counted").bytes, 9000);
}

#[test]
fn putting_makes_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, 100_000);
    for n in 0..200_u32 {
        let digest = store.put(&n.to_le_bytes().repeat(1000)).expect("put");
        age(&path_of(&store, &digest), 2);
    }
    let bytes = store.stats().expect("counted").bytes;
    assert!(bytes <= 110_000, "{bytes}");
}

#[test]
fn a_hold_keeps_what_is_used_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, ROOMY);
    let blobs: Vec<Digest> = (0..6_u8).map(|n| store.put(&[n; 1000]).expect("put")).collect();
    for digest in &blobs {
        age(&path_of(&store, digest), 5);
    }
    let small = open(&folder, 1000);
    let hold = small.hold().expect("held");
    assert!(small.contains(&blobs[0]).expect("asked"));
    assert!(small.get(&blobs[1]).expect("got").is_some());
    let added = small.put(b"added under the hold").expect("put");
    small.gc().expect("collected");
    for digest in [&blobs[0], &blobs[1], &added] {
        assert!(path_of(&store, digest).exists());
    }
    assert!(blobs[2..].iter().all(|digest| !path_of(&store, digest).exists()));
    drop(hold);
    small.gc().expect("collected");
    assert_eq!(fs::read_dir(small.layout().holds()).expect("listed").count(), 0);
    assert!(small.stats().expect("counted").bytes <= 1000);
}

#[test]
fn a_dead_hold_is_removed() {
    let (_folder, store) = store();
    fs::create_dir_all(store.layout().holds()).expect("made");
    fs::write(store.layout().holds().join("1-1-x"), "0\n").expect("written");
    assert_eq!(store.gc().expect("collected").holds, 1);
}

#[test]
fn records_keep_what_they_refer_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, ROOMY);
    let put = |content: &[u8]| store.put(content).expect("put");
    let source = put(b"int main;");
    let mut forest = Forest::new(DigestFunction::Sha256);
    let mut builder = TreeBuilder::new();
    let path = TreePath::parse("src/main.c").expect("a path");
    builder.file(&path, File::new(source, false)).expect("put");
    let input_root = builder.build(&mut forest);
    let mut kept: Vec<Digest> = forest.take_made().iter().map(|(_, bytes)| put(bytes)).collect();
    let command = put(b"a command");
    let action = reapi::Action {
        command_digest: Some(command.to_proto()),
        input_root_digest: Some(input_root.to_proto()),
        ..Default::default()
    };
    let action = put(&action.encode_to_vec());
    let output = put(b"an object file");
    let stdout = put(b"a warning");
    let result = reapi::ActionResult {
        output_files: vec![reapi::OutputFile {
            digest: Some(output.to_proto()),
            ..Default::default()
        }],
        stdout_digest: Some(stdout.to_proto()),
        ..Default::default()
    };
    store.put_action_result(&action, &result.encode_to_vec()).expect("put");
    kept.extend([source, command, action, output, stdout]);
    let key = DigestFunction::Sha256.digest(b"element");
    let record = reapi::ActionResult { subactions: vec![action.to_proto()], ..Default::default() };
    store.put_action_result_pinned(&key, &record.encode_to_vec()).expect("put");
    let loose = put(&[b'-'; 3000]);
    for digest in kept.iter().chain([&loose]) {
        age(&path_of(&store, digest), 9);
    }
    for action in [&action, &key] {
        age(&store.layout().result(store.function(), action), 9);
    }
    // Two thirds are not of the record.
    let bytes = store.stats().expect("counted").bytes;
    let small = open(&folder, bytes - 1);
    small.gc().expect("collected");
    assert!(!path_of(&store, &loose).exists());
    for digest in &kept {
        assert!(path_of(&store, digest).exists(), "{digest}");
    }
    assert!(small.action_result(&action).expect("asked").is_some());
    assert!(small.action_result(&key).expect("asked").is_some());
    assert_eq!(small.stats().expect("counted").pinned, 1);
    let tiny = open(&folder, 0);
    assert!(tiny.unpin(&key).expect("unpinned"));
    assert!(!tiny.unpin(&key).expect("asked"));
    tiny.gc().expect("collected");
    assert_eq!(tiny.stats().expect("counted").bytes, 0);
}

#[test]
fn trees_are_linked_once() {
    let (_folder, store) = store();
    let file = store.put(b"text").expect("put");
    let tool = store.put(b"#!/bin/sh\n").expect("put");
    let mut forest = Forest::new(DigestFunction::Sha256);
    let mut builder = TreeBuilder::new();
    let path = |text: &str| TreePath::parse(text).expect("a path");
    builder.file(&path("a/b/file"), File::new(file, false)).expect("put");
    builder.file(&path("bin/tool"), File::new(tool, true)).expect("put");
    builder.symlink(&path("a/link"), "../../../nowhere").expect("put");
    builder.directory(&path("void")).expect("put");
    let root = builder.build(&mut forest);
    let tree = store.tree(&forest, &root).expect("made");
    assert_eq!(fs::read(tree.join("a/b/file")).expect("read"), b"text");
    assert_eq!(fs::metadata(tree.join("bin/tool")).expect("stat").mode() & 0o7777, 0o755);
    let target = fs::read_link(tree.join("a/link")).expect("read");
    assert_eq!(target, Path::new("../../../nowhere"));
    assert!(tree.join("void").is_dir());
    for entry in walkdir::WalkDir::new(&tree).into_iter().flatten() {
        let metadata = entry.metadata().expect("stat");
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (MARK_SECONDS, 0));
    }
    let inode = |path: &Path| fs::metadata(path).expect("stat").ino();
    let before = inode(&tree);
    assert_eq!(store.tree(&forest, &root).expect("there"), tree);
    assert_eq!(inode(&tree), before);
    assert_eq!(store.stats().expect("counted").trees, 1);
    // It goes like everything else.
    age(tree.parent().expect("a folder"), 9);
    let tiny = Store::open(&Options {
        root: store.root().to_owned(),
        size_limit: 0,
        function: DigestFunction::Sha256,
    });
    tiny.expect("opened").gc().expect("collected");
    assert!(!tree.exists());
}

#[test]
fn a_tree_names_what_is_missing() {
    let (_folder, store) = store();
    let absent = DigestFunction::Sha256.digest(b"absent");
    let mut forest = Forest::new(DigestFunction::Sha256);
    let mut builder = TreeBuilder::new();
    let path = TreePath::parse("deep/down/file").expect("a path");
    builder.file(&path, File::new(absent, false)).expect("put");
    let root = builder.build(&mut forest);
    match store.tree(&forest, &root) {
        Err(StoreError::MissingBlob(digest)) => assert_eq!(digest, absent),
        other => panic!("{other:?}"),
    }
    let empty = Forest::new(DigestFunction::Sha256);
    assert!(matches!(store.tree(&empty, &root), Err(StoreError::MissingDirectory(_))));
    assert_eq!(store.stats().expect("counted").trees, 0);
}

/// Thirty directories, each of which has the next one twice.
#[test]
fn a_tree_without_bounds_is_refused() {
    use forerunner_merkle::{Directory, Name, Node};
    let (_folder, store) = store();
    let mut forest = Forest::new(DigestFunction::Sha256);
    let mut root = forest.insert(Directory::default());
    for _ in 0..30 {
        let entry = |name| (Name::new(name).expect("a name"), Node::Directory(root));
        root = forest.insert(Directory::from_entries([entry("a"), entry("b")]).expect("made"));
    }
    assert!(matches!(store.tree(&forest, &root), Err(StoreError::TooLarge { .. })));
}

#[test]
fn verify_finds_what_is_wrong() {
    let (folder, store) = store();
    let good = store.put(b"good").expect("put");
    let bad = store.put(b"bad!").expect("put");
    assert!(store.link(&good, true, &folder.path().join("x")).expect("linked"));
    store.put_action_result(&good, b"").expect("put");
    store.put_action_result(&bad, b"").expect("put");
    // So well hidden that only hashing shows it.
    let path = path_of(&store, &bad);
    fs::write(&path, b"evil").expect("written");
    let file = fs::File::open(&path).expect("opened");
    file.set_times(FileTimes::new().set_modified(mark())).expect("marked");
    let result = store.layout().result(store.function(), &bad);
    fs::write(&result, b"torn").expect("written");
    let verified = store.verify().expect("verified");
    assert_eq!((verified.blobs, verified.results), (3, 2));
    let mut expected = vec![path.clone(), result.clone()];
    expected.sort();
    assert_eq!(verified.bad, expected);
    assert!(!path.exists() && !result.exists());
    assert!(store.verify().expect("verified").bad.is_empty());
}

#[test]
fn folders_of_the_dead_are_removed() {
    let (_folder, store) = store();
    let dead = store.layout().temporaries().join("1-1-dead");
    fs::create_dir_all(dead.join("locked")).expect("made");
    fs::write(dead.join("locked/file"), "x").expect("written");
    fs::set_permissions(dead.join("locked"), fs::Permissions::from_mode(0o500)).expect("set");
    let live = store.scratch().expect("made");
    fs::write(live.path().join("file"), "x").expect("written");
    assert!(store.gc().expect("collected").temporaries >= 1);
    assert!(!dead.exists());
    assert!(live.path().join("file").exists());
    let path = live.path().to_owned();
    drop(live);
    assert!(!path.exists());
}

#[test]
fn folders_aside_are_named_plainly() {
    let (_folder, store) = store();
    assert!(store.aside("recc-stat").expect("made").is_dir());
    assert!(store.aside("../up").is_err());
    assert!(store.aside("..").is_err());
}

#[test]
fn other_functions_share_a_store() {
    let (_folder, store) = store();
    let options = Options {
        root: store.root().to_owned(),
        size_limit: ROOMY,
        function: DigestFunction::Blake3,
    };
    let other = Store::open(&options).expect("opened");
    let ours = store.put(b"content").expect("put");
    let theirs = other.put(b"content").expect("put");
    assert_ne!(ours, theirs);
    assert!(!other.contains(&ours).expect("asked"));
    assert_eq!(store.stats().expect("counted").blobs, 2);
    assert!(store.verify().expect("verified").bad.is_empty());
}
