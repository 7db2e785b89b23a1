//! rewrap: any command as a cached action, with its inputs and outputs named; and, through a link
//! named `re<tool>`, any tool that the user described.

use std::ffi::OsString;
use std::process::ExitCode;

use forerunner_wrappers::engine::{Engine, Outcome};
use forerunner_wrappers::program::Program;
use forerunner_wrappers::tools::{rewrap, table};

mod shell;

fn main() -> ExitCode {
    shell::main(&Program {
        name: "rewrap",
        usage: "usage: rewrap --input PATH… --output PATH… [--env NAME…] [--tool PROGRAM…] -- COMMAND ARGUMENTS…\n       \
                rewrap --explain … | --stats | --zero-stats | --help | --version\n\
                Started through a link named re<tool> it caches the tool of that name in RECC_TOOLS_FILE.",
        handle,
        stands_in: false,
        real: |arguments: &[OsString]| {
            let at = arguments.iter().position(|word| word == "--")?;
            Some(arguments[at + 1..].to_vec())
        },
    })
}

fn handle(engine: &mut Engine<'_>, words: &[String]) -> Outcome {
    let own = shell::own_name();
    let name = own.rsplit('/').next().unwrap_or_default();
    match name.strip_prefix("re").filter(|tool| *tool != "wrap") {
        Some(tool) => table::run(engine, tool, &own, words),
        None => rewrap::run(engine, words),
    }
}
