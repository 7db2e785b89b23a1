//! restrip: `strip` as a cached action.

use std::ffi::OsString;
use std::process::ExitCode;

use forerunner_wrappers::program::Program;
use forerunner_wrappers::tools::table;

mod shell;

fn main() -> ExitCode {
    shell::main(&Program {
        name: "restrip",
        usage: "usage: restrip [PROGRAM] ARGUMENTS…   (PROGRAM: strip by another name or path)\n       \
                restrip --explain … | --stats | --zero-stats | --forerunner-help | --forerunner-version",
        handle: |engine, words| table::run(engine, "strip", &shell::own_name(), words),
        stands_in: true,
        real: |arguments: &[OsString]| Some(shell::with_program("strip", arguments)),
    })
}
