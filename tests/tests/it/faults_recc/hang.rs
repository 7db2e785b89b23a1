//! Commands that must come to an end.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than any command here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs a command; an error if it does not end.
pub(super) fn output_or_hang(command: &mut Command) -> Result<Output, String> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let mut streams = (child.stdout.take(), child.stderr.take());
    let stderr = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stream) = &mut streams.1 {
            let _read = stream.read_to_end(&mut text);
        }
        text
    });
    let stdout = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stream) = &mut streams.0 {
            let _read = stream.read_to_end(&mut text);
        }
        text
    });
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it hangs: {command:?}"));
            }
        }
    };
    let text = |thread: std::thread::JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
}
