//! System calls as results, without anything that allocates.

use std::ffi::CStr;

use libc::{c_int, c_long, c_uint};

/// A number from `errno.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errno(pub(super) i32);

pub(super) type Answer<T> = Result<T, Errno>;

const OPEN_TREE_CLONE: c_uint = 1;
const OPEN_TREE_CLOEXEC: c_uint = libc::O_CLOEXEC as c_uint;
const AT_RECURSIVE: c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: c_uint = 4;
const MOVE_MOUNT_T_SYMLINKS: c_uint = 0x10;
const FSCONFIG_SET_FLAG: c_uint = 0;
const FSCONFIG_SET_STRING: c_uint = 1;
const FSCONFIG_CMD_CREATE: c_uint = 6;
const FSOPEN_CLOEXEC: c_uint = 1;
const FSMOUNT_CLOEXEC: c_uint = 1;

/// `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// The error of the last call of the C library.
pub(super) fn last() -> Errno {
    // SAFETY: the location of errno is valid for the life of the thread.
    Errno(unsafe { *libc::__errno_location() })
}

/// Makes a result of the usual convention: -1 and errno.
pub(super) fn check(answer: c_int) -> Answer<c_int> {
    if answer < 0 { Err(last()) } else { Ok(answer) }
}

pub(super) fn check_long(answer: c_long) -> Answer<c_int> {
    if answer < 0 { Err(last()) } else { Ok(answer as c_int) }
}

/// A detached copy of what is at `path`, with all that is mounted below.
pub(super) fn open_tree(path: &CStr) -> Answer<c_int> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE;
    // SAFETY: `path` is a C string; the other arguments are numbers.
    check_long(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// A detached copy of a mount.
///
/// One that still belongs to a dead namespace would not do for reading: there, the kernel takes
/// its own lock of mounts with every step, and `openat2` with a `..` would ask for another attempt
/// for ever.
pub(super) fn clone_mount(mount: c_int) -> Answer<c_int> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | libc::AT_EMPTY_PATH as c_uint;
    // SAFETY: the path is a C string; the other arguments are numbers.
    check_long(unsafe { libc::syscall(libc::SYS_open_tree, mount, c"".as_ptr(), flags) })
}

/// Adds `flags` (`MOUNT_ATTR_*`) to a detached mount and all below it.
pub(super) fn restrict(mount: c_int, flags: u64) -> Answer<()> {
    let attributes = MountAttributes { set: flags, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path is a C string, and the structure lives through the call and has the size
    // that is given.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount,
            c"".as_ptr(),
            libc::AT_EMPTY_PATH as c_uint | AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    })
    .map(|_| ())
}

/// Attaches a detached mount.
pub(super) fn attach(mount: c_int, at: &CStr) -> Answer<()> {
    // SAFETY: both paths are C strings; the other arguments are numbers.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount,
            c"".as_ptr(),
            libc::AT_FDCWD,
            at.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS,
        )
    })
    .map(|_| ())
}

/// Begins a file system of this kind.
pub(super) fn new_file_system(kind: &CStr) -> Answer<c_int> {
    // SAFETY: `kind` is a C string.
    check_long(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })
}

/// Sets a parameter of a file system.
pub(super) fn configure(context: c_int, key: &CStr, value: Option<&CStr>) -> Answer<()> {
    let (command, value) = match value {
        Some(value) => (FSCONFIG_SET_STRING, value.as_ptr()),
        None => (FSCONFIG_SET_FLAG, std::ptr::null()),
    };
    // SAFETY: key and value are C strings, or the value is null as the command wants it.
    check_long(unsafe {
        libc::syscall(libc::SYS_fsconfig, context, command, key.as_ptr(), value, 0)
    })
    .map(|_| ())
}

/// Makes the file system and a detached mount of it.
pub(super) fn create(context: c_int, flags: u64) -> Answer<c_int> {
    // SAFETY: the command takes neither key nor value.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context,
            FSCONFIG_CMD_CREATE,
            std::ptr::null::<u8>(),
            std::ptr::null::<u8>(),
            0,
        )
    })?;
    // SAFETY: only numbers.
    check_long(unsafe { libc::syscall(libc::SYS_fsmount, context, FSMOUNT_CLOEXEC, flags) })
}

/// Closes a descriptor.
pub(super) fn close(fd: c_int) {
    // SAFETY: the caller does not use the descriptor again.
    unsafe { libc::close(fd) };
}
