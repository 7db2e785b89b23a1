//! What one run of a wrapper works with.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use forerunner_merkle::Digest;
use forerunner_store::Store;

use crate::figures::Figures;
use crate::log::Log;
use crate::paths::PathRules;
use crate::settings::Settings;
use crate::stamp;
use crate::stat_cache::StatCache;

/// Settings, environment, place and time.
pub struct Session {
    /// What the user wants.
    pub settings: Settings,
    /// The environment, as far as it is UTF-8.
    pub environment: Vec<(String, String)>,
    /// The current directory.
    pub directory: String,
    /// How paths become those of the action.
    pub rules: PathRules,
    /// Messages.
    pub log: Log,
    /// Figures of this run.
    pub figures: Rc<Figures>,
    /// Path of this program.
    pub program: Option<PathBuf>,
    /// When it began.
    pub begun: Instant,
    /// The same, nanoseconds since 1970.
    pub begun_at: i64,
    /// The action that was formed or remembered, for those who are told about commands.
    pub action: Cell<Option<Digest>>,
    store: OnceCell<Option<Store>>,
}

impl Session {
    /// Puts it together.
    #[must_use]
    pub fn new(
        settings: Settings,
        environment: Vec<(String, String)>,
        directory: String,
        program: Option<PathBuf>,
        tool: &'static str,
    ) -> Self {
        let rules = PathRules::new(&settings, &directory);
        let log = Log::new(&settings, tool);
        Self {
            settings,
            environment,
            directory,
            rules,
            log,
            figures: Rc::default(),
            program,
            begun: Instant::now(),
            begun_at: stamp::now(),
            action: Cell::new(None),
            store: OnceCell::new(),
        }
    }

    /// A variable of the environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// How the endpoint is reached; `None` if there is no place for the embedded store.
    ///
    /// # Errors
    /// What is wrong with a variable.
    pub fn config(&self) -> Result<forerunner_reapi::Config, forerunner_reapi::EnvironmentError> {
        // With a server the embedded store is not opened, so it needs no place.
        let homeless = self.settings.connections.is_some()
            && ["FORERUNNER_STORE", "XDG_CACHE_HOME", "HOME"]
                .iter()
                .all(|name| self.variable(name).is_none_or(str::is_empty));
        let get = |name: &str| match name {
            "FORERUNNER_STORE" if homeless => Some("/nonexistent".into()),
            name => self.variable(name).map(Into::into),
        };
        let tool = forerunner_reapi::Tool {
            name: "recc".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            invocation: format!("{}:{}", host_name(), std::os::unix::process::parent_id()),
            correlated: self.settings.correlated.clone(),
        };
        let function = self.settings.function;
        let mut config = forerunner_reapi::Config::from_environment(
            &get,
            self.program.as_deref(),
            function,
            tool,
        )?;
        config.remote.clone_from(&self.settings.connections);
        Ok(config)
    }

    /// The embedded store. With a server it only keeps small files of ours, if it can be opened.
    #[must_use]
    pub fn store(&self) -> Option<&Store> {
        self.store
            .get_or_init(|| {
                let get = |name: &str| self.variable(name).map(Into::into);
                let opened = forerunner_reapi::Config::from_environment(
                    &get,
                    None,
                    self.settings.function,
                    forerunner_reapi::Tool::default(),
                )
                .map_err(|error| error.to_string())
                .and_then(|config| Store::open(&config.store).map_err(|error| error.to_string()));
                match opened {
                    Ok(store) => Some(store),
                    Err(error) => {
                        if self.settings.embedded {
                            self.log.warning(format_args!("{error}; nothing is cached"));
                        }
                        None
                    }
                }
            })
            .as_ref()
    }

    /// A folder for small files of ours, if there is a lasting place.
    #[must_use]
    pub fn aside(&self, name: &str) -> Option<PathBuf> {
        self.store()?.aside(name).ok()
    }

    /// The cache of digests.
    #[must_use]
    pub fn stat_cache(&self) -> StatCache {
        StatCache::new(self.aside("stat"), self.settings.function)
    }

    /// The file that a program's name means: as it is if it has a slash, else the first
    /// executable file on PATH that is not this program.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<String> {
        if name.contains('/') {
            return Some(name.to_owned());
        }
        let own = self.program.as_deref().and_then(|path| std::fs::canonicalize(path).ok());
        self.variable("PATH")?.split(':').find_map(|directory| {
            let directory = if directory.is_empty() { "." } else { directory };
            let path = format!("{}/{name}", directory.trim_end_matches('/'));
            let metadata = std::fs::metadata(&path).ok()?;
            let executable = metadata.is_file() && crate::stat_cache::is_executable(&metadata);
            let other = own.is_none() || std::fs::canonicalize(&path).ok() != own;
            (executable && other).then_some(path)
        })
    }

    /// Whether the first program on PATH that is called `name` is `program`.
    #[must_use]
    pub fn leads_to(&self, name: &str, program: &str) -> bool {
        if name.contains('/') {
            return name == program;
        }
        let first = self.variable("PATH").and_then(|path| {
            path.split(':').find_map(|directory| {
                let directory = if directory.is_empty() { "." } else { directory };
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                let metadata = std::fs::metadata(&path).ok()?;
                (metadata.is_file() && crate::stat_cache::is_executable(&metadata)).then_some(path)
            })
        });
        first.as_deref() == Some(program)
    }

    /// Where a path leads.
    #[must_use]
    pub fn real(&self, path: &str) -> Option<PathBuf> {
        std::fs::canonicalize(Path::new(&self.directory).join(path)).ok()
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
