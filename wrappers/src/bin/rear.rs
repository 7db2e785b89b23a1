//! rear: `ar` as a cached action.

use std::ffi::OsString;
use std::process::ExitCode;

use forerunner_wrappers::program::Program;
use forerunner_wrappers::tools::rear;

mod shell;

fn main() -> ExitCode {
    shell::main(&Program {
        name: "rear",
        usage: "usage: rear [AR] ARGUMENTS…   (AR: ar, llvm-ar, TARGET-ar, gcc-ar; else REAR_AR, else ar)\n       \
                rear --explain … | --stats | --zero-stats | --forerunner-help | --forerunner-version",
        handle: |engine, words| rear::run(engine, &shell::own_name(), words),
        stands_in: true,
        real: |arguments: &[OsString]| Some(shell::with_program("ar", arguments)),
    })
}
