//! recc: compile and link commands as cached actions.

use std::ffi::OsString;
use std::process::ExitCode;

use forerunner_wrappers::engine::{Engine, Outcome};
use forerunner_wrappers::program::{Program, USAGE};
use forerunner_wrappers::recc::{self, Task};

mod shell;

const USAGE_LINE: &str = "usage: recc COMMAND ARGUMENTS…\n       \
     recc --explain COMMAND ARGUMENTS…   say what the command is and reads\n       \
     recc --stats | --zero-stats         show or mark the figures\n       \
     recc --help | --version";

fn main() -> ExitCode {
    shell::main(&Program {
        name: "recc",
        usage: USAGE_LINE,
        handle,
        stands_in: false,
        real: |arguments: &[OsString]| Some(arguments.to_vec()),
    })
}

fn handle(engine: &mut Engine<'_>, words: &[String]) -> Outcome {
    match words {
        [first, command @ ..] if first == "--explain" && !command.is_empty() => {
            recc::run(engine, command, Task::Explain)
        }
        [first, ..] if first.starts_with('-') => {
            let _written =
                writeln!(engine.err, "recc: unrecognized option `{first}`\n{USAGE_LINE}");
            Outcome::Exit(USAGE)
        }
        command => recc::run(engine, command, Task::Run),
    }
}
