//! The project's own chores: `cargo xtask demo | test | bench | dist | proto`.

mod proto;

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
    /// Write proto/src/gen from proto/defs.
    Proto {
        /// Only say whether what is committed is what would be written.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    match Cli::parse().chore {
        Chore::Proto { check } => proto::generate(check),
    }
}
