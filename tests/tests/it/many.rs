//! A great many of everything, in little memory. How much that is, the kernel decides: a process
//! that wants more fails.

use std::path::Path;
use std::process::Command;

use forerunner_store::Store;
use forerunner_tests::{FUNCTION, bin, config, long, run, temp};

use crate::runner::{Lab, sh};

/// `command` in a process that has at most so many KiB for itself.
fn within(kib: u64, command: &Command) -> Command {
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -d \"$0\"; exec \"$@\"", &kib.to_string()]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    // Each thread has its stack, and some machines have a hundred processors.
    limited.env("RAYON_NUM_THREADS", "2");
    limited
}

/// Puts so many blobs of 1,000 bytes into the store: names of a few files.
fn fill(root: &Path, count: u64) {
    /// A file of ext4 has no more than 65,000 names.
    const NAMES: u64 = 50_000;
    let store = Store::open(&config(root, None).store).expect("a store");
    let folder = root.join("cas/sha256");
    let place = |number: u64| {
        let hex = FUNCTION.digest(&number.to_le_bytes()).hex();
        folder.join(&hex[..2]).join(&hex[2..])
    };
    for head in 0..=255 {
        std::fs::create_dir_all(folder.join(format!("{head:02x}"))).expect("a folder");
    }
    for first in (0..count).step_by(NAMES as usize) {
        let file = store.root().join(format!("tmp-{first}"));
        std::fs::write(&file, [0; 1000]).expect("a file");
        for number in first..count.min(first + NAMES) {
            std::fs::hard_link(&file, place(number)).expect("a name");
        }
        std::fs::remove_file(file).expect("a file");
    }
}

#[test]
fn a_store_is_counted_and_evicted_in_little_memory() {
    const KIB: u64 = 40 * 1024;
    let count = if long() { 1_000_000 } else { 60_000 };
    let home = temp();
    let root = home.path().join("store");
    fill(&root, count);
    let store = |words: &[&str], limit: u64| {
        let mut command = Command::new(bin("speculate"));
        command.args(words).env("HOME", home.path()).env("FORERUNNER_STORE", &root);
        command.env("FORERUNNER_STORE_SIZE", limit.to_string());
        run(&mut within(KIB, &command))
    };
    let stats = || store(&["store", "stats"], u64::MAX / 2);
    assert!(stats().contains(&format!("{count} blobs")), "{}", stats());
    // Some, then nearly all.
    for left in [count * 8 / 10, count / 20] {
        store(&["store", "gc"], left * 1000);
        let kept = left * 9 / 10;
        assert!(stats().contains(&format!("{kept} blobs")), "{kept} {}", stats());
    }
}

#[test]
fn outputs_are_captured_in_little_memory() {
    const KIB: u64 = 48 * 1024;
    let (folders, files) = if long() { (1000, 1000) } else { (40, 500) };
    let labs = [Lab::embedded(), Lab::casd()];
    for lab in labs.into_iter().flatten() {
        let script = format!(
            "i=0; while [ $i -lt {folders} ]; do mkdir -p out/$i; i=$((i+1)); done; busybox awk \
             'BEGIN {{ for (d = 0; d < {folders}; d++) for (i = 0; i < {files}; i++) {{ \
             f = \"out/\" d \"/\" i; print d, i > f; close(f) }} }}'"
        );
        let (command, files_of_run) =
            lab.command(&bin("buildbox-run"), &sh(&script).out(&["out"]).format(1));
        run(&mut within(KIB, &command));
        let outcome = lab.read(&files_of_run);
        let result = outcome.result.as_ref().expect("a result");
        assert_eq!((result.exit_code, result.output_directories.len()), (0, 1), "{outcome:#?}");
    }
}
