//! Going on in the background, detached from the build that started us.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use forerunner_reapi::at_lowest_priority;

/// Starts this program once more without `--background`, in a process group of its own and with
/// the lowest priority, and leaves it alone. What it has to say goes into a file beside `output`.
pub(crate) fn detach(output: &Path) -> Result<()> {
    let log = PathBuf::from(format!("{}.log", output.display()));
    let log = File::create(&log).with_context(|| format!("`{}`", log.display()))?;
    let program = std::env::current_exe().context("the path of this program")?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--background");
    at_lowest_priority(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("`{}`", program.display()))?;
    Ok(())
}
