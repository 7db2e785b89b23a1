//! What all our programs have in common from their start to their end.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::engine::{Engine, Outcome};
use crate::figures::Figures;
use crate::metadata;
use crate::run;
use crate::session::Session;
use crate::settings::{Places, Settings, help};
use crate::stats;

/// Exit status for a command line that makes no sense, as the reference's.
pub const USAGE: i32 = 100;

/// What a program is started with.
pub struct Start {
    /// Arguments, the program's own name first.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The current directory.
    pub directory: std::io::Result<PathBuf>,
    /// Path of the program itself.
    pub program: Option<PathBuf>,
}

/// One of our programs.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The first line of its help.
    pub usage: &'static str,
    /// Handles the command line after the program's name.
    pub handle: fn(&mut Engine<'_>, &[String]) -> Outcome,
    /// Whether it stands in for a tool: then `--help`, `--version` and an empty command line are
    /// for the tool, whose answers scripts look at (Meson asks `ar -h` what it can do).
    pub stands_in: bool,
    /// The real command, for arguments that are not text or settings that are wrong.
    pub real: fn(&[OsString]) -> Option<Vec<OsString>>,
}

/// How a program ends.
pub enum End {
    /// It exits.
    Exit(i32),
    /// It ends by this signal.
    Signal(i32),
    /// It becomes another program.
    Replace(Vec<OsString>),
}

/// Runs a program.
pub fn run(program: &Program, start: Start, out: &mut dyn Write, err: &mut dyn Write) -> End {
    let Start { arguments, environment, directory, program: path } = start;
    let arguments: Vec<OsString> = arguments.into_iter().skip(1).collect();
    let first = arguments.first().and_then(|word| word.to_str()).unwrap_or_default();
    let say = |out: &mut dyn Write, text: &str| {
        let written = out.write_all(text.as_bytes());
        End::Exit(i32::from(written.is_err()))
    };
    match first {
        "--forerunner-version" => {
            return say(out, &format!("{} version: {}\n", program.name, env!("CARGO_PKG_VERSION")));
        }
        "--forerunner-help" => return say(out, &help::text(program.usage)),
        _ if program.stands_in => {}
        "--version" | "-v" if arguments.len() == 1 => {
            return say(out, &format!("{} version: {}\n", program.name, env!("CARGO_PKG_VERSION")));
        }
        "--help" | "-h" if arguments.len() == 1 => return say(out, &help::text(program.usage)),
        "--help=markdown" if arguments.len() == 1 => return say(out, &help::markdown()),
        "" if arguments.is_empty() => {
            let _written = writeln!(err, "{}", program.usage);
            return End::Exit(USAGE);
        }
        _ => {}
    }
    let directory = directory.ok().and_then(|path| path.into_os_string().into_string().ok());
    let words: Option<Vec<String>> =
        arguments.iter().map(|word| word.to_str().map(str::to_owned)).collect();
    let (Some(directory), Some(words)) = (directory, words) else {
        // Names that are not UTF-8 cannot stand in an action.
        return (program.real)(&arguments).map_or(End::Exit(USAGE), End::Replace);
    };
    let environment: Vec<(String, String)> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let places = Places {
        environment: &environment,
        directory: directory.as_ref(),
        program: path.as_deref().and_then(std::path::Path::parent),
    };
    let settings = match Settings::read(&places) {
        Ok(settings) => settings,
        Err(error) => {
            let _written = writeln!(err, "{}: {error}", program.name);
            return End::Exit(USAGE);
        }
    };
    if let Err(problem) = Figures::check(&settings) {
        let _written = writeln!(err, "{}: {problem}", program.name);
        return End::Exit(USAGE);
    }
    let session = Session::new(settings, environment, directory, path, program.name);
    warn_of_unknown(&session);
    let mut engine = Engine { session: &session, out, err };
    let outcome = match (first, words.len()) {
        ("--stats", 1) => return as_end(show_stats(&mut engine)),
        ("--zero-stats", 1) => return as_end(zero_stats(&mut engine)),
        _ => (program.handle)(&mut engine, &words),
    };
    let outcome = wait_if_watched(&mut engine, outcome);
    if let Err(problem) = session.figures.write(&session.settings, engine.err) {
        // The command is done; figures do not change how it ended.
        let _written = writeln!(engine.err, "{}: {problem}", program.name);
    }
    match outcome {
        Outcome::Exit(code) => metadata::send(&session, &words, code),
        Outcome::Signal(number) => metadata::send(&session, &words, 128 + number),
        Outcome::Replace(_) => {}
    }
    as_end(outcome)
}

fn as_end(outcome: Outcome) -> End {
    match outcome {
        Outcome::Exit(code) => End::Exit(code),
        Outcome::Signal(number) => End::Signal(number),
        Outcome::Replace(words) => End::Replace(words.into_iter().map(OsString::from).collect()),
    }
}

/// Who wants figures or a description wants to know how the command ended: then it is waited for
/// instead of being this very process.
fn wait_if_watched(engine: &mut Engine<'_>, outcome: Outcome) -> Outcome {
    let session = engine.session;
    let settings = &session.settings;
    let watched = settings.metrics || !settings.metadata_port.is_empty();
    let Outcome::Replace(words) = &outcome else { return outcome };
    let Some((program, arguments)) = words.split_first().filter(|_| watched) else {
        return outcome;
    };
    let begun = Instant::now();
    let ended = Command::new(program).args(arguments).status();
    session.figures.time("execute_local_no_action_result", begun.elapsed());
    match ended {
        Ok(status) => Outcome::of(status),
        Err(error) => {
            let _written = writeln!(engine.err, "recc: `{program}` cannot be started: {error}");
            Outcome::Exit(run::start_error_code(&error))
        }
    }
}

fn warn_of_unknown(session: &Session) {
    for (name, nearest) in &session.settings.unknown {
        match nearest {
            Some(nearest) => session.log.say_always(format_args!(
                "there is no setting `{name}`; did you mean `{nearest}`?"
            )),
            None => session.log.warning(format_args!("there is no setting `{name}`")),
        }
    }
}

fn show_stats(engine: &mut Engine<'_>) -> Outcome {
    let session = engine.session;
    let Some(folder) = session.aside("stats") else { return Outcome::Exit(1) };
    let summary = stats::sum(&folder, &session.directory);
    let written = engine.out.write_all(summary.show(&session.directory).as_bytes());
    Outcome::Exit(i32::from(written.is_err()))
}

fn zero_stats(engine: &mut Engine<'_>) -> Outcome {
    let Some(folder) = engine.session.aside("stats") else { return Outcome::Exit(1) };
    stats::mark(&folder);
    Outcome::Exit(0)
}
