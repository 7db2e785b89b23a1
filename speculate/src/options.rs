//! Options that several commands have.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use forerunner_merkle::DigestFunction;
use forerunner_reapi::Credentials;

/// Where content, results and execution are.
#[derive(Args, Clone, Debug)]
pub(crate) struct EndpointArgs {
    /// A REAPI server: unix:PATH, http://HOST:PORT or https://HOST:PORT; without it the embedded store is used.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) remote: Option<String>,
    /// The action cache, if it is another server.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) ac_remote: Option<String>,
    /// The execution service, if it is another server; `local:` starts buildbox-run on this machine.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) exec_remote: Option<String>,
    /// Serve BuildStream's cache directory with a buildbox-casd of our own, while `bst` does not run.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "remote")]
    pub(crate) casd_cache: Option<PathBuf>,
    /// The buildbox-casd for --casd-cache.
    #[arg(long, global = true, value_name = "PROGRAM", default_value = "buildbox-casd")]
    pub(crate) casd: PathBuf,
    /// An argument that this casd passes to buildbox-run; may be repeated.
    #[arg(long = "casd-runner-arg", global = true, value_name = "ARGUMENT")]
    pub(crate) casd_runner_args: Vec<String>,
    /// The server's instance name.
    #[arg(long, global = true, default_value = "", hide_default_value = true)]
    pub(crate) instance: String,
    #[command(flatten)]
    pub(crate) security: SecurityArgs,
    /// What makes digests: SHA256, SHA384, SHA512, SHA1, MD5 or BLAKE3.
    #[arg(long, global = true, default_value = "SHA256", value_name = "NAME")]
    pub(crate) digest_function: DigestFunction,
}

/// How a server is made sure of, and it of us.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SecurityArgs {
    /// PEM file with the certificates that the server's must come from; the system's otherwise.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) server_cert: Option<PathBuf>,
    /// PEM file with our private key.
    #[arg(long, global = true, value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
    /// PEM file with our certificate.
    #[arg(long, global = true, value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// File with a token that is sent with every call over https.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) access_token: Option<PathBuf>,
    /// How often the token is read again, in minutes or with a suffix M (minutes) or H (hours).
    // Builds take long, and tokens are renewed in place.
    #[arg(long, global = true, value_name = "MINUTES", default_value = "10M",
        value_parser = Credentials::parse_reload)]
    pub(crate) token_reload_interval: Duration,
    /// Program that answers with our credentials for an address.
    #[arg(long, global = true, value_name = "PROGRAM", conflicts_with = "access_token")]
    pub(crate) credential_helper: Option<PathBuf>,
}

/// Which elements.
#[derive(Args, Clone, Debug)]
pub(crate) struct GraphArgs {
    /// The element graph (docs/speculate.md); `-` reads standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "element")]
    pub(crate) graph: Option<PathBuf>,
    /// A single element without dependencies, instead of a graph.
    #[arg(long, value_name = "NAME", conflicts_with = "graph")]
    pub(crate) element: Option<String>,
    /// The source directory of that element.
    #[arg(long, value_name = "DIR", requires = "element")]
    pub(crate) sources: Option<PathBuf>,
}
