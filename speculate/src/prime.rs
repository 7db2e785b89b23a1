//! Executing adapted actions before the build asks for them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use forerunner_merkle::Digest;
use forerunner_proto::{Message, reapi};
use forerunner_reapi::{Content, Endpoint, ExecuteOptions};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::instantiate::Adapted;
use crate::limit::Limit;
use crate::load;
use crate::plan::{Plan, Step};
use crate::reason::Reason;
use crate::reshape::Missed;
use crate::summary::{Event, Summary};

/// An execution that is still in the queue after this time says that the endpoint is loaded.
const QUEUED_LONG: Duration = Duration::from_secs(2);

/// So many calls in a row that fail for want of the endpoint end priming.
const FAILURES_IN_A_ROW: usize = 5;

/// Something that happened, for progress and traces.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The task in the plan.
    pub task: usize,
    /// The action that the build will ask for, if that is known.
    pub action: Option<Digest>,
    /// When it began, for what took time.
    pub begun: Option<Instant>,
    /// What became of it.
    pub event: Event,
}

/// What is known of an element while priming runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It was built: what it installs, by its index in the graph.
    Artifact(usize, Digest),
    /// Its build asks for this action itself: priming it would be in vain.
    Asked(Digest),
}

struct Finished {
    task: usize,
    begun: Instant,
    queued: bool,
    outcome: Result<reapi::ActionResult, Reason>,
}

/// Primes everything in `plan`. Ends when all is done and `news` is closed, or when `stop` is
/// ready: then executions under way are cancelled.
///
/// # Errors
/// If the endpoint does not take uploads. What concerns one action is told through `notify`.
pub async fn prime(
    endpoint: &Endpoint,
    plan: &mut Plan<'_>,
    mut limit: Limit,
    mut news: Option<mpsc::Receiver<News>>,
    stop: impl Future<Output = ()>,
    notify: &mut dyn FnMut(&Plan<'_>, &Notice),
) -> Result<Summary, Error> {
    let mut stop = pin!(stop);
    let priority = endpoint.capabilities().await?.lowest_priority;
    let mut state = Prime {
        endpoint,
        options: ExecuteOptions { priority, ..ExecuteOptions::default() },
        summary: Summary::default(),
        queue: VecDeque::new(),
        running: JoinSet::new(),
        tasks: HashMap::new(),
        asking: HashSet::new(),
        asked: HashSet::new(),
        failures: 0,
    };
    for (element, actions) in plan.untouched().to_vec() {
        state.summary.untouched(plan.element_name(element), actions);
    }
    loop {
        state.advance(plan, notify).await?;
        state.start(limit.get());
        if state.running.is_empty() && state.queue.is_empty() && news.is_none() {
            break;
        }
        tokio::select! {
            () = &mut stop => {
                state.cancel(plan, notify);
                return Ok(state.ended(plan));
            }
            Some(finished) = state.running.join_next(), if !state.running.is_empty() => {
                // An aborted task is one that the build asked for itself.
                let Ok(finished) = finished else { continue };
                match finished.queued {
                    true => limit.queued(),
                    false => limit.free(),
                }
                state.finish(plan, finished, notify).await?;
                if state.failures >= FAILURES_IN_A_ROW {
                    state.cancel(plan, notify);
                    return Ok(state.ended(plan));
                }
            }
            message = receive(&mut news), if news.is_some() => match message {
                None => news = None,
                Some(News::Artifact(element, root)) => {
                    load::trees(endpoint, plan.forest_mut(), &[root]).await?;
                    plan.artifact(element, root);
                }
                Some(News::Asked(action)) => state.give_way(plan, action, notify),
            },
        }
    }
    for (task, reason) in plan.left() {
        state.tell(plan, task, None, None, Event::Skipped(reason), notify);
    }
    Ok(state.ended(plan))
}

async fn receive(news: &mut Option<mpsc::Receiver<News>>) -> Option<News> {
    match news {
        Some(receiver) => receiver.recv().await,
        None => None,
    }
}

struct Prime<'a> {
    endpoint: &'a Endpoint,
    options: ExecuteOptions,
    summary: Summary,
    /// Uploaded, and waiting for their turn.
    queue: VecDeque<(usize, Digest)>,
    running: JoinSet<Finished>,
    /// The action of each task that is under way, and how to end it.
    tasks: HashMap<usize, (Digest, tokio::task::AbortHandle)>,
    /// The tasks of which a question is queued or under way.
    asking: HashSet<usize>,
    /// What the build asked for itself so far.
    asked: HashSet<Digest>,
    failures: usize,
}

impl Prime<'_> {
    /// Adapts what can be adapted; looks up the results, and uploads what has none.
    async fn advance(
        &mut self,
        plan: &mut Plan<'_>,
        notify: &mut dyn FnMut(&Plan<'_>, &Notice),
    ) -> Result<(), Error> {
        loop {
            let mut adapted: Vec<(usize, Box<Adapted>)> = Vec::new();
            let mut questions: Vec<(usize, Box<Adapted>)> = Vec::new();
            let mut any = false;
            loop {
                while let Some(step) = plan.step() {
                    any = true;
                    match step {
                        Step::Unchanged(task) => {
                            let base = plan.tasks().get(task).map(|task| task.base);
                            self.tell(plan, task, base, None, Event::Unchanged, notify);
                        }
                        Step::Skipped(task, reason) => {
                            self.tell(plan, task, None, None, Event::Skipped(reason), notify);
                        }
                        Step::Deferred(_) | Step::Reads(_) => {}
                        Step::Execute(task, action) => adapted.push((task, action)),
                        Step::Ask(task, question) => questions.push((task, question)),
                    }
                }
                if !load::texts(self.endpoint, plan).await? {
                    break;
                }
            }
            if !any {
                return Ok(());
            }
            self.ask(plan, questions).await?;
            self.take_up(plan, adapted, notify).await?;
        }
    }

    /// Queues questions, but for those whose answer is there already.
    async fn ask(
        &mut self,
        plan: &mut Plan<'_>,
        questions: Vec<(usize, Box<Adapted>)>,
    ) -> Result<(), Error> {
        let digests: Vec<Digest> = questions.iter().map(|(_, question)| question.digest).collect();
        let results = load::results(self.endpoint, &digests).await?;
        let mut blobs = made(plan);
        for (task, question) in questions {
            if let Some(result) = results.get(&question.digest) {
                plan.answer(task, load::answer(self.endpoint, result).await?.as_deref());
                continue;
            }
            self.asking.insert(task);
            self.queue.push_back((task, question.digest));
            blobs.extend(question.blobs());
        }
        Ok(self.endpoint.upload(blobs).await?)
    }

    /// Looks up the results of adapted actions, and uploads and queues what has none.
    async fn take_up(
        &mut self,
        plan: &mut Plan<'_>,
        adapted: Vec<(usize, Box<Adapted>)>,
        notify: &mut dyn FnMut(&Plan<'_>, &Notice),
    ) -> Result<(), Error> {
        let digests: Vec<Digest> = adapted.iter().map(|(_, action)| action.digest).collect();
        let results = load::results(self.endpoint, &digests).await?;
        let mut blobs = made(plan);
        for (task, action) in adapted {
            if let Some(result) = results.get(&action.digest) {
                if result.exit_code != 0 {
                    let message = "so says the cached result".to_owned();
                    let reason = Reason::Failed { exit_code: result.exit_code, message };
                    plan.skip(task);
                    let event = Event::Skipped(reason);
                    self.tell(plan, task, Some(action.digest), None, event, notify);
                    continue;
                }
                self.tell(plan, task, Some(action.digest), None, Event::Cached, notify);
                self.hand_over(plan, task, result).await?;
                continue;
            }
            if self.asked.contains(&action.digest) {
                plan.skip(task);
                let event = Event::Skipped(Reason::Cancelled);
                self.tell(plan, task, Some(action.digest), None, event, notify);
                continue;
            }
            self.queue.push_back((task, action.digest));
            blobs.extend(action.blobs());
        }
        Ok(self.endpoint.upload(blobs).await?)
    }

    fn start(&mut self, limit: usize) {
        while self.running.len() < limit
            && let Some((task, action)) = self.queue.pop_front()
        {
            let (endpoint, options) = (self.endpoint.clone(), self.options.clone());
            let handle = self.running.spawn(async move {
                let begun = Instant::now();
                let (queued, outcome) = execute(&endpoint, &action, &options).await;
                Finished { task, begun, queued, outcome }
            });
            self.tasks.insert(task, (action, handle));
        }
    }

    async fn finish(
        &mut self,
        plan: &mut Plan<'_>,
        finished: Finished,
        notify: &mut dyn FnMut(&Plan<'_>, &Notice),
    ) -> Result<(), Error> {
        let Finished { task, begun, outcome, .. } = finished;
        let action = self.tasks.remove(&task).map(|(action, _)| action);
        if self.asking.remove(&task) {
            let answer = match &outcome {
                Ok(result) => load::answer(self.endpoint, result).await?,
                Err(_) => None,
            };
            match outcome {
                Err(Reason::Endpoint { .. }) => self.failures += 1,
                _ => self.failures = 0,
            }
            self.tell(plan, task, action, Some(begun), Event::Tried(begun.elapsed()), notify);
            plan.answer(task, answer.as_deref());
            return Ok(());
        }
        if let Err(Reason::ShapeChanged { message }) = &outcome
            && let Some(missed) = Missed::parse(message)
            && let Some(adapted) = plan.again(task, &missed)
        {
            self.failures = 0;
            let event = Event::Tried(begun.elapsed());
            self.tell(plan, task, action, Some(begun), event, notify);
            return self.take_up(plan, vec![(task, Box::new(adapted))], notify).await;
        }
        match outcome {
            Ok(result) => {
                self.failures = 0;
                self.hand_over(plan, task, &result).await?;
                let event = Event::Executed(begun.elapsed());
                self.tell(plan, task, action, Some(begun), event, notify);
            }
            Err(reason) => {
                match reason {
                    Reason::Endpoint { .. } => self.failures += 1,
                    _ => self.failures = 0,
                }
                plan.skip(task);
                self.tell(plan, task, action, Some(begun), Event::Skipped(reason), notify);
            }
        }
        Ok(())
    }

    async fn hand_over(
        &self,
        plan: &mut Plan<'_>,
        task: usize,
        result: &reapi::ActionResult,
    ) -> Result<(), Error> {
        let directory = plan.working_directory(task).to_owned();
        let forest = plan.forest_mut();
        let files = load::outputs_of(self.endpoint, &directory, result, forest).await?;
        plan.done(task, files.into_iter().collect());
        Ok(())
    }

    /// The build asks for an action, which is the build's now: whether it is under way or queued, or
    /// not adapted yet.
    fn give_way(
        &mut self,
        plan: &mut Plan<'_>,
        action: Digest,
        notify: &mut dyn FnMut(&Plan<'_>, &Notice),
    ) {
        self.asked.insert(action);
        let queued = self.queue.iter().position(|(_, other)| *other == action);
        let running = self.tasks.iter().find(|(_, (other, _))| *other == action).map(|(t, _)| *t);
        let task = match (queued, running) {
            (Some(index), _) => self.queue.remove(index).map(|(task, _)| task),
            (None, Some(task)) => {
                if let Some((_, handle)) = self.tasks.remove(&task) {
                    handle.abort();
                }
                Some(task)
            }
            (None, None) => None,
        };
        if let Some(task) = task {
            plan.skip(task);
            let event = Event::Skipped(Reason::Cancelled);
            self.tell(plan, task, Some(action), None, event, notify);
        }
    }

    /// Ends everything: executions under way are dropped, which cancels them.
    fn cancel(&mut self, plan: &Plan<'_>, notify: &mut dyn FnMut(&Plan<'_>, &Notice)) {
        self.summary.cancelled = true;
        self.running.abort_all();
        let tasks: Vec<(usize, Digest)> = self
            .tasks
            .drain()
            .map(|(task, (action, _))| (task, action))
            .chain(self.queue.drain(..))
            .collect();
        for (task, action) in tasks {
            let event = Event::Skipped(Reason::Cancelled);
            self.tell(plan, task, Some(action), None, event, notify);
        }
        for (task, _) in plan.left() {
            self.tell(plan, task, None, None, Event::Skipped(Reason::Cancelled), notify);
        }
    }

    fn ended(self, plan: &Plan<'_>) -> Summary {
        let (macro_questions, macro_answers) = plan.doubts();
        Summary { macro_questions, macro_answers, ..self.summary }
    }

    fn tell(
        &mut self,
        plan: &Plan<'_>,
        task: usize,
        action: Option<Digest>,
        begun: Option<Instant>,
        event: Event,
        notify: &mut dyn FnMut(&Plan<'_>, &Notice),
    ) {
        let element = plan.tasks().get(task).map_or(0, |task| task.element);
        self.summary.count(plan.element_name(element), &event);
        notify(plan, &Notice { task, action, begun, event });
    }
}

/// The directories that were made since the last call.
fn made(plan: &mut Plan<'_>) -> Vec<(Digest, Content)> {
    let made = plan.take_made().into_iter();
    made.map(|(digest, bytes)| (digest, Content::Bytes(bytes))).collect()
}

/// Executes one action; answers also whether it had to queue.
async fn execute(
    endpoint: &Endpoint,
    action: &Digest,
    options: &ExecuteOptions,
) -> (bool, Result<reapi::ActionResult, Reason>) {
    let refused = |error: forerunner_reapi::Error| Reason::Endpoint { message: error.to_string() };
    let mut execution = match endpoint.execute(action, options) {
        Ok(execution) => execution,
        Err(error) => return (false, Err(refused(error))),
    };
    let begun = Instant::now();
    let mut queued = false;
    loop {
        let operation = match execution.next().await {
            Ok(Some(operation)) => operation,
            Ok(None) => {
                let message = format!("the execution of {action} ended without a result");
                return (queued, Err(Reason::Endpoint { message }));
            }
            Err(error) if precondition(&error) => return (queued, Err(Reason::InputMissing)),
            Err(error) => return (queued, Err(refused(error))),
        };
        if !operation.done {
            let stage = operation
                .metadata
                .as_ref()
                .and_then(|any| reapi::ExecuteOperationMetadata::decode(any.value.as_slice()).ok());
            let executing = reapi::execution_stage::Value::Executing as i32;
            let now = stage.is_some_and(|metadata| metadata.stage == executing);
            queued |= now && begun.elapsed() > QUEUED_LONG;
            continue;
        }
        return (queued, judge(endpoint, &operation).await);
    }
}

fn precondition(error: &forerunner_reapi::Error) -> bool {
    // gRPC's FAILED_PRECONDITION: an input is missing (REAPI, Execute).
    error.to_status().code() as i32 == FAILED_PRECONDITION
}

/// gRPC's number for it.
const FAILED_PRECONDITION: i32 = 9;

async fn judge(
    endpoint: &Endpoint,
    operation: &forerunner_proto::longrunning::Operation,
) -> Result<reapi::ActionResult, Reason> {
    use forerunner_proto::longrunning::operation::Result as Done;
    let refused = |message: String| Reason::Endpoint { message };
    let response = match &operation.result {
        Some(Done::Response(any)) => reapi::ExecuteResponse::decode(any.value.as_slice())
            .map_err(|error| refused(format!("a malformed ExecuteResponse: {error}")))?,
        Some(Done::Error(status)) if status.code == FAILED_PRECONDITION => {
            return Err(Reason::InputMissing);
        }
        Some(Done::Error(status)) => return Err(refused(status.message.clone())),
        None => return Err(refused("an execution without a result".to_owned())),
    };
    match response.status {
        Some(status) if status.code == FAILED_PRECONDITION => return Err(Reason::InputMissing),
        Some(status) if status.code != 0 => return Err(refused(status.message)),
        _ => {}
    }
    let Some(result) = response.result else {
        return Err(refused("an ExecuteResponse without a result".to_owned()));
    };
    match result.exit_code {
        0 => Ok(result),
        exit_code => {
            let stderr = stderr(endpoint, &result).await;
            let stderr = String::from_utf8_lossy(&stderr);
            Err(match wants_a_file(&stderr) {
                Some(line) => Reason::ShapeChanged { message: line.to_owned() },
                None => {
                    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
                    Reason::Failed { exit_code, message: last.unwrap_or_default().to_owned() }
                }
            })
        }
    }
}

async fn stderr(endpoint: &Endpoint, result: &reapi::ActionResult) -> Vec<u8> {
    if !result.stderr_raw.is_empty() {
        return result.stderr_raw.clone();
    }
    match Digest::required(result.stderr_digest.as_ref()) {
        // What cannot be read cannot tell; the exit code does.
        Ok(digest) => endpoint.get(&digest).await.map(|bytes| bytes.to_vec()).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// The line in which a compiler or linker says that it misses a file: gcc, clang, and ld in turn.
fn wants_a_file(stderr: &str) -> Option<&str> {
    let said = |line: &str| {
        ["No such file or directory", "file not found", "cannot find"]
            .iter()
            .any(|message| line.contains(message))
    };
    stderr.lines().find(|line| said(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_include_is_recognised() {
        let gcc = "In file included from b.h:1:\na.c:1:10: fatal error: new.h: No such file or directory\n";
        assert!(wants_a_file(gcc).is_some_and(|line| line.starts_with("a.c:1:10")));
        assert!(wants_a_file("a.c:1:10: fatal error: 'new.h' file not found\n").is_some());
        assert_eq!(wants_a_file("a.c:3:1: error: expected expression\n"), None);
    }
}
