//! reflex: `flex` as a cached action.

use std::ffi::OsString;
use std::process::ExitCode;

use forerunner_wrappers::program::Program;
use forerunner_wrappers::tools::table;

mod shell;

fn main() -> ExitCode {
    shell::main(&Program {
        name: "reflex",
        usage: "usage: reflex [PROGRAM] ARGUMENTS…   (PROGRAM: flex by another name or path)\n       \
                reflex --explain … | --stats | --zero-stats | --forerunner-help | --forerunner-version",
        handle: |engine, words| table::run(engine, "flex", &shell::own_name(), words),
        stands_in: true,
        real: |arguments: &[OsString]| Some(shell::with_program("flex", arguments)),
    })
}
