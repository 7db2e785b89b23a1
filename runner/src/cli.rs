//! The command line, option by option as the reference has it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::TypedValueParser;
use forerunner_merkle::DigestFunction;
use forerunner_reapi::Credentials;
use tonic::Code;

use crate::bounds;
use crate::mount::BindMount;
use crate::staging_mode::StagingMode;

/// Runs an action of the Remote Execution API in a sandbox and describes what it left.
///
/// Without `--remote` it works on the embedded store: `$FORERUNNER_STORE`, else
/// `$XDG_CACHE_HOME/forerunner`, else `~/.cache/forerunner`.
#[derive(Debug, Parser)]
// Callers add options of their own behind ours: the last one counts.
#[command(name = "buildbox-run", version, max_term_width = 100, args_override_self = true)]
pub(crate) struct Cli {
    /// Print what this runner can do, one thing a line, and exit.
    #[arg(long)]
    pub(crate) capabilities: bool,
    /// Only check the options; exit with 0 if they are fine.
    #[arg(long)]
    pub(crate) validate_parameters: bool,
    /// File with the Action to run.
    #[arg(long, value_name = "FILE")]
    pub(crate) action: Option<PathBuf>,
    /// File to write the ActionResult to; on failure FILE.error-status says why.
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) action_result: Option<PathBuf>,
    /// What is logged: trace, debug, info, warning or error.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = crate::log::level)]
    pub(crate) log_level: tracing::Level,
    /// Log as with --log-level=debug.
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Write the log to a new file in this directory.
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) log_directory: Option<PathBuf>,
    /// The function that makes digests.
    #[arg(long, value_name = "FUNCTION", default_value = "SHA256")]
    pub(crate) digest_function: DigestFunction,
    /// Fetch every input ourselves instead of letting the server stage the tree.
    #[arg(long)]
    pub(crate) disable_localcas: bool,
    /// Directory under which the tree is staged.
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) workspace_path: Option<PathBuf>,
    /// How the server stages the tree: fuse, copy-or-link or default.
    #[arg(long, value_name = "MODE", default_value = "default")]
    pub(crate) staging_mode: StagingMode,
    /// File for the standard output of the command.
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) stdout_file: Option<PathBuf>,
    /// File for the standard error output of the command.
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) stderr_file: Option<PathBuf>,
    /// Let the command write to our own standard output and error output.
    #[arg(long)]
    pub(crate) no_logs_capture: bool,
    /// Upload what the command used as an ExecutionStatistics message.
    #[arg(long)]
    pub(crate) collect_execution_stats: bool,
    /// Run this with the staged directory as its argument once the command has ended.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) post_action_command: Option<String>,
    /// Has no effect: outputs always go to the server they came from.
    #[arg(long)]
    pub(crate) output_bypass_local_cache: bool,
    /// Send SIGTERM first and wait so long before killing.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) graceful_shutdown_seconds: u64,
    /// File to write the ExecutedActionMetadata to as far as it is known.
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) partial_execution_metadata_file: Option<PathBuf>,
    /// The instance that the sandboxed socket uses; else that of --instance.
    #[arg(long, value_name = "NAME")]
    pub(crate) nested_instance: Option<String>,
    /// Let the command write to the action cache through the socket.
    #[arg(long)]
    pub(crate) nested_ac_enable_update: bool,
    /// Show a file or directory of the host in the sandbox.
    #[arg(long, value_name = "HOST:PATH")]
    pub(crate) bind_mount: Vec<BindMount>,
    /// The same, read-only; with CONTENT only for actions with the property `inject=CONTENT`.
    #[arg(long, value_name = "[CONTENT:]HOST:PATH", value_parser = BindMount::parse_read_only)]
    pub(crate) ro_bind_mount: Vec<BindMount>,
    /// Make /tmp a part of the tree, so that outputs can be taken from it.
    #[arg(long)]
    pub(crate) enable_tmp_outputs: bool,
    /// Show the compilers and libraries of the host read-only, wherever the tree has nothing.
    #[arg(long)]
    pub(crate) host_toolchain: bool,
    /// Execute what the element's last build asked for, adapted to the tree at hand, while this one
    /// configures; with the program `speculate` beside this one, or the named one.
    #[arg(
        long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true, default_missing_value = "1"
    )]
    pub(crate) speculate: Option<PathBuf>,
    /// The group of processes (cgroup v2) below which each action gets one of its own; else the
    /// one that is delegated to us.
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) cgroup: Option<PathBuf>,
    /// Memory that the command may use: bytes, or a number with K, M, G or T.
    #[arg(long, value_name = "BYTES", value_parser = bounds::memory_bytes)]
    pub(crate) memory_limit: Option<u64>,
    /// Processes and threads that the command may have at a time.
    #[arg(long, value_name = "N", value_parser = bounds::processes)]
    pub(crate) process_limit: Option<u64>,
    /// Processors that the command may use, as 4 or 0.5.
    #[arg(long = "cpu-limit", value_name = "CPUS", value_parser = bounds::milli_cpus)]
    pub(crate) milli_cpu_limit: Option<u64>,
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(flatten)]
    pub(crate) asset: Asset,
    /// Has no effect: images are not fetched from registries.
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) oci_auth_token: Option<PathBuf>,
    /// Has no effect: images are not fetched from registries.
    #[arg(long, value_name = "N")]
    pub(crate) num_parallel_layer_threads: Option<usize>,
}

/// The options for one server, whatever they are called.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    pub(crate) remote: Option<&'a str>,
    pub(crate) instance: &'a str,
    pub(crate) server_cert: Option<&'a PathBuf>,
    pub(crate) client_key: Option<&'a PathBuf>,
    pub(crate) client_cert: Option<&'a PathBuf>,
    pub(crate) access_token: Option<&'a PathBuf>,
    pub(crate) token_reload_interval: Option<Duration>,
    pub(crate) googleapi_auth: bool,
    pub(crate) credential_helper: Option<&'a PathBuf>,
    pub(crate) retry_limit: u32,
    pub(crate) retry_delay: u64,
    pub(crate) retry_on_code: &'a [Code],
    pub(crate) request_timeout: u64,
    pub(crate) keepalive_time: u64,
}

macro_rules! connection {
    ($name:ident, $what:literal, $prefix:literal, $($remote:ident $instance:ident $server_cert:ident
     $client_key:ident $client_cert:ident $access_token:ident $token_reload_interval:ident
     $googleapi_auth:ident $credential_helper:ident $retry_limit:ident $retry_delay:ident
     $retry_on_code:ident $request_timeout:ident $min_throughput:ident $keepalive_time:ident
     $load_balancing_policy:ident $protocol:ident)+) => {$(
        #[doc = concat!("How to reach ", $what, ".")]
        #[derive(Debug, clap::Args)]
        #[command(next_help_heading = concat!("Connection to ", $what))]
        pub(crate) struct $name {
            /// Its address: unix:PATH, http://HOST:PORT or https://HOST:PORT.
            #[arg(long = concat!($prefix, "remote"), value_name = "URL")]
            pub(crate) $remote: Option<String>,
            /// The name of the instance.
            #[arg(long = concat!($prefix, "instance"), value_name = "NAME", default_value = "")]
            pub(crate) $instance: String,
            /// PEM file with the certificates that the server's must come from; the system's otherwise.
            #[arg(long = concat!($prefix, "server-cert"), value_name = "FILE", value_parser = path())]
            pub(crate) $server_cert: Option<PathBuf>,
            /// PEM file with our private key.
            #[arg(long = concat!($prefix, "client-key"), value_name = "FILE", value_parser = path())]
            pub(crate) $client_key: Option<PathBuf>,
            /// PEM file with our certificate.
            #[arg(long = concat!($prefix, "client-cert"), value_name = "FILE", value_parser = path())]
            pub(crate) $client_cert: Option<PathBuf>,
            /// File with a token that is sent with every call over https.
            #[arg(long = concat!($prefix, "access-token"), value_name = "FILE", value_parser = path())]
            pub(crate) $access_token: Option<PathBuf>,
            /// How often the token is read again, in minutes or with a suffix M (minutes) or H (hours).
            #[arg(long = concat!($prefix, "token-reload-interval"), value_name = "MINUTES", value_parser = Credentials::parse_reload)]
            pub(crate) $token_reload_interval: Option<Duration>,
            /// Not possible here: a credential helper can do the same.
            #[arg(long = concat!($prefix, "googleapi-auth"))]
            pub(crate) $googleapi_auth: bool,
            /// Program that answers with our credentials for an address.
            #[arg(long = concat!($prefix, "credential-helper"), value_name = "FILE", value_parser = path())]
            pub(crate) $credential_helper: Option<PathBuf>,
            /// How often a call that failed for a passing reason is tried again.
            #[arg(long = concat!($prefix, "retry-limit"), value_name = "N", default_value_t = 4)]
            pub(crate) $retry_limit: u32,
            /// The pause before the first of these.
            #[arg(long = concat!($prefix, "retry-delay"), value_name = "MILLISECONDS", default_value_t = 1000)]
            pub(crate) $retry_delay: u64,
            /// Statuses upon which a call is tried again as well, by name or number.
            #[arg(long = concat!($prefix, "retry-on-code"), value_name = "CODE", value_delimiter = ',', value_parser = code)]
            pub(crate) $retry_on_code: Vec<Code>,
            /// How long a call may take; 0 for as long as it needs.
            #[arg(long = concat!($prefix, "request-timeout"), value_name = "SECONDS", default_value_t = 0)]
            pub(crate) $request_timeout: u64,
            /// Least bytes in a second.
            #[arg(long = concat!($prefix, "min-throughput"), value_name = "BYTES")]
            pub(crate) $min_throughput: Option<String>,
            /// Interval of pings on a quiet connection; 0 for none.
            #[arg(long = concat!($prefix, "keepalive-time"), value_name = "SECONDS", default_value_t = 0)]
            pub(crate) $keepalive_time: u64,
            /// How calls are spread over servers.
            #[arg(long = concat!($prefix, "load-balancing-policy"), value_name = "POLICY")]
            pub(crate) $load_balancing_policy: Option<String>,
            /// grpc; nothing else is spoken here.
            #[arg(long = concat!($prefix, "protocol"), value_name = "PROTOCOL", value_parser = ["grpc", "http"])]
            pub(crate) $protocol: Option<String>,
        }

        impl $name {
            /// What is common to all servers.
            pub(crate) fn given(&self) -> Given<'_> {
                Given {
                    remote: self.$remote.as_deref(),
                    instance: &self.$instance,
                    server_cert: self.$server_cert.as_ref(),
                    client_key: self.$client_key.as_ref(),
                    client_cert: self.$client_cert.as_ref(),
                    access_token: self.$access_token.as_ref(),
                    token_reload_interval: self.$token_reload_interval,
                    googleapi_auth: self.$googleapi_auth,
                    credential_helper: self.$credential_helper.as_ref(),
                    retry_limit: self.$retry_limit,
                    retry_delay: self.$retry_delay,
                    retry_on_code: &self.$retry_on_code,
                    request_timeout: self.$request_timeout,
                    keepalive_time: self.$keepalive_time,
                }
            }

            /// The options that were given and have no effect here.
            pub(crate) fn without_effect(&self) -> Vec<&'static str> {
                [
                    (self.$min_throughput.is_some(), concat!("--", $prefix, "min-throughput")),
                    (self.$load_balancing_policy.is_some(), concat!("--", $prefix, "load-balancing-policy")),
                    (self.$protocol.as_deref() == Some("http"), concat!("--", $prefix, "protocol=http")),
                ]
                .into_iter()
                .filter_map(|(given, name)| given.then_some(name))
                .collect()
            }
        }
    )+};
}

connection!(Remote, "the content store", "", remote instance server_cert client_key client_cert
    access_token token_reload_interval googleapi_auth credential_helper retry_limit retry_delay
    retry_on_code request_timeout min_throughput keepalive_time load_balancing_policy protocol);
connection!(Asset, "the asset service, which knows container images", "ra-", ra_remote ra_instance
    ra_server_cert ra_client_key ra_client_cert ra_access_token ra_token_reload_interval
    ra_googleapi_auth ra_credential_helper ra_retry_limit ra_retry_delay ra_retry_on_code
    ra_request_timeout ra_min_throughput ra_keepalive_time ra_load_balancing_policy ra_protocol);

/// A status by its name, `UNAVAILABLE`, or its number, 14.
fn code(text: &str) -> Result<Code, String> {
    let number = text.parse::<i32>().ok();
    let named = |code: &Code| number == Some(*code as i32) || name_of(*code) == text;
    let found = (1..=16).map(Code::from_i32).find(named);
    found.ok_or_else(|| "expected a status of gRPC such as `UNAVAILABLE` or `14`".to_owned())
}

/// `DeadlineExceeded` is `DEADLINE_EXCEEDED` on the wire.
fn name_of(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// A path that may be empty, as callers give it when they mean none.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    clap::builder::OsStringValueParser::new().map(PathBuf::from)
}

impl Cli {
    /// The options that were given and have no effect here.
    pub(crate) fn without_effect(&self) -> Vec<&'static str> {
        let mut list = self.remote.without_effect();
        list.extend(self.asset.without_effect());
        for (given, name) in [
            (self.output_bypass_local_cache, "--output-bypass-local-cache"),
            (self.oci_auth_token.is_some(), "--oci-auth-token"),
            (self.num_parallel_layer_threads.is_some(), "--num-parallel-layer-threads"),
        ] {
            if given {
                list.push(name);
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_line_of_casd_is_taken() {
        let line = "buildbox-run --remote=unix:/s --retry-limit=4 --retry-delay=1000 \
            --request-timeout=0 --keepalive-time=0 --ra-remote=unix:/s --ra-retry-limit=4 \
            --ra-retry-delay=1000 --ra-request-timeout=0 --ra-keepalive-time=0 --action=a \
            --action-result=r --stdout-file=o --stderr-file=e --digest-function=SHA256 \
            --partial-execution-metadata-file= --log-level=warning";
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("options");
        assert_eq!(cli.remote.remote.as_deref(), Some("unix:/s"));
        assert_eq!(cli.partial_execution_metadata_file, Some(PathBuf::new()));
        assert_eq!(cli.asset.given().remote, Some("unix:/s"));
        assert!(cli.without_effect().is_empty());
    }

    #[test]
    fn the_line_of_buildstream_is_taken() {
        let line = "buildbox-run --remote=unix:/s --action=a --action-result=r \
            --nested-ac-enable-update --no-logs-capture --bind-mount=/dev:/dev --instance=x";
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("options");
        assert!(cli.nested_ac_enable_update && cli.no_logs_capture);
        assert_eq!(cli.bind_mount.len(), 1);
    }

    #[test]
    fn statuses() {
        assert_eq!(code("DEADLINE_EXCEEDED"), Ok(Code::DeadlineExceeded));
        assert_eq!(code("14"), Ok(Code::Unavailable));
        for bad in ["", "0", "17", "unavailable", "Unavailable"] {
            assert!(code(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_of_several_counts_and_mounts_add_up() {
        let line = "buildbox-run --action=a --action=b --bind-mount=/a:/b --bind-mount=/c:/d";
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("options");
        assert_eq!(cli.action, Some("b".into()));
        assert_eq!(cli.bind_mount.len(), 2);
    }

    #[test]
    fn all_of_the_reference_are_taken() {
        for option in [
            "--server-cert=f",
            "--client-key=f",
            "--client-cert=f",
            "--access-token=f",
            "--token-reload-interval=5M",
            "--googleapi-auth",
            "--credential-helper=f",
            "--retry-on-code=UNAVAILABLE",
            "--min-throughput=5K",
            "--protocol=http",
            "--load-balancing-policy=grpclb",
            "--ra-protocol=grpc",
            "--ra-instance=i",
            "--output-bypass-local-cache",
            "--staging-mode=fuse",
            "--verbose",
            "--graceful-shutdown-seconds=3",
            "--nested-instance=n",
            "--enable-tmp-outputs",
            "--ro-bind-mount=sdk:/opt/sdk:/sdk",
            "--oci-auth-token=f",
            "--log-directory=d",
            "--num-parallel-layer-threads=2",
            "--workspace-path=w",
            "--disable-localcas",
            "--post-action-command=true",
            "--collect-execution-stats",
        ] {
            let parsed = Cli::try_parse_from(["buildbox-run", option]);
            assert!(parsed.is_ok(), "{option}: {parsed:?}");
        }
    }

    #[test]
    fn others_are_refused() {
        for option in [
            "--bogus",
            "--staging-mode=hope",
            "--log-level=loud",
            "--digest-function=CRC32",
            "--bind-mount=/a",
            "--bind-mount=a:/b",
            "--retry-limit=many",
            "--memory-limit=much",
            "--process-limit=0",
            "--cpu-limit=-1",
            "extra",
        ] {
            assert!(Cli::try_parse_from(["buildbox-run", option]).is_err(), "{option}");
        }
    }
}
