//! Which action comes when: the state machine behind `instantiate` and `prime`. No I/O.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use forerunner_merkle::{Digest, Forest};

use crate::doubts::{Doubted, Doubts, Verdict};
use crate::graph::Graph;
use crate::instantiate::{Adapted, Instantiator, Outcome};
use crate::loaded::{Loaded, LoadedAction};
use crate::mode::Mode;
use crate::reach::{Case, Look, Reach};
use crate::reason::{Reason, Wait};
use crate::recorded::{Known, Recorded};
use crate::reshape::{Missed, Tries};
use crate::text::Text;
use crate::today::{Produced, Today};

/// A recorded action of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// The element's index in the graph.
    pub element: usize,
    /// The number of the action among those of the element.
    pub index: usize,
    /// Its digest.
    pub base: Digest,
}

/// What became of one task.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It is still valid as recorded.
    Unchanged(usize),
    /// It was adapted; [`Plan::done`] or [`Plan::skip`] is to follow.
    Execute(usize, Box<Adapted>),
    /// It waits for others.
    Deferred(usize),
    /// It waits for contents, see [`Plan::wanted`], or for what others are answered.
    Reads(usize),
    /// This action asks what it reads now; [`Plan::answer`] is to follow.
    Ask(usize, Box<Adapted>),
    /// It cannot be adapted.
    Skipped(usize, Reason),
}

/// All tasks, and what each waits for.
#[derive(Debug)]
pub struct Plan<'a> {
    today: Today,
    forest: &'a mut Forest,
    actions: &'a HashMap<Digest, LoadedAction>,
    instantiators: HashMap<usize, Instantiator<'a>>,
    names: Vec<String>,
    tasks: Vec<Task>,
    /// What each task still waits for.
    open: Vec<HashSet<Wait>>,
    waiting: HashMap<Wait, Vec<usize>>,
    ready: VecDeque<usize>,
    untouched: Vec<(usize, usize)>,
    reach: Reach,
    /// Adapted, and in want of contents; and those that have them.
    reading: Vec<(usize, Box<Adapted>)>,
    read: VecDeque<(usize, Box<Adapted>)>,
    /// Adapted, and asked about: with the input root of the question.
    asking: HashMap<usize, (Box<Adapted>, Digest)>,
    /// What follows from answers.
    answered: VecDeque<Step>,
    tries: Tries,
    doubts: Doubts,
}

/// The elements that have something to do: a tree of theirs, or one that their actions took
/// something from, is not what it was. All others cost nothing; they need not even be loaded.
#[must_use]
pub fn touched(
    graph: &Graph,
    today: &Today,
    recorded: &HashMap<usize, Recorded>,
) -> HashSet<usize> {
    let known: HashMap<&str, &Known> = recorded
        .values()
        .flat_map(|recorded| &recorded.elements)
        .map(|known| (known.name.as_str(), known))
        .collect();
    let count = graph.elements().len();
    let mut settled = vec![false; count];
    for index in 0..count {
        let before = known.get(graph.elements()[index].name.as_str());
        let same_sources = before.is_some_and(|known| known.sources == today.sources(index));
        settled[index] = match (today.artifact(index), before) {
            (Some(now), Some(known)) => known.artifact == Some(now),
            // Nobody took anything from it.
            (Some(_), None) => true,
            // To be built, of what it was built of before. Of nothing at all says nothing.
            (None, _) => {
                let below = graph.below(index);
                let of_something = today.sources(index).is_some() || !below.is_empty();
                of_something && same_sources && below.iter().all(|below| settled[*below])
            }
        };
    }
    let clean = |recorded: &Recorded| {
        recorded.elements.iter().enumerate().all(|(number, known)| {
            today.element(&known.name).is_some_and(|index| {
                known.sources == today.sources(index) && (number == 0 || settled[index])
            })
        })
    };
    recorded.iter().filter(|(_, recorded)| !clean(recorded)).map(|(index, _)| *index).collect()
}

impl<'a> Plan<'a> {
    /// A plan for the elements in `touched`; the actions of all others count as unchanged. The
    /// directories that it makes are added to those that are loaded.
    #[must_use]
    pub fn new(
        graph: &Graph,
        mut today: Today,
        recorded: &'a HashMap<usize, Recorded>,
        touched: &HashSet<usize>,
        loaded: &'a mut Loaded,
        mode: Mode,
    ) -> Self {
        let Loaded { forest, actions } = loaded;
        let mut tasks = Vec::new();
        let mut instantiators = HashMap::new();
        let mut untouched = Vec::new();
        for element in 0..graph.elements().len() {
            let Some(recorded) = recorded.get(&element) else { continue };
            let state = match touched.contains(&element) && mode.primes() {
                true => Produced::Pending,
                false => Produced::Unchanged,
            };
            for (index, base) in recorded.actions.iter().enumerate() {
                if state == Produced::Pending {
                    tasks.push(Task { element, index, base: *base });
                }
                today.set_produced(element, *base, state.clone());
            }
            if state == Produced::Pending {
                instantiators.insert(element, Instantiator::new(recorded, &today, mode));
            } else {
                untouched.push((element, recorded.actions.len()));
            }
        }
        Self {
            today,
            forest,
            actions,
            instantiators,
            names: graph.elements().iter().map(|element| element.name.clone()).collect(),
            open: vec![HashSet::new(); tasks.len()],
            waiting: HashMap::new(),
            ready: (0..tasks.len()).collect(),
            tasks,
            untouched,
            reach: Reach::default(),
            reading: Vec::new(),
            read: VecDeque::new(),
            asking: HashMap::new(),
            answered: VecDeque::new(),
            tries: Tries::default(),
            doubts: Doubts::default(),
        }
    }

    /// The tasks, dependencies first.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The elements without anything to do, with the number of their actions.
    #[must_use]
    pub fn untouched(&self) -> &[(usize, usize)] {
        &self.untouched
    }

    /// The name of an element.
    #[must_use]
    pub fn element_name(&self, element: usize) -> &str {
        self.names.get(element).map_or("", String::as_str)
    }

    /// The directory in which the command of a task runs.
    #[must_use]
    pub fn working_directory(&self, task: usize) -> &str {
        self.base(task).map_or("", |action| action.command.working_directory.as_str())
    }

    /// What a task ran when it was recorded, if that is loaded.
    #[must_use]
    pub fn base(&self, task: usize) -> Option<&'a LoadedAction> {
        self.tasks.get(task).and_then(|task| self.actions.get(&task.base))
    }

    /// What the command of a task is called by, for people: its output, else its arguments.
    #[must_use]
    pub fn title(&self, task: usize) -> String {
        self.base(task).map_or_else(String::new, |action| title(&action.command))
    }

    /// Looks at the next task that may be adapted; `None`: all that are left wait.
    pub fn step(&mut self) -> Option<Step> {
        if let Some(step) = self.answered.pop_front() {
            return Some(step);
        }
        if let Some((task, adapted)) = self.read.pop_front() {
            return Some(self.look(task, adapted));
        }
        let task = self.ready.pop_front()?;
        let Task { element, index, base } = *self.tasks.get(task)?;
        let outcome = match (self.actions.get(&base), self.instantiators.get_mut(&element)) {
            (Some(action), Some(instantiator)) => {
                instantiator.adapt(index, action, &self.today, self.forest)
            }
            _ => Outcome::Skipped(Reason::BaseGone),
        };
        Some(match outcome {
            Outcome::Unchanged => {
                self.settle(task, Produced::Unchanged);
                Step::Unchanged(task)
            }
            Outcome::Changed(adapted) => self.look(task, adapted),
            Outcome::Deferred(waits) => {
                for wait in &waits {
                    self.waiting.entry(wait.clone()).or_default().push(task);
                }
                if let Some(open) = self.open.get_mut(task) {
                    *open = waits.into_iter().collect();
                }
                Step::Deferred(task)
            }
            Outcome::Skipped(reason) => {
                self.settle(task, Produced::Skipped);
                Step::Skipped(task, reason)
            }
        })
    }

    /// Sees to it that an adapted task has the files that it reads now.
    fn look(&mut self, task: usize, adapted: Box<Adapted>) -> Step {
        let look = match self.origin(task) {
            Some((element, base, recorded)) => {
                let (actions, today) = (self.actions, &self.today);
                let case = Case { element, base, recorded, actions, today };
                self.reach.look(&adapted, &case, self.forest)
            }
            None => Look::Same,
        };
        let (adapted, left_out) = match look {
            Look::Wants => {
                self.reading.push((task, adapted));
                return Step::Reads(task);
            }
            Look::Ask(question) => {
                self.asking.insert(task, (adapted, question.root));
                return Step::Ask(task, question);
            }
            Look::Doubt(question, cause) => {
                let doubted = Doubted { task, adapted, question };
                return match self.doubts.add(cause, doubted) {
                    Some(verdict) => self.judged(verdict),
                    None => Step::Reads(task),
                };
            }
            Look::Same => (adapted, 0),
            Look::Without(adapted, left_out) => (adapted, left_out),
        };
        self.tries.begin(task, &adapted, left_out);
        Step::Execute(task, adapted)
    }

    fn judged(&mut self, verdict: Verdict) -> Step {
        match verdict {
            Verdict::Ask(Doubted { task, adapted, question }) => {
                self.asking.insert(task, (adapted, question.root));
                Step::Ask(task, question)
            }
            Verdict::Execute(Doubted { task, adapted, .. }) => {
                self.tries.begin(task, &adapted, 0);
                Step::Execute(task, adapted)
            }
        }
    }

    /// The element of a task, its recorded action, and what was recorded with it.
    fn origin(&self, task: usize) -> Option<(usize, &'a LoadedAction, &'a Recorded)> {
        let element = self.tasks.get(task)?.element;
        Some((element, self.base(task)?, self.instantiators.get(&element)?.recorded))
    }

    /// Says what the question of a task was answered, if anything: [`Self::step`] has what follows.
    pub fn answer(&mut self, task: usize, answer: Option<&str>) {
        let Some((adapted, asked)) = self.asking.remove(&task) else { return };
        let answered = match (answer, self.origin(task)) {
            (Some(answer), Some((element, base, recorded))) => {
                let (actions, today) = (self.actions, &self.today);
                let case = Case { element, base, recorded, actions, today };
                self.reach.answered(answer, &adapted, asked, &case, self.forest)
            }
            _ => None,
        };
        let useful = answered.as_ref().is_some_and(|answered| answered.root != adapted.root);
        let adapted = answered.map_or(adapted, Box::new);
        self.tries.begin(task, &adapted, 0);
        self.answered.push_back(Step::Execute(task, adapted));
        for verdict in self.doubts.answered(task, useful) {
            let step = self.judged(verdict);
            self.answered.push_back(step);
        }
    }

    /// How many questions there were because of changed macros, and to how many of them the answer was
    /// that other files are read.
    #[must_use]
    pub fn doubts(&self) -> (usize, usize) {
        self.doubts.counts()
    }

    /// The contents that tasks wait for: texts, whose include directives are to be known.
    /// [`Self::learn`] is to follow.
    pub fn wanted(&mut self) -> Vec<Digest> {
        self.reach.wanted()
    }

    /// Says what the texts among `wanted` are; of those that are not in `found`, nobody knows it.
    pub fn learn(&mut self, wanted: &[Digest], found: Vec<(Digest, Text)>) {
        self.reach.learn(wanted, found);
        self.read.extend(self.reading.drain(..));
    }

    /// Says what an executed task made.
    pub fn done(&mut self, task: usize, outputs: HashMap<String, Digest>) {
        self.settle(task, Produced::Done(outputs));
    }

    /// Says that a task has no result.
    pub fn skip(&mut self, task: usize) {
        self.settle(task, Produced::Skipped);
    }

    /// Says what an element installs; the directories must be in [`Self::forest_mut`].
    pub fn artifact(&mut self, element: usize, root: Digest) {
        self.today.set_artifact(element, root);
        self.wake(&Wait::Artifact(element));
    }

    /// The directories that were made since the last call, to be uploaded.
    pub fn take_made(&mut self) -> Vec<(Digest, Bytes)> {
        self.forest.take_made()
    }

    /// The directories.
    pub fn forest_mut(&mut self) -> &mut Forest {
        self.forest
    }

    /// The tasks that still wait, and why.
    #[must_use]
    pub fn left(&self) -> Vec<(usize, Reason)> {
        // Those that wait for the answers of others go on with them, unless that was stopped.
        let mut left: Vec<_> = self.doubts.held().map(|task| (task, Reason::Cancelled)).collect();
        for (task, open) in self.open.iter().enumerate() {
            // An artifact says more than an action that itself waits for one.
            let artifact = open.iter().find_map(|wait| match wait {
                Wait::Artifact(element) => Some(*element),
                Wait::Action(..) => None,
            });
            let action = open.iter().find_map(|wait| match wait {
                Wait::Action(_, producer) => Some(*producer),
                Wait::Artifact(_) => None,
            });
            match (artifact, action) {
                (Some(element), _) => {
                    let element = self.element_name(element).to_owned();
                    left.push((task, Reason::ArtifactUnknown { element }));
                }
                (None, Some(producer)) => left.push((task, Reason::ProducerSkipped { producer })),
                (None, None) => {}
            }
        }
        left
    }

    /// A task that was executed and missed a file: the same with that file, if it is found.
    pub fn again(&mut self, task: usize, missed: &Missed) -> Option<Adapted> {
        let (_, base, recorded) = self.origin(task)?;
        self.tries.again(task, missed, base, recorded, &self.today, self.forest)
    }

    fn settle(&mut self, task: usize, produced: Produced) {
        self.tries.end(task);
        let Some(Task { element, base, .. }) = self.tasks.get(task).copied() else { return };
        self.today.set_produced(element, base, produced);
        self.wake(&Wait::Action(element, base));
    }

    fn wake(&mut self, wait: &Wait) {
        for task in self.waiting.remove(wait).unwrap_or_default() {
            if let Some(open) = self.open.get_mut(task)
                && open.remove(wait)
                && open.is_empty()
            {
                self.ready.push_back(task);
            }
        }
    }
}

/// What a command is called by, for people: its first output, else its arguments.
#[must_use]
pub fn title(command: &forerunner_proto::reapi::Command) -> String {
    #[allow(deprecated)]
    let output = command.output_paths.first().or(command.output_files.first());
    let program = command.arguments.first().map_or("", String::as_str);
    let program = program.rsplit('/').next().unwrap_or(program);
    match output {
        Some(output) => format!("{program} {output}"),
        None => command.arguments.join(" "),
    }
}
