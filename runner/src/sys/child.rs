//! The new process from its birth to the start of the command: carries out the plan.
//!
//! It is a copy of a process that may have had threads, so nothing here allocates, locks, or
//! panics: memory was prepared before, and every call is one that may follow a fork.

use std::ffi::CStr;

use libc::{c_int, c_void};

use crate::plan::{Restrictions, Source, Step, WhenRefused};

use super::call::{self, Answer, Errno, check, check_long, last};
use super::confine::confine;
use super::init;
use super::message::{Message, SIZE};
use super::prepared::Prepared;

/// Where the connection to the runner stands in the new process.
const CONTROL: c_int = 3;

/// The personality of a 32-bit machine.
const PER_LINUX32: libc::c_ulong = 8;

const READ_ONLY: u64 = 1;
const NO_SETUID: u64 = 2;
const NO_DEVICES: u64 = 4;
const NO_EXEC: u64 = 8;

/// Everything from the birth on; never returns.
pub(super) fn run(prepared: &mut Prepared<'_>) -> ! {
    let message = match settle(prepared) {
        Err(errno) => Some(Message::NotConfined { errno: errno.0 }),
        Ok(()) => match carry_out(prepared) {
            Err((step, errno)) => Some(Message::Failed { step, errno: errno.0 }),
            Ok(()) => {
                let exec = &prepared.plan.exec;
                match confine(exec.capabilities, &exec.filter)
                    .and_then(|()| init::start(prepared, CONTROL))
                {
                    Err(errno) => Some(Message::NotConfined { errno: errno.0 }),
                    Ok(()) => None,
                }
            }
        },
    };
    if let Some(message) = message {
        init::tell(CONTROL, message);
    }
    // SAFETY: does not return and runs nothing of ours.
    unsafe { libc::_exit(0) }
}

/// Cuts the ties to the runner: its descriptors, its file mode mask; and dies with it.
fn settle(prepared: &Prepared<'_>) -> Answer<()> {
    // SAFETY: only numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })?;
    for (fd, from) in (0..).zip(prepared.stdio) {
        if fd != from {
            // SAFETY: only numbers; the runner's descriptors are above 2.
            check(unsafe { libc::dup2(from, fd) })?;
        }
    }
    if prepared.control != CONTROL {
        // SAFETY: only numbers; whatever was there belongs to the runner.
        check(unsafe { libc::dup3(prepared.control, CONTROL, libc::O_CLOEXEC) })?;
    }
    // SAFETY: only numbers; nothing above is used any more.
    check_long(unsafe { libc::syscall(libc::SYS_close_range, CONTROL + 1, c_int::MAX, 0) })?;
    // SAFETY: only numbers.
    unsafe { libc::umask(0o022) };
    Ok(())
}

fn carry_out(prepared: &mut Prepared<'_>) -> Result<(), (usize, Errno)> {
    let plan = prepared.plan;
    for (index, step) in plan.steps.iter().enumerate() {
        take(&mut prepared.slots, step).map_err(|errno| (index, errno))?;
    }
    Ok(())
}

fn take(slots: &mut [c_int], step: &Step) -> Answer<()> {
    match step {
        Step::Write { path, content } => write(path, content.as_bytes()),
        Step::CgroupNamespace => {
            // SAFETY: only a number.
            check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }).map(|_| ())
        }
        Step::Private => private(),
        Step::Open { slot, source, restrictions, when_refused } => {
            let opened = open(source, *restrictions).or_else(|errno| match when_refused {
                WhenRefused::SkipIfAbsent if errno.0 == libc::ENOENT => Ok(-1),
                WhenRefused::Bind(path) => open_bind(path, flags(*restrictions)),
                _ => Err(errno),
            })?;
            put(slots, slot.0, opened)
        }
        Step::Place { root, at } => call::attach(get(slots, root.0)?, at),
        Step::Meet { root } => meet(get(slots, root.0)?),
        Step::Pivot { root } => pivot(get(slots, root.0)?),
        Step::ReadOnly { slot } => call::restrict(get(slots, slot.0)?, READ_ONLY),
        Step::Directory { path, mode } => directory(path, *mode),
        Step::EmptyFile { path } => empty_file(path),
        Step::Symlink { path, target } => {
            // SAFETY: both are C strings.
            check(unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) }).map(|_| ())
        }
        Step::Attach { slot, at } => match get(slots, slot.0)? {
            -1 => Ok(()),
            mount => {
                call::attach(mount, at)?;
                call::close(mount);
                put(slots, slot.0, -1)
            }
        },
        Step::HostName(name) => {
            // SAFETY: the name is as long as is said.
            check(unsafe { libc::sethostname(name.as_ptr(), name.as_bytes().len()) }).map(|_| ())
        }
        Step::LoopbackUp => loopback_up(),
        Step::Personality32 => {
            // SAFETY: only a number.
            check(unsafe { libc::personality(PER_LINUX32) }).map(|_| ())
        }
        Step::WorkingDirectory(path) => {
            // SAFETY: the path is a C string.
            check(unsafe { libc::chdir(path.as_ptr()) }).map(|_| ())
        }
    }
}

fn get(slots: &[c_int], slot: usize) -> Answer<c_int> {
    slots.get(slot).copied().ok_or(Errno(libc::EBADF))
}

fn put(slots: &mut [c_int], slot: usize, fd: c_int) -> Answer<()> {
    *slots.get_mut(slot).ok_or(Errno(libc::EBADF))? = fd;
    Ok(())
}

fn flags(restrictions: Restrictions) -> u64 {
    let when = |condition, flag| if condition { flag } else { 0 };
    NO_SETUID
        | when(restrictions.read_only, READ_ONLY)
        | when(restrictions.no_devices, NO_DEVICES)
        | when(restrictions.no_exec, NO_EXEC)
}

fn open(source: &Source, restrictions: Restrictions) -> Answer<c_int> {
    match source {
        Source::Bind(path) => open_bind(path, flags(restrictions)),
        Source::New { kind, parameters } => {
            let context = call::new_file_system(kind)?;
            // What `/proc/mounts` shows in the first column.
            call::configure(context, c"source", Some(kind))?;
            for (key, value) in parameters {
                call::configure(context, key, value.as_deref())?;
            }
            let mount = call::create(context, flags(restrictions))?;
            call::close(context);
            Ok(mount)
        }
    }
}

fn open_bind(path: &CStr, flags: u64) -> Answer<c_int> {
    let mount = call::open_tree(path)?;
    call::restrict(mount, flags)?;
    Ok(mount)
}

fn write(path: &CStr, content: &[u8]) -> Answer<()> {
    // SAFETY: the path is a C string.
    let fd = check(unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) })?;
    // SAFETY: the buffer is as long as is said.
    let written = unsafe { libc::write(fd, content.as_ptr().cast(), content.len()) };
    let answer = if written < 0 { Err(last()) } else { Ok(()) };
    call::close(fd);
    answer
}

fn private() -> Answer<()> {
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the target is a C string, the rest is unused and null.
    check(unsafe {
        libc::mount(
            std::ptr::null(),
            c"/".as_ptr(),
            std::ptr::null(),
            flags,
            std::ptr::null::<c_void>(),
        )
    })
    .map(|_| ())
}

/// Sends a mount of the root and waits for the word to go on; ends if the runner is gone.
fn meet(root: c_int) -> Answer<()> {
    let root = call::clone_mount(root)?;
    let packet = Message::Ready.encode();
    let mut data =
        libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
    // Aligned as `cmsghdr` wants it, and large enough for one descriptor.
    let mut control = [0_u64; 4];
    // SAFETY: zero is a valid message; all pointers set below live through the call, and the
    // control buffer holds CMSG_SPACE of one descriptor (24 bytes).
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<c_int>() as u32) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<c_int>() as u32) as usize;
        libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(root);
        libc::sendmsg(CONTROL, &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent < 0 {
        return Err(last());
    }
    call::close(root);
    let mut answer = [0_u8; SIZE];
    // SAFETY: the buffer is as long as is said.
    let received = unsafe { libc::recv(CONTROL, answer.as_mut_ptr().cast(), answer.len(), 0) };
    if received as usize == SIZE && Message::decode(&answer) == Some(Message::Go) {
        return Ok(());
    }
    // SAFETY: does not return; there is nobody to work for.
    unsafe { libc::_exit(1) }
}

fn pivot(root: c_int) -> Answer<()> {
    // SAFETY: C strings and numbers. No path is resolved while the host's root lies over ours.
    unsafe {
        check(libc::fchdir(root))?;
        check_long(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        check(libc::umount2(c".".as_ptr(), libc::MNT_DETACH))?;
        check(libc::chdir(c"/".as_ptr()))?;
    }
    Ok(())
}

fn directory(path: &CStr, mode: u32) -> Answer<()> {
    // SAFETY: the path is a C string.
    match check(unsafe { libc::mkdir(path.as_ptr(), mode) }) {
        Err(Errno(libc::EEXIST)) => Ok(()),
        Err(errno) => Err(errno),
        Ok(_) if mode & 0o022 == 0 => Ok(()),
        // The mask took bits away.
        // SAFETY: the path is a C string.
        Ok(_) => check(unsafe { libc::chmod(path.as_ptr(), mode) }).map(|_| ()),
    }
}

fn empty_file(path: &CStr) -> Answer<()> {
    let flags = libc::O_RDONLY | libc::O_CREAT | libc::O_NONBLOCK | libc::O_NOCTTY;
    // SAFETY: the path is a C string.
    match check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o644) }) {
        Ok(fd) => {
            call::close(fd);
            Ok(())
        }
        // Something is there that will be covered, or refused then.
        Err(Errno(libc::EISDIR | libc::EACCES | libc::ENXIO)) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn loopback_up() -> Answer<()> {
    // SAFETY: only numbers.
    let socket =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: zero is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request lives through the call and holds what it wants.
    let answer = check(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw mut request) });
    call::close(socket);
    answer.map(|_| ())
}
