//! Generating and instantiating at scale, on the synthetic project that `speculate`'s example
//! `corpus` makes: time, processor time, memory, metadata, growth; and lookups by hash map against
//! a search in a sorted Arrow column.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use forerunner_tests::{bin, checkout, run as run_command, temp};

use crate::measure::Bench;

/// Actions of an element, and its public headers: with those of the two elements below and 200 of
/// the system that makes 261 inputs.
const ACTIONS: usize = 100;
const HEADERS: usize = 20;

/// Of so many runs the median counts.
const ROUNDS: usize = 5;

struct Used {
    seconds: f64,
    /// In the program and in the kernel, on all cores.
    cpu_seconds: f64,
    peak_bytes: u64,
}

struct Corpus {
    folder: tempfile::TempDir,
    actions: usize,
}

impl Corpus {
    fn make(elements: usize) -> Self {
        let folder = temp();
        let mut command = Command::new(env!("CARGO"));
        command
            .current_dir(checkout())
            .args(["run", "--quiet", "--release", "-p", "speculate", "--example", "corpus", "--"])
            .arg(folder.path().join("store"))
            .args([elements, ACTIONS, HEADERS].map(|number| number.to_string()));
        run_command(&mut command);
        Self { folder, actions: elements * ACTIONS }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn generate(&self) -> Used {
        let output = self.path("generated.json");
        self.measure(&["generate", "--graph", "after.json", "--output"], Some(&output))
    }

    fn instantiate(&self) -> Used {
        self.measure(&["instantiate", "--graph", "before.json"], None)
    }

    /// Starts `speculate` under a shell's `ulimit`-free watch: what it used is what the kernel says
    /// of children that were waited for.
    fn measure(&self, arguments: &[&str], last: Option<&Path>) -> Used {
        let mut runs: Vec<Used> = (0..ROUNDS).map(|_| self.once(arguments, last)).collect();
        runs.sort_by(|left, right| left.seconds.total_cmp(&right.seconds));
        runs.swap_remove(ROUNDS / 2)
    }

    fn once(&self, arguments: &[&str], last: Option<&Path>) -> Used {
        // GNU time writes what the kernel counted; nothing of it is in the way while it runs.
        let report = self.path("used");
        let mut command = Command::new("/usr/bin/time");
        command.args(["-f", "%U %S %M", "-o"]).arg(&report).arg(bin("speculate")).args(arguments);
        command
            .args(last)
            .current_dir(self.folder.path())
            .env("FORERUNNER_STORE", self.path("store"));
        let begun = Instant::now();
        run_command(&mut command);
        let seconds = begun.elapsed().as_secs_f64();
        let text = std::fs::read_to_string(report).expect("what it used");
        let numbers: Vec<f64> =
            text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let [user, system, kilobytes] = numbers[..] else { panic!("{text}") };
        Used { seconds, cpu_seconds: user + system, peak_bytes: kilobytes as u64 * 1024 }
    }

    /// The bytes of all messages that `generate` wrote.
    fn metadata(&self) -> u64 {
        let text = std::fs::read_to_string(self.path("generated.json")).expect("the graph");
        let marks = text.split("\"speculative_actions\"").skip(1);
        let digests = marks.filter_map(|rest| rest.split('"').nth(1));
        digests.filter_map(|digest| digest.split_once('/')?.1.parse::<u64>().ok()).sum()
    }
}

pub(crate) fn run(bench: &mut Bench) {
    if !bench.wanted("speculating") {
        return;
    }
    println!(
        "| actions | command | seconds | processor seconds | µs per action | MiB at most | bytes per action | metadata, MB |\n|---|---|---|---|---|---|---|---|"
    );
    for elements in [10, 101, 1000] {
        let corpus = Corpus::make(elements);
        // The first warms what all others read.
        corpus.once(&["instantiate", "--graph", "before.json"], None);
        let generated = corpus.generate();
        let metadata = corpus.metadata();
        row(&corpus, "generate", &generated, &format!("{:.2}", metadata as f64 / 1e6));
        row(&corpus, "instantiate", &corpus.instantiate(), "");
        if elements == 101 {
            lookups(&corpus);
        }
    }
}

fn row(corpus: &Corpus, command: &str, used: &Used, metadata: &str) {
    let actions = corpus.actions;
    println!(
        "| {actions} | {command} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} | {metadata} |",
        used.seconds,
        used.cpu_seconds,
        1e6 * used.seconds / actions as f64,
        used.peak_bytes as f64 / f64::from(1 << 20),
        used.peak_bytes as f64 / actions as f64,
    );
}

/// Has `speculate`'s example `lookups` compare the two on the exported table.
fn lookups(corpus: &Corpus) {
    let table = corpus.path("table.arrow");
    let mut command = Command::new(bin("speculate"));
    command
        .args(["index", "export", "--graph", "after.json", "--output"])
        .arg(&table)
        .current_dir(corpus.folder.path())
        .env("FORERUNNER_STORE", corpus.path("store"));
    run_command(&mut command);
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(checkout())
        .args(["run", "--quiet", "--release", "-p", "speculate", "--example", "lookups", "--"])
        .arg(&table);
    print!("{}", run_command(&mut command));
}
