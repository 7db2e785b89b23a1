//! `speculate record -- COMMAND`: the socket for a build outside a sandbox.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use forerunner_gateway::{Gateway, Policy, Recorder};
use forerunner_merkle::Forest;
use forerunner_reapi::{Record, record};
use speculate::load;

use crate::context::{endpoint, now_seconds};
use crate::options::EndpointArgs;

/// What the wrappers are told, unless the user told them something else: every action goes through
/// the socket, commands run here and now, and what they read is uploaded, so that they can be
/// executed elsewhere later. A boolean of recc is true if it is not empty.
const WRAPPER_SETTINGS: [(&str, &str); 8] = [
    ("RECC_CACHE_ONLY", "1"),
    ("RECC_CACHE_UPLOAD_LOCAL_BUILD", "1"),
    ("RECC_LINK", "1"),
    // The input root mirrors the file system, so that the action means the same in a sandbox.
    ("RECC_DEPS_GLOBAL_PATHS", "1"),
    ("RECC_NO_PATH_REWRITE", "1"),
    // The toolchain is no input of the actions; its identity goes into their salt instead.
    ("FORERUNNER_TOOLCHAIN_SALT", "1"),
    // What changed macros make a compile read, is looked up, too.
    ("FORERUNNER_PRIMED", "1"),
    // Some servers keep results of failures, also of those for want of something where they execute.
    ("RECC_IGNORE_FAILURE_RESULT", "1"),
];

/// Runs `command` with a socket in front of the endpoint, and writes the element record.
pub(crate) async fn run(
    args: &EndpointArgs,
    element: &str,
    sources: Option<&Path>,
    command: &[OsString],
) -> Result<ExitCode> {
    let endpoint = endpoint(args)?;
    // What the build uses stays until the record keeps it. A store that cannot be written to evicts
    // nothing either.
    let _hold = endpoint.store().and_then(|store| store.hold().ok());
    // Before the command runs: afterwards its products lie among the sources.
    let sources = match sources {
        None => None,
        Some(path) => {
            let mut forest = Forest::new(endpoint.function());
            Some(load::capture(&endpoint, element, path, &mut forest).await?)
        }
    };
    let folder = tempfile::Builder::new().prefix("speculate-").tempdir()?;
    let socket = folder.path().join("reapi.sock");
    let recorder = Recorder::new();
    let policy = Policy { update_allowed: true };
    let gateway = Gateway::start(&socket, &endpoint.config, policy, recorder.clone())?;
    let [program, arguments @ ..] = command else {
        anyhow::bail!("there is no command");
    };
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).env("RECC_SERVER", format!("unix:{}", socket.display()));
    // Settings for other servers would lead past the socket.
    for name in ["RECC_CAS_SERVER", "RECC_ACTION_CACHE_SERVER", "RECC_INSTANCE"] {
        child.env_remove(name);
    }
    for (name, value) in WRAPPER_SETTINGS {
        if std::env::var_os(name).is_none() {
            child.env(name, value);
        }
    }
    if std::env::var_os("RECC_CAS_DIGEST_FUNCTION").is_none() {
        child.env("RECC_CAS_DIGEST_FUNCTION", args.digest_function.name());
    }
    let mut child = child
        .spawn()
        .with_context(|| format!("`{}` cannot be started", program.to_string_lossy()))?;
    let status = tokio::select! {
        status = child.wait() => status?,
        number = crate::context::stopped() => {
            // A terminal sends SIGINT to the command itself; SIGTERM reaches only us.
            if number == 15 && let Some(id) = child.id() {
                terminate(id);
            }
            child.wait().await?
        }
    };
    gateway.stop();
    let subactions = recorder.subactions();
    eprintln!("speculate: {element}: {} actions recorded", subactions.len());
    // A build that used none, for instance because nothing was to be done, says nothing new.
    if !subactions.is_empty() {
        let record = Record {
            element: element.to_owned(),
            subactions,
            sources,
            partial: !status.success(),
            written: now_seconds(),
            ..Record::default()
        };
        if let Err(error) = record::write(&endpoint, &record).await {
            eprintln!("speculate: the record of `{element}` cannot be written: {error}");
        }
    }
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn terminate(id: u32) {
    // Of the programs that every system has; a signal of our own would need unsafe code.
    let _ = std::process::Command::new("kill").arg(id.to_string()).status();
}
