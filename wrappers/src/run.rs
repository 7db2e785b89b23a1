//! Starting the real tools.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A command that was run to its end.
#[derive(Clone, Debug)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it wrote.
    pub stderr: Vec<u8>,
    /// From start to end.
    pub took: Duration,
}

impl Captured {
    /// Its exit code, as a shell reports it.
    #[must_use]
    pub fn code(&self) -> i32 {
        code(self.status)
    }
}

/// The exit code of a status, as a shell reports it: 128 and the number for a signal.
#[must_use]
pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The exit code for a program that cannot be started.
#[must_use]
pub fn start_error_code(error: &io::Error) -> i32 {
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

/// Runs a command and keeps what it writes. Its standard input is ours, or the bytes given.
///
/// # Errors
/// If it cannot be started.
pub fn capture(
    program: &str,
    arguments: &[String],
    stdin: Option<&[u8]>,
    environment: &[(&str, &str)],
) -> io::Result<Captured> {
    let begun = Instant::now();
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::inherit() });
    for (name, value) in environment {
        command.env(name, value);
    }
    let mut child = command.spawn()?;
    if let (Some(bytes), Some(mut pipe)) = (stdin, child.stdin.take()) {
        // What is read here are scripts; a tool that does not read them to their end says why.
        let _written = io::Write::write_all(&mut pipe, bytes);
    }
    let output = child.wait_with_output()?;
    Ok(Captured {
        status: output.status,
        stdout: output.stdout,
        stderr: output.stderr,
        took: begun.elapsed(),
    })
}

/// Runs a command that is only asked something: no input, messages in English.
///
/// # Errors
/// If it cannot be started.
pub fn ask(program: &str, arguments: &[String]) -> io::Result<Captured> {
    ask_with(program, arguments, &[])
}

/// The same with further variables.
///
/// # Errors
/// If it cannot be started.
pub fn ask_with(
    program: &str,
    arguments: &[String],
    environment: &[(&str, &str)],
) -> io::Result<Captured> {
    let begun = Instant::now();
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").envs(environment.iter().copied());
    let output = command.stdin(Stdio::null()).output()?;
    Ok(Captured {
        status: output.status,
        stdout: output.stdout,
        stderr: output.stderr,
        took: begun.elapsed(),
    })
}
