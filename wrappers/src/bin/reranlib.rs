//! reranlib: `ranlib` as a cached action.

use std::ffi::OsString;
use std::process::ExitCode;

use forerunner_wrappers::program::Program;
use forerunner_wrappers::tools::ranlib;

mod shell;

fn main() -> ExitCode {
    shell::main(&Program {
        name: "reranlib",
        usage: "usage: reranlib [RANLIB] ARGUMENTS…   (RANLIB: ranlib, llvm-ranlib, TARGET-ranlib, gcc-ranlib; else RERANLIB_RANLIB, else ranlib)\n       \
                reranlib --explain … | --stats | --zero-stats | --forerunner-help | --forerunner-version",
        handle: |engine, words| ranlib::run(engine, &shell::own_name(), words),
        stands_in: true,
        real: |arguments: &[OsString]| Some(shell::with_program("ranlib", arguments)),
    })
}
