//! A program that runs beside a build, with what the build leaves of the machine.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The I/O class that is served when nobody else wants the disk (linux/ioprio.h).
const IOPRIO_CLASS_IDLE: libc::c_int = 3;
const IOPRIO_CLASS_SHIFT: libc::c_int = 13;
const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// Of all processes, this one is killed first when memory runs out (proc_pid_oom_score_adj(5)).
const FIRST_TO_KILL: &[u8] = b"1000";

/// A running program. Dropped, it and everything in its process group is killed; nobody waits for
/// it.
#[derive(Debug)]
pub(crate) struct Beside {
    /// Not waited for before the end, so that its number stays that of its group.
    child: Child,
}

/// Starts `command` in a process group of its own, at the lowest priority. It dies with the thread
/// that calls this.
///
/// # Errors
/// If it cannot be started.
pub(crate) fn beside(command: &mut Command) -> io::Result<Beside> {
    let parent = nix::unistd::getpid();
    command.process_group(0);
    // SAFETY: the closure makes system calls only: it allocates nothing and takes no lock.
    unsafe { command.pre_exec(move || stand_back(parent)) };
    let child = command.spawn()?;
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), FIRST_TO_KILL);
    Ok(Beside { child })
}

/// In the new process, before it becomes the program.
fn stand_back(parent: Pid) -> io::Result<()> {
    // A program that cannot be made to die with us is not started.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if nix::unistd::getppid() != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // Where one of these is refused, the others do.
    // SAFETY: all arguments are numbers, but for a structure that lives through its call; zero is
    // a valid one.
    unsafe {
        let nothing: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const nothing);
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        let idle = IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT;
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, idle);
    }
    Ok(())
}

impl Beside {
    /// Its standard input, if it was piped and not taken before.
    pub(crate) fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let _ = killpg(self.group(), Signal::SIGTERM);
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = killpg(self.group(), Signal::SIGKILL);
        let _ = self.child.try_wait();
    }
}
