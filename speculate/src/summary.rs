//! What priming did, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::reason::Reason;

/// Counts of one element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Recorded actions.
    pub recorded: usize,
    /// Still valid as recorded.
    pub unchanged: usize,
    /// Adapted, and the result was already there.
    pub cached: usize,
    /// Adapted and executed.
    pub executed: usize,
    /// Executions that only showed that a file is missing; the action was tried again with it.
    pub tries: usize,
    /// Not primed, by the stable name of the reason.
    pub skipped: BTreeMap<&'static str, usize>,
    /// Time of executions, summed up.
    pub busy: Duration,
}

/// One thing that became of one action.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Still valid as recorded.
    Unchanged,
    /// The result of the adapted action was already there.
    Cached,
    /// The adapted action was executed.
    Executed(Duration),
    /// It missed a file, and is tried again with it; another event of the action follows.
    Tried(Duration),
    /// Not primed.
    Skipped(Reason),
}

/// What priming did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// By name of the element.
    pub elements: BTreeMap<String, Counts>,
    /// Whether it was stopped early.
    pub cancelled: bool,
    /// Questions what an action reads for no other reason than that macros changed.
    pub macro_questions: usize,
    /// Those of them to which the answer was that it reads other files.
    pub macro_answers: usize,
}

impl Summary {
    /// Counts elements that had nothing to do.
    pub fn untouched(&mut self, element: &str, actions: usize) {
        let counts = self.elements.entry(element.to_owned()).or_default();
        counts.recorded += actions;
        counts.unchanged += actions;
    }

    /// Counts one action.
    pub fn count(&mut self, element: &str, event: &Event) {
        let counts = self.elements.entry(element.to_owned()).or_default();
        counts.recorded += usize::from(!matches!(event, Event::Tried(_)));
        match event {
            Event::Unchanged => counts.unchanged += 1,
            Event::Cached => counts.cached += 1,
            Event::Executed(time) => {
                counts.executed += 1;
                counts.busy += *time;
            }
            Event::Tried(time) => {
                counts.tries += 1;
                counts.busy += *time;
            }
            Event::Skipped(reason) => *counts.skipped.entry(reason.name()).or_default() += 1,
        }
    }

    /// The sum over all elements.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.elements.values() {
            total.recorded += counts.recorded;
            total.unchanged += counts.unchanged;
            total.cached += counts.cached;
            total.executed += counts.executed;
            total.tries += counts.tries;
            total.busy += counts.busy;
            for (reason, count) in &counts.skipped {
                *total.skipped.entry(reason).or_default() += count;
            }
        }
        total
    }
}

impl Counts {
    /// How many were not primed.
    #[must_use]
    pub fn skips(&self) -> usize {
        self.skipped.values().sum()
    }

    /// `reason: count` for each reason, or `-`.
    #[must_use]
    pub fn reasons(&self) -> String {
        if self.skipped.is_empty() {
            return "-".to_owned();
        }
        let list: Vec<String> =
            self.skipped.iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
        list.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted() {
        let mut summary = Summary::default();
        summary.untouched("a", 3);
        summary.count("b", &Event::Cached);
        summary.count("b", &Event::Executed(Duration::from_secs(2)));
        summary.count("b", &Event::Skipped(Reason::BaseGone));
        summary.count("b", &Event::Skipped(Reason::BaseGone));
        let total = summary.total();
        assert_eq!((total.recorded, total.unchanged, total.cached), (7, 3, 1));
        assert_eq!((total.executed, total.skips()), (1, 2));
        assert_eq!(total.reasons(), "base-gone: 2");
    }
}
