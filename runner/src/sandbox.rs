//! A running sandbox, seen from outside.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::plan::{Plan, Source, Step};
use crate::sys::{Message, Resources, Sandboxed, Stdio, spawn};

mod hint;

/// Why a command could not be run in a sandbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// The kernel gives us no namespaces.
    #[error("the kernel refuses new namespaces: {error}{}", hint::namespaces(.error))]
    Namespaces { error: io::Error },
    /// A step failed.
    #[error("the sandbox cannot {step}: {error}{}", hint::step(.step, .error))]
    Step { step: Box<Step>, error: io::Error },
    /// Powers could not be dropped, or the command not be started.
    #[error("the command cannot be confined: {error}{}", hint::confinement(.error))]
    Confinement { error: io::Error },
    /// The sandbox ended without a word.
    #[error("the sandbox was killed from outside (out of memory?)")]
    Killed,
    /// A path with NUL.
    #[error("a path or argument contains NUL")]
    Nul(#[from] std::ffi::NulError),
    /// Anything else.
    #[error("the sandbox cannot be watched: {0}")]
    Io(#[from] io::Error),
}

impl SandboxError {
    /// Whether this was the overlay, without which it may work.
    pub(crate) fn is_overlay(&self) -> bool {
        matches!(self, Self::Step { step, .. } if matches!(
            &**step,
            Step::Open { source: Source::New { kind, .. }, .. } if *kind == c"overlay"
        ))
    }
}

/// A sandbox that has handed over its root and waits.
pub(crate) struct Waiting {
    born: Sandboxed,
    control: AsyncFd<OwnedFd>,
    /// The root, for reading what the command leaves; it outlives the sandbox.
    pub(crate) root: OwnedFd,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself.
    Itself,
    /// It took too long.
    TimedOut,
    /// We were told to stop.
    Interrupted(Signal),
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ending: Ending,
    /// The exit code, or 128 + the signal.
    pub(crate) exit_code: i32,
    pub(crate) resources: Resources,
}

/// When a command is ended, and how.
pub(crate) struct Limits {
    /// It may run so long.
    pub(crate) timeout: Option<Duration>,
    /// It has so long after SIGTERM.
    pub(crate) grace: Duration,
    /// Becomes a signal when we are told to stop.
    pub(crate) interrupt: watch::Receiver<Option<Signal>>,
}

/// Starts a plan, in a control group if one is given, and waits until its root is there.
///
/// # Errors
/// If the kernel refuses.
pub(crate) async fn start(
    plan: &Plan,
    stdio: Stdio<'_>,
    group: Option<BorrowedFd<'_>>,
) -> Result<Waiting, SandboxError> {
    let born = spawn(plan, stdio, group).map_err(|error| SandboxError::Namespaces { error })?;
    let control = born.watch()?;
    match receive(&born, &control).await? {
        Some((Message::Ready, Some(root))) => Ok(Waiting { born, control, root }),
        Some((message, _)) => Err(failure(plan, message)),
        None => Err(SandboxError::Killed),
    }
}

impl Waiting {
    /// Runs the command to its end, and until every process of the sandbox is gone.
    ///
    /// # Errors
    /// If a later step of the plan fails.
    pub(crate) async fn run(
        mut self,
        plan: &Plan,
        mut limits: Limits,
    ) -> Result<(OwnedFd, Ended), SandboxError> {
        self.born.go()?;
        let deadline = limits.timeout.map(|timeout| Instant::now() + timeout);
        let mut ending = Ending::Itself;
        let mut kill_at: Option<Instant> = None;
        let status = loop {
            let waiting = matches!(ending, Ending::Itself);
            tokio::select! {
                message = receive(&self.born, &self.control) => match message? {
                    Some((Message::Exited { status }, _)) => break Some(status),
                    Some((message, _)) => return Err(failure(plan, message)),
                    None => break None,
                },
                signal = interrupted(&mut limits.interrupt), if waiting => {
                    tracing::info!("Caught signal");
                    ending = Ending::Interrupted(signal);
                    kill_at = Some(self.end(limits.grace));
                }
                () = sleep(deadline), if waiting => {
                    tracing::info!("Action timeout reached");
                    ending = Ending::TimedOut;
                    kill_at = Some(self.end(limits.grace));
                }
                () = sleep(kill_at), if kill_at.is_some() => {
                    self.born.signal(Signal::SIGKILL);
                    kill_at = None;
                }
            }
        };
        let resources = self.born.wait()?;
        let exit_code = match status {
            Some(status) => exit_code(status),
            None if ending == Ending::Itself => return Err(SandboxError::Killed),
            None => 128 + Signal::SIGKILL as i32,
        };
        Ok((self.root, Ended { ending, exit_code, resources }))
    }

    /// Asks the command to end; says when to kill it.
    fn end(&self, grace: Duration) -> Instant {
        if !grace.is_zero() {
            self.born.signal(Signal::SIGTERM);
        }
        Instant::now() + grace
    }
}

async fn receive(
    born: &Sandboxed,
    control: &AsyncFd<OwnedFd>,
) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
    loop {
        let mut ready = control.readable().await?;
        match born.receive() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Waits until we are told to stop.
pub(crate) async fn interrupted(interrupt: &mut watch::Receiver<Option<Signal>>) -> Signal {
    match interrupt.wait_for(Option::is_some).await.map(|signal| *signal) {
        Ok(Some(signal)) => signal,
        // Nobody can tell us any more.
        _ => std::future::pending().await,
    }
}

async fn sleep(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn failure(plan: &Plan, message: Message) -> SandboxError {
    match message {
        Message::Failed { step, errno } => match plan.steps.get(step) {
            Some(step) => SandboxError::Step {
                step: Box::new(step.clone()),
                error: io::Error::from_raw_os_error(errno),
            },
            None => SandboxError::Killed,
        },
        Message::NotConfined { errno } => {
            SandboxError::Confinement { error: io::Error::from_raw_os_error(errno) }
        }
        _ => SandboxError::Killed,
    }
}

/// From the status that `wait` gives.
fn exit_code(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert_eq!(exit_code(0), 0);
        assert_eq!(exit_code(3 << 8), 3);
        assert_eq!(exit_code(9), 137);
        assert_eq!(exit_code(11 | 0x80), 139);
    }
}
