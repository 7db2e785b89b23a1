//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use speculate::{Error, Format, Mode};

use crate::commands;
use crate::context::Usage;
use crate::options::{EndpointArgs, GraphArgs};

/// Execute what a build will ask for, before it asks.
#[derive(Parser)]
#[command(name = "speculate", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit status: 0 done · 1 it did not work out (a difference, a verdict, a file) · 2 a bad command \
line or element graph · 3 the endpoint or its store · 130, 143 stopped by SIGINT, SIGTERM. \
`record` exits with the status of its command. Without --remote the embedded store is used \
($FORERUNNER_STORE).";

#[derive(Subcommand)]
enum Command {
    /// After a build: find out where every input of every recorded action came from.
    Generate {
        #[command(flatten)]
        graph: GraphArgs,
        /// Write the graph, with `speculative_actions` filled in, here instead of to standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// What is recorded: none, prime-only, source-artifact, intra-element or full.
        #[arg(long, default_value = "full")]
        mode: Mode,
        /// `table`, or `pr2109` for the reader of BuildStream's pull request 2109.
        #[arg(long, default_value = "table", value_parser = format)]
        format: Format,
        /// Go on in the background, with the lowest priority, and say in FILE.log how it went; needs
        /// --output.
        #[arg(long, requires = "output")]
        background: bool,
    },
    /// Say what would be primed, and why what would not; executes nothing.
    Instantiate {
        #[command(flatten)]
        graph: GraphArgs,
        /// Overlays that count: none, prime-only, source-artifact, intra-element or full.
        #[arg(long, default_value = "full")]
        mode: Mode,
    },
    /// Before or during a build: execute what it will ask for.
    Prime(commands::prime::Options),
    /// An element's recorded actions and where their inputs come from.
    Show {
        #[command(flatten)]
        graph: GraphArgs,
        /// As JSON.
        #[arg(long, conflicts_with = "dot")]
        json: bool,
        /// As a graph for `dot`.
        #[arg(long)]
        dot: bool,
    },
    /// Run a build outside a sandbox, and record the actions that it uses.
    Record {
        /// The name under which the record is found.
        #[arg(long, value_name = "NAME", default_value = "default")]
        element: String,
        /// The source tree, captured before the command starts.
        #[arg(long, value_name = "DIR")]
        sources: Option<PathBuf>,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// One HTML page: what was primed, when, what the builds since asked for, what was wasted.
    Report {
        #[command(flatten)]
        graph: GraphArgs,
        /// What `prime --trace` wrote.
        #[arg(long, value_name = "FILE")]
        trace: PathBuf,
        /// Write the page here instead of to standard output.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// The table of origins.
    #[command(subcommand)]
    Index(commands::index::Job),
    /// Make the element graph of a project.
    #[command(subcommand)]
    Import(commands::import::From),
    /// Run recorded actions again without the cache, and name those whose outputs differ.
    Verify {
        #[command(flatten)]
        graph: GraphArgs,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look after the embedded store.
    #[command(subcommand)]
    Store(commands::store::Chore),
    /// Build, change, prime and rebuild a small project, to see what it is good for.
    Demo {
        /// The result as data.
        #[arg(long)]
        json: bool,
        /// Keep the temporary directory and say where it is.
        #[arg(long)]
        keep: bool,
    },
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "table" => Ok(Format::Table),
        "pr2109" => Ok(Format::Pr2109),
        _ => Err("use `table` or `pr2109`".to_owned()),
    }
}

/// Parses the command line, runs the command, and says what went wrong.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Generate { background: true, output: Some(output), .. } = &cli.command {
        return match commands::background::detach(output) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        };
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(cli));
            // A reader of standard input that blocks must not hold up the end.
            runtime.shutdown_background();
            crate::casd::end_unused();
            result
        }
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| complain(&error))
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let endpoint = &cli.endpoint;
    match cli.command {
        Command::Generate { graph, output, mode, format, .. } => {
            commands::generate::run(endpoint, &graph, output.as_deref(), mode, format).await
        }
        Command::Instantiate { graph, mode } => {
            commands::instantiate::run(endpoint, &graph, mode).await
        }
        Command::Prime(options) => commands::prime::run(endpoint, &options).await,
        Command::Show { graph, json, dot } => {
            commands::show::run(endpoint, &graph, json, dot).await
        }
        Command::Record { element, sources, command } => {
            commands::record::run(endpoint, &element, sources.as_deref(), &command).await
        }
        Command::Verify { graph, json } => commands::verify::run(endpoint, &graph, json).await,
        Command::Report { graph, trace, html } => {
            commands::report::run(endpoint, &graph, &trace, html.as_deref()).await
        }
        Command::Index(job) => commands::index::run(endpoint, &job).await,
        Command::Import(from) => commands::import::run(endpoint, &from).await,
        Command::Store(chore) => commands::store::run(endpoint, &chore),
        Command::Demo { json, keep } => commands::demo::run(json, keep).await,
    }
}

fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("speculate: {error:#}");
    if error.downcast_ref::<Usage>().is_some() {
        return ExitCode::from(2);
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Graph { .. }) => ExitCode::from(2),
        Some(Error::Endpoint(_) | Error::Tree { .. }) => ExitCode::from(3),
        Some(_) => ExitCode::from(1),
        None if error.downcast_ref::<forerunner_reapi::Error>().is_some() => ExitCode::from(3),
        None => ExitCode::from(1),
    }
}
