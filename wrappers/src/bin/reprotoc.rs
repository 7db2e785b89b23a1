//! reprotoc: `protoc` as a cached action.

use std::ffi::OsString;
use std::process::ExitCode;

use forerunner_wrappers::program::Program;
use forerunner_wrappers::tools::table;

mod shell;

fn main() -> ExitCode {
    shell::main(&Program {
        name: "reprotoc",
        usage: "usage: reprotoc [PROGRAM] ARGUMENTS…   (PROGRAM: protoc by another name or path)\n       \
                reprotoc --explain … | --stats | --zero-stats | --forerunner-help | --forerunner-version",
        handle: |engine, words| table::run(engine, "protoc", &shell::own_name(), words),
        stands_in: true,
        real: |arguments: &[OsString]| Some(shell::with_program("protoc", arguments)),
    })
}
