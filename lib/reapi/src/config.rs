//! What describes an endpoint. Programs fill this in from flags and the environment.

use std::path::PathBuf;
use std::time::Duration;

use forerunner_merkle::DigestFunction;

use crate::Security;

/// Where content, results and execution are.
#[derive(Clone, Debug)]
pub struct Config {
    /// The services of a cluster; `None` for the embedded store.
    pub remote: Option<Remote>,
    /// The embedded store. With `remote` set it is not opened.
    pub store: forerunner_store::Options,
    /// The function that makes digests.
    pub function: DigestFunction,
    /// How Execute works on the embedded store.
    pub local: LocalExecution,
    /// Who asks.
    pub tool: Tool,
}

/// The services of a remote endpoint; often one server is all three.
#[derive(Clone, Debug)]
pub struct Remote {
    /// ContentAddressableStorage, ByteStream and LocalCAS.
    pub cas: Connection,
    /// ActionCache.
    pub action_cache: Connection,
    /// Execution; at the address [`Self::HERE`] by starting runners on this machine.
    pub execution: Connection,
}

impl Remote {
    /// The address that means this machine: [`LocalExecution`] applies as it does to the embedded
    /// store, and results are written to the servers' action cache.
    pub const HERE: &str = "local:";

    /// One server for everything.
    #[must_use]
    pub fn all(connection: Connection) -> Self {
        Self { cas: connection.clone(), action_cache: connection.clone(), execution: connection }
    }
}

/// One server, and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT`; without a scheme `http://` is meant.
    pub url: String,
    /// The instance name, often empty.
    pub instance: String,
    /// How often a call that failed for a passing reason is tried again.
    pub retry_limit: u32,
    /// The pause before the first of these; it grows with each.
    pub retry_delay: Duration,
    /// Statuses upon which a call is tried again as well.
    pub retry_codes: Vec<tonic::Code>,
    /// How long one call may take; `None` for as long as it needs.
    pub request_timeout: Option<Duration>,
    /// Interval of HTTP/2 pings on a quiet connection.
    pub keepalive: Option<Duration>,
    /// Certificates and credentials, for `https://`.
    pub security: Security,
}

impl Connection {
    /// A connection with the instance `""`, four retries from 100 ms on, and no timeout.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            instance: String::new(),
            retry_limit: 4,
            retry_delay: Duration::from_millis(100),
            retry_codes: Vec::new(),
            request_timeout: None,
            keepalive: None,
            security: Security::default(),
        }
    }
}

/// Execution of actions on this machine.
#[derive(Clone, Debug)]
pub struct LocalExecution {
    /// The `buildbox-run` that is started for each action.
    pub runner: PathBuf,
    /// Further arguments for it.
    pub runner_arguments: Vec<String>,
    /// At most this many actions at once; by default as many as there are processors.
    pub jobs: Option<usize>,
}

impl LocalExecution {
    /// How many actions may run at once. Counting the processors takes a dozen system calls.
    #[must_use]
    pub fn jobs(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.jobs.unwrap_or_else(processors)
    }
}

/// Who asks; sent with every call as RequestMetadata.
#[derive(Clone, Debug, Default)]
pub struct Tool {
    /// Name of the program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What all calls of one invocation have in common.
    pub invocation: String,
    /// What several invocations of one build have in common.
    pub correlated: String,
}
