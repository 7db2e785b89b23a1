//! Our own log, in the format of the reference.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Parses the name of a level.
pub(crate) fn level(text: &str) -> Result<Level, String> {
    match text.to_ascii_lowercase().as_str() {
        "trace" => Ok(Level::TRACE),
        "debug" => Ok(Level::DEBUG),
        "info" => Ok(Level::INFO),
        "warning" | "warn" => Ok(Level::WARN),
        "error" => Ok(Level::ERROR),
        _ => Err("expected trace, debug, info, warning or error".to_owned()),
    }
}

/// Starts logging to standard error output, or to a new file in `directory`.
pub(crate) fn start(level: Level, directory: Option<&Path>) -> std::io::Result<()> {
    match directory {
        None => install(level, std::io::stderr),
        Some(directory) => {
            let (date, time) = calendar(now());
            let host = nix::unistd::gethostname().unwrap_or_default();
            let name = format!(
                "buildbox-run.{}.{}.log.{}.{}.{}.{}",
                host.to_string_lossy(),
                nix::unistd::getuid(),
                name(level),
                date.replace('-', ""),
                time.replace([':', '.'], ""),
                std::process::id()
            );
            std::fs::create_dir_all(directory)?;
            install(level, File::create(directory.join(name))?);
        }
    }
    Ok(())
}

fn install(level: Level, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .event_format(Format)
        .with_writer(writer)
        .finish();
    // Only the first one counts, and that is this.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Format;

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let (date, time) = calendar(now());
        let file = metadata.file().unwrap_or("-").rsplit('/').next().unwrap_or("-");
        write!(
            writer,
            "{date}T{time}+0000 [{}:{}] [{file}:{}] [{}] ",
            std::process::id(),
            nix::unistd::gettid(),
            metadata.line().unwrap_or(0),
            name(*metadata.level()),
        )?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "TRACE",
        Level::DEBUG => "DEBUG",
        Level::INFO => "INFO",
        Level::WARN => "WARNING",
        Level::ERROR => "ERROR",
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// Date and time of day in UTC, from milliseconds since 1970.
fn calendar(milliseconds: u128) -> (String, String) {
    let (days, rest) = (milliseconds / 86_400_000, milliseconds % 86_400_000);
    // Years are counted from March, so that a leap day is the last of its year; 1970-01-01 is
    // day 719468 of that count. Periods of 400 years have equally many days.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u128::from(month <= 2);
    let date = format!("{year:04}-{month:02}-{day:02}");
    let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
    let time = format!("{hours:02}:{minutes:02}:{:02}.{:03}", rest / 1000 % 60, rest % 1000);
    (date, time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (milliseconds, date, time) in [
            (0, "1970-01-01", "00:00:00.000"),
            (951_782_400_000, "2000-02-29", "00:00:00.000"),
            (1_321_009_871_123, "2011-11-11", "11:11:11.123"),
            (1_709_251_199_999, "2024-02-29", "23:59:59.999"),
            (1_735_689_600_000, "2025-01-01", "00:00:00.000"),
        ] {
            assert_eq!(calendar(milliseconds), (date.to_owned(), time.to_owned()));
        }
    }

    #[test]
    fn levels() {
        assert_eq!(level("warning"), Ok(Level::WARN));
        assert_eq!(level("TRACE"), Ok(Level::TRACE));
        assert!(level("loud").is_err());
    }
}
