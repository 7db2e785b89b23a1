//! Where the environment is read and the process ends.

use std::io::{stderr, stdout};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use forerunner_wrappers::program::{self, End, Program, Start};
use forerunner_wrappers::run;

/// Runs a program from its start to its end.
pub(crate) fn main(what: &Program) -> ExitCode {
    let start = Start {
        arguments: std::env::args_os().collect(),
        environment: std::env::vars_os().collect(),
        directory: std::env::current_dir(),
        program: std::env::current_exe().ok(),
    };
    match program::run(what, start, &mut stdout(), &mut stderr()) {
        End::Exit(code) => ExitCode::from(code as u8),
        End::Replace(words) => {
            let Some((program, arguments)) = words.split_first() else {
                return ExitCode::from(program::USAGE as u8);
            };
            let error = Command::new(program).args(arguments).exec();
            eprintln!("{}: `{}` cannot be started: {error}", what.name, program.to_string_lossy());
            ExitCode::from(run::start_error_code(&error) as u8)
        }
    }
}
