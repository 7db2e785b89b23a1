//! The system calls that a command is refused, as a program for the kernel.
//!
//! A build never needs them, and each has been or may be a way out of a sandbox. What is not
//! listed is allowed: a build may use anything that an ordinary program does, a sandbox of its
//! own included. The list is explained in `docs/buildbox-run.md`.
//!
//! Assembled here and not by a library, because those kill every 32-bit program, and the ISA
//! `x86-32` needs them.

use libc::c_long;

use crate::capability::Capabilities;

/// One instruction, as `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

/// A program in the language of the classic packet filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Program(Vec<Instruction>);

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;

const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;

/// Offsets in `struct seccomp_data`; the machine is little-endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const SECOND_ARGUMENT: u32 = 24;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
/// Set in the number of a call of the x32 interface.
const X32: u32 = 0x4000_0000;

/// The numbers of a call in 64-bit and in 32-bit programs; `None` where there is no such call.
type Numbers = (Option<c_long>, Option<u32>);

/// Answered with `EPERM`.
const FORBIDDEN: [Numbers; 32] = [
    // Keys belong to the user, not to the sandbox.
    (Some(libc::SYS_add_key), Some(286)),
    (Some(libc::SYS_request_key), Some(287)),
    (Some(libc::SYS_keyctl), Some(288)),
    // Large parts of the kernel, open to every user.
    (Some(libc::SYS_bpf), Some(357)),
    (Some(libc::SYS_perf_event_open), Some(336)),
    (Some(libc::SYS_fanotify_init), Some(338)),
    (None, Some(113)), // vm86old
    (None, Some(166)), // vm86
    // Names files by number, past every directory.
    (Some(libc::SYS_open_by_handle_at), Some(342)),
    // The machine as a whole.
    (Some(libc::SYS_kexec_load), Some(283)),
    (Some(libc::SYS_kexec_file_load), None),
    (Some(libc::SYS_init_module), Some(128)),
    (Some(libc::SYS_finit_module), Some(350)),
    (Some(libc::SYS_delete_module), Some(129)),
    (Some(libc::SYS_reboot), Some(88)),
    (Some(libc::SYS_swapon), Some(87)),
    (Some(libc::SYS_swapoff), Some(115)),
    (Some(libc::SYS_acct), Some(51)),
    (Some(libc::SYS_quotactl), Some(131)),
    (Some(libc::SYS_quotactl_fd), Some(443)),
    (Some(libc::SYS_syslog), Some(103)),
    (Some(libc::SYS_iopl), Some(110)),
    (Some(libc::SYS_ioperm), Some(101)),
    (Some(libc::SYS_settimeofday), Some(79)),
    (Some(libc::SYS_clock_settime), Some(264)),
    (None, Some(404)), // clock_settime64
    (Some(libc::SYS_vhangup), Some(111)),
    // Gone or obsolete for long.
    (Some(libc::SYS_nfsservctl), Some(169)),
    (Some(libc::SYS_lookup_dcookie), Some(253)),
    (Some(libc::SYS_uselib), Some(86)),
    (Some(libc::SYS__sysctl), Some(149)),
    (Some(libc::SYS_ustat), Some(62)),
];

/// Answered with `ENOSYS`, upon which programs do without.
const ABSENT: [Numbers; 5] = [
    (Some(libc::SYS_io_uring_setup), Some(425)),
    (Some(libc::SYS_io_uring_enter), Some(426)),
    (Some(libc::SYS_io_uring_register), Some(427)),
    (Some(libc::SYS_userfaultfd), Some(374)),
    // Its flags are in memory, where a filter cannot see them; `clone` does the same.
    (Some(libc::SYS_clone3), Some(435)),
];

/// They make namespaces, as their first argument says. One of control groups would give power over
/// the group that the runner is in: its owner is the one who owns the sandbox.
const BIRTHS: [Numbers; 2] =
    [(Some(libc::SYS_clone), Some(120)), (Some(libc::SYS_unshare), Some(310))];

/// Requests that type on the terminal in the name of the user.
const TERMINAL: [u32; 2] = [libc::TIOCSTI as u32, 0x541c /* TIOCLINUX */];

/// Kinds of sockets that a network namespace confines.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

impl Program {
    /// The filter of a command that keeps `capabilities`.
    pub(crate) fn filter(capabilities: Capabilities) -> Self {
        let wide = section(capabilities, 0, libc::SYS_ioctl as u32, Some(libc::SYS_socket as u32));
        // `socketcall` cannot be looked into; old 32-bit libraries have nothing else.
        let narrow = section(capabilities, 1, 54, Some(359));
        let mut program = vec![
            load(ARCHITECTURE),
            Instruction { code: JUMP_IF_EQUAL, if_true: 1, if_false: 0, value: X86_64 },
            Instruction { code: JUMP, if_true: 0, if_false: 0, value: wide.len() as u32 },
        ];
        program.extend(wide);
        program.push(Instruction { code: JUMP_IF_EQUAL, if_true: 1, if_false: 0, value: I386 });
        program.push(answer(KILL));
        program.extend(narrow);
        Self(program)
    }

    /// The instructions.
    pub(crate) fn instructions(&self) -> &[Instruction] {
        &self.0
    }
}

fn section(
    capabilities: Capabilities,
    width: usize,
    ioctl: u32,
    socket: Option<u32>,
) -> Vec<Instruction> {
    let pick = |numbers: &Numbers| {
        if width == 0 { numbers.0.map(|number| number as u32) } else { numbers.1 }
    };
    let mut list = vec![load(NUMBER)];
    if width == 0 {
        list.push(Instruction { code: JUMP_IF_AT_LEAST, if_true: 0, if_false: 1, value: X32 });
        list.push(answer(refuse(libc::ENOSYS)));
    }
    for (calls, errno) in [(&FORBIDDEN[..], libc::EPERM), (&ABSENT[..], libc::ENOSYS)] {
        for number in calls.iter().filter_map(pick) {
            list.extend(answer_if(number, refuse(errno)));
        }
    }
    for number in BIRTHS.iter().filter_map(pick) {
        let flag = libc::CLONE_NEWCGROUP as u32;
        let flags = [
            load(FIRST_ARGUMENT),
            Instruction { code: JUMP_IF_SET, if_true: 0, if_false: 1, value: flag },
            answer(refuse(libc::EPERM)),
            answer(ALLOW),
        ];
        list.push(unless(number, flags.len()));
        list.extend(flags);
    }
    let mut requests = vec![load(SECOND_ARGUMENT)];
    for request in TERMINAL {
        requests.extend(answer_if(request, refuse(libc::EPERM)));
    }
    requests.push(answer(ALLOW));
    list.push(unless(ioctl, requests.len()));
    list.extend(requests);
    if let Some(socket) = socket {
        let mut families = vec![load(FIRST_ARGUMENT)];
        for family in FAMILIES {
            families.extend(answer_if(family as u32, ALLOW));
        }
        if capabilities.bits() != 0 {
            families.extend(answer_if(libc::AF_PACKET as u32, ALLOW));
        }
        families.push(answer(refuse(libc::EAFNOSUPPORT)));
        list.push(unless(socket, families.len()));
        list.extend(families);
    }
    list.push(answer(ALLOW));
    list
}

fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, if_true: 0, if_false: 0, value: offset }
}

fn answer(value: u32) -> Instruction {
    Instruction { code: RETURN, if_true: 0, if_false: 0, value }
}

fn answer_if(equal: u32, value: u32) -> [Instruction; 2] {
    [Instruction { code: JUMP_IF_EQUAL, if_true: 0, if_false: 1, value: equal }, answer(value)]
}

/// Skips `length` instructions unless what is loaded is `equal`.
fn unless(equal: u32, length: usize) -> Instruction {
    Instruction { code: JUMP_IF_EQUAL, if_true: 0, if_false: length as u8, value: equal }
}

fn refuse(errno: i32) -> u32 {
    REFUSE | errno as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer.
    fn ask(program: &Program, architecture: u32, number: u32, arguments: [u32; 2]) -> u32 {
        let mut at = 0;
        let mut loaded = 0;
        loop {
            let Instruction { code, if_true, if_false, value } = program.0[at];
            at += 1;
            match code {
                LOAD => {
                    loaded = match value {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        FIRST_ARGUMENT => arguments[0],
                        SECOND_ARGUMENT => arguments[1],
                        other => panic!("offset {other}"),
                    }
                }
                JUMP => at += value as usize,
                JUMP_IF_EQUAL => {
                    at += usize::from(if loaded == value { if_true } else { if_false });
                }
                JUMP_IF_AT_LEAST => {
                    at += usize::from(if loaded >= value { if_true } else { if_false });
                }
                JUMP_IF_SET => {
                    at += usize::from(if loaded & value != 0 { if_true } else { if_false });
                }
                RETURN => return value,
                other => panic!("code {other}"),
            }
        }
    }

    fn wide(number: c_long, arguments: [u32; 2]) -> u32 {
        ask(&Program::filter(Capabilities::default()), X86_64, number as u32, arguments)
    }

    #[test]
    fn what_a_build_needs_is_allowed() {
        for number in [
            libc::SYS_read,
            libc::SYS_openat,
            libc::SYS_clone,
            libc::SYS_execve,
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_personality,
            libc::SYS_statx,
        ] {
            assert_eq!(wide(number, [0; 2]), ALLOW, "{number}");
        }
        let narrow = Program::filter(Capabilities::default());
        for number in [1, 3, 4, 5, 11, 54, 102, 359] {
            assert_eq!(ask(&narrow, I386, number, [1, 0]), ALLOW, "{number}");
        }
    }

    #[test]
    fn the_list_is_refused_in_both_widths() {
        let program = Program::filter(Capabilities::default());
        for (list, errno) in [(&FORBIDDEN[..], libc::EPERM), (&ABSENT[..], libc::ENOSYS)] {
            for (first, second) in list {
                if let Some(number) = first {
                    assert_eq!(ask(&program, X86_64, *number as u32, [0; 2]), refuse(errno));
                }
                if let Some(number) = second {
                    assert_eq!(ask(&program, I386, *number, [0; 2]), refuse(errno));
                }
            }
        }
    }

    #[test]
    fn arguments_are_looked_at() {
        let sti = libc::TIOCSTI as u32;
        assert_eq!(wide(libc::SYS_ioctl, [0, sti]), refuse(libc::EPERM));
        assert_eq!(wide(libc::SYS_ioctl, [0, 0x5401]), ALLOW);
        let flags = libc::CLONE_NEWCGROUP as u32 | libc::CLONE_NEWUSER as u32;
        for number in [libc::SYS_clone, libc::SYS_unshare] {
            assert_eq!(wide(number, [flags, 0]), refuse(libc::EPERM));
            assert_eq!(wide(number, [libc::CLONE_NEWUSER as u32, 0]), ALLOW);
        }
        assert_eq!(wide(libc::SYS_socket, [1, 0]), ALLOW);
        assert_eq!(wide(libc::SYS_socket, [40, 0]), refuse(libc::EAFNOSUPPORT));
        assert_eq!(wide(libc::SYS_socket, [17, 0]), refuse(libc::EAFNOSUPPORT));
        let mut raw = Capabilities::default();
        raw.add("NET_RAW").expect("a capability");
        let number = libc::SYS_socket as u32;
        assert_eq!(ask(&Program::filter(raw), X86_64, number, [17, 0]), ALLOW);
    }

    #[test]
    fn other_interfaces_are_refused() {
        assert_eq!(wide(i64::from(X32 | 1), [0; 2]), refuse(libc::ENOSYS));
        let program = Program::filter(Capabilities::default());
        assert_eq!(ask(&program, 0xc000_00b7, 0, [0; 2]), KILL);
    }

    #[test]
    fn it_fits_into_the_kernel() {
        assert!(Program::filter(Capabilities::default()).0.len() < 4096);
    }
}
