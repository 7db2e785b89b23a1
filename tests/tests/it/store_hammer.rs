//! Eight processes on one small store, killed at random: no wrong blob, and no leftover that `gc`
//! does not remove. What is counted is operations and deaths, never time.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use forerunner_merkle::{Digest, DigestFunction, File, Forest, TreeBuilder, TreePath};
use forerunner_proto::{Message, reapi};
use forerunner_store::Store;
use forerunner_tests::{long, temp};

use crate::store_faults::{open, player};

const PROCESSES: u64 = 8;
/// What one process does if nobody kills it.
const OPERATIONS: u64 = 400;
const CONTENTS: u64 = 48;
/// Less than all contents together have, so that something is evicted all the time.
const LIMIT_BYTES: u64 = 200_000;

/// Numbers that only look random (xorshift), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

fn content(number: u64) -> Vec<u8> {
    let size = 100 + (number * 797) % 20_000;
    (0..size).map(|index| ((index * 31 + number * 7) % 253) as u8).collect()
}

fn digest(number: u64) -> Digest {
    DigestFunction::Sha256.digest(&content(number))
}

#[test]
fn eight_processes_and_sudden_death() {
    let deaths_each = if long() { 150 } else { 4 };
    let folder = temp();
    let root = folder.path().join("store");
    let store = open(&root, LIMIT_BYTES).expect("made");
    std::thread::scope(|scope| {
        for process in 0..PROCESSES {
            let folder = folder.path();
            scope.spawn(move || run_and_kill(folder, process, deaths_each));
        }
    });
    // Nobody lives any more.
    let collected = store.gc().expect("collected");
    assert!(collected.left_bytes <= LIMIT_BYTES, "{collected:?}");
    assert_eq!(fs::read_dir(root.join("holds")).map_or(0, Iterator::count), 0);
    let verified = store.verify().expect("verified");
    assert!(verified.bad.is_empty(), "{:?}", verified.bad);
    for number in 0..CONTENTS {
        if let Some(found) = store.get(&digest(number)).expect("readable") {
            assert_eq!(found, content(number), "blob {number}");
        }
    }
    drop(store);
    let tidy = open(&root, LIMIT_BYTES).expect("opened");
    tidy.gc().expect("collected");
    let left = fs::read_dir(root.join("tmp")).expect("listed").count();
    assert!(left <= 1, "{left} temporary folders, at most our own may be there");
}

/// Starts the hammer again and again, kills it at some operation; the last one may end by itself.
fn run_and_kill(folder: &Path, process: u64, deaths: u64) {
    let mut dice = Dice::new(process + 1);
    for life in 0..=deaths {
        let role = format!("hammer {}", process * 1_000_000 + life);
        let mut child = player(Vec::new(), &role, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut progress = child.stderr.take().expect("a pipe");
        let mut said = Vec::new();
        if life < deaths {
            let operations = 1 + dice.below(OPERATIONS / 2);
            let _ = (&mut progress).take(operations).read_to_end(&mut said);
            child.kill().expect("killed");
        }
        let _ = progress.read_to_end(&mut said);
        let status = child.wait().expect("waited for");
        let killed = life < deaths && status.signal() == Some(9);
        let text = String::from_utf8_lossy(&said);
        assert!(status.success() || killed, "{role}: {status}\n{}", text.replace('.', ""));
        let done = text.matches('.').count() as u64;
        assert!(killed || done == OPERATIONS, "{role}: {done} operations");
    }
}

/// What one process does. Says a dot per operation.
pub(crate) fn hammer(folder: &Path, seed: u64) {
    let store = open(&folder.join("store"), LIMIT_BYTES).expect("opened");
    let mut dice = Dice::new(seed + 77);
    for _ in 0..OPERATIONS {
        let number = dice.below(CONTENTS);
        match dice.below(10) {
            0 | 1 => assert_eq!(store.put(&content(number)).expect("put"), digest(number)),
            2 => write_in_pieces(&store, number, &mut dice),
            3 | 4 => read(&store, number),
            5 => link(&store, number, &mut dice),
            6 => put_result(&store, number),
            7 => read_result(&store, number),
            8 => tree(&store, number),
            _ => hold(&store, &mut dice),
        }
        std::io::stderr().write_all(b".").expect("said");
    }
}

fn write_in_pieces(store: &Store, number: u64, dice: &mut Dice) {
    let content = content(number);
    let mut writer = store.writer(Some(digest(number))).expect("begun");
    let middle = dice.below(content.len() as u64) as usize;
    writer.write_all(&content[..middle]).expect("written");
    writer.write_all(&content[middle..]).expect("written");
    writer.commit().expect("committed");
}

fn read(store: &Store, number: u64) {
    if let Some(found) = store.get(&digest(number)).expect("readable") {
        assert_eq!(found, content(number));
    }
    if let Some(mut file) = store.open_blob(&digest(number)).expect("readable") {
        let mut found = Vec::new();
        file.read_to_end(&mut found).expect("read");
        assert_eq!(found, content(number));
    }
}

fn link(store: &Store, number: u64, dice: &mut Dice) {
    let scratch = store.scratch().expect("made");
    let to = scratch.path().join("file");
    let executable = dice.below(2) == 1;
    if store.link(&digest(number), executable, &to).expect("linked") {
        assert_eq!(fs::read(&to).expect("read"), content(number));
    }
}

fn put_result(store: &Store, number: u64) {
    let output_files = [number, (number + 1) % CONTENTS].map(|output| reapi::OutputFile {
        path: output.to_string(),
        digest: Some(digest(output).to_proto()),
        ..Default::default()
    });
    let result = reapi::ActionResult { output_files: output_files.to_vec(), ..Default::default() };
    store.put_action_result(&digest(number), &result.encode_to_vec()).expect("put");
}

/// Under a hold, a result that is served has its outputs.
fn read_result(store: &Store, number: u64) {
    let _hold = store.hold().expect("held");
    let Some(result) = store.action_result(&digest(number)).expect("readable") else { return };
    let result = reapi::ActionResult::decode(result.as_slice()).expect("what was put");
    for file in result.output_files {
        let number: u64 = file.path.parse().expect("a number");
        let found = store.get(&digest(number)).expect("readable");
        assert_eq!(found.expect("an output of a result that was served"), content(number));
    }
}

fn tree(store: &Store, number: u64) {
    let _hold = store.hold().expect("held");
    let mut forest = Forest::new(DigestFunction::Sha256);
    let mut builder = TreeBuilder::new();
    for (name, number) in [("a/x", number), ("b/c/y", (number + 5) % CONTENTS)] {
        store.put(&content(number)).expect("put");
        let path = TreePath::parse(name).expect("a path");
        builder.file(&path, File::new(digest(number), number % 2 == 0)).expect("put");
    }
    let root = builder.build(&mut forest);
    let path = store.tree(&forest, &root).expect("made under a hold");
    assert_eq!(fs::read(path.join("a/x")).expect("read"), content(number));
}

/// What is used under a hold stays, while others make room all the time.
fn hold(store: &Store, dice: &mut Dice) {
    let _hold = store.hold().expect("held");
    let used: Vec<u64> = (0..4).map(|_| dice.below(CONTENTS)).collect();
    let there: Vec<bool> = used
        .iter()
        .map(|number| match number % 3 {
            0 => store.contains(&digest(*number)).expect("readable"),
            1 => store.put(&content(*number)).is_ok(),
            _ => store.get(&digest(*number)).expect("readable").is_some(),
        })
        .collect();
    for _ in 0..4 {
        store.put(&content(dice.below(CONTENTS))).expect("put");
    }
    for (number, there) in used.into_iter().zip(there) {
        let found = store.get(&digest(number)).expect("readable");
        assert!(found.is_some() || !there, "blob {number} was used under a hold and evicted");
    }
}
