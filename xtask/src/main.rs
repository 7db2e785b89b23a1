//! The project's own chores: `cargo xtask demo | test | bench | dist | peers | proto`.

mod bench;
mod chore;
mod chroots;
mod dist;
mod peers;
mod proto;
mod test;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The chores of this project")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build everything and run `speculate demo`.
    Demo {
        /// Arguments for `speculate demo`, such as `--json`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run every test.
    Test(test::Options),
    /// Measure, against the peers named in docs/benchmarks.md, in one run.
    Bench(bench::Options),
    /// Leave the statically linked release programs in target/dist/bin.
    Dist,
    /// Fetch the tools of others that tests compare with, into target/peers.
    Peers {
        /// Also what only the long forms of tests need.
        #[arg(long)]
        long: bool,
    },
    /// Write proto/src/gen from proto/defs.
    Proto {
        /// Only say whether what is committed is what would be written.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    match Cli::parse().chore {
        Chore::Demo { arguments } => dist::demo(&arguments),
        Chore::Test(options) => test::run_all(&options),
        Chore::Bench(options) => bench::run_all(&options),
        Chore::Dist => dist::dist(),
        Chore::Peers { long } => peers::fetch(long),
        Chore::Proto { check } => proto::generate(check),
    }
}
