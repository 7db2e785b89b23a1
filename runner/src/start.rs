//! From the command line to a run, and from its end to an exit status.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use forerunner_gateway::Recorder;
use forerunner_reapi::{Config, Endpoint, Remote, Tool};
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::report::write_status;
use crate::run::Run;
use crate::settings::Settings;

/// What we can do, as the reference says it.
const CAPABILITIES: &str = "\
no-logs-capture
bind-mount
platform:OSFamily=linux
platform:ISA=x86-32
platform:ISA=x86-64
platform:unixUID
platform:unixGID
platform:capability
platform:remoteApisSocketPath
";

/// The whole program.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    if cli.capabilities {
        print!("{CAPABILITIES}");
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::new(&cli) {
        Ok(settings) => Settings { speculate: speculate(&cli), ..settings },
        Err(why) => {
            eprintln!("buildbox-run: {why}; see `buildbox-run --help`");
            return ExitCode::FAILURE;
        }
    };
    if cli.validate_parameters {
        eprintln!(
            "Asked to only validate the CLI parameters (--validate-parameters) and the check \
             succeeded: exiting 0."
        );
        return ExitCode::SUCCESS;
    }
    if let Err(why) = end_with_parent() {
        eprintln!("buildbox-run: {why}");
        return ExitCode::FAILURE;
    }
    let level = if cli.verbose { cli.log_level.max(tracing::Level::DEBUG) } else { cli.log_level };
    if let Err(error) = crate::log::start(level, settings.log_directory.as_deref()) {
        eprintln!("buildbox-run: cannot write the log: {error}");
        return ExitCode::FAILURE;
    }
    for option in cli.without_effect() {
        tracing::info!("`{option}` has no effect on this runner");
    }
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            write_status(settings.action_result.as_deref(), &failure);
            ExitCode::from(failure.exit_status())
        }
    }
}

fn run(settings: &Settings) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::file("start", std::path::Path::new("the runtime")))?;
    let result = runtime.block_on(async {
        let interrupt = watch_signals()?;
        let config = config(settings)?;
        let endpoint = Endpoint::open(&config)?;
        let temporary = settings.workspace.clone().unwrap_or_else(std::env::temp_dir);
        let recorder = Recorder::new();
        let run =
            Run { settings, config: &config, endpoint: &endpoint, temporary, interrupt, recorder };
        run.run().await
    });
    // A capture that nobody wants any more shall not keep us.
    runtime.shutdown_background();
    result
}

fn speculate(cli: &Cli) -> Option<std::path::PathBuf> {
    let variable = std::env::var_os("FORERUNNER_SPECULATE");
    let ourselves = std::env::current_exe().ok();
    crate::speculation::program(cli.speculate.as_deref(), variable, ourselves.as_deref())
}

/// Ends us when the process ends that started us for itself, as `FORERUNNER_PARENT` says. Whatever
/// is between the two, a script perhaps, has to see to that itself.
fn end_with_parent() -> Result<(), String> {
    let variable = std::env::var("FORERUNNER_PARENT").ok();
    let Some(number) = variable.and_then(|text| text.parse().ok()) else { return Ok(()) };
    let parent = nix::unistd::Pid::from_raw(number);
    let is_ours = || nix::unistd::getppid() == parent;
    if is_ours() {
        nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)
            .map_err(|error| format!("cannot end with process {parent}: {error}"))?;
    }
    let gone = nix::sys::signal::kill(parent, None) == Err(nix::errno::Errno::ESRCH);
    if gone && !is_ours() {
        return Err(format!("process {parent}, which wanted a result, has ended"));
    }
    Ok(())
}

fn config(settings: &Settings) -> Result<Config, Failure> {
    let tool = Tool {
        name: "buildbox-run".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        invocation: String::new(),
        correlated: String::new(),
    };
    let program = std::env::current_exe().ok();
    let get = |name: &str| match (name, &settings.connection) {
        // With a server, no store is opened; this keeps a missing home from being an error.
        ("HOME", Some(_)) => std::env::var_os("HOME").or_else(|| Some("/".into())),
        _ => std::env::var_os(name),
    };
    let mut config = Config::from_environment(&get, program.as_deref(), settings.function, tool)
        .map_err(|error| Failure::Malformed {
            what: "the environment".to_owned(),
            why: error.to_string(),
        })?;
    config.remote = settings.connection.clone().map(Remote::all);
    Ok(config)
}

/// Turns SIGINT and SIGTERM into a value that everybody can watch.
fn watch_signals() -> Result<watch::Receiver<Option<Signal>>, Failure> {
    let failed = |error| Failure::file("watch", std::path::Path::new("signals"))(error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let caught = tokio::select! {
            _ = interrupt.recv() => Signal::SIGINT,
            _ = terminate.recv() => Signal::SIGTERM,
        };
        let _ = sender.send(Some(caught));
        // Kept, so that watchers can still read it.
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}
