//! What the user wants: environment and configuration files, checked.

pub mod help;
mod raw;
pub mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use forerunner_merkle::DigestFunction;
use forerunner_reapi as endpoint;

pub use raw::Raw;

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Trace,
    /// What is formed.
    Debug,
    /// What is decided.
    Info,
    /// What is odd.
    Warning,
    /// What fails.
    Error,
}

/// What a setting cannot mean.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Not a number.
    #[error("{0}: `{1}` is not a number")]
    Number(&'static str, String),
    /// Not one of the words it may be.
    #[error("{0}: `{1}` is not one of {2}")]
    Word(&'static str, String, &'static str),
    /// Two settings exclude each other, or one needs another.
    #[error("{0}")]
    Together(&'static str),
}

/// Whether something is done for compile commands, link commands, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A compile command.
    Compile,
    /// A link command.
    Link,
    /// A command of another tool.
    Tool,
}

/// Where a miss of the other wrappers runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Here if the endpoint lets us store the result, there otherwise.
    Auto,
    /// Here.
    Local,
    /// There.
    Remote,
}

/// Every setting, checked. The names follow those of the variables.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Settings {
    /// No server is named.
    pub embedded: bool,
    /// The defaults of the embedded store are in force.
    pub local_defaults: bool,
    pub connections: Option<endpoint::Remote>,
    pub function: DigestFunction,
    /// Minor number of the protocol's version.
    pub reapi_minor: u32,
    pub correlated: String,
    pub cache_only: bool,
    pub compile_cache_only: bool,
    pub link_cache_only: bool,
    pub upload_local_build: bool,
    pub upload_failed_build: bool,
    pub runner_command: String,
    pub link: bool,
    pub link_metrics_only: bool,
    pub force_remote: bool,
    pub no_execute: bool,
    pub skip_cache: bool,
    pub uncacheable: bool,
    pub dont_save_output: bool,
    pub verify: bool,
    pub salt: String,
    pub ignore_failure_result: bool,
    pub use_jobserver: bool,
    pub passthrough: bool,
    pub fallback_to_local: bool,
    pub project_root: Option<String>,
    pub prefix_map: Vec<(String, String)>,
    pub working_dir_prefix: String,
    pub no_path_rewrite: bool,
    pub global_paths: bool,
    pub exclude_paths: BTreeSet<String>,
    pub extra_symlinks: BTreeSet<String>,
    pub deps_override: BTreeSet<String>,
    pub deps_directory: String,
    pub output_files: BTreeSet<String>,
    pub output_directories: BTreeSet<String>,
    pub deps_env: BTreeMap<String, String>,
    pub invalid_inputs: BTreeSet<String>,
    pub tmpdir: PathBuf,
    pub platform: BTreeMap<String, String>,
    pub compile_platform: BTreeMap<String, String>,
    pub link_platform: BTreeMap<String, String>,
    pub remote_env: BTreeMap<String, String>,
    pub preserve_env: bool,
    pub env_to_read: BTreeSet<String>,
    pub level: Level,
    pub log_directory: String,
    pub log_both: bool,
    pub metrics: bool,
    pub metrics_file: String,
    pub metrics_udp: String,
    pub metrics_tags: BTreeMap<String, String>,
    pub statsd_format: String,
    pub metadata_port: String,
    pub toolchain_salt: bool,
    pub primed: bool,
    pub manifest: bool,
    pub miss: Miss,
    pub tools_file: String,
    pub ar: Option<String>,
    pub ranlib: Option<String>,
    /// Names that no setting has, with the nearest that there is.
    pub unknown: Vec<(String, Option<&'static str>)>,
}

/// What the settings are read from.
pub struct Places<'a> {
    /// The environment, in any order.
    pub environment: &'a [(String, String)],
    /// Absolute path of the current directory.
    pub directory: &'a Path,
    /// The directory of this program.
    pub program: Option<&'a Path>,
}

impl Settings {
    /// Reads the configuration files and the environment.
    ///
    /// # Errors
    /// If a value cannot mean anything, or two exclude each other.
    pub fn read(places: &Places<'_>) -> Result<Self, SettingError> {
        let lookup = |name: &str| {
            places.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        let mut raw = Raw::default();
        let mut files = Vec::new();
        if let Some(program) = places.program {
            files.push(program.join("../etc/recc/recc.conf"));
        }
        if let Some(home) = lookup("HOME") {
            files.push(Path::new(home).join(".recc/recc.conf"));
        }
        if let Some(directory) = lookup("RECC_CONFIG_DIRECTORY").filter(|d| !d.is_empty()) {
            files.push(Path::new(directory).join("recc.conf"));
        }
        files.push(places.directory.join("recc/recc.conf"));
        for file in files {
            if let Ok(text) = std::fs::read_to_string(&file) {
                raw.read_file(&text);
            }
        }
        for (name, value) in places.environment {
            raw.set(name, value);
        }
        Self::check(&raw)
    }

    fn check(raw: &Raw) -> Result<Self, SettingError> {
        let text = |name: &'static str| raw.text(name).unwrap_or_default().to_owned();
        let plain = |name: &'static str| raw.text(name).is_some_and(|value| !value.is_empty());
        let connections = connections(raw)?;
        let embedded = connections.is_none();
        let ours =
            embedded || plain("FORERUNNER_LOCAL_DEFAULTS") || plain("FORERUNNER_TOOLCHAIN_SALT");
        // On by default with the embedded store; `RECC_X=` still switches it off.
        let flag = |name: &'static str| raw.text(name).map_or(ours, |value| !value.is_empty());
        let function = match raw.text("RECC_CAS_DIGEST_FUNCTION").unwrap_or("SHA256") {
            "" => DigestFunction::Sha256,
            name => name.parse().map_err(|_| {
                SettingError::Word(
                    "RECC_CAS_DIGEST_FUNCTION",
                    name.to_owned(),
                    "MD5, SHA1, SHA256, SHA384, SHA512, BLAKE3",
                )
            })?,
        };
        let settings = Self {
            embedded,
            local_defaults: ours,
            connections,
            function,
            reapi_minor: reapi_minor(raw)?,
            correlated: text("RECC_CORRELATED_INVOCATIONS_ID"),
            cache_only: flag("RECC_CACHE_ONLY"),
            compile_cache_only: plain("RECC_COMPILE_CACHE_ONLY"),
            link_cache_only: plain("RECC_LINK_CACHE_ONLY"),
            upload_local_build: flag("RECC_CACHE_UPLOAD_LOCAL_BUILD"),
            upload_failed_build: plain("RECC_CACHE_UPLOAD_FAILED_BUILD"),
            runner_command: text("RECC_RUNNER_COMMAND"),
            link: if plain("RECC_LINK_METRICS_ONLY") {
                plain("RECC_LINK")
            } else {
                flag("RECC_LINK")
            },
            link_metrics_only: plain("RECC_LINK_METRICS_ONLY"),
            force_remote: plain("RECC_FORCE_REMOTE"),
            no_execute: plain("RECC_NO_EXECUTE"),
            skip_cache: plain("RECC_SKIP_CACHE"),
            uncacheable: plain("RECC_ACTION_UNCACHEABLE"),
            dont_save_output: plain("RECC_DONT_SAVE_OUTPUT"),
            verify: plain("RECC_VERIFY"),
            salt: text("RECC_ACTION_SALT"),
            ignore_failure_result: plain("RECC_IGNORE_FAILURE_RESULT"),
            use_jobserver: plain("RECC_USE_JOBSERVER"),
            passthrough: plain("RECC_PASSTHROUGH"),
            fallback_to_local: plain("RECC_FALLBACK_TO_LOCAL"),
            project_root: raw
                .text("RECC_PROJECT_ROOT")
                .filter(|t| !t.is_empty())
                .map(str::to_owned),
            prefix_map: prefix_map(&text("RECC_PREFIX_MAP")),
            working_dir_prefix: text("RECC_WORKING_DIR_PREFIX"),
            no_path_rewrite: flag("RECC_NO_PATH_REWRITE"),
            global_paths: flag("RECC_DEPS_GLOBAL_PATHS"),
            exclude_paths: raw.list("RECC_DEPS_EXCLUDE_PATHS"),
            extra_symlinks: raw.list("RECC_DEPS_EXTRA_SYMLINKS"),
            deps_override: raw.list("RECC_DEPS_OVERRIDE"),
            deps_directory: text("RECC_DEPS_DIRECTORY_OVERRIDE"),
            output_files: raw.list("RECC_OUTPUT_FILES_OVERRIDE"),
            output_directories: raw.list("RECC_OUTPUT_DIRECTORIES_OVERRIDE"),
            deps_env: raw.map("RECC_DEPS_ENV_"),
            invalid_inputs: raw.list("RECC_INVALID_INPUT_PATHS_REGEX"),
            tmpdir: PathBuf::from(raw.text("TMPDIR").filter(|t| !t.is_empty()).unwrap_or("/tmp")),
            platform: raw.map("RECC_REMOTE_PLATFORM_"),
            compile_platform: raw.map("RECC_COMPILE_REMOTE_PLATFORM_"),
            link_platform: raw.map("RECC_LINK_REMOTE_PLATFORM_"),
            remote_env: raw.map("RECC_REMOTE_ENV_"),
            preserve_env: plain("RECC_PRESERVE_ENV"),
            env_to_read: raw.list("RECC_ENV_TO_READ"),
            level: level(raw)?,
            log_directory: text("RECC_LOG_DIRECTORY"),
            log_both: plain("RECC_LOG_STDERR_DIRECTORY"),
            metrics: plain("RECC_ENABLE_METRICS"),
            metrics_file: text("RECC_METRICS_FILE"),
            metrics_udp: text("RECC_METRICS_UDP_SERVER"),
            metrics_tags: raw.map("RECC_METRICS_TAG_"),
            statsd_format: text("RECC_STATSD_FORMAT"),
            metadata_port: text("RECC_COMPILATION_METADATA_UDP_PORT"),
            toolchain_salt: flag("FORERUNNER_TOOLCHAIN_SALT"),
            primed: plain("FORERUNNER_PRIMED"),
            manifest: raw.text("RECC_MANIFEST").is_none_or(|value| !value.is_empty()),
            miss: match raw.text("RECC_MISS").unwrap_or_default() {
                "" => Miss::Auto,
                "local" => Miss::Local,
                "remote" => Miss::Remote,
                other => {
                    return Err(SettingError::Word("RECC_MISS", other.to_owned(), "local, remote"));
                }
            },
            tools_file: text("RECC_TOOLS_FILE"),
            ar: raw.text("REAR_AR").filter(|t| !t.is_empty()).map(str::to_owned),
            ranlib: raw.text("RERANLIB_RANLIB").filter(|t| !t.is_empty()).map(str::to_owned),
            unknown: raw.unknown.clone(),
        };
        settings.together()?;
        Ok(settings)
    }

    /// The rules between settings, as the reference has them.
    fn together(&self) -> Result<(), SettingError> {
        let bad = |condition: bool, message: &'static str| {
            if condition { Err(SettingError::Together(message)) } else { Ok(()) }
        };
        bad(
            self.link_metrics_only && (self.link || !self.cache_only),
            "RECC_LINK_METRICS_ONLY needs RECC_CACHE_ONLY and excludes RECC_LINK",
        )?;
        bad(self.link_cache_only && !self.link, "RECC_LINK_CACHE_ONLY needs RECC_LINK")?;
        bad(
            !self.link_platform.is_empty() && !self.link,
            "RECC_LINK_REMOTE_PLATFORM_ needs RECC_LINK",
        )?;
        bad(
            !self.metrics_file.is_empty() && !self.metrics_udp.is_empty(),
            "RECC_METRICS_FILE and RECC_METRICS_UDP_SERVER exclude each other",
        )
    }

    /// Whether symbolic links on the way to inputs are part of the input tree, as the reference has
    /// it where paths are kept.
    #[must_use]
    pub fn keeps_links(&self) -> bool {
        self.no_path_rewrite && !self.local_defaults
    }

    /// Whether a miss of this kind of work runs here.
    #[must_use]
    pub fn runs_misses_here(&self, work: Work) -> bool {
        self.cache_only
            || match work {
                Work::Compile => self.compile_cache_only,
                Work::Link => self.link_cache_only,
                Work::Tool => false,
            }
    }

    /// The platform properties for this kind of work, sorted by name. Empty values are dropped.
    #[must_use]
    pub fn platform_for(&self, work: Work) -> BTreeMap<String, String> {
        let mut all = self.platform.clone();
        match work {
            Work::Compile => all.extend(self.compile_platform.clone()),
            Work::Link => all.extend(self.link_platform.clone()),
            Work::Tool => {}
        }
        all.retain(|_, value| !value.is_empty());
        all
    }
}

fn number(raw: &Raw, name: &'static str, default: i64) -> Result<i64, SettingError> {
    match raw.text(name) {
        None | Some("") => Ok(default),
        Some(text) => text.trim().parse().map_err(|_| SettingError::Number(name, text.to_owned())),
    }
}

fn reapi_minor(raw: &Raw) -> Result<u32, SettingError> {
    let text = raw.text("RECC_REAPI_VERSION").filter(|t| !t.is_empty()).unwrap_or("2.12");
    text.strip_prefix("2.")
        .and_then(|minor| minor.parse().ok())
        .filter(|minor| (1..=12).contains(minor))
        .ok_or_else(|| SettingError::Word("RECC_REAPI_VERSION", text.to_owned(), "2.1 to 2.12"))
}

fn level(raw: &Raw) -> Result<Level, SettingError> {
    if raw.text("RECC_VERBOSE").is_some() {
        return Ok(Level::Debug);
    }
    Ok(match raw.text("RECC_LOG_LEVEL").unwrap_or_default() {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warning" => Level::Warning,
        "" | "error" => Level::Error,
        other => {
            return Err(SettingError::Word(
                "RECC_LOG_LEVEL",
                other.to_owned(),
                "trace, debug, info, warning, error",
            ));
        }
    })
}

fn prefix_map(text: &str) -> Vec<(String, String)> {
    text.split(':')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(from, to)| from.starts_with('/') && to.starts_with('/'))
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
        .collect()
}

/// The reference's rule: the cache of results defaults to that of content and the other way
/// round, both to the execution service.
fn connections(raw: &Raw) -> Result<Option<endpoint::Remote>, SettingError> {
    let set = |name: &str| raw.text(name).filter(|text| !text.is_empty());
    let (server, cas, cache) =
        (set("RECC_SERVER"), set("RECC_CAS_SERVER"), set("RECC_ACTION_CACHE_SERVER"));
    let Some(any) = server.or(cache).or(cas) else { return Ok(None) };
    let server_url = server.unwrap_or(any);
    let cas_url = cas.or(cache).unwrap_or(server_url);
    let cache_url = cache.unwrap_or(cas_url);
    let instance = raw.text("RECC_INSTANCE").unwrap_or_default();
    // These two may be set to nothing on purpose.
    let (cas_name, cache_name) =
        (raw.text("RECC_CAS_INSTANCE"), raw.text("RECC_ACTION_CACHE_INSTANCE"));
    let security = security(raw)?;
    // Deprecated: says of addresses without a scheme that they are secure.
    let secure = set("RECC_SERVER_SSL").is_some();
    let address = |url: &str| match (secure, url.split_once(':')) {
        (true, Some(("unix" | "http", _))) => Err(SettingError::Together(
            "RECC_SERVER_SSL excludes addresses with `http://` or `unix:`",
        )),
        (true, _) if !url.contains("://") => Ok(format!("https://{url}")),
        _ => Ok(url.to_owned()),
    };
    let make = |url: &str, instance: &str| -> Result<endpoint::Connection, SettingError> {
        let mut connection = endpoint::Connection::new(&address(url)?);
        instance.clone_into(&mut connection.instance);
        connection.retry_limit = number(raw, "RECC_RETRY_LIMIT", 0)?.clamp(0, 1000) as u32;
        connection.retry_delay =
            Duration::from_millis(number(raw, "RECC_RETRY_DELAY", 1000)?.max(0) as u64);
        connection.request_timeout = seconds(number(raw, "RECC_REQUEST_TIMEOUT", 0)?);
        connection.keepalive = seconds(number(raw, "RECC_KEEPALIVE_TIME", 0)?);
        connection.security = security.clone();
        Ok(connection)
    };
    Ok(Some(endpoint::Remote {
        execution: make(server_url, instance)?,
        cas: make(cas_url, cas_name.or(cache_name).unwrap_or(instance))?,
        action_cache: make(cache_url, cache_name.or(cas_name).unwrap_or(instance))?,
    }))
}

/// Certificates and credentials; the reference has one set for all servers.
fn security(raw: &Raw) -> Result<endpoint::Security, SettingError> {
    let file = |name: &str| raw.text(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let identity = match (file("RECC_CLIENT_KEY"), file("RECC_CLIENT_CERT")) {
        (Some(key), Some(certificates)) => Some(endpoint::ClientIdentity { key, certificates }),
        (None, None) => None,
        _ => {
            let message = "RECC_CLIENT_KEY and RECC_CLIENT_CERT belong together";
            return Err(SettingError::Together(message));
        }
    };
    // A command is over before a token is renewed.
    if file("RECC_SERVER_AUTH_GOOGLEAPI").is_some() {
        return Err(SettingError::Together(
            "RECC_SERVER_AUTH_GOOGLEAPI: the default credentials of Google's cloud are not looked \
             for; RECC_CREDENTIAL_HELPER may name a program that prints what \
             `gcloud auth print-access-token` says",
        ));
    }
    let token = |file| endpoint::Credentials::Token { file, reload: None };
    let helper = file("RECC_CREDENTIAL_HELPER").map(endpoint::Credentials::Helper);
    Ok(endpoint::Security {
        server_certificates: file("RECC_SERVER_CERT"),
        identity,
        credentials: file("RECC_ACCESS_TOKEN_PATH").map(token).or(helper),
    })
}

fn seconds(number: i64) -> Option<Duration> {
    u64::try_from(number).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingError> {
        let environment: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let directory = Path::new("/nonexistent");
        Settings::read(&Places { environment: &environment, directory, program: None })
    }

    #[test]
    fn defaults_without_a_server() {
        let settings = read(&[]).expect("settings");
        assert!(settings.embedded && settings.cache_only && settings.link);
        assert!(settings.upload_local_build && settings.global_paths && settings.no_path_rewrite);
        let settings = read(&[("RECC_LINK", "")]).expect("settings");
        assert!(!settings.link, "an empty value switches off");
    }

    #[test]
    fn defaults_with_a_server() {
        let settings = read(&[("RECC_SERVER", "unix:/s"), ("RECC_LINK", "0")]).expect("settings");
        assert!(!settings.embedded && !settings.cache_only && settings.link);
        let remote = settings.connections.expect("a server");
        assert_eq!(remote.cas.url, remote.execution.url);
    }

    #[test]
    fn secure_servers() {
        let read = |pairs: &[(&str, &str)]| {
            let mut all = vec![("RECC_SERVER", "h:1")];
            all.extend(pairs);
            read(&all).map(|settings| settings.connections.expect("a server").cas)
        };
        assert_eq!(read(&[]).expect("a server").url, "h:1");
        assert_eq!(read(&[("RECC_SERVER_SSL", "1")]).expect("a server").url, "https://h:1");
        let certificates = [("RECC_CLIENT_KEY", "k"), ("RECC_CLIENT_CERT", "c")];
        assert!(read(&certificates).expect("a server").security.identity.is_some());
        assert!(read(&certificates[..1]).is_err());
        assert!(read(&[("RECC_SERVER_AUTH_GOOGLEAPI", "1")]).is_err());
        assert!(read(&[("RECC_SERVER_SSL", "1"), ("RECC_CAS_SERVER", "unix:/s")]).is_err());
        let token = read(&[("RECC_ACCESS_TOKEN_PATH", "t")]).expect("a server").security;
        let reload = None;
        let expected = endpoint::Credentials::Token { file: "t".into(), reload };
        assert_eq!(token.credentials, Some(expected));
    }

    #[test]
    fn what_cannot_mean_anything_is_named() {
        assert!(read(&[("RECC_REAPI_VERSION", "3.0")]).is_err());
        assert!(read(&[("RECC_REAPI_VERSION", "2.0")]).is_err());
        assert!(read(&[("RECC_LOG_LEVEL", "loud")]).is_err());
        assert!(read(&[("RECC_CAS_DIGEST_FUNCTION", "CRC")]).is_err());
        assert!(read(&[("RECC_SERVER", "x"), ("RECC_RETRY_LIMIT", "many")]).is_err());
        assert!(read(&[("RECC_SERVER", "x"), ("RECC_LINK_CACHE_ONLY", "1")]).is_err());
    }
}
