//! reglib-compile-resources: `glib-compile-resources` as a cached action.

use std::ffi::OsString;
use std::process::ExitCode;

use forerunner_wrappers::program::Program;
use forerunner_wrappers::tools::table;

mod shell;

fn main() -> ExitCode {
    shell::main(&Program {
        name: "reglib-compile-resources",
        usage: "usage: reglib-compile-resources [PROGRAM] ARGUMENTS…   (PROGRAM: glib-compile-resources by another name or path)\n       \
                reglib-compile-resources --explain … | --stats | --zero-stats | --forerunner-help | --forerunner-version",
        handle: |engine, words| {
            table::run(engine, "glib-compile-resources", &shell::own_name(), words)
        },
        stands_in: true,
        real: |arguments: &[OsString]| {
            Some(shell::with_program("glib-compile-resources", arguments))
        },
    })
}
