//! A project in memory, for tests: trees and actions whose outputs follow from their inputs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use forerunner_merkle::{Digest, DigestFunction, File, Forest, TreeBuilder, TreePath};
use forerunner_proto::reapi;
use prost::Message;

use crate::generate::{Subject, generate};
use crate::graph::{Element, Graph, Tree};
use crate::loaded::{Loaded, LoadedAction};
use crate::mode::Mode;
use crate::plan::{Plan, Step, touched};
use crate::project::Project;
use crate::reason::Reason;
use crate::recorded::Recorded;
use crate::today::Today;

/// The digest of a text.
pub(crate) fn digest(text: &str) -> Digest {
    DigestFunction::Sha256.digest(text.as_bytes())
}

/// What an action makes at `path`: something that follows from all of its inputs.
pub(crate) fn product(action: &Digest, path: &str) -> Digest {
    digest(&format!("{action} makes {path}"))
}

/// Files by path; a path that ends in `/` is an empty directory.
pub(crate) type Files = Vec<(String, Digest)>;

/// One build of a project.
#[derive(Clone, Debug, Default)]
pub(crate) struct Build {
    pub(crate) elements: Vec<Element>,
    pub(crate) loaded: Loaded,
}

impl Build {
    pub(crate) fn tree(&mut self, files: &Files) -> Digest {
        let mut builder = TreeBuilder::new();
        for (path, content) in files {
            let at = TreePath::parse(path).expect("a path");
            if path.ends_with('/') {
                builder.directory(&at).expect("free");
            } else {
                builder.file(&at, File::new(*content, false)).expect("free");
            }
        }
        builder.build(&mut self.loaded.forest)
    }

    /// Adds an element; `depends` by index.
    pub(crate) fn element(&mut self, name: &str, depends: &[usize], sources: &Files) -> usize {
        let sources = (!sources.is_empty()).then(|| Tree::Digest(self.tree(sources)));
        self.elements.push(Element {
            name: name.to_owned(),
            depends: depends.to_vec(),
            sources,
            subactions: Some(Vec::new()),
            ..Element::default()
        });
        self.elements.len() - 1
    }

    pub(crate) fn install(&mut self, element: usize, files: &Files) {
        let root = self.tree(files);
        self.elements[element].artifact = Some(Tree::Digest(root));
    }

    /// Runs an action for an element; answers with what it made, by the order of `outputs`.
    pub(crate) fn action(
        &mut self,
        element: usize,
        arguments: &str,
        inputs: &Files,
        outputs: &[&str],
    ) -> Vec<Digest> {
        self.action_with(element, arguments, inputs, outputs, None)
    }

    /// As [`Self::action`], with a platform.
    pub(crate) fn action_with(
        &mut self,
        element: usize,
        arguments: &str,
        inputs: &Files,
        outputs: &[&str],
        platform: Option<reapi::Platform>,
    ) -> Vec<Digest> {
        let name = self.elements[element].name.clone();
        let root = self.tree(inputs);
        let command = reapi::Command {
            arguments: arguments.split(' ').map(str::to_owned).collect(),
            output_paths: outputs.iter().map(|&path| path.to_owned()).collect(),
            working_directory: format!("build/{name}"),
            ..Default::default()
        };
        let command_digest = DigestFunction::Sha256.digest(&command.encode_to_vec());
        let action = reapi::Action {
            command_digest: Some(command_digest.to_proto()),
            input_root_digest: Some(root.to_proto()),
            platform,
            ..Default::default()
        };
        let bytes = action.encode_to_vec();
        let digest = DigestFunction::Sha256.digest(&bytes);
        let made: Vec<Digest> = outputs.iter().map(|path| product(&digest, path)).collect();
        let full = outputs.iter().map(|path| format!("build/{name}/{path}"));
        let outputs = full.zip(made.iter().copied()).collect();
        let command = Arc::new(command);
        let loaded = LoadedAction { bytes: bytes.into(), action, root, command, outputs };
        self.loaded.actions.insert(digest, loaded);
        self.elements[element].subactions.get_or_insert_default().push(digest);
        made
    }

    pub(crate) fn asked(&self, element: usize) -> HashSet<Digest> {
        self.elements[element].subactions.iter().flatten().copied().collect()
    }

    /// What `generate` finds for every element that has actions.
    pub(crate) fn recorded(&self, mode: Mode) -> HashMap<usize, Recorded> {
        let graph = Graph::new(self.elements.clone()).expect("no cycle");
        let mut project = Project { graph, loaded: self.loaded.clone(), tables: None };
        let all: HashSet<usize> = (0..self.elements.len()).collect();
        let origins = project.origins(&all).expect("all trees are known");
        let known = project.known();
        let mut recorded = HashMap::new();
        for element in all {
            let actions = self.elements[element].subactions.clone().unwrap_or_default();
            if actions.is_empty() {
                continue;
            }
            let below = project.graph.below(element);
            let subject = Subject { element, below, known: &known, actions: &actions, mode };
            let one = generate(&subject, &project.loaded, &origins).expect("all is loaded");
            // What is used is what was stored.
            let bytes = one.to_message().encode_to_vec();
            let read = Recorded::decode(&bytes, one.name()).expect("what we wrote");
            assert_eq!(read, one);
            recorded.insert(element, read);
        }
        recorded
    }

    /// The same elements before they are built.
    pub(crate) fn unbuilt(&self) -> Graph {
        let elements = self.elements.iter().map(|element| Element {
            artifact: None,
            subactions: None,
            ..element.clone()
        });
        Graph::new(elements.collect()).expect("no cycle")
    }
}

/// What priming came to: per element, adapted (or unchanged) actions by the base action's number.
#[derive(Debug, Default)]
pub(crate) struct Primed {
    pub(crate) ready: HashMap<(usize, usize), Digest>,
    pub(crate) changed: usize,
    pub(crate) skipped: HashMap<(usize, usize), Reason>,
    pub(crate) left: HashMap<(usize, usize), Reason>,
}

/// Plays priming through: every adapted action is executed at once.
pub(crate) fn prime(
    before: &Build,
    recorded: &HashMap<usize, Recorded>,
    today: &Graph,
    forest: &Forest,
    mode: Mode,
) -> Primed {
    let mut loaded = before.loaded.clone();
    for element in today.elements() {
        for tree in [&element.sources, &element.artifact].into_iter().flatten() {
            let Tree::Digest(root) = tree else { continue };
            for digest in forest.walk(*root).expect("all trees are known") {
                let directory = forest.require(&digest).expect("just walked");
                loaded.forest.insert(directory.as_ref().clone());
            }
        }
    }
    let world = Today::new(today);
    let dirty = touched(today, &world, recorded);
    let mut plan = Plan::new(today, world, recorded, &dirty, &mut loaded, mode);
    let mut primed = Primed::default();
    let place = |plan: &Plan<'_>, task: usize| {
        let task = plan.tasks()[task];
        ((task.element, task.index), task.base)
    };
    while let Some(step) = plan.step() {
        match step {
            Step::Unchanged(task) => {
                let (at, base) = place(&plan, task);
                primed.ready.insert(at, base);
            }
            Step::Execute(task, adapted) => {
                let (at, _) = place(&plan, task);
                let directory = plan.working_directory(task).to_owned();
                let paths = &plan.base(task).expect("it is loaded").command.output_paths;
                let outputs = paths
                    .iter()
                    .map(|path| (format!("{directory}/{path}"), product(&adapted.digest, path)));
                primed.ready.insert(at, adapted.digest);
                primed.changed += 1;
                plan.done(task, outputs.collect());
            }
            Step::Ask(task, _) => {
                // Nor anybody who could say what is read.
                plan.answer(task, None);
            }
            Step::Reads(_) => {
                // There are no texts here.
                let wanted = plan.wanted();
                plan.learn(&wanted, Vec::new());
            }
            Step::Deferred(_) => {}
            Step::Skipped(task, reason) => {
                primed.skipped.insert(place(&plan, task).0, reason);
            }
        }
    }
    for (task, reason) in plan.left() {
        primed.left.insert(place(&plan, task).0, reason);
    }
    for (element, count) in plan.untouched() {
        for index in 0..*count {
            primed.ready.insert((*element, index), recorded[element].actions[index]);
        }
    }
    primed
}
