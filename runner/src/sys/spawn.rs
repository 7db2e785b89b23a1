//! Giving birth to a sandbox.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use libc::c_int;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::plan::{Namespace, Plan};

use super::child;
use super::message::{Message, SIZE};
use super::prepared::Prepared;

/// The standard files of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stdio<'a> {
    /// Standard input.
    pub(crate) input: BorrowedFd<'a>,
    /// Standard output.
    pub(crate) output: BorrowedFd<'a>,
    /// Standard error output.
    pub(crate) error: BorrowedFd<'a>,
}

/// What processes used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resources {
    pub(crate) user_time: Duration,
    pub(crate) system_time: Duration,
    pub(crate) peak_kib: i64,
    pub(crate) minor_faults: i64,
    pub(crate) major_faults: i64,
    pub(crate) blocks_in: i64,
    pub(crate) blocks_out: i64,
    pub(crate) voluntary_switches: i64,
    pub(crate) involuntary_switches: i64,
}

/// A sandbox that was born. Dropped, all of its processes are killed.
#[derive(Debug)]
pub(crate) struct Sandboxed {
    pid: c_int,
    control: OwnedFd,
    reaped: bool,
}

/// The flag of `clone3` by which a process is born in a control group.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts a plan, in a control group if one is given. The sandbox then stands at [`crate::plan::Step::Meet`] sooner or later.
///
/// # Errors
/// If the kernel refuses the namespaces.
pub(crate) fn spawn(
    plan: &Plan,
    stdio: Stdio<'_>,
    group: Option<BorrowedFd<'_>>,
) -> io::Result<Sandboxed> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
    )?;
    // The other side waits; the flag belongs to each end.
    set_blocking(&theirs)?;
    let descriptors = [stdio.input.as_raw_fd(), stdio.output.as_raw_fd(), stdio.error.as_raw_fd()];
    let mut prepared = Prepared::new(plan, descriptors, theirs.as_raw_fd());
    let flags = plan.namespaces.iter().fold(0, |flags, space| flags | flag(*space));
    // Handlers of the runner must not run in the new process.
    let before = block_signals();
    // SAFETY: without CLONE_VM this is a fork: the new process has its own copy of the memory and
    // runs only `child`, which allocates nothing and never returns.
    let pid = unsafe { clone(flags, group) };
    if pid == 0 {
        child::run(&mut prepared);
    }
    let error = io::Error::last_os_error();
    restore_signals(&before);
    if pid < 0 {
        return Err(error);
    }
    Ok(Sandboxed { pid: pid as c_int, control: ours, reaped: false })
}

/// A fork with `flags`.
///
/// # Safety
/// The new process must not allocate, lock or return.
unsafe fn clone(flags: c_int, group: Option<BorrowedFd<'_>>) -> libc::c_long {
    let Some(group) = group else {
        // Sandboxes have this call, and not the other one.
        // SAFETY: only numbers.
        return unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) };
    };
    let arguments = libc::clone_args {
        flags: u64::from(flags.unsigned_abs()) | CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: group.as_raw_fd() as u64,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
    };
    // SAFETY: the arguments live through the call and are as large as is said.
    unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) }
}

impl Sandboxed {
    /// The connection, to wait for something to read.
    ///
    /// # Errors
    /// If the runtime cannot take it.
    pub(crate) fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let control = self.control.try_clone()?;
        // SAFETY: an `OwnedFd` names the same descriptor as long as it lives, and the `AsyncFd`
        // owns it.
        Ok(unsafe { AsyncFd::register_with_interest(control, Interest::READABLE) }?)
    }

    /// The next message and the descriptor that came along; `None` at the end.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing yet; `InvalidData` if it makes no sense.
    pub(crate) fn receive(&self) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        let mut packet = [0_u8; SIZE];
        let mut data = libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: SIZE };
        let mut buffer = [0_u64; 4];
        // SAFETY: zero is a valid message; all pointers live through the call, and the buffer
        // holds CMSG_SPACE of one descriptor.
        let (received, descriptor) = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut data;
            message.msg_iovlen = 1;
            message.msg_control = buffer.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size_of::<c_int>() as u32) as usize;
            let control = self.control.as_raw_fd();
            let received = libc::recvmsg(control, &raw mut message, libc::MSG_CMSG_CLOEXEC);
            if received < 0 {
                return Err(io::Error::last_os_error());
            }
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            let descriptor = if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
                None
            } else {
                let fd = libc::CMSG_DATA(header).cast::<c_int>().read_unaligned();
                Some(OwnedFd::from_raw_fd(fd))
            };
            (received, descriptor)
        };
        if received == 0 {
            return Ok(None);
        }
        let message = Message::decode(&packet).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((message, descriptor)))
    }

    /// Lets the sandbox go on after it has handed over its root.
    ///
    /// # Errors
    /// If it is gone.
    pub(crate) fn go(&self) -> io::Result<()> {
        let flags = nix::sys::socket::MsgFlags::MSG_NOSIGNAL;
        nix::sys::socket::send(self.control.as_raw_fd(), &Message::Go.encode(), flags)?;
        Ok(())
    }

    /// Sends a signal to all processes in the sandbox; SIGKILL ends the sandbox itself.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        if !self.reaped {
            let pid = nix::unistd::Pid::from_raw(self.pid);
            let _ = nix::sys::signal::kill(pid, signal);
        }
    }

    /// Waits until no process of the sandbox is left; says what they used.
    ///
    /// # Errors
    /// If waiting fails.
    pub(crate) fn wait(&mut self) -> io::Result<Resources> {
        loop {
            let mut status = 0;
            // SAFETY: zero is a valid rusage; both live through the call.
            let (pid, usage) = unsafe {
                let mut usage: libc::rusage = std::mem::zeroed();
                let pid = libc::wait4(self.pid, &raw mut status, 0, &raw mut usage);
                (pid, usage)
            };
            if pid == self.pid {
                self.reaped = true;
                return Ok(resources(&usage));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                self.reaped = true;
                return Err(error);
            }
        }
    }
}

impl Drop for Sandboxed {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(nix::sys::signal::Signal::SIGKILL);
            let _ = self.wait();
        }
    }
}

fn resources(usage: &libc::rusage) -> Resources {
    let time = |time: libc::timeval| {
        Duration::from_micros((time.tv_sec * 1_000_000 + time.tv_usec).unsigned_abs())
    };
    Resources {
        user_time: time(usage.ru_utime),
        system_time: time(usage.ru_stime),
        peak_kib: usage.ru_maxrss,
        minor_faults: usage.ru_minflt,
        major_faults: usage.ru_majflt,
        blocks_in: usage.ru_inblock,
        blocks_out: usage.ru_oublock,
        voluntary_switches: usage.ru_nvcsw,
        involuntary_switches: usage.ru_nivcsw,
    }
}

fn flag(namespace: Namespace) -> c_int {
    match namespace {
        Namespace::User => libc::CLONE_NEWUSER,
        Namespace::Mount => libc::CLONE_NEWNS,
        Namespace::Pid => libc::CLONE_NEWPID,
        Namespace::Net => libc::CLONE_NEWNET,
        Namespace::Uts => libc::CLONE_NEWUTS,
        Namespace::Ipc => libc::CLONE_NEWIPC,
    }
}

fn set_blocking(fd: &OwnedFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(())
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: zeroed sets are valid to be filled, and both live through the calls.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the set was filled by `block_signals`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
}
