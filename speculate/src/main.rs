//! `speculate`: see `speculate --help`.

mod cli;
mod commands;
mod context;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
