//! Archives where things go wrong: killed in the middle, not writable, no room, a member gone or
//! changed meanwhile. The archive on disk is the old one or the new one, never a mixture.
//!
//! Kills and failing calls are counted, not timed: strace delivers them at the n-th system call.

mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use forerunner_tests::{long, on_path, peer};

use place::{CASES, Case, Ended, Form, Place, Store};

/// strace, if it may trace and knows how to inject.
fn strace() -> Option<()> {
    let probe = |path: &Path| {
        let mut command = Command::new(path);
        command.args(["-f", "-qq", "-o", "/dev/null", "--inject=chroot:error=EPERM", "true"]);
        command.output().is_ok_and(|output| output.status.success())
    };
    peer("strace that injects", on_path("strace").filter(|path| probe(path))).map(drop)
}

/// Runs a case with something injected; then again without, which must repair everything.
fn disturbed(place: &Place, case: &Case, store: Store, inject: &[&str]) -> Disturbed {
    place.reset(case, store);
    let mut words = vec!["strace", "-f", "-qq", "-o", "/dev/null"];
    words.extend(inject);
    let Ended { status, stderr } = place.run(case, &words);
    let what = format!("{} with {store:?} and {inject:?}", case.name);
    let found = place.archive();
    let (old, new) = (place.old(case), place.wanted(case));
    let is_new = found == new;
    assert!(
        is_new || found == old,
        "{what}: neither the old nor the new archive, {status:?}\n{stderr}"
    );
    if status == Some(0) {
        assert!(is_new, "{what}: succeeded with the old archive");
    }
    if case.form == Form::Twin {
        let twin = fs::read(place.path("twin.a")).ok();
        assert!(twin == new || twin == old, "{what}: the second name has a mixture");
    } else {
        assert_eq!(place.path("lib.a").is_symlink(), case.form == Form::Link, "{what}");
        // The next run removes what this one could not.
        place.run(case, &[]);
        assert_eq!(place.leftovers(), Vec::<String>::new(), "{what}");
    }
    // The same once more, from the old state: what was stored, if anything, is right.
    place.reset_files(case);
    assert_eq!(place.run(case, &[]).status, Some(0), "{what}: afterwards");
    assert_eq!(place.archive(), new, "{what}: afterwards");
    match status {
        Some(0) => Disturbed::Done,
        _ => Disturbed::Failed,
    }
}

#[derive(PartialEq, Eq)]
enum Disturbed {
    Done,
    Failed,
}

/// System calls at which it matters whether they were still made.
const CALLS: &[&str] = &[
    "chmod",
    "clone",
    "clone3",
    "close",
    "copy_file_range",
    "execve",
    "exit_group",
    "fchmod",
    "fsync",
    "ftruncate",
    "ioctl",
    "link",
    "linkat",
    "mkdir",
    "openat",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "sendfile",
    "symlink",
    "unlink",
    "unlinkat",
    "utimensat",
    "vfork",
    "wait4",
    "waitid",
    "write",
];

/// Every moment at which a run of a case can be killed: the n-th call of a kind. strace counts
/// each kind by itself, in each process.
fn moments(place: &Place, case: &Case, store: Store) -> Vec<(String, usize)> {
    place.reset(case, store);
    assert_eq!(place.run(case, &["strace", "-f", "-qq", "-o", "../calls"]).status, Some(0));
    let log = fs::read_to_string(place.path("../calls")).expect("a log");
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in log.lines() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if CALLS.contains(&call) {
            *counts.entry((call, process)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<&str, usize> = BTreeMap::new();
    for ((call, _), count) in counts {
        let known = most.entry(call).or_default();
        *known = count.max(*known);
    }
    let all = most.into_iter().flat_map(|(call, count)| (1..=count).map(move |n| (call, n)));
    all.map(|(call, n)| (call.to_owned(), n)).collect()
}

#[test]
fn killed_in_the_middle_of_a_miss() {
    killed_in_the_middle(Store::Empty);
}

#[test]
fn killed_in_the_middle_of_a_hit() {
    killed_in_the_middle(Store::Full);
}

fn killed_in_the_middle(store: Store) {
    if strace().is_none() {
        return;
    }
    let place = Place::new();
    let mut killed = 0;
    for (number, case) in CASES.iter().enumerate() {
        let moments = moments(&place, case, store);
        // In the long form at every one; else at some, at other ones in each case.
        let step = if long() { 1 } else { (moments.len() / 4).max(1) };
        for (call, n) in moments.iter().skip(number % step).step_by(step) {
            let inject = format!("--inject={call}:signal=SIGKILL:when={n}");
            let end = disturbed(&place, case, store, &[&inject]);
            killed += usize::from(end == Disturbed::Failed);
        }
    }
    assert!(killed > 10, "only {killed} kills");
}

#[test]
fn a_member_vanishes() {
    if strace().is_none() {
        return;
    }
    let place = Place::new();
    let calls = ["openat:error=ENOENT", "read,pread64:error=EIO", "newfstatat,statx:error=ENOENT"];
    for case in CASES.iter().filter(|case| case.member.is_some()) {
        let member = case.member.expect("filtered");
        for store in [Store::Empty, Store::Full] {
            let mut outcomes = BTreeSet::new();
            for call in calls {
                for number in 1..=if long() { 8 } else { 3 } {
                    let inject = format!("--inject={call}:when={number}");
                    let inject = ["-P", member, &inject];
                    outcomes.insert(disturbed(&place, case, store, &inject) == Disturbed::Done);
                }
            }
            assert!(!outcomes.is_empty());
        }
    }
}

/// The member is another one when the archiver reads it. What comes of it is not stored as the
/// archive of the member that was there before.
#[test]
fn a_member_changes_meanwhile() {
    let place = Place::new();
    for case in CASES.iter().filter(|case| case.member.is_some() && case.tool == "ar") {
        let member = case.member.expect("filtered");
        let real = on_path("ar").expect("ar");
        for when in ["before", "after"] {
            place.reset(case, Store::Empty);
            let change = format!("cat other.o >{member}; touch -d @1000000000 {member}");
            let (before, after) = match when {
                "before" => (change.as_str(), "true"),
                _ => ("true", change.as_str()),
            };
            let script = format!(
                "#!/bin/sh\nif [ -e changing ]; then {before}; fi\n{} \"$@\"\nstatus=$?\n\
                if [ -e changing ]; then {after}; fi\nexit $status\n",
                real.display()
            );
            place.script("changing-ar", &script);
            place.script("changing", "");
            place.run_with(case, &[], &[("REAR_AR", "./changing-ar")]);
            place.reset_files(case);
            place.script("changing-ar", &script);
            for run in ["first", "second"] {
                let ended = place.run_with(case, &[], &[("REAR_AR", "./changing-ar")]);
                let what = format!("{}, changed {when}, {run}", case.name);
                assert_eq!(ended.status, Some(0), "{what}: {}", ended.stderr);
                assert_eq!(place.archive(), place.wanted(case), "{what}");
                place.reset_files(case);
                place.script("changing-ar", &script);
            }
        }
    }
}

/// Those who may not write get the answer that the plain tool gives them.
#[test]
fn not_writable() {
    let unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let root = nix::unistd::geteuid().is_root();
    let user: &[&str] = if root { &unprivileged } else { &[] };
    if root && peer("setpriv", on_path("setpriv")).is_none() {
        return;
    }
    let place = Place::new();
    for case in CASES.iter().filter(|case| !case.fresh) {
        for (archive_mode, folder_mode) in [(0o444, 0o777), (0o666, 0o555), (0o444, 0o555)] {
            for store in [Store::Empty, Store::Full] {
                let protect = |place: &Place| {
                    for (path, mode) in [("lib.a", archive_mode), (".", folder_mode)] {
                        let permissions = fs::Permissions::from_mode(mode);
                        fs::set_permissions(place.path(path), permissions).expect("a mode");
                    }
                };
                place.reset(case, store);
                place.give_away();
                protect(&place);
                let plain = (place.run_plain(case, user), place.archive());
                place.unprotect();
                place.reset_files(case);
                place.give_away();
                protect(&place);
                let ours = (place.run(case, user), place.archive());
                place.unprotect();
                let what = format!(
                    "{} with {store:?}, archive {archive_mode:o}, folder {folder_mode:o}",
                    case.name
                );
                assert_eq!(plain.0, ours.0, "{what}");
                assert!(plain.1 == ours.1, "{what}: another archive than the plain tool leaves");
            }
        }
    }
}

#[test]
fn no_room() {
    let Some(way) = peer("a mount namespace (`unshare --mount`)", place::with_mounts()) else {
        return;
    };
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    let rooms: &[u32] =
        if long() { &[0, 4, 40, 80, 120, 160, 300, 2_000] } else { &[0, 80, 160, 2_000] };
    let place = Place::new();
    for case in CASES {
        for store in [Store::Empty, Store::Full] {
            let mut succeeded = BTreeSet::new();
            // From no room at all to plenty.
            for &room_kib in rooms {
                place.reset(case, store);
                let Ended { status, stderr } = place.run_in_tmpfs(case, &way, room_kib);
                let what = format!("{} with {store:?}, room for {room_kib} KiB", case.name);
                let (found, old, new) = (place.archive(), place.old(case), place.wanted(case));
                assert!(found == new || found == old, "{what}: a mixture, {status:?}\n{stderr}");
                if status == Some(0) {
                    assert!(found == new, "{what}: succeeded with the old archive");
                }
                succeeded.insert(status == Some(0));
            }
            assert!(succeeded.contains(&true), "{}: never succeeded", case.name);
        }
    }
}
