//! Figures in the format of statsd, with the names of the reference.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use crate::settings::Settings;

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    /// How often, or how much.
    Count(u64),
    /// How long, in milliseconds.
    Time(f64),
}

/// What is counted and timed in one run.
#[derive(Debug, Default)]
pub struct Figures(RefCell<Vec<(&'static str, Value)>>);

impl Figures {
    /// Counts.
    pub fn count(&self, name: &'static str, by: u64) {
        self.0.borrow_mut().push((name, Value::Count(by)));
    }

    /// Notes how long something took.
    pub fn time(&self, name: &'static str, took: Duration) {
        self.0.borrow_mut().push((name, Value::Time(took.as_secs_f64() * 1000.0)));
    }

    /// The lines, with the tags that the settings name in the form that they name.
    #[must_use]
    pub fn lines(&self, settings: &Settings) -> String {
        let tags = |separator: &str, between: &str| -> String {
            let pairs = settings.metrics_tags.iter().map(|(key, value)| format!("{key}={value}"));
            let joined = pairs.collect::<Vec<_>>().join(between);
            if joined.is_empty() { joined } else { format!("{separator}{joined}") }
        };
        let (after_name, at_end) = match settings.statsd_format.as_str() {
            "influx" => (tags(",", ","), String::new()),
            "graphite" => (tags(";", ";"), String::new()),
            "dog" => (String::new(), tags("|#", ",")),
            _ => (String::new(), String::new()),
        };
        let mut out = String::new();
        for (name, value) in self.0.borrow().iter() {
            let _ = match value {
                Value::Count(count) => {
                    writeln!(out, "recc.{name}{after_name}:{count}|c{at_end}")
                }
                Value::Time(milliseconds) => {
                    writeln!(out, "recc.{name}{after_name}:{milliseconds:.3}|ms{at_end}")
                }
            };
        }
        out
    }

    /// Writes them where the settings say; the error names the file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(
        &self,
        settings: &Settings,
        stderr: &mut dyn std::io::Write,
    ) -> Result<(), String> {
        if !settings.metrics {
            return Ok(());
        }
        let lines = self.lines(settings);
        let path = &settings.metrics_file;
        if path.is_empty() {
            return stderr.write_all(lines.as_bytes()).map_err(|error| error.to_string());
        }
        std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(lines.as_bytes()))
            .map_err(|error| format!("RECC_METRICS_FILE `{path}`: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Places;

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
            figures.time("execute_action", Duration::from_micros(1500));
            figures.lines(&Settings::read(&places).expect("settings"))
        };
        assert_eq!(lines(""), "recc.action_cache_hit:1|c\nrecc.execute_action:1.500|ms\n");
        assert!(lines("influx").starts_with("recc.action_cache_hit,a=1,b=2:1|c\n"));
        assert!(lines("graphite").starts_with("recc.action_cache_hit;a=1;b=2:1|c\n"));
        assert!(lines("dog").starts_with("recc.action_cache_hit:1|c|#a=1,b=2\n"));
    }
}
