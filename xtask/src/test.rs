//! Every test, as the README promises.

use anyhow::Result;
use clap::Args;

use crate::chore::{cargo, checkout, run, succeeds, target_root};
use crate::{peers, proto};

#[derive(Args)]
pub(crate) struct Options {
    /// The long forms: thousands of kills, millions of random inputs, whole projects.
    #[arg(long)]
    long: bool,
    /// Only tests whose name contains one of these.
    names: Vec<String>,
}

/// Checks the generated code, fetches what tests compare with, builds everything and runs the
/// tests.
pub(crate) fn run_all(options: &Options) -> Result<()> {
    proto::generate(true)?;
    let required = std::env::var_os("FORERUNNER_REQUIRE_PEERS").is_some_and(|value| value == "1");
    if let Err(error) = peers::fetch(options.long) {
        if required {
            return Err(error);
        }
        println!("not all peers could be fetched, tests that need them say so: {error:#}");
    }
    run(&mut cargo(&["build", "--workspace", "--bins"]))?;
    let nextest = succeeds(&mut cargo(&["nextest", "--version"]));
    let mut command = match nextest {
        true => cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]),
        false => cargo(&["test", "--workspace", "--no-fail-fast"]),
    };
    // `cargo test` takes one name; of several, the tests of each are run by nextest only.
    command.args(&options.names);
    if options.long {
        command.env("FORERUNNER_LONG", "1");
        if nextest {
            command.args(["--profile", "long"]);
        }
    }
    if std::env::var_os("FORERUNNER_PEERS").is_none() {
        command.env("FORERUNNER_PEERS", target_root().join("peers"));
    }
    command.current_dir(checkout());
    run(&mut command)
}
