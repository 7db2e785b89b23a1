//! What the wrappers did: one line per command, appended; summed up on demand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::paths;
use crate::reason::Reason;
use crate::stamp;

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its result was stored.
    Hit,
    /// It was run, here or there.
    Miss,
    /// It was run without looking.
    Uncached(Reason),
    /// The endpoint failed.
    Failed,
}

/// One command.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Which wrapper, and for recc what kind of command.
    pub tool: &'a str,
    /// What became of it.
    pub fate: Fate,
    /// Bytes written from the cache, or to it.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// How long the real tool would have taken, if that is known.
    pub instead_of: Duration,
    /// Where.
    pub directory: &'a str,
}

/// Begins a line that is not an event.
const MARK: &str = "mark";

/// Appends an event. A line is one write, so that processes do not mix theirs.
pub fn note(folder: &Path, event: &Event<'_>) {
    let fate = match event.fate {
        Fate::Hit => "hit",
        Fate::Miss => "miss",
        Fate::Failed => "failed",
        Fate::Uncached(reason) => reason.name(),
    };
    let line = format!(
        "{}\t{}\t{fate}\t{}\t{}\t{}\t{}\n",
        stamp::now() / 1_000_000_000,
        event.tool,
        event.bytes,
        event.took.as_micros(),
        event.instead_of.as_micros(),
        event.directory.replace(['\t', '\n'], " "),
    );
    append(folder, &line);
}

/// Sets a marker: what is counted since then is shown apart.
pub fn mark(folder: &Path) {
    append(folder, &format!("{}\t{MARK}\n", stamp::now() / 1_000_000_000));
}

fn append(folder: &Path, line: &str) {
    let file = std::fs::File::options().create(true).append(true).open(folder.join("events"));
    // Figures are not worth failing a build for.
    let _written = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

/// Sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    hits: u64,
    misses: u64,
    failed: u64,
    bytes: u64,
    saved_us: u64,
    uncached: BTreeMap<String, u64>,
    tools: BTreeMap<String, (u64, u64)>,
}

impl Sums {
    fn add(&mut self, fields: &[&str]) -> Option<()> {
        let [_, tool, fate, bytes, took, instead_of, _] = fields else { return None };
        let (bytes, took, instead_of): (u64, u64, u64) =
            (bytes.parse().ok()?, took.parse().ok()?, instead_of.parse().ok()?);
        let of_tool = self.tools.entry((*tool).to_owned()).or_default();
        match *fate {
            "hit" => {
                self.hits += 1;
                of_tool.0 += 1;
                self.bytes = self.bytes.saturating_add(bytes);
                self.saved_us = self.saved_us.saturating_add(instead_of.saturating_sub(took));
            }
            "miss" => {
                self.misses += 1;
                of_tool.1 += 1;
            }
            "failed" => self.failed += 1,
            reason => *self.uncached.entry(reason.to_owned()).or_default() += 1,
        }
        Some(())
    }

    fn show(&self, heading: &str, out: &mut String) {
        let looked = self.hits + self.misses;
        let share = if looked == 0 { 0.0 } else { 100.0 * self.hits as f64 / looked as f64 };
        let uncached: u64 = self.uncached.values().sum();
        let _ = writeln!(
            out,
            "{heading}\n  hits        {:>10}  ({share:.1} %)\n  misses      {:>10}\n  uncacheable {uncached:>10}\n  failures    {:>10}\n  bytes       {:>10}\n  time saved  {:>8.1} s",
            self.hits,
            self.misses,
            self.failed,
            self.bytes,
            self.saved_us as f64 / 1e6,
        );
        for (tool, (hits, misses)) in &self.tools {
            let _ = writeln!(out, "    {tool}: {hits} hits, {misses} misses");
        }
        for (reason, count) in &self.uncached {
            let help = Reason::ALL.iter().find(|r| r.name() == reason).map_or("", |r| r.help());
            let _ = writeln!(out, "    {count} × {reason}: {help}");
        }
    }
}

/// Everything that `--stats` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    directory: Sums,
    since_mark: Sums,
    all: Sums,
}

/// Reads the events.
#[must_use]
pub fn sum(folder: &Path, directory: &str) -> Summary {
    let text = std::fs::read(folder.join("events")).unwrap_or_default();
    let mut summary = Summary::default();
    for line in String::from_utf8_lossy(&text).lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields.get(1) == Some(&MARK) {
            summary.since_mark = Sums::default();
            continue;
        }
        if summary.all.add(&fields).is_none() {
            continue;
        }
        summary.since_mark.add(&fields);
        if fields.get(6).is_some_and(|at| paths::is_below(at, directory)) {
            summary.directory.add(&fields);
        }
    }
    summary
}

impl Summary {
    /// For people.
    #[must_use]
    pub fn show(&self, directory: &str) -> String {
        let mut out = String::new();
        self.directory.show(&format!("in {directory} and below"), &mut out);
        self.since_mark.show("since the last --zero-stats", &mut out);
        self.all.show("since the store was made", &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_summed() {
        let folder = tempfile::tempdir().expect("a directory");
        let event = |fate, directory: &'static str| Event {
            tool: "compile",
            fate,
            bytes: 10,
            took: Duration::from_millis(1),
            instead_of: Duration::from_millis(101),
            directory,
        };
        note(folder.path(), &event(Fate::Miss, "/a"));
        mark(folder.path());
        note(folder.path(), &event(Fate::Hit, "/a/b"));
        note(folder.path(), &event(Fate::Uncached(Reason::Embed), "/c"));
        let summary = sum(folder.path(), "/a");
        assert_eq!((summary.all.hits, summary.all.misses), (1, 1));
        assert_eq!((summary.since_mark.hits, summary.since_mark.misses), (1, 0));
        assert_eq!(summary.directory.uncached.len(), 0);
        assert_eq!(summary.all.saved_us, 100_000);
        let shown = summary.show("/a");
        assert!(shown.contains("embed") && shown.contains("50.0 %"), "{shown}");
    }
}
