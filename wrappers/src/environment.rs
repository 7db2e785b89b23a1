//! The variables that are part of an action.

use std::collections::BTreeMap;

use crate::command::Family;
use crate::paths::PathRules;
use crate::settings::Settings;

/// Read by every tool.
const ALWAYS: &[&str] = &[
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_CTYPE",
    "LC_MESSAGES",
    "LC_ALL",
    // OpenMP
    "OMP_CANCELLATION",
    "OMP_DISPLAY_ENV",
    "OMP_NUM_TEAMS",
    "OMP_DYNAMIC",
    "OMP_MAX_ACTIVE_LEVELS",
    "OMP_MAX_TASK_PRIORITY",
    "OMP_NESTED",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "OMP_STACKSIZE",
    "OMP_SCHEDULE",
    "OMP_TARGET_OFFLOAD",
    "OMP_TEAMS_THREAD_LIMIT",
    "OMP_THREAD_LIMIT",
    "OMP_WAIT_POLICY",
];

/// Read by gcc and clang.
const COMPILERS: &[&str] = &[
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "OBJCPLUS_INCLUDE_PATH",
    "SOURCE_DATE_EPOCH",
];

/// Read by gcc.
const GCC: &[&str] = &[
    "GCC_COMPARE_DEBUG",
    "GCC_EXEC_PREFIX",
    "COMPILER_PATH",
    "LIBRARY_PATH",
    "GCC_EXTRA_DIAGNOSTIC_OUTPUT",
    "DEPENDENCIES_OUTPUT",
    "SUNPRO_DEPENDENCIES",
    "GOMP_CPU_AFFINITY",
    "GOMP_DEBUG",
    "GOMP_STACKSIZE",
    "GOMP_SPINCOUNT",
    "GOMP_RTEMS_THREAD_POOLS",
];

/// Read by compilers to find headers and their own programs.
pub const SEARCH: &[&str] =
    &["CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "GCC_EXEC_PREFIX", "COMPILER_PATH"];

/// Values that are lists of paths, to which the prefix map applies.
const PATHS: &[&str] = &[
    "PATH",
    "LD_LIBRARY_PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "OBJCPLUS_INCLUDE_PATH",
    "COMPILER_PATH",
    "LIBRARY_PATH",
    "LIB_PATH",
];

/// What the environment of an action may be made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader<'a> {
    /// A compiler.
    Compiler(Family),
    /// Any other tool, with further variables that it reads.
    Tool(&'a [String]),
}

/// The environment of the action, sorted by name.
#[must_use]
pub fn select(
    settings: &Settings,
    reader: Reader<'_>,
    environment: &[(String, String)],
    rules: &PathRules,
) -> BTreeMap<String, String> {
    let wanted = |name: &str| {
        if settings.env_to_read.contains(name) {
            return true;
        }
        if settings.preserve_env {
            return !name.starts_with("RECC_");
        }
        if !settings.env_to_read.is_empty() {
            return false;
        }
        ALWAYS.contains(&name)
            || match reader {
                Reader::Compiler(family) => {
                    COMPILERS.contains(&name) || (family == Family::Gcc && GCC.contains(&name))
                }
                Reader::Tool(names) => {
                    names.iter().any(|known| known == name) || name == "SOURCE_DATE_EPOCH"
                },
            }
            // Texts of messages in further languages; the reference does not look at it.
            || (settings.local_defaults && name == "LANGUAGE")
    };
    let mut selected: BTreeMap<String, String> = environment
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, value)| {
            // The whole environment is passed on as it is.
            let value = if !settings.preserve_env && PATHS.contains(&name.as_str()) {
                value.split(':').map(|part| rules.map(part)).collect::<Vec<_>>().join(":")
            } else {
                value.clone()
            };
            (name.clone(), value)
        })
        .collect();
    if settings.local_defaults
        && let Some(logical) = logical_directory(environment, rules)
    {
        // gcc writes the name by which the directory was entered into the debug information.
        selected.insert("PWD".to_owned(), logical);
    }
    selected.extend(settings.remote_env.clone());
    selected
}

/// `$PWD`, if it is another name of the current directory.
fn logical_directory(environment: &[(String, String)], rules: &PathRules) -> Option<String> {
    let (_, logical) = environment.iter().find(|(name, _)| name == "PWD")?;
    if *logical == rules.directory || !logical.starts_with('/') {
        return None;
    }
    let real = std::fs::canonicalize(logical).ok()?;
    (real.to_str() == Some(&rules.directory)).then(|| logical.clone())
}
