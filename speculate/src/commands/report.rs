//! `speculate report`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use forerunner_reapi::record;
use speculate::report::{Trace, html};

use crate::commands::generate::write;
use crate::context::{Usage, endpoint, graph, print};
use crate::options::{EndpointArgs, GraphArgs};

/// Writes a page about what was primed, and about what the builds since asked for.
pub(crate) async fn run(
    args: &EndpointArgs,
    graph_args: &GraphArgs,
    trace: &Path,
    output: Option<&Path>,
) -> Result<ExitCode> {
    let (graph, _) = graph(graph_args)?;
    let bad = |problem: String| Usage(format!("the trace `{}`: {problem}", trace.display()));
    let text = std::fs::read_to_string(trace).map_err(|error| bad(error.to_string()))?;
    let events: Trace = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let primed = std::fs::metadata(trace).and_then(|metadata| metadata.modified()).ok();
    let primed = primed
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    let endpoint = endpoint(args)?;
    let mut asked = BTreeMap::new();
    for element in graph.elements() {
        // A record from before says nothing about what was primed since.
        if let Some(record) = record::read(&endpoint, &element.name).await?
            && record.written >= primed
        {
            asked.insert(element.name.clone(), record.subactions);
        }
    }
    let page = html(&graph, &events, &asked);
    match output {
        Some(path) => write(path, &page)?,
        None => print(&page)?,
    }
    Ok(ExitCode::SUCCESS)
}
