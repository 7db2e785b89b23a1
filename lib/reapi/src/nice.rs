//! Programs that leave the machine to others.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Where `nice` is, which is part of every system that builds.
const NICE: [&str; 2] = ["/usr/bin/nice", "/bin/nice"];

/// A command that runs `program` with the lowest priority, and so all that it starts. On a system
/// without `nice` the priority stays as it is.
#[must_use]
pub fn at_lowest_priority(program: impl AsRef<OsStr>) -> Command {
    match NICE.iter().find(|path| Path::new(path).exists()) {
        Some(nice) => {
            let mut command = Command::new(nice);
            command.args(["-n", "19"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}
