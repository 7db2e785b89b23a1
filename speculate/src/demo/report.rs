//! What the demo shows at the end.

use serde_json::{Value, json};

use crate::commands::progress::columns;

/// One element in one round.
pub(crate) struct Line {
    pub(crate) element: String,
    pub(crate) subactions: usize,
    pub(crate) hits: usize,
    pub(crate) executed: usize,
    /// How many were not primed, and why.
    pub(crate) skipped: usize,
    pub(crate) why: String,
    pub(crate) seconds: f64,
}

/// One round over all elements.
pub(crate) struct Round {
    pub(crate) name: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// Whether priming did what it is for.
pub(crate) struct Verdict {
    /// Every action of the primed rebuild was in the cache.
    pub(crate) hits_only: bool,
    /// Its artifacts are those of the rebuild that was not primed.
    pub(crate) identical: bool,
    /// Element builds of the primed rebuild, in seconds.
    pub(crate) primed_seconds: f64,
    /// Element builds of the other.
    pub(crate) plain_seconds: f64,
}

impl Verdict {
    pub(crate) fn good(&self) -> bool {
        self.hits_only && self.identical
    }

    fn text(&self) -> String {
        let mut text = match (self.hits_only, self.identical) {
            (true, true) => "good: the primed rebuild found everything in the cache, and built \
                 byte for byte what the other built"
                .to_owned(),
            (false, true) => "bad: the primed rebuild had to execute something".to_owned(),
            (_, false) => "bad: the primed rebuild built something else".to_owned(),
        };
        let (primed, plain) = (self.primed_seconds, self.plain_seconds);
        text.push_str(&format!(" ({primed:.2} s of element builds against {plain:.2} s)"));
        text
    }
}

/// The table.
pub(crate) fn table(rounds: &[Round], verdict: &Verdict) -> String {
    let heading = ["round, element", "subactions", "hits", "executed", "skipped", "seconds", "why"];
    let mut rows = vec![heading.map(str::to_owned)];
    for round in rounds {
        let mut row = std::array::from_fn(|_| String::new());
        row[0] = round.name.to_owned();
        rows.push(row);
        for line in &round.lines {
            rows.push([
                format!("  {}", line.element),
                line.subactions.to_string(),
                line.hits.to_string(),
                line.executed.to_string(),
                line.skipped.to_string(),
                format!("{:.2}", line.seconds),
                line.why.clone(),
            ]);
        }
    }
    format!("{}verdict: {}\n", columns(&rows), verdict.text())
}

/// The same as data.
pub(crate) fn json(rounds: &[Round], verdict: &Verdict) -> String {
    let rounds: Vec<Value> = rounds
        .iter()
        .map(|round| {
            let lines: Vec<Value> = round
                .lines
                .iter()
                .map(|line| {
                    json!({
                        "element": line.element,
                        "subactions": line.subactions,
                        "hits": line.hits,
                        "executed": line.executed,
                        "skipped": line.skipped,
                        "why": line.why,
                        "seconds": line.seconds,
                    })
                })
                .collect();
            json!({ "round": round.name, "elements": lines })
        })
        .collect();
    let verdict = json!({
        "good": verdict.good(),
        "hits_only": verdict.hits_only,
        "identical": verdict.identical,
        "primed_seconds": verdict.primed_seconds,
        "plain_seconds": verdict.plain_seconds,
        "text": verdict.text(),
    });
    format!("{}\n", json!({ "rounds": rounds, "verdict": verdict }))
}
