//! The first process of the sandbox: collects the dead and tells the runner how the command ended.

use libc::c_int;

use super::call::{Answer, Errno, check_long, last};
use super::exec::exec;
use super::message::Message;
use super::prepared::Prepared;

/// Starts the command and stays until it ends; everything else in the sandbox ends with it.
pub(super) fn start(prepared: &mut Prepared<'_>, control: c_int) -> Answer<()> {
    // Nobody in the sandbox may look into us: we are a copy of the runner.
    // SAFETY: only numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    // SAFETY: as `fork`, without the handlers of the C library, which may allocate. The new
    // process has its own copy of the memory.
    let child = check_long(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })?;
    if child == 0 {
        exec(prepared);
    }
    // The files of the command are not ours: who reads them must see their end.
    for fd in 0..3 {
        super::call::close(fd);
    }
    let status = attend(child)?;
    tell(control, Message::Exited { status });
    Ok(())
}

/// Reaps until the command has ended; signals from outside go to all processes.
fn attend(command: c_int) -> Answer<c_int> {
    // SAFETY: a zeroed set is valid to be filled.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set lives through the call.
    unsafe { libc::sigfillset(&raw mut all) };
    loop {
        if let Some(status) = reap(command)? {
            return Ok(status);
        }
        // SAFETY: zero is a valid siginfo; it is written by the call.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: both live through the call; signals are blocked since before our birth.
        let signal = unsafe { libc::sigwaitinfo(&raw const all, &raw mut info) };
        // SAFETY: for signals sent by a process this field is there.
        let outside = info.si_code == libc::SI_USER && unsafe { info.si_pid() } == 0;
        if signal > 0 && signal != libc::SIGCHLD && outside {
            // SAFETY: only numbers; this reaches all of the sandbox but ourselves.
            unsafe { libc::kill(-1, signal) };
        }
    }
}

fn reap(command: c_int) -> Answer<Option<c_int>> {
    loop {
        let mut status = 0;
        // SAFETY: the status lives through the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid == command {
            return Ok(Some(status));
        }
        if pid == 0 {
            return Ok(None);
        }
        if pid < 0 {
            return match last() {
                Errno(libc::EINTR) => continue,
                error => Err(error),
            };
        }
    }
}

/// Sends a message; a runner that is gone does not matter any more.
pub(super) fn tell(control: c_int, message: Message) {
    let packet = message.encode();
    // SAFETY: the buffer is as long as is said.
    unsafe { libc::send(control, packet.as_ptr().cast(), packet.len(), libc::MSG_NOSIGNAL) };
}
