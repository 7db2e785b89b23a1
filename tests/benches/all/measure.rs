//! Timing two commands in turns.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often each command is timed.
pub(crate) const ROUNDS: usize = 25;
/// The same for what takes seconds.
pub(crate) const FEW_ROUNDS: usize = 3;

/// The table in the making.
pub(crate) struct Bench {
    names: Vec<String>,
    rows: Vec<[String; 5]>,
    /// How often the next commands are timed.
    pub(crate) rounds: usize,
}

/// A command to time, and what is to be done before each run, untimed.
pub(crate) struct Timed<'a> {
    pub(crate) name: &'a str,
    pub(crate) command: Box<dyn Fn() -> Command + 'a>,
    pub(crate) before: Box<dyn Fn() + 'a>,
}

impl<'a> Timed<'a> {
    pub(crate) fn new(name: &'a str, command: impl Fn() -> Command + 'a) -> Self {
        Self { name, command: Box::new(command), before: Box::new(|| ()) }
    }

    pub(crate) fn before(mut self, before: impl Fn() + 'a) -> Self {
        self.before = Box::new(before);
        self
    }

    fn once(&self) -> Duration {
        (self.before)();
        let mut command = (self.command)();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let elapsed = start.elapsed();
        assert!(status.success(), "{command:?}: {status}");
        elapsed
    }
}

impl Bench {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { names, rows: Vec::new(), rounds: ROUNDS }
    }

    /// Whether the cases of this name were asked for.
    pub(crate) fn wanted(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| name.contains(wanted.as_str()))
    }

    /// Times `ours` and `peer` in turns.
    pub(crate) fn pair(&mut self, case: &str, ours: &Timed<'_>, peer: &Timed<'_>) {
        self.pair_named(case, (ours.name, peer.name), || ours.once(), || peer.once());
    }

    /// The same for what is no process.
    pub(crate) fn pair_of(
        &mut self,
        case: &str,
        ours: impl Fn() -> Duration,
        peer: impl Fn() -> Duration,
    ) {
        self.pair_named(case, ("ours", "reference"), ours, peer);
    }

    fn pair_named(
        &mut self,
        case: &str,
        names: (&str, &str),
        ours: impl Fn() -> Duration,
        peer: impl Fn() -> Duration,
    ) {
        let mut times = (Vec::new(), Vec::new());
        for round in 0..=self.rounds {
            let pair = (ours(), peer());
            // The first warms what is read by both.
            if round > 0 {
                times.0.push(pair.0);
                times.1.push(pair.1);
            }
        }
        let (ours_ms, peer_ms) = (median(&mut times.0), median(&mut times.1));
        self.row([
            case.to_owned(),
            format!("{} {ours_ms:.3} ms", names.0),
            format!("{} {peer_ms:.3} ms", names.1),
            format!("{:.2} ×", ours_ms / peer_ms),
            format!("min {:.3} / {:.3} ms", milliseconds(times.0[0]), milliseconds(times.1[0])),
        ]);
    }

    /// Says a figure that is no time.
    pub(crate) fn figure(&mut self, case: &str, shown: &str) {
        self.row([case.to_owned(), shown.to_owned(), "–".into(), "–".into(), "–".into()]);
    }

    /// Says that a peer is missing, in the table too.
    pub(crate) fn missing(&mut self, case: &str, peer: &str) {
        let [case, peer] = [case, peer].map(str::to_owned);
        self.row([case, "–".to_owned(), format!("{peer} is missing"), "–".into(), "–".into()]);
    }

    /// Times one command by itself.
    pub(crate) fn alone(&mut self, case: &str, ours: &Timed<'_>) {
        ours.once();
        let mut times: Vec<Duration> = (0..self.rounds).map(|_| ours.once()).collect();
        let median = median(&mut times);
        let shown = format!("{} {median:.2} ms", ours.name);
        let least = format!("min {:.2} ms", milliseconds(times[0]));
        self.row([case.to_owned(), shown, "–".to_owned(), "–".to_owned(), least]);
    }

    fn row(&mut self, row: [String; 5]) {
        println!("| {} |", row.join(" | "));
        self.rows.push(row);
    }

    /// Says what was measured, as a table for docs/benchmarks.md.
    pub(crate) fn finish(&self) {
        println!("\n| case | ours | peer | ratio of medians | least |\n|---|---|---|---|---|");
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
        println!(
            "\n{ROUNDS} rounds, {FEW_ROUNDS} where it takes seconds, in turns; whole processes."
        );
    }
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    milliseconds(times[times.len() / 2])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
