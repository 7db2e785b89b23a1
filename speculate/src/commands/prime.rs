//! `speculate prime`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use forerunner_merkle::Digest;
use forerunner_proto::reapi;
use prost::Message;
use speculate::limit::Limit;
use speculate::plan::touched;
use speculate::prime::{News, prime};
use speculate::{Element, Graph, Mode, Plan, Project, Today, Tree};
use tokio::sync::mpsc;

use crate::commands::follow;
use crate::commands::progress::Progress;
use crate::context::{Usage, endpoint, project, stopped};
use crate::options::{EndpointArgs, GraphArgs};

/// The options of `speculate prime`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    graph: GraphArgs,
    /// With --element: the element's own action, whose input root takes the place of its sources.
    #[arg(long, value_name = "FILE", requires = "element", conflicts_with = "sources")]
    action: Option<PathBuf>,
    /// Overlays that count: none, prime-only, source-artifact, intra-element or full.
    #[arg(long, default_value = "full")]
    mode: Mode,
    /// Read JSON lines on standard input: {"element": NAME, "artifact": DIGEST} when an element was
    /// built, {"asked": DIGEST} when a build asks for an action itself. Ends when it is closed.
    #[arg(long)]
    follow: bool,
    /// How much of the endpoint's capacity may be taken, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    max_share: f64,
    /// The endpoint's capacity in actions at once; default: $FORERUNNER_JOBS, else the processors here.
    #[arg(long, value_name = "N")]
    capacity: Option<usize>,
    /// The counts as JSON on standard output.
    #[arg(long)]
    json: bool,
    /// Write no progress, only the table at the end; with --json not even that.
    #[arg(long, short)]
    quiet: bool,
    /// Write what happened when, in Chrome's trace format.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("it must be from 0 to 1".to_owned()) }
}

/// Primes what the command line names.
pub(crate) async fn run(args: &EndpointArgs, options: &Options) -> Result<ExitCode> {
    let (endpoint, mut project, recorded) = match &options.action {
        Some(file) => {
            let endpoint = endpoint(args)?;
            let root = input_root(file)?;
            let name = options.graph.element.clone().unwrap_or_default();
            let sources = Some(Tree::Digest(root));
            let graph = Graph::single(Element { name, sources, ..Element::default() });
            let mut project = Project::open(&endpoint, graph, std::path::Path::new("")).await?;
            let recorded = project.recorded_from_input_root(&endpoint).await?;
            (endpoint, project, recorded)
        }
        None => {
            let (endpoint, mut project) = project(args, &options.graph).await?;
            let recorded = project.recorded(&endpoint).await?;
            (endpoint, project, recorded)
        }
    };
    if recorded.is_empty() && !options.quiet {
        eprintln!("speculate: nothing was recorded of these elements: run `speculate generate`");
    }
    if !endpoint.capabilities().await?.execution_enabled {
        return Err(Usage(
            "the server executes nothing: name one that does with `--exec-remote=URL`, or execute \
             on this machine with `--exec-remote=local:`"
                .to_owned(),
        )
        .into());
    }
    let today = Today::new(&project.graph);
    let touched = touched(&project.graph, &today, &recorded);
    project.load_for(&endpoint, &touched, &recorded).await?;
    // What was uploaded stays until it was executed.
    let _hold = endpoint.store().and_then(|store| store.hold().ok());
    let (graph, loaded) = (&project.graph, &mut project.loaded);
    let mut plan = Plan::new(graph, today, &recorded, &touched, loaded, options.mode);
    let limit =
        Limit::new(options.capacity.unwrap_or(endpoint.config.local.jobs()), options.max_share);
    let news: Option<mpsc::Receiver<News>> = options.follow.then(|| follow::stdin(graph));
    let mut progress = Progress::new(plan.tasks().len(), options.quiet, options.trace.is_some());
    let mut signal = 0;
    let stop = async { signal = stopped().await };
    let mut notify = |plan: &Plan<'_>, notice: &speculate::prime::Notice| {
        progress.tell(plan, notice);
    };
    let result = prime(&endpoint, &mut plan, limit, news, stop, &mut notify).await;
    let trace = progress.finish();
    let summary = result?;
    if let (Some(file), Some(trace)) = (&options.trace, trace) {
        std::fs::write(file, trace).with_context(|| format!("`{}`", file.display()))?;
    }
    if options.json {
        crate::context::print(&crate::commands::progress::json(&summary))?;
    } else {
        eprint!("{}", crate::commands::progress::table(&summary));
    }
    Ok(match signal {
        0 => ExitCode::SUCCESS,
        number => ExitCode::from(128 + number),
    })
}

/// The input root of the encoded Action in a file.
fn input_root(file: &std::path::Path) -> Result<Digest> {
    let bytes = std::fs::read(file).with_context(|| format!("`{}`", file.display()))?;
    let action = reapi::Action::decode(bytes.as_slice())
        .map_err(|error| Usage(format!("`{}` is no Action: {error}", file.display())))?;
    Digest::required(action.input_root_digest.as_ref())
        .with_context(|| format!("the input root of the action in `{}`", file.display()))
}
