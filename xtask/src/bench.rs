//! The benches, which are programs of the tests' package.

use anyhow::Result;
use clap::Args;

use crate::chore::{cargo, run};

#[derive(Args)]
pub(crate) struct Options {
    /// Only benches whose name contains one of these.
    names: Vec<String>,
}

/// Builds the release programs and runs the benches on them.
pub(crate) fn run_all(options: &Options) -> Result<()> {
    crate::dist::dist()?;
    let bin = crate::chore::target_root().join("dist/bin");
    let peers = crate::chore::target_root().join("peers");
    let mut command = cargo(&["bench", "-p", "forerunner-tests", "--bench", "all", "--"]);
    command.args(&options.names).env("FORERUNNER_BIN_DIR", bin);
    if std::env::var_os("FORERUNNER_PEERS").is_none() {
        command.env("FORERUNNER_PEERS", peers);
    }
    run(&mut command)
}
