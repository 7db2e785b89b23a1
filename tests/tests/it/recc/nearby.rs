//! Large outputs of a casd on this machine, which are read where it keeps them.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use forerunner_tests::{Casd, bin, on_path, peer};

use super::Place;

const HIT: &str = "Action Cache hit for [";

fn blobs_larger_than(size: u64, casd: &Casd) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(casd.socket().with_file_name("cache")).into_iter();
    let files = all.filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
    let large = files.filter(|entry| entry.metadata().is_ok_and(|it| it.len() > size));
    large.map(walkdir::DirEntry::into_path).collect()
}

#[test]
fn a_large_object_is_what_casd_says_or_is_made_anew() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let Some(casd) = Casd::start() else { return };
    let place = Place::new();
    place.write("a.c", "char a[300000] = {1, 2, 3};\nint b;\n");
    let object = place.work().join("a.o");
    let run = || {
        let _ = std::fs::remove_file(&object);
        let mut recc = place.ours("recc");
        recc.env("RECC_SERVER", casd.url()).env("RECC_LOG_LEVEL", "info");
        for name in ["RECC_CACHE_ONLY", "RECC_CACHE_UPLOAD_LOCAL_BUILD"] {
            recc.env(name, "1");
        }
        recc.env("RECC_REMOTE_PLATFORM_OSFamily", "linux");
        let output = recc.args(["gcc", "-c", "a.c", "-o", "a.o"]).output().expect("recc");
        assert!(output.status.success(), "{output:?}");
        let metadata = std::fs::metadata(&object).expect("an object");
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
        let links = std::os::unix::fs::MetadataExt::nlink(&metadata);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (said, std::fs::read(&object).expect("an object"), mode & 0o777, links)
    };
    let (said, made, mode, _) = run();
    assert!(!said.contains(HIT), "{said}");
    let (said, taken, taken_mode, links) = run();
    assert!(said.contains(HIT) && !said.contains("not used"), "{said}");
    assert!(made == taken);
    // A file of our own, not one that casd keeps.
    assert_eq!((taken_mode, links), (mode, 1));
    let blobs = blobs_larger_than(200_000, &casd);
    assert_eq!(blobs.len(), 1, "{blobs:?}");
    let blob = std::fs::File::options().write(true).open(&blobs[0]).expect("root may do that");
    blob.write_all_at(b"torn", 150_000).expect("written");
    let (said, again, ..) = run();
    assert!(said.contains("not used"), "{said}");
    assert!(made == again, "the compiler's");
}

/// What is noted about a casd is a hint: whatever it says, the object is the compiler's.
#[test]
fn a_small_object_is_read_where_an_earlier_hit_noted() {
    let peers = [peer("gcc", on_path("gcc")), peer("strace", on_path("strace"))];
    if peers.contains(&None) {
        return;
    }
    let Some(casd) = Casd::start() else { return };
    let place = Place::new();
    place.write("a.c", "int a;\n");
    let [object, trace] = ["a.o", "trace"].map(|name| place.work().join(name));
    let run = || {
        let _ = std::fs::remove_file(&object);
        let mut recc = Command::new("strace");
        place.dress(&mut recc);
        recc.args(["-f", "-e", "trace=openat", "-o"]).arg(&trace).arg(bin("recc"));
        recc.env("RECC_SERVER", casd.url()).env("RECC_LOG_LEVEL", "info");
        for name in ["RECC_CACHE_ONLY", "RECC_CACHE_UPLOAD_LOCAL_BUILD"] {
            recc.env(name, "1");
        }
        let output = recc.args(["gcc", "-c", "a.c", "-o", "a.o"]).output().expect("recc");
        assert!(output.status.success(), "{output:?}");
        let hit = String::from_utf8_lossy(&output.stderr).contains(HIT);
        let text = std::fs::read_to_string(&trace).expect("a trace");
        let opened = text.lines().filter(|line| line.contains("/objects/"));
        let opened: Vec<_> = opened.filter_map(|line| line.split('"').nth(1)).collect();
        let opened: Vec<PathBuf> = opened.into_iter().map(PathBuf::from).collect();
        (hit, std::fs::read(&object).expect("an object"), opened)
    };
    let (hit, made, opened) = run();
    assert!(!hit && opened.is_empty(), "{opened:?}");
    // The first hit asks where; nothing else is known then.
    let (hit, taken, opened) = run();
    assert!(hit && taken == made && opened.len() == 1, "{opened:?}");
    let (hit, taken, opened) = run();
    assert!(hit && taken == made && opened.len() == 1, "{opened:?}");
    assert!(opened[0].starts_with(casd.socket().with_file_name("cache")), "{opened:?}");

    // To casd, which evicts by the time of the last use, that was one.
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let blob = std::fs::File::options().write(true).open(&opened[0]).expect("root may do that");
    blob.set_modified(long_ago).expect("a time");
    assert!(run().0);
    let used = blob.metadata().and_then(|metadata| metadata.modified()).expect("a time");
    assert!(used > long_ago, "{used:?}");

    let notes = place.folder.path().join("store/aside/nearby");
    let notes: Vec<_> = std::fs::read_dir(notes).expect("notes").flatten().collect();
    assert_eq!(notes.len(), 1);
    let other = place.folder.path().join("other/objects");
    let hash: Vec<_> = opened[0].components().rev().take(2).collect();
    let false_one = other.join(hash[1]).join(hash[0]);
    std::fs::create_dir_all(false_one.parent().expect("a folder")).expect("a folder");
    std::fs::write(&false_one, vec![b'x'; made.len()]).expect("a file");
    for (note, opens) in [
        (format!("{}\n", other.display()), 1),
        ("/not/there\n".to_owned(), 0),
        ("-\n".to_owned(), 0),
        ("relative\n".to_owned(), 0),
    ] {
        std::fs::write(notes[0].path(), &note).expect("a note");
        let (hit, taken, opened) = run();
        assert!(hit && taken == made, "{note}");
        assert_eq!(opened.len(), opens, "{note}: {opened:?}");
    }
    // What is no note is asked for again.
    std::fs::write(notes[0].path(), "").expect("a note");
    let (hit, taken, opened) = run();
    assert!(hit && taken == made && opened.len() == 1, "{opened:?}");
}
