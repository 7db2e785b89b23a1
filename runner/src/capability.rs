//! The capabilities of Linux, by name and number.

/// In the order of their numbers, as `linux/capability.h` lists them.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities(u64);

/// Not the name of a capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a Linux capability; names are as in capabilities(7), such as `CAP_SYS_PTRACE`"
)]
pub(crate) struct UnknownCapability(pub(crate) String);

impl Capabilities {
    /// Adds one by its name, in any case, with or without `CAP_`.
    pub(crate) fn add(&mut self, name: &str) -> Result<(), UnknownCapability> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let number = NAMES
            .iter()
            .position(|known| *known == bare)
            .ok_or_else(|| UnknownCapability(name.to_owned()))?;
        self.0 |= 1 << number;
        Ok(())
    }

    /// One bit for each, numbered as the kernel does.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_of_the_kernel() {
        for (name, number) in [
            ("CAP_CHOWN", libc_number(0)),
            ("cap_sys_ptrace", libc_number(19)),
            ("SYS_ADMIN", libc_number(21)),
            ("CAP_SYS_RESOURCE", libc_number(24)),
            ("CAP_CHECKPOINT_RESTORE", libc_number(40)),
        ] {
            let mut set = Capabilities::default();
            set.add(name).expect("a capability");
            assert_eq!(set.bits(), number, "{name}");
        }
    }

    fn libc_number(number: u32) -> u64 {
        1 << number
    }

    #[test]
    fn others_are_refused() {
        let mut set = Capabilities::default();
        assert_eq!(set.add("CAP_NO"), Err(UnknownCapability("CAP_NO".to_owned())));
        assert_eq!(set.bits(), 0);
    }
}
