//! Every setting, one row each. Help, configuration files, the reference page of the manual and
//! the search for misspelt names are all made from this table.

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// On if the value is not empty, whatever it says.
    Flag,
    /// On if the variable is there at all.
    Presence,
    /// A whole number.
    Number,
    /// A list with commas; values from several places add up; `\,` is a comma.
    Set,
    /// One variable per key: the key follows the name.
    Map,
}

impl Kind {
    /// One letter or word for the help text.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Flag => "flag",
            Self::Presence => "presence",
            Self::Number => "number",
            Self::Set => "list",
            Self::Map => "map",
        }
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name of its variable. That of a map ends with `_`.
    pub name: &'static str,
    /// What a value means.
    pub kind: Kind,
    /// What holds if it is not set; in words where it depends on others.
    pub default: &'static str,
    /// One or two sentences.
    pub help: &'static str,
}

const fn row(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { name, kind, default, help }
}

use Kind::{Flag, Map, Number, Presence, Set, Text};

/// A heading and the settings below it.
pub type Section = (&'static str, &'static [Setting]);

/// The table.
pub const SECTIONS: &[Section] = &[
    ("Servers", SERVERS),
    ("What is done", MODES),
    ("Inputs, outputs and paths", PATHS),
    ("The action", ACTION),
    ("Messages and figures", MESSAGES),
    ("The embedded store and the other wrappers", OURS),
];

const SERVERS: &[Setting] = &[
    row(
        "RECC_SERVER",
        Text,
        "the embedded store",
        "Execution endpoint: `unix:PATH`, `https://HOST:PORT`, `http://HOST:PORT`, or without a scheme the latter. Without any server the embedded store is used.",
    ),
    row(
        "RECC_CAS_SERVER",
        Text,
        "RECC_ACTION_CACHE_SERVER, else RECC_SERVER",
        "Where content is stored.",
    ),
    row("RECC_ACTION_CACHE_SERVER", Text, "RECC_CAS_SERVER", "Where results are stored."),
    row("RECC_INSTANCE", Text, "", "Instance name for execution."),
    row(
        "RECC_CAS_INSTANCE",
        Text,
        "RECC_ACTION_CACHE_INSTANCE, else RECC_INSTANCE",
        "Instance name for content.",
    ),
    row(
        "RECC_ACTION_CACHE_INSTANCE",
        Text,
        "RECC_CAS_INSTANCE, else RECC_INSTANCE",
        "Instance name for results.",
    ),
    row("RECC_ACCESS_TOKEN_PATH", Text, "", "File with a token for secure connections."),
    row(
        "RECC_SERVER_AUTH_GOOGLEAPI",
        Flag,
        "off",
        "An error that names the way out: RECC_CREDENTIAL_HELPER.",
    ),
    row(
        "RECC_CREDENTIAL_HELPER",
        Text,
        "",
        "Program that is called with `get`, reads `{\"uri\": …}` and answers with the headers for it.",
    ),
    row("RECC_SERVER_SSL", Flag, "off", "Deprecated: addresses without a scheme are secure ones."),
    row(
        "RECC_SERVER_CERT",
        Text,
        "",
        "PEM file with the certificates that a server is checked against.",
    ),
    row("RECC_CLIENT_KEY", Text, "", "PEM file with our key; only together with RECC_CLIENT_CERT."),
    row(
        "RECC_CLIENT_CERT",
        Text,
        "",
        "PEM file with our certificate; only together with RECC_CLIENT_KEY.",
    ),
    row(
        "RECC_AUTH_UNCONFIGURED_MSG",
        Text,
        "",
        "Printed as a warning if no authentication is configured.",
    ),
    row("RECC_RETRY_LIMIT", Number, "0", "How often a failed request is repeated."),
    row(
        "RECC_RETRY_DELAY",
        Number,
        "1000",
        "Milliseconds before the first repetition; doubles each time.",
    ),
    row(
        "RECC_REQUEST_TIMEOUT",
        Number,
        "0",
        "Seconds after which a request has failed; 0 for never.",
    ),
    row(
        "RECC_MIN_THROUGHPUT",
        Text,
        "0",
        "Accepted; a timeout counts for each piece of a download, and for an upload as a whole.",
    ),
    row(
        "RECC_KEEPALIVE_TIME",
        Number,
        "0",
        "Seconds between signs of life on an idle connection; 0 for none.",
    ),
    row("RECC_CAS_GET_CAPABILITIES", Flag, "off", "Ask the server for its limits first."),
    row(
        "RECC_CAS_DIGEST_FUNCTION",
        Text,
        "SHA256",
        "MD5, SHA1, SHA256, SHA384, SHA512, or BLAKE3, which the reference does not have.",
    ),
    row(
        "RECC_REAPI_VERSION",
        Text,
        "2.12",
        "Version of the protocol that actions are formed by, 2.1 to 2.12.",
    ),
    row("RECC_CORRELATED_INVOCATIONS_ID", Text, "", "Sent with each request, to group them."),
    row(
        "RECC_USE_LOCALCAS",
        Flag,
        "off",
        "Accepted; inputs are digested here once and remembered, and only what is missing is uploaded.",
    ),
    row("RECC_LOCALCAS_OPEN_INPUT_FILES", Flag, "off", "Accepted, as RECC_USE_LOCALCAS is."),
];

const MODES: &[Setting] = &[
    row(
        "RECC_CACHE_ONLY",
        Flag,
        "off; on with the embedded store",
        "Run the command here if its result is not stored.",
    ),
    row("RECC_COMPILE_CACHE_ONLY", Flag, "off", "The same, only for compile commands."),
    row("RECC_LINK_CACHE_ONLY", Flag, "off", "The same, only for link commands; needs RECC_LINK."),
    row(
        "RECC_CACHE_UPLOAD_LOCAL_BUILD",
        Flag,
        "off; on with the embedded store",
        "Store the result of a command that was run here.",
    ),
    row("RECC_CACHE_UPLOAD_FAILED_BUILD", Flag, "off", "Store it also if the command failed."),
    row(
        "RECC_RUNNER_COMMAND",
        Text,
        "",
        "With RECC_CACHE_ONLY: the runner (program and arguments) that misses are executed with.",
    ),
    row("RECC_LINK", Flag, "off; on with the embedded store", "Handle link commands too."),
    row(
        "RECC_LINK_METRICS_ONLY",
        Flag,
        "off",
        "Only look link commands up, for the figures; needs RECC_CACHE_ONLY, excludes RECC_LINK.",
    ),
    row(
        "RECC_FORCE_REMOTE",
        Flag,
        "off",
        "Send any command to the server; its inputs come from the overrides.",
    ),
    row("RECC_NO_EXECUTE", Flag, "off", "Form the action, log its digest and stop."),
    row("RECC_SKIP_CACHE", Flag, "off", "Look nothing up."),
    row("RECC_ACTION_UNCACHEABLE", Flag, "off", "Mark the action as not to be cached."),
    row("RECC_DONT_SAVE_OUTPUT", Flag, "off", "Write no output files."),
    row("RECC_VERIFY", Flag, "off", "Run the command here and remotely and compare the results."),
    row("RECC_ACTION_SALT", Text, "", "Text that sets actions apart."),
    row(
        "RECC_MAX_THREADS",
        Number,
        "4",
        "Accepted; digests are made one after the other, and are remembered.",
    ),
    row(
        "RECC_IGNORE_FAILURE_RESULT",
        Flag,
        "off",
        "A stored result of a failed command counts as none.",
    ),
    row(
        "RECC_USE_JOBSERVER",
        Flag,
        "off",
        "Give the job slot of make back while waiting for remote work.",
    ),
    row("RECC_PASSTHROUGH", Flag, "off", "Run the command directly, whatever it is."),
    row(
        "RECC_FALLBACK_TO_LOCAL",
        Flag,
        "off",
        "Run the command here if anything fails on the way.",
    ),
];

const PATHS: &[Setting] = &[
    row(
        "RECC_PROJECT_ROOT",
        Text,
        "the current directory",
        "Absolute paths inside it become relative.",
    ),
    row(
        "RECC_PREFIX_MAP",
        Text,
        "",
        "`FROM=TO[:FROM=TO]`, absolute paths; the first that fits is applied.",
    ),
    row(
        "RECC_WORKING_DIR_PREFIX",
        Text,
        "",
        "Directory put before the working directory and relative inputs.",
    ),
    row(
        "RECC_NO_PATH_REWRITE",
        Flag,
        "off; on with the embedded store",
        "Keep absolute paths and the whole working directory.",
    ),
    row(
        "RECC_DEPS_GLOBAL_PATHS",
        Flag,
        "off; on with the embedded store",
        "Inputs outside the project (system headers, libraries) are part of the input tree.",
    ),
    row("RECC_DEPS_EXCLUDE_PATHS", Set, "", "Inputs below these paths are left out."),
    row("RECC_DEPS_EXTRA_SYMLINKS", Set, "", "Symbolic links that are added to the input tree."),
    row("RECC_DEPS_OVERRIDE", Set, "", "The inputs; none are searched for."),
    row("RECC_DEPS_DIRECTORY_OVERRIDE", Text, "", "A directory that is the whole input tree."),
    row(
        "RECC_OUTPUT_FILES_OVERRIDE",
        Set,
        "",
        "The output files, instead of those the command names.",
    ),
    row("RECC_OUTPUT_DIRECTORIES_OVERRIDE", Set, "", "The output directories."),
    row("RECC_DEPS_ENV_", Map, "", "Environment of the command that finds the inputs."),
    row(
        "RECC_COMPILATION_DATABASE",
        Text,
        "",
        "Accepted; inputs are found through the compiler itself.",
    ),
    row(
        "CLANG_SCAN_DEPS",
        Text,
        "clang-scan-deps",
        "Accepted; inputs are found through the compiler itself.",
    ),
    row(
        "RECC_SCAN_DEPS_PARALLELISM",
        Number,
        "1",
        "Accepted; inputs are found through the compiler itself.",
    ),
    row(
        "RECC_INVALID_INPUT_PATHS_REGEX",
        Set,
        "",
        "A command with an input path that matches one of these (`.`, `*`, `.*`, anchored) runs here.",
    ),
    row("TMPDIR", Text, "/tmp", "Where temporary files go."),
];

const ACTION: &[Setting] = &[
    row("RECC_REMOTE_PLATFORM_", Map, "", "Platform property KEY."),
    row("RECC_COMPILE_REMOTE_PLATFORM_", Map, "", "The same, only for compile commands."),
    row(
        "RECC_LINK_REMOTE_PLATFORM_",
        Map,
        "",
        "The same, only for link commands; needs RECC_LINK.",
    ),
    row("RECC_REMOTE_ENV_", Map, "", "Sets a variable of the action's environment."),
    row(
        "RECC_PRESERVE_ENV",
        Flag,
        "off",
        "The action has the whole environment, except RECC_ variables.",
    ),
    row(
        "RECC_ENV_TO_READ",
        Set,
        "those that compilers read",
        "Variables that are part of the action.",
    ),
];

const MESSAGES: &[Setting] = &[
    row(
        "RECC_LOG_LEVEL",
        Text,
        "error",
        "trace, debug, info, warning or error. Only from the environment.",
    ),
    row("RECC_LOG_DIRECTORY", Text, "", "Directory for log files. Only from the environment."),
    row(
        "RECC_LOG_STDERR_DIRECTORY",
        Flag,
        "off",
        "Log to standard error as well as to RECC_LOG_DIRECTORY.",
    ),
    row("RECC_LOG_PROGRESS", Flag, "off", "With RECC_VERBOSE: say what is being waited for."),
    row("RECC_VERBOSE", Presence, "off", "The same as log level debug. Only from the environment."),
    row("RECC_ENABLE_METRICS", Flag, "off", "Write figures in the format of statsd."),
    row(
        "RECC_METRICS_FILE",
        Text,
        "standard error",
        "File they are appended to; excludes RECC_METRICS_UDP_SERVER.",
    ),
    row("RECC_METRICS_UDP_SERVER", Text, "", "`HOST:PORT` they are sent to."),
    row("RECC_METRICS_TAG_", Map, "", "A tag of each figure."),
    row("RECC_STATSD_FORMAT", Text, "", "How tags are written: influx, graphite or dog."),
    row(
        "RECC_COMPILATION_METADATA_UDP_PORT",
        Text,
        "",
        "Port on 127.0.0.1 that a description of each command is sent to.",
    ),
    row(
        "RECC_CONFIG_DIRECTORY",
        Text,
        "",
        "A further directory with a `recc.conf`. Only from the environment.",
    ),
];

const OURS: &[Setting] = &[
    row(
        "FORERUNNER_LOCAL_DEFAULTS",
        Flag,
        "off",
        "Use the defaults of the embedded store also with a server.",
    ),
    row(
        "FORERUNNER_TOOLCHAIN_SALT",
        Flag,
        "off; on with the embedded store",
        "The identity of the tool's programs is part of the action, unless the platform has a `chrootRootDigest`.",
    ),
    row(
        "FORERUNNER_PRIMED",
        Presence,
        "off",
        "Actions may have been executed in advance: after an edit of macros, find out what a compile reads and look that up before it runs.",
    ),
    row(
        "RECC_MANIFEST",
        Flag,
        "on",
        "Keep dependency manifests, so that hits need no preprocessor.",
    ),
    row(
        "RECC_MISS",
        Text,
        "",
        "Where a miss of the other wrappers runs: local or remote. Otherwise local if the endpoint lets us store the result.",
    ),
    row(
        "RECC_TOOLS_FILE",
        Text,
        "",
        "TOML file with further tools, for rewrap and for links named re<tool>.",
    ),
    row("REAR_AR", Text, "ar", "The program that rear runs if its arguments name none."),
    row(
        "RERANLIB_RANLIB",
        Text,
        "ranlib",
        "The program that reranlib runs if its arguments name none.",
    ),
    row(
        "FORERUNNER_STORE",
        Text,
        "$XDG_CACHE_HOME/forerunner, else ~/.cache/forerunner",
        "The embedded store.",
    ),
    row("FORERUNNER_STORE_SIZE", Text, "10G", "Its size limit in bytes (K, M, G, T)."),
    row(
        "FORERUNNER_RUNNER",
        Text,
        "buildbox-run beside this program, else on PATH",
        "The runner that executes actions on the embedded store.",
    ),
    row("FORERUNNER_RUNNER_ARGS", Text, "--host-toolchain", "Further arguments for it."),
    row(
        "FORERUNNER_JOBS",
        Number,
        "number of processors",
        "At most this many actions at once on the embedded store.",
    ),
];

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|(_, rows)| rows.iter())
}

/// The row of a variable, and for a map the key.
#[must_use]
pub fn find(variable: &str) -> Option<(&'static Setting, &str)> {
    if let Some(row) = all().find(|row| row.kind != Map && row.name == variable) {
        return Some((row, ""));
    }
    all()
        .filter(|row| row.kind == Map)
        .filter_map(|row| Some((row, variable.strip_prefix(row.name)?)))
        .max_by_key(|(row, _)| row.name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_helped() {
        let mut names: Vec<_> = all().map(|row| row.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(all().all(|row| row.help.ends_with('.')));
        assert!(all().all(|row| (row.kind == Map) == row.name.ends_with('_')));
    }

    #[test]
    fn maps_have_keys() {
        let (row, key) = find("RECC_REMOTE_PLATFORM_OSFamily").expect("a map");
        assert_eq!((row.name, key), ("RECC_REMOTE_PLATFORM_", "OSFamily"));
        assert_eq!(find("RECC_LINK").expect("a flag").0.kind, Flag);
        assert!(find("RECC_LINKS").is_none());
    }
}
