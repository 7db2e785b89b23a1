//! Figures in the format of statsd, with the names of the reference.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

use crate::datagram;
use crate::settings::Settings;

/// What is counted and timed in one run.
#[derive(Debug, Default)]
pub struct Figures {
    counts: RefCell<Vec<(&'static str, u64)>>,
    times: RefCell<Vec<(&'static str, Duration)>>,
}

impl Figures {
    /// Counts.
    pub fn count(&self, name: &'static str, by: u64) {
        let mut counts = self.counts.borrow_mut();
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum = sum.saturating_add(by),
            None => counts.push((name, by)),
        }
    }

    /// Notes how long something took.
    pub fn time(&self, name: &'static str, took: Duration) {
        self.times.borrow_mut().push((name, took));
    }

    /// What was counted, each name once.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        self.counts.borrow().clone()
    }

    /// What was timed.
    #[must_use]
    pub fn times(&self) -> Vec<(&'static str, Duration)> {
        self.times.borrow().clone()
    }

    /// The lines, with the tags that the settings name in the form that they name. Without a form
    /// they are written as influx does it, as the reference does.
    #[must_use]
    pub fn lines(&self, settings: &Settings) -> Vec<String> {
        let tags = |separator: &str, between: &str| -> String {
            let pairs = settings.metrics_tags.iter().map(|(key, value)| format!("{key}={value}"));
            let joined = pairs.collect::<Vec<_>>().join(between);
            if joined.is_empty() { joined } else { format!("{separator}{joined}") }
        };
        let (after_name, at_end) = match settings.statsd_format.as_str() {
            "graphite" => (tags(";", ";"), String::new()),
            "dog" => (String::new(), tags("|#", ",")),
            _ => (tags(",", ","), String::new()),
        };
        let counts = self.counts.borrow();
        let times = self.times.borrow();
        let counts = counts
            .iter()
            .map(|(name, count)| format!("recc.{name}{after_name}:{count}|c{at_end}\n"));
        let times = times.iter().map(|(name, took)| {
            format!("recc.{name}{after_name}:{}|ms{at_end}\n", took.as_millis())
        });
        counts.chain(times).collect()
    }

    /// Writes them where the settings say; the error names the place.
    ///
    /// # Errors
    /// If the file cannot be written or the server's address has no meaning.
    pub fn write(
        &self,
        settings: &Settings,
        stderr: &mut dyn std::io::Write,
    ) -> Result<(), String> {
        if !settings.metrics {
            return Ok(());
        }
        let lines = self.lines(settings);
        if !settings.metrics_udp.is_empty() {
            let server = &settings.metrics_udp;
            return datagram::send(server, lines.iter().map(String::as_bytes))
                .map_err(|error| format!("RECC_METRICS_UDP_SERVER `{server}`: {error}"));
        }
        if settings.metrics_file.is_empty() {
            let mut text = format!("{} buildbox Metrics:\n", now());
            let _ = write!(text, "{}", lines.concat());
            return stderr.write_all(text.as_bytes()).map_err(|error| error.to_string());
        }
        open(&settings.metrics_file)?
            .write_all(lines.concat().as_bytes())
            .map_err(|error| format!("RECC_METRICS_FILE `{}`: {error}", settings.metrics_file))
    }

    /// Whether figures could be written at the end; the reference refuses to begin otherwise.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn check(settings: &Settings) -> Result<(), String> {
        if settings.metrics && !settings.metrics_file.is_empty() {
            open(&settings.metrics_file)?;
        }
        Ok(())
    }
}

fn open(path: &str) -> Result<std::fs::File, String> {
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(Path::new(path))
        .map_err(|error| format!("RECC_METRICS_FILE `{path}`: {error}"))
}

/// The time, as the reference writes it.
fn now() -> String {
    let mut time = Timestamp::from(SystemTime::now());
    // To the millisecond; the text has as many digits as are needed.
    time.nanos -= time.nanos % 1_000_000;
    let text = time.to_string();
    let text = text.trim_end_matches('Z');
    match text.split_once('.') {
        Some((seconds, rest)) => format!("{seconds}.{rest}+0000"),
        None => format!("{text}.000+0000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Places;

    #[test]
    fn the_time_has_milliseconds() {
        let text = now();
        assert_eq!(text.len(), "2026-11-22T10:17:48.871+0000".len(), "{text}");
    }

    #[test]
    fn tags_in_every_form() {
        let lines = |format: &str| {
            let environment: Vec<(String, String)> = [
                ("RECC_STATSD_FORMAT", format),
                ("RECC_METRICS_TAG_a", "1"),
                ("RECC_METRICS_TAG_b", "2"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
            let places =
                Places { environment: &environment, directory: "/".as_ref(), program: None };
            let figures = Figures::default();
            figures.count("action_cache_hit", 1);
            figures.time("compiler_deps", Duration::from_micros(1500));
            figures.count("action_cache_hit", 1);
            figures.lines(&Settings::read(&places).expect("settings")).concat()
        };
        assert_eq!(
            lines(""),
            "recc.action_cache_hit,a=1,b=2:2|c\nrecc.compiler_deps,a=1,b=2:1|ms\n"
        );
        assert!(lines("influx").starts_with("recc.action_cache_hit,a=1,b=2:2|c\n"));
        assert!(lines("graphite").starts_with("recc.action_cache_hit;a=1;b=2:2|c\n"));
        assert!(lines("dog").starts_with("recc.action_cache_hit:2|c|#a=1,b=2\n"));
    }
}
