//! `speculate instantiate`: a dry run.

use std::collections::HashMap;
use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use forerunner_merkle::Digest;
use serde_json::json;
use speculate::plan::touched;
use speculate::{Mode, Plan, Reason, Step, Today, load};

use crate::context::project;
use crate::options::{EndpointArgs, GraphArgs};

/// What is written of one task.
struct Line {
    state: &'static str,
    action: Option<Digest>,
    reason: Option<String>,
}

/// Writes one JSON line per action; executes nothing.
pub(crate) async fn run(
    endpoint: &EndpointArgs,
    graph: &GraphArgs,
    mode: Mode,
) -> Result<ExitCode> {
    let (endpoint, mut project) = project(endpoint, graph).await?;
    let recorded = project.recorded(&endpoint).await?;
    let today = Today::new(&project.graph);
    let touched = touched(&project.graph, &today, &recorded);
    project.load_for(&endpoint, &touched, &recorded).await?;
    let all = project.all_actions(&recorded);
    let (graph, loaded) = (&project.graph, &mut project.loaded);
    let mut plan = Plan::new(graph, today, &recorded, &touched, loaded, mode);
    let mut lines: Vec<Option<Line>> = plan.tasks().iter().map(|_| None).collect();
    loop {
        let mut changed = Vec::new();
        let mut any = false;
        let mut asked = Vec::new();
        while let Some(step) = plan.step() {
            let (task, state, action, reason) = match step {
                Step::Ask(task, question) => {
                    asked.push((task, question.digest));
                    continue;
                }
                Step::Unchanged(task) => (task, "unchanged", None, None),
                Step::Deferred(task) => (task, "deferred", None, None),
                Step::Reads(_) => continue,
                Step::Skipped(task, reason) => (task, "skipped", None, Some(reason.to_string())),
                Step::Execute(task, adapted) => {
                    changed.push((task, adapted.digest));
                    (task, "changed", Some(adapted.digest), None)
                }
            };
            lines[task] = Some(Line { state, action, reason });
        }
        // What waits for texts goes on with them, whatever else changed.
        any |= load::texts(&endpoint, &mut plan).await?;
        // Nobody is asked, but what was answered already is known.
        let digests: Vec<Digest> = asked.iter().map(|(_, digest)| *digest).collect();
        let results = load::results(&endpoint, &digests).await?;
        for (task, digest) in asked {
            let answer = match results.get(&digest) {
                Some(result) => load::answer(&endpoint, result).await?,
                None => None,
            };
            plan.answer(task, answer.as_deref());
            any = true;
        }
        // What was primed already lets others be resolved.
        let digests: Vec<Digest> = changed.iter().map(|(_, digest)| *digest).collect();
        let results = load::results(&endpoint, &digests).await?;
        for (task, digest) in changed {
            if let Some(result) = results.get(&digest) {
                let directory = plan.working_directory(task).to_owned();
                let forest = plan.forest_mut();
                let files = load::outputs_of(&endpoint, &directory, result, forest).await?;
                plan.done(task, files.into_iter().collect());
                any = true;
            }
        }
        if !any {
            break;
        }
    }
    for (task, reason) in plan.left() {
        let reason = match reason {
            Reason::ProducerSkipped { producer } => {
                format!(
                    "producer-pending: action {producer}, which makes an input, has no result yet"
                )
            }
            other => other.to_string(),
        };
        lines[task] = Some(Line { state: "deferred", action: None, reason: Some(reason) });
    }
    let places: HashMap<(usize, usize), usize> = plan
        .tasks()
        .iter()
        .enumerate()
        .map(|(number, task)| ((task.element, task.index), number))
        .collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for (index, base, element) in all {
        let task = places.get(&(element, index)).copied();
        let line = task.and_then(|task| lines[task].as_ref());
        let (state, action, reason) = match line {
            None => ("unchanged", Some(base), None),
            Some(line) => (line.state, line.action, line.reason.clone()),
        };
        let action = if state == "unchanged" { Some(base) } else { action };
        let line = json!({
            "element": plan.element_name(element),
            "base": base.to_string(),
            "action": action.map(|digest| digest.to_string()),
            "state": state,
            "reason": reason,
        });
        match writeln!(out, "{line}") {
            // A reader that is gone is no error.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            other => other.context("standard output")?,
        }
    }
    match out.flush() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
