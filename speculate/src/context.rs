//! What commands share: the endpoint and the project that the command line names.

use std::io::{Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use forerunner_reapi::{
    ClientIdentity, Config, Connection, Credentials, Endpoint, Remote, Security, Tool,
};
use speculate::{Element, Error, Graph, Project, Tree};
use tokio::signal::unix::{SignalKind, signal};

use crate::casd::Casd;
use crate::options::{EndpointArgs, GraphArgs, SecurityArgs};

/// A command line or environment that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// The configuration of the endpoint.
pub(crate) fn config(args: &EndpointArgs) -> Result<Config> {
    let tool = Tool {
        name: "speculate".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        invocation: format!("speculate-{}", std::process::id()),
        correlated: String::new(),
    };
    let program = std::env::current_exe().ok();
    let get = |name: &str| std::env::var_os(name);
    let mut config = Config::from_environment(&get, program.as_deref(), args.digest_function, tool)
        .map_err(|error| Usage(error.to_string()))?;
    let connection = |url: &str| {
        let mut connection = Connection::new(url);
        connection.instance.clone_from(&args.instance);
        connection.security = security(&args.security);
        connection
    };
    match &args.remote {
        Some(url) => {
            let mut remote = Remote::all(connection(url));
            if let Some(url) = &args.ac_remote {
                remote.action_cache = connection(url);
            }
            if let Some(url) = &args.exec_remote {
                remote.execution = connection(url);
            }
            config.remote = Some(remote);
        }
        None if args.ac_remote.is_some() || args.exec_remote.is_some() => {
            return Err(Usage("--ac-remote and --exec-remote need --remote".to_owned()).into());
        }
        None => {}
    }
    Ok(config)
}

fn security(args: &SecurityArgs) -> Security {
    let identity = args.client_key.clone().zip(args.client_cert.clone());
    let reload = Some(args.token_reload_interval);
    let token = args.access_token.clone().map(|file| Credentials::Token { file, reload });
    Security {
        server_certificates: args.server_cert.clone(),
        identity: identity.map(|(key, certificates)| ClientIdentity { key, certificates }),
        credentials: token.or_else(|| args.credential_helper.clone().map(Credentials::Helper)),
    }
}

/// An open endpoint, and what keeps it alive.
pub(crate) struct Opened {
    /// How it was opened.
    pub(crate) config: Config,
    endpoint: Endpoint,
    _casd: Option<Casd>,
}

impl Deref for Opened {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// Opens the endpoint.
pub(crate) fn endpoint(args: &EndpointArgs) -> Result<Opened> {
    let mut args = args.clone();
    let mut config = config(&args)?;
    let mut casd = None;
    if let Some(cache) = &args.casd_cache {
        let local = &config.local;
        let (runner, arguments) = (&local.runner, &args.casd_runner_args);
        let started = Casd::start(&args.casd, cache, runner, arguments, local.jobs())?;
        args.remote = Some(started.url().to_owned());
        config = self::config(&args)?;
        casd = Some(started);
    }
    let endpoint = Endpoint::open(&config)?;
    Ok(Opened { config, endpoint, _casd: casd })
}

/// The graph that the command line names, and the folder that relative paths in it refer to.
pub(crate) fn graph(args: &GraphArgs) -> Result<(Graph, PathBuf)> {
    if let Some(file) = &args.graph {
        let text = if file == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            text
        } else {
            std::fs::read_to_string(file).map_err(|error| {
                Usage(format!("the element graph `{}`: {error}", file.display()))
            })?
        };
        let graph =
            Graph::parse(&text).map_err(|error| Error::Graph { file: file.clone(), error })?;
        let base = file.parent().unwrap_or(Path::new("")).to_owned();
        return Ok((graph, base));
    }
    let name = args.element.clone().unwrap_or_default();
    let sources = args.sources.clone().map(Tree::Path);
    Ok((Graph::single(Element { name, sources, ..Element::default() }), PathBuf::new()))
}

/// Opens the endpoint and the project.
pub(crate) async fn project(
    endpoint: &EndpointArgs,
    args: &GraphArgs,
) -> Result<(Opened, Project)> {
    let (graph, base) = graph(args)?;
    let endpoint = self::endpoint(endpoint)?;
    let project = Project::open(&endpoint, graph, &base).await?;
    Ok((endpoint, project))
}

/// Seconds since 1970, UTC.
pub(crate) fn now_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Ready when SIGINT or SIGTERM arrives; answers with its number.
pub(crate) async fn stopped() -> u8 {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the process as they always do.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => 2,
        _ = terminate.recv() => 15,
    }
}

/// Writes to standard output. A reader that is gone is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        security: SecurityArgs,
    }

    /// As `buildbox-run --speculate` passes on what it was told itself.
    #[test]
    fn a_runner_that_starts_us_is_understood() {
        let token = |minutes: u64| Credentials::Token {
            file: "t".into(),
            reload: Some(std::time::Duration::from_secs(minutes * 60)),
        };
        let identity = ClientIdentity { key: "k".into(), certificates: "c".into() };
        let told = |identity, credentials| Security {
            server_certificates: Some("s".into()),
            identity,
            credentials: Some(credentials),
        };
        for told in [
            told(Some(identity), token(3)),
            told(None, token(0)),
            told(None, Credentials::Helper("h".into())),
        ] {
            let line = Line::try_parse_from([vec!["x".into()], told.arguments()].concat());
            assert_eq!(security(&line.expect("options").security), told);
        }
        let line = Line::try_parse_from(["x", "--access-token=t"]).expect("options");
        assert_eq!(security(&line.security).credentials, Some(token(10)));
    }
}
