//! What the options mean, as checked values.

use std::path::PathBuf;
use std::time::Duration;

use forerunner_merkle::DigestFunction;
use forerunner_reapi::{ClientIdentity, Connection, Credentials, Security};

use crate::bounds::Bounds;
use crate::cli::{Cli, Given};
use crate::mount::BindMount;
use crate::staging_mode::StagingMode;

/// Where the output of the command goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// To our own.
    Inherit,
    /// To a file of the caller.
    File(PathBuf),
    /// To a temporary file.
    Temporary,
}

/// Everything that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) action: PathBuf,
    pub(crate) action_result: Option<PathBuf>,
    pub(crate) connection: Option<Connection>,
    /// The asset service, or why it cannot be asked: few actions need it.
    pub(crate) assets: Result<Option<Connection>, String>,
    pub(crate) function: DigestFunction,
    pub(crate) local_cas: bool,
    pub(crate) workspace: Option<PathBuf>,
    pub(crate) staging: StagingMode,
    pub(crate) stdout: Log,
    pub(crate) stderr: Log,
    /// Whether output is uploaded.
    pub(crate) upload_logs: bool,
    pub(crate) statistics: bool,
    pub(crate) post_action: Option<String>,
    /// Between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
    pub(crate) metadata_file: Option<PathBuf>,
    pub(crate) nested_instance: Option<String>,
    pub(crate) nested_update: bool,
    pub(crate) bind_mounts: Vec<BindMount>,
    pub(crate) keep_tmp: bool,
    pub(crate) host_toolchain: bool,
    /// The program that executes ahead of the build, if one is wanted.
    pub(crate) speculate: Option<PathBuf>,
    pub(crate) log_directory: Option<PathBuf>,
    /// Where control groups are made, if that was said.
    pub(crate) cgroup: Option<PathBuf>,
    /// What every command may use at most.
    pub(crate) bounds: Bounds,
}

impl Settings {
    /// Checks what the options mean together.
    pub(crate) fn new(cli: &Cli) -> Result<Self, String> {
        let action = cli.action.clone().ok_or("`--action=FILE` is missing: it names the action")?;
        let connection = connection(&cli.remote.given())?;
        let assets = self::connection(&cli.asset.given())
            .map(|assets| assets.filter(|connection| !connection.url.is_empty()));
        let log = |file: &Option<PathBuf>| match file {
            // As with the reference, files are not written then.
            _ if cli.no_logs_capture => Log::Inherit,
            Some(file) => Log::File(file.clone()),
            None => Log::Temporary,
        };
        let named =
            |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
        Ok(Self {
            action,
            action_result: named(&cli.action_result),
            connection,
            assets,
            function: cli.digest_function,
            local_cas: !cli.disable_localcas,
            workspace: named(&cli.workspace_path),
            staging: cli.staging_mode,
            stdout: log(&named(&cli.stdout_file)),
            stderr: log(&named(&cli.stderr_file)),
            upload_logs: !cli.no_logs_capture,
            statistics: cli.collect_execution_stats,
            post_action: cli.post_action_command.clone().filter(|text| !text.is_empty()),
            grace: Duration::from_secs(cli.graceful_shutdown_seconds),
            metadata_file: named(&cli.partial_execution_metadata_file),
            nested_instance: cli.nested_instance.clone(),
            nested_update: cli.nested_ac_enable_update,
            bind_mounts: cli.bind_mount.iter().chain(&cli.ro_bind_mount).cloned().collect(),
            keep_tmp: cli.enable_tmp_outputs,
            host_toolchain: cli.host_toolchain,
            speculate: None,
            log_directory: named(&cli.log_directory),
            cgroup: named(&cli.cgroup),
            bounds: Bounds {
                memory_bytes: cli.memory_limit,
                processes: cli.process_limit,
                milli_cpus: cli.milli_cpu_limit,
            },
        })
    }
}

fn connection(options: &Given<'_>) -> Result<Option<Connection>, String> {
    let seconds = |seconds| (seconds > 0).then(|| Duration::from_secs(seconds));
    let Some(url) = options.remote else { return Ok(None) };
    Ok(Some(Connection {
        url: url.to_owned(),
        instance: options.instance.to_owned(),
        retry_limit: options.retry_limit,
        retry_delay: Duration::from_millis(options.retry_delay),
        retry_codes: options.retry_on_code.to_owned(),
        request_timeout: seconds(options.request_timeout),
        keepalive: seconds(options.keepalive_time),
        security: security(options)?,
    }))
}

fn security(options: &Given<'_>) -> Result<Security, String> {
    if options.googleapi_auth {
        return Err(
            "`--googleapi-auth`: the default credentials of Google's cloud are not looked \
                    for; give `--credential-helper` a program that prints what \
                    `gcloud auth print-access-token` says"
                .to_owned(),
        );
    }
    let identity = match (options.client_key, options.client_cert) {
        (Some(key), Some(cert)) => {
            Some(ClientIdentity { key: key.clone(), certificates: cert.clone() })
        }
        (None, None) => None,
        _ => return Err("`--client-key` and `--client-cert` belong together".to_owned()),
    };
    let credentials = match (options.access_token, options.credential_helper) {
        (Some(_), Some(_)) => {
            return Err("`--access-token` and `--credential-helper` exclude each other".to_owned());
        }
        (Some(file), None) => {
            Some(Credentials::Token { file: file.clone(), reload: options.token_reload_interval })
        }
        (None, helper) => helper.cloned().map(Credentials::Helper),
    };
    Ok(Security { server_certificates: options.server_cert.cloned(), identity, credentials })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn output_goes_where_it_was_asked_for() {
        let logs = |line: &[&str]| {
            let base = ["buildbox-run", "--action=a"];
            let cli = Cli::try_parse_from(base.iter().chain(line)).expect("options");
            let settings = Settings::new(&cli).expect("settings");
            (settings.stdout, settings.upload_logs)
        };
        assert_eq!(logs(&[]), (Log::Temporary, true));
        assert_eq!(logs(&["--no-logs-capture"]), (Log::Inherit, false));
        assert_eq!(logs(&["--stdout-file=f"]), (Log::File("f".into()), true));
        let both = logs(&["--stdout-file=f", "--no-logs-capture"]);
        assert_eq!(both, (Log::Inherit, false));
    }

    #[test]
    fn credentials() {
        let security = |line: &[&str]| {
            let base = ["buildbox-run", "--action=a", "--remote=https://h"];
            let cli = Cli::try_parse_from(base.iter().chain(line)).expect("options");
            Settings::new(&cli).map(|settings| settings.connection.expect("a server").security)
        };
        assert_eq!(security(&[]), Ok(Security::default()));
        let both = security(&["--client-key=k", "--client-cert=c"]).expect("an identity");
        assert_eq!(both.identity.as_ref().expect("an identity").key, PathBuf::from("k"));
        let token = security(&["--access-token=t", "--token-reload-interval=1H"]).expect("a token");
        let reload = Some(Duration::from_secs(3600));
        assert_eq!(token.credentials, Some(Credentials::Token { file: "t".into(), reload }));
        // As `speculate` and the embedded execution tell a runner that they start.
        for told in [token, both] {
            let line = told.arguments();
            let line: Vec<&str> = line.iter().filter_map(|word| word.to_str()).collect();
            assert_eq!(security(&line), Ok(told));
        }
        let bad: [&[&str]; 3] = [
            &["--client-key=k"],
            &["--access-token=t", "--credential-helper=h"],
            &["--googleapi-auth"],
        ];
        for line in bad {
            assert!(security(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn the_asset_service_is_needed_by_few() {
        let assets = |line: &[&str]| {
            let base = ["buildbox-run", "--action=a"];
            let cli = Cli::try_parse_from(base.iter().chain(line)).expect("options");
            Settings::new(&cli).expect("settings").assets
        };
        assert_eq!(assets(&[]), Ok(None));
        assert_eq!(assets(&["--ra-remote="]), Ok(None));
        let named = assets(&["--ra-remote=unix:/s", "--ra-instance=i"]).expect("a server");
        assert_eq!(named.expect("a server").instance, "i");
        assert!(assets(&["--ra-remote=https://h", "--ra-googleapi-auth"]).is_err());
    }

    #[test]
    fn an_action_is_needed() {
        let cli = Cli::try_parse_from(["buildbox-run"]).expect("options");
        assert!(Settings::new(&cli).is_err_and(|why| why.contains("--action")));
    }
}
