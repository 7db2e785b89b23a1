//! Becoming the command.

use std::ffi::CStr;
use std::ptr;

use super::call::{Errno, last};
use super::prepared::{Prepared, SHELL};

const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Tries every candidate, as `execvp` does; on failure explains on standard error and exits.
pub(super) fn exec(prepared: &mut Prepared<'_>) -> ! {
    reset_signals();
    let mut denied = None;
    let mut uninterpretable = false;
    for candidate in &prepared.plan.exec.candidates {
        // SAFETY: all three are C strings or null-terminated lists of C strings that live on.
        unsafe {
            libc::execve(
                candidate.as_ptr(),
                prepared.arguments.as_ptr(),
                prepared.environment.as_ptr(),
            );
        }
        match last().0 {
            libc::ENOENT | libc::ENOTDIR => uninterpretable |= exists(candidate),
            libc::ENOEXEC => {
                // A script without `#!`: it is the shell's.
                if let Some(place) = prepared.shell.get_mut(1) {
                    *place = candidate.as_ptr();
                }
                // SAFETY: as above.
                unsafe {
                    libc::execve(
                        SHELL.as_ptr(),
                        prepared.shell.as_ptr(),
                        prepared.environment.as_ptr(),
                    );
                }
                denied = Some(last());
            }
            errno => {
                denied = Some(Errno(errno));
                if errno != libc::EACCES {
                    break;
                }
            }
        }
    }
    let (text, code) = match denied {
        Some(Errno(libc::E2BIG)) => (&prepared.too_long, NOT_EXECUTABLE),
        Some(_) => (&prepared.not_executable, NOT_EXECUTABLE),
        None if uninterpretable => (&prepared.no_interpreter, NOT_FOUND),
        None => (&prepared.not_found, NOT_FOUND),
    };
    let bytes = text.as_bytes();
    // SAFETY: the buffer is as long as is said; `_exit` does not return.
    unsafe {
        libc::write(2, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(code)
    }
}

fn exists(path: &CStr) -> bool {
    // SAFETY: `path` is a C string.
    unsafe { libc::access(path.as_ptr(), libc::F_OK) == 0 }
}

/// Handlers and masks of the runner are not the command's business.
///
/// By the kernel's own call: the library keeps two signals to itself, which may be ignored, too.
fn reset_signals() {
    const SET_BYTES: usize = 8;
    // `struct sigaction` of the kernel, all zero: the default action, no flags, an empty mask.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the structure lives through the call and is as large as the kernel's; the few
        // signals that cannot be set answer with an error that does not matter.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null::<u64>(),
                SET_BYTES,
            );
        }
    }
    let none = 0_u64;
    // SAFETY: the set lives through the call and is as large as is said.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            ptr::null::<u64>(),
            SET_BYTES,
        );
    }
}
