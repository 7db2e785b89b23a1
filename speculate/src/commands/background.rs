//! Going on in the background, detached from the build that started us.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Starts this program once more without `--background`, in a process group of its own and with
/// the lowest priority, and leaves it alone.
pub(crate) fn detach() -> Result<()> {
    let program = std::env::current_exe().context("the path of this program")?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--background");
    // `nice` is part of every system that builds; without it the priority stays as it is.
    let nice =
        ["/usr/bin/nice", "/bin/nice"].iter().find(|path| std::path::Path::new(path).exists());
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
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("`{}`", program.display()))?;
    Ok(())
}
