//! recc: compile and link commands as cached actions.

use std::ffi::OsString;
use std::process::ExitCode;

use forerunner_wrappers::command::compiler;
use forerunner_wrappers::engine::{Engine, Outcome};
use forerunner_wrappers::program::{Program, USAGE};
use forerunner_wrappers::recc::{self, Task};

mod shell;

const USAGE_LINE: &str = "usage: recc COMMAND ARGUMENTS…\n       \
     recc --explain COMMAND ARGUMENTS…   say what the command is and reads\n       \
     recc --stats | --zero-stats         show or mark the figures\n       \
     recc --help | --version";

fn main() -> ExitCode {
    let by_other_name = compiler::recognise(&shell::own_name(), None).is_some();
    shell::main(&Program {
        name: "recc",
        usage: USAGE_LINE,
        handle: if by_other_name { stand_in } else { handle },
        stands_in: by_other_name,
        real: if by_other_name {
            |arguments: &[OsString]| {
                let compiler = shell::other_on_path(&shell::own_name())?;
                Some([compiler.into()].into_iter().chain(arguments.iter().cloned()).collect())
            }
        } else {
            |arguments: &[OsString]| Some(arguments.to_vec())
        },
    })
}

/// Started by a link that has a compiler's name: the command is that of the next program with this
/// name on PATH, which is never recc itself.
fn stand_in(engine: &mut Engine<'_>, words: &[String]) -> Outcome {
    let name = shell::own_name();
    let found =
        shell::other_on_path(&name).and_then(|path| path.into_os_string().into_string().ok());
    let Some(compiler) = found else {
        let _written = writeln!(engine.err, "recc: there is no other `{name}` on PATH");
        return Outcome::Exit(127);
    };
    let command: Vec<String> = [compiler].into_iter().chain(words.iter().cloned()).collect();
    recc::run(engine, &command, Task::Run)
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
