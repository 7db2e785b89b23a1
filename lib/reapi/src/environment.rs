//! An endpoint's settings from the environment, the same for all programs.
//!
//! Libraries do not read the environment: a program passes a function that does.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use forerunner_merkle::DigestFunction;

use crate::{Config, LocalExecution, Tool};

/// Size of the embedded store unless `FORERUNNER_STORE_SIZE` says otherwise: 10 GiB.
const DEFAULT_STORE_BYTES: u64 = 10 << 30;

/// A variable that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// There is no place for the embedded store.
    #[error("no place for the embedded store: set FORERUNNER_STORE, XDG_CACHE_HOME or HOME")]
    NoHome,
    /// A value of the wrong kind.
    #[error("{name}=`{value}` is not {expected}")]
    Value {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it should say.
        expected: &'static str,
    },
}

impl Config {
    /// The embedded store, as the environment describes it:
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `FORERUNNER_STORE` | its directory; else `$XDG_CACHE_HOME/forerunner`, else `~/.cache/forerunner` |
    /// | `FORERUNNER_STORE_SIZE` | its limit in bytes, or with a suffix K, M, G, T (powers of 1024); default 10G |
    /// | `FORERUNNER_RUNNER` | the `buildbox-run` that executes actions; else the one beside `program`, else that on PATH |
    /// | `FORERUNNER_RUNNER_ARGS` | further arguments for it, split as a shell does; default `--host-toolchain` |
    /// | `FORERUNNER_JOBS` | how many actions it executes at once; default: the number of processors |
    ///
    /// # Errors
    /// If there is no place for a store or a number is none.
    pub fn from_environment(
        get: &dyn Fn(&str) -> Option<OsString>,
        program: Option<&Path>,
        function: DigestFunction,
        tool: Tool,
    ) -> Result<Self, EnvironmentError> {
        let set = |name| get(name).filter(|value| !value.is_empty());
        let root = set("FORERUNNER_STORE")
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(&set("XDG_CACHE_HOME")?).join("forerunner")))
            .or_else(|| Some(Path::new(&set("HOME")?).join(".cache/forerunner")))
            .ok_or(EnvironmentError::NoHome)?;
        let size_limit = match set("FORERUNNER_STORE_SIZE") {
            None => DEFAULT_STORE_BYTES,
            Some(value) => parse_size(&value).ok_or_else(|| EnvironmentError::Value {
                name: "FORERUNNER_STORE_SIZE",
                value: value.to_string_lossy().into_owned(),
                expected: "a size such as 500M or 10G",
            })?,
        };
        let jobs = match set("FORERUNNER_JOBS") {
            None => None,
            Some(value) => Some(number(&value).ok_or_else(|| EnvironmentError::Value {
                name: "FORERUNNER_JOBS",
                value: value.to_string_lossy().into_owned(),
                expected: "a number from 1 on",
            })?),
        };
        let runner = set("FORERUNNER_RUNNER").map(PathBuf::from);
        let beside = || {
            let path = program?.parent()?.join("buildbox-run");
            path.exists().then_some(path)
        };
        let runner = runner.or_else(beside).unwrap_or_else(|| PathBuf::from("buildbox-run"));
        let runner_arguments = match get("FORERUNNER_RUNNER_ARGS") {
            None => vec!["--host-toolchain".to_owned()],
            Some(value) => {
                value.to_str().and_then(shlex::split).ok_or_else(|| EnvironmentError::Value {
                    name: "FORERUNNER_RUNNER_ARGS",
                    value: value.to_string_lossy().into_owned(),
                    expected: "a list of arguments (a quote is not closed)",
                })?
            }
        };
        Ok(Self {
            remote: None,
            store: forerunner_store::Options { root, size_limit, function },
            function,
            local: LocalExecution { runner, runner_arguments, jobs },
            tool,
        })
    }
}

fn parse_size(value: &OsStr) -> Option<u64> {
    let text = value.to_str()?;
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T', 'k', 'm', 'g', 't']);
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn number(value: &OsStr) -> Option<usize> {
    value.to_str()?.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, EnvironmentError> {
        let get = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Config::from_environment(&get, None, DigestFunction::Sha256, Tool::default())
    }

    #[test]
    fn places_of_the_store() {
        let root = |variables: &[_]| config(variables).expect("a place").store.root;
        assert_eq!(root(&[("HOME", "/h")]), Path::new("/h/.cache/forerunner"));
        assert_eq!(root(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]), Path::new("/c/forerunner"));
        assert_eq!(root(&[("HOME", "/h"), ("FORERUNNER_STORE", "/s")]), Path::new("/s"));
        assert_eq!(
            root(&[("HOME", "/h"), ("FORERUNNER_STORE", "")]),
            Path::new("/h/.cache/forerunner")
        );
        assert_eq!(config(&[]).expect_err("no place"), EnvironmentError::NoHome);
    }

    #[test]
    fn sizes_and_numbers() {
        let size = |text| {
            let config = config(&[("HOME", "/h"), ("FORERUNNER_STORE_SIZE", text)]);
            config.map(|config| config.store.size_limit)
        };
        assert_eq!(size("5"), Ok(5));
        assert_eq!(size("2k"), Ok(2048));
        assert_eq!(size("10G"), Ok(10 << 30));
        for bad in ["x", "-1", "1KK", "99999999999T", "G"] {
            let error = size(bad).expect_err(bad).to_string();
            assert!(error.contains(bad) && error.contains("FORERUNNER_STORE_SIZE"), "{error}");
        }
        assert!(config(&[("HOME", "/h"), ("FORERUNNER_JOBS", "0")]).is_err());
        let arguments = [("HOME", "/h"), ("FORERUNNER_RUNNER_ARGS", "--a 'b c'")];
        assert_eq!(config(&arguments).expect("fine").local.runner_arguments, ["--a", "b c"]);
    }
}
