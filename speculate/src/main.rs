//! `speculate`: see `speculate --help`.

mod casd;
mod cli;
mod commands;
mod context;
mod demo;
mod options;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
