//! Every test, as the README promises.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::statvfs::statvfs;

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

/// The 2 GB that a buildbox-casd leaves free unless it is told otherwise, and what the tests have
/// on the disk at once, at most. With a full disk they would not fail but wait: it has writes wait
/// until there is room.
const ROOM_BYTES: u64 = 4_000_000_000;

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
    run(&mut cargo(&["test", "--workspace", "--no-run", "--quiet"]))?;
    room(&std::env::temp_dir())?;
    let nextest = succeeds(&mut cargo(&["nextest", "--version"]));
    let mut command = match nextest {
        true => cargo(&["nextest", "run", "--workspace"]),
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

/// Whether the tests have room for what they write to `folder`.
fn room(folder: &Path) -> Result<()> {
    let system = statvfs(folder).with_context(|| format!("`{}`", folder.display()))?;
    let free = system.blocks_available().saturating_mul(system.fragment_size());
    let giga = |bytes: u64| bytes as f64 / 1e9;
    let (free, wanted) = (giga(free), giga(ROOM_BYTES));
    println!("{free:.1} GB are free in `{}`", folder.display());
    if free < wanted {
        bail!(
            "the tests need {wanted:.0} GB in `{}`, and {free:.1} are free: make room, or set \
             TMPDIR to a folder with more of it",
            folder.display()
        );
    }
    Ok(())
}
