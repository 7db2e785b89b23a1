//! rebison: `bison` as a cached action.

use std::ffi::OsString;
use std::process::ExitCode;

use forerunner_wrappers::program::Program;
use forerunner_wrappers::tools::table;

mod shell;

fn main() -> ExitCode {
    shell::main(&Program {
        name: "rebison",
        usage: "usage: rebison [PROGRAM] ARGUMENTS…   (PROGRAM: bison by another name or path)\n       \
                rebison --stats | --zero-stats | --help | --version",
        handle: |engine, words| table::run(engine, "bison", &shell::own_name(), words),
        real: |arguments: &[OsString]| Some(shell::with_program("bison", arguments)),
    })
}
