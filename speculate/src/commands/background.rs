//! Going on in the background, detached from the build that started us.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Starts this program once more without `--background`, in a process group of its own and with
/// the lowest priority, and leaves it alone. What it has to say goes into a file beside `output`.
pub(crate) fn detach(output: &Path) -> Result<()> {
    let log = PathBuf::from(format!("{}.log", output.display()));
    let log = File::create(&log).with_context(|| format!("`{}`", log.display()))?;
    let program = std::env::current_exe().context("the path of this program")?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--background");
    // `nice` is part of every system that builds; without it the priority stays as it is.
    let nice = ["/usr/bin/nice", "/bin/nice"].iter().find(|path| Path::new(path).exists());
    let mut command = match nice {
        Some(nice) => {
            let mut command = Command::new(nice);
            command.args(["-n", "19"]).arg(&program);
            command
        }
        None => Command::new(&program),
    };
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("`{}`", program.display()))?;
    Ok(())
}
