//! Giving up every power that the command is not to have.

use crate::capability::Capabilities;
use crate::seccomp::{Instruction, Program};

use super::call::{Answer, check, check_long};

const VERSION_3: u32 = 0x2008_0522;
const AMBIENT: i32 = 47;
const AMBIENT_RAISE: libc::c_ulong = 2;
const SET_MODE_FILTER: libc::c_ulong = 1;
const SPEC_ALLOW: libc::c_ulong = 4;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct FilterProgram {
    length: u16,
    instructions: *const Instruction,
}

/// Keeps `kept`, drops all other capabilities for good, and refuses what `filter` refuses.
pub(super) fn confine(kept: Capabilities, filter: &Program) -> Answer<()> {
    for number in 0..64 {
        if kept.bits() & (1 << number) == 0 {
            // SAFETY: only numbers. Beyond the last capability that this kernel has, it refuses.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number as libc::c_ulong, 0, 0, 0) } < 0 {
                break;
            }
        }
    }
    set(kept)?;
    for number in 0..64 {
        if kept.bits() & (1 << number) != 0 {
            // SAFETY: only numbers.
            check(unsafe { libc::prctl(AMBIENT, AMBIENT_RAISE, number as libc::c_ulong, 0, 0) })?;
        }
    }
    // SAFETY: only numbers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    let instructions = filter.instructions();
    let program =
        FilterProgram { length: instructions.len() as u16, instructions: instructions.as_ptr() };
    // SAFETY: the structure and the instructions live through the call, and the length is theirs.
    check_long(unsafe {
        libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, SPEC_ALLOW, &raw const program)
    })?;
    Ok(())
}

fn set(kept: Capabilities) -> Answer<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| {
        let bits = (kept.bits() >> shift) as u32;
        Sets { effective: bits, permitted: bits, inheritable: bits }
    };
    let sets = [half(0), half(32)];
    // SAFETY: version 3 has two sets; both structures live through the call.
    check_long(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) })?;
    Ok(())
}
