//! How often a compiler is asked because of changed macros.
//!
//! A macro that stands in a condition around an include directive may switch it, and mostly does not. A
//! question costs a run of the preprocessor, and saves a compile if it was worth it. So the first few
//! actions in doubt for the same reason are asked about; the others wait for what comes of that.

use std::collections::{HashMap, VecDeque};

use crate::instantiate::Adapted;
use crate::switches::Cause;

/// So many questions for one reason may be in vain,
const IN_VAIN: usize = 8;

/// and so many more for each that was not: a compile takes several times as long as a question.
const WORTH: usize = 4;

/// An adapted action, and the one that asks what it reads.
#[derive(Debug)]
pub(crate) struct Doubted {
    pub(crate) task: usize,
    pub(crate) adapted: Box<Adapted>,
    pub(crate) question: Box<Adapted>,
}

/// What is to be done with an action in doubt.
#[derive(Debug)]
pub(crate) enum Verdict {
    Ask(Doubted),
    /// As it is.
    Execute(Doubted),
}

#[derive(Debug, Default)]
struct Doubt {
    open: usize,
    vain: usize,
    useful: usize,
    held: VecDeque<Doubted>,
}

/// All actions in doubt.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    causes: HashMap<Cause, Doubt>,
    /// The reasons of questions that have no answer yet, by task.
    open: HashMap<usize, Cause>,
    asked: usize,
    useful: usize,
}

impl Doubts {
    /// An action that may read other files because of `cause`; `None`: it waits.
    pub(crate) fn add(&mut self, cause: Cause, doubted: Doubted) -> Option<Verdict> {
        self.causes.entry(Cause::clone(&cause)).or_default().held.push_back(doubted);
        self.next(&cause)
    }

    /// The question of a task was answered; `useful`: it does read other files. What was not asked because
    /// of a macro is none of our business.
    pub(crate) fn answered(&mut self, task: usize, useful: bool) -> Vec<Verdict> {
        let Some(cause) = self.open.remove(&task) else { return Vec::new() };
        if let Some(doubt) = self.causes.get_mut(&cause) {
            doubt.open -= 1;
            doubt.useful += usize::from(useful);
            doubt.vain += usize::from(!useful);
        }
        self.useful += usize::from(useful);
        std::iter::from_fn(|| self.next(&cause)).collect()
    }

    fn next(&mut self, cause: &Cause) -> Option<Verdict> {
        let doubt = self.causes.get_mut(cause)?;
        if doubt.open + doubt.vain < IN_VAIN + WORTH * doubt.useful {
            let doubted = doubt.held.pop_front()?;
            doubt.open += 1;
            self.asked += 1;
            self.open.insert(doubted.task, Cause::clone(cause));
            return Some(Verdict::Ask(doubted));
        }
        if doubt.open > 0 {
            return None;
        }
        doubt.held.pop_front().map(Verdict::Execute)
    }

    /// The tasks that wait for the answers of others.
    pub(crate) fn held(&self) -> impl Iterator<Item = usize> {
        self.causes.values().flat_map(|doubt| doubt.held.iter().map(|doubted| doubted.task))
    }

    /// How many questions there were, and how many of them were useful.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.asked, self.useful)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use forerunner_merkle::DigestFunction;

    use super::*;

    fn doubted(task: usize) -> Doubted {
        let digest = DigestFunction::Sha256.digest(b"");
        let (bytes, command, trees) = (Bytes::new(), None, Vec::new());
        let adapted = Box::new(Adapted { digest, root: digest, bytes, command, trees });
        Doubted { task, question: adapted.clone(), adapted }
    }

    /// Many actions in doubt for one reason, of which those up to `useful` do read other files; answers
    /// with how many were asked about, when each question is answered at once or only when no other may
    /// be asked.
    fn asked(all: usize, useful: usize, at_once: bool) -> usize {
        let cause: Cause = vec![7].into();
        let mut doubts = Doubts::default();
        let (mut open, mut executed) = (VecDeque::new(), 0);
        let mut take = |verdict, open: &mut VecDeque<usize>| match verdict {
            Verdict::Ask(doubted) => open.push_back(doubted.task),
            Verdict::Execute(_) => executed += 1,
        };
        for task in 0..all {
            if let Some(verdict) = doubts.add(Cause::clone(&cause), doubted(task)) {
                take(verdict, &mut open);
            }
            while at_once && let Some(task) = open.pop_front() {
                for verdict in doubts.answered(task, task < useful) {
                    take(verdict, &mut open);
                }
            }
        }
        while let Some(task) = open.pop_front() {
            for verdict in doubts.answered(task, task < useful) {
                take(verdict, &mut open);
            }
        }
        assert_eq!(doubts.held().count(), 0);
        let (asked, found) = doubts.counts();
        assert_eq!((asked + executed, found), (all, useful.min(asked)));
        asked
    }

    #[test]
    fn it_never_costs_much_more_than_it_saves() {
        for at_once in [true, false] {
            assert_eq!(asked(1000, 0, at_once), IN_VAIN);
            assert_eq!(asked(1000, 1000, at_once), 1000);
            assert_eq!(asked(1000, 10, at_once), IN_VAIN + (WORTH + 1) * 10);
            assert_eq!(asked(3, 0, at_once), 3);
        }
    }
}
