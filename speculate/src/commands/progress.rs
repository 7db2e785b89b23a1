//! What priming shows: bars on a terminal, plain lines elsewhere, a table at the end.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use speculate::Summary;
use speculate::plan::Plan;
use speculate::prime::Notice;
use speculate::summary::{Counts, Event};

/// Shows what happens, and keeps it for a trace.
pub(crate) struct Progress {
    begun: Instant,
    bar: Option<ProgressBar>,
    quiet: bool,
    trace: Option<Vec<Value>>,
}

impl Progress {
    pub(crate) fn new(tasks: usize, quiet: bool, trace: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(tasks as u64).with_style(style)
        });
        Self { begun: Instant::now(), bar, quiet, trace: trace.then(Vec::new) }
    }

    pub(crate) fn tell(&mut self, plan: &Plan<'_>, notice: &Notice) {
        let task = plan.tasks().get(notice.task);
        let element = task.map_or("", |task| plan.element_name(task.element));
        let title = plan.title(notice.task);
        let what = match &notice.event {
            Event::Unchanged => "unchanged".to_owned(),
            Event::Cached => "cached".to_owned(),
            Event::Executed(time) => format!("executed in {:.1} s", time.as_secs_f64()),
            Event::Tried(_) => "only showed which files it reads now".to_owned(),
            Event::Skipped(reason) => format!("skipped: {reason}"),
        };
        let line = format!("{element}: {title}: {what}");
        match &self.bar {
            Some(bar) => {
                bar.inc(u64::from(!matches!(notice.event, Event::Tried(_))));
                if let Event::Skipped(_) = notice.event {
                    bar.println(&line);
                } else {
                    bar.set_message(line);
                }
            }
            // What did not cost anything is told by the table.
            None if !self.quiet && !matches!(notice.event, Event::Unchanged | Event::Cached) => {
                eprintln!("{line}");
            }
            None => {}
        }
        let begun = self.begun;
        if let Some(trace) = &mut self.trace {
            let now = begun.elapsed().as_micros() as u64;
            let start = notice
                .begun
                .map_or(now, |at| at.saturating_duration_since(begun).as_micros() as u64);
            let action = notice.action.map(|digest| digest.to_string());
            trace.push(json!({
                "name": title,
                "cat": match notice.event {
                    Event::Executed(_) => "execution",
                    Event::Tried(_) => "try",
                    Event::Cached => "lookup",
                    Event::Unchanged => "unchanged",
                    Event::Skipped(_) => "skip",
                },
                "ph": "X",
                "ts": start,
                "dur": now.saturating_sub(start),
                "pid": 1,
                "tid": task.map_or(0, |task| task.element + 1),
                "args": { "element": element, "action": action, "what": what },
            }));
        }
    }

    /// The trace, if one was wanted: JSON in Chrome's format, times in microseconds.
    pub(crate) fn finish(self) -> Option<String> {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.trace.map(|events| json!({ "traceEvents": events }).to_string())
    }
}

/// The table at the end.
pub(crate) fn table(summary: &Summary) -> String {
    let mut rows = vec![[
        "element".to_owned(),
        "recorded".to_owned(),
        "unchanged".to_owned(),
        "cached".to_owned(),
        "executed".to_owned(),
        "tries".to_owned(),
        "skipped".to_owned(),
        "why".to_owned(),
    ]];
    let row = |name: &str, counts: &Counts| {
        [
            name.to_owned(),
            counts.recorded.to_string(),
            counts.unchanged.to_string(),
            counts.cached.to_string(),
            counts.executed.to_string(),
            counts.tries.to_string(),
            counts.skips().to_string(),
            counts.reasons(),
        ]
    };
    rows.extend(summary.elements.iter().map(|(name, counts)| row(name, counts)));
    if summary.elements.len() > 1 {
        rows.push(row("total", &summary.total()));
    }
    let mut text = columns(&rows);
    if summary.macro_questions > 0 {
        text.push_str(&format!(
            "macros changed on which includes depend: {} compilers asked, {} read other files\n",
            summary.macro_questions, summary.macro_answers,
        ));
    }
    if summary.cancelled {
        text.push_str("stopped early\n");
    }
    text
}

/// Text in columns: the first to the left, numbers to the right, the last as it is.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column + 1 == N {
                text.push_str(cell);
            } else if column == 0 {
                text.push_str(&format!("{cell:<width$}  "));
            } else {
                text.push_str(&format!("{cell:>width$}  "));
            }
        }
        while text.ends_with(' ') {
            text.pop();
        }
        text.push('\n');
    }
    text
}

fn counts(counts: &Counts) -> Value {
    json!({
        "recorded": counts.recorded,
        "unchanged": counts.unchanged,
        "cached": counts.cached,
        "executed": counts.executed,
        "tries": counts.tries,
        "skipped": counts.skipped,
        "busy_seconds": counts.busy.as_secs_f64(),
    })
}

/// The counts as data.
pub(crate) fn json(summary: &Summary) -> String {
    let elements: serde_json::Map<String, Value> =
        summary.elements.iter().map(|(name, one)| (name.clone(), counts(one))).collect();
    let value = json!({
        "elements": elements,
        "total": counts(&summary.total()),
        "cancelled": summary.cancelled,
        "macros": { "asked": summary.macro_questions, "useful": summary.macro_answers },
    });
    format!("{value}\n")
}
