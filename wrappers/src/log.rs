//! Messages to the user.

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;

use crate::settings::{Level, Settings};

/// Where messages go.
#[derive(Clone, Debug)]
pub struct Log {
    level: Level,
    stderr: bool,
    file: Option<PathBuf>,
    tool: &'static str,
}

impl Log {
    /// As the settings say.
    #[must_use]
    pub fn new(settings: &Settings, tool: &'static str) -> Self {
        let to_directory = !settings.log_directory.is_empty();
        let file = to_directory.then(|| {
            let folder = PathBuf::from(&settings.log_directory);
            // A directory that cannot be made leaves the messages unwritten; the build goes on.
            let _made = std::fs::create_dir_all(&folder);
            folder.join(format!("{tool}.{}.log", std::process::id()))
        });
        Self { level: settings.level, stderr: !to_directory || settings.log_both, file, tool }
    }

    /// Whether messages of this level are wanted.
    #[must_use]
    pub fn wants(&self, level: Level) -> bool {
        level >= self.level
    }

    /// Something fails.
    pub fn error(&self, message: impl Display) {
        self.say(Level::Error, message);
    }

    /// Something is odd.
    pub fn warning(&self, message: impl Display) {
        self.say(Level::Warning, message);
    }

    /// Something is decided.
    pub fn info(&self, message: impl Display) {
        self.say(Level::Info, message);
    }

    /// Something is formed.
    pub fn debug(&self, message: impl Display) {
        self.say(Level::Debug, message);
    }

    /// Something that the user surely wants to know.
    pub fn say_always(&self, message: impl Display) {
        self.write(Level::Warning, message);
    }

    fn say(&self, level: Level, message: impl Display) {
        if self.wants(level) {
            self.write(level, message);
        }
    }

    fn write(&self, level: Level, message: impl Display) {
        let word = match level {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
        };
        // One write, so that lines of processes that run at once are not mixed.
        let line = format!("{} [{}] [{word}] {message}\n", self.tool, std::process::id());
        if self.stderr {
            let _written = std::io::stderr().write_all(line.as_bytes());
        }
        if let Some(path) = &self.file
            && let Ok(mut file) = std::fs::File::options().create(true).append(true).open(path)
        {
            let _written = file.write_all(line.as_bytes());
        }
    }
}
