//! `speculate`: see `speculate --help`.

mod cli;
mod commands;
mod context;
mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
