//! What to do when the kernel refuses something.

use std::io;

use crate::plan::{Source, Step};

const RESTRICTED: &str = "; this system lets only programs with an AppArmor profile use user \
    namespaces: allow them with `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or give \
    this program a profile with the rule `userns,`";

const TOO_MANY: &str = "; there are too many processes: see `ulimit -u`";

/// For the birth of the sandbox.
pub(super) fn namespaces(error: &io::Error) -> String {
    if is_restricted() {
        return RESTRICTED.to_owned();
    }
    match error.raw_os_error() {
        Some(libc::ENOSPC) => {
            "; there are as many as `sysctl user.max_user_namespaces` (and its like) allow: raise it"
        }
        Some(libc::EPERM) => {
            "; user namespaces are not allowed: see `sysctl kernel.unprivileged_userns_clone` and \
             `user.max_user_namespaces`; in a container they need a seccomp profile that allows \
             `clone` and `mount` (with Docker `--security-opt seccomp=unconfined`); in a chroot \
             they are never allowed"
        }
        Some(libc::EINVAL) => "; this kernel was built without one of the namespaces",
        Some(libc::EACCES) => {
            "; processes of ours may not be put into its control group: that needs a writable \
             `cgroup.procs` in a group that is above both"
        }
        Some(libc::EBUSY | libc::EOPNOTSUPP) => {
            "; its control group cannot take processes: name another one by `--cgroup=DIR`"
        }
        Some(libc::ENOSYS) => "; a container must allow the system call `clone3`",
        Some(libc::EAGAIN) => TOO_MANY,
        _ => "",
    }
    .to_owned()
}

/// For a step of the plan.
pub(super) fn step(step: &Step, error: &io::Error) -> String {
    let denied = matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES));
    match (step, error.raw_os_error()) {
        (_, Some(libc::ENOSYS)) => {
            "; the kernel must be Linux 5.12 or newer, and a container must allow the system \
             calls of mounting"
                .to_owned()
        }
        (Step::Write { .. } | Step::Private, _) if denied && is_restricted() => {
            RESTRICTED.to_owned()
        }
        (Step::Write { .. }, _) if denied && nix::unistd::geteuid().is_root() => {
            "; root needs the capability CAP_SETFCAP for this, which is missing: within a sandbox, \
             run as another user (the platform property `unixUID`) or keep that capability (the \
             platform property `capability`)"
                .to_owned()
        }
        (Step::Write { .. } | Step::Private, _) if denied => {
            "; a security module or the container around us forbids it".to_owned()
        }
        (Step::Open { source: Source::New { kind, .. }, .. }, _) if denied && *kind == c"proc" => {
            "; parts of /proc are hidden here, as in containers: start the container with a full \
             /proc (with Docker `--security-opt systempaths=unconfined`)"
                .to_owned()
        }
        (Step::Open { source: Source::Bind(path), .. }, Some(libc::ENOENT)) => {
            format!("; there is no `{}` on the host", path.to_string_lossy())
        }
        (Step::Directory { .. } | Step::EmptyFile { .. }, Some(libc::EROFS)) => {
            "; the input tree is read-only there (SubtreeReadOnly): have it in the input tree, or \
             choose a path below /tmp"
                .to_owned()
        }
        (Step::Directory { .. }, Some(libc::ENOTDIR)) => {
            "; a file of the input tree is in its way".to_owned()
        }
        (Step::Directory { .. } | Step::EmptyFile { .. }, Some(libc::ENOENT)) => {
            "; a symlink of the input tree that leads nowhere is in its way".to_owned()
        }
        _ => String::new(),
    }
}

/// For dropping powers.
pub(super) fn confinement(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS) => "; the kernel must have seccomp filters",
        Some(libc::EPERM) => "; a capability that the action asks for is not available here",
        Some(libc::EAGAIN) => TOO_MANY,
        _ => "",
    }
}

fn is_restricted() -> bool {
    let file = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    !nix::unistd::geteuid().is_root()
        && std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_the_way_out() {
        let error = io::Error::from_raw_os_error;
        if !is_restricted() {
            for (number, way) in [
                (libc::ENOSPC, "user.max_user_namespaces"),
                (libc::EPERM, "kernel.unprivileged_userns_clone"),
                (libc::EACCES, "cgroup.procs"),
                (libc::EBUSY, "--cgroup=DIR"),
                (libc::EAGAIN, "ulimit -u"),
            ] {
                let said = namespaces(&error(number));
                assert!(said.starts_with("; ") && said.contains(way), "{number}: {said}");
            }
        }
        assert!(RESTRICTED.contains("kernel.apparmor_restrict_unprivileged_userns=0"));
        assert!(step(&Step::Private, &error(libc::ENOSYS)).contains("Linux 5.12"));
        assert!(!step(&Step::Private, &error(libc::EPERM)).is_empty());
        assert!(confinement(&error(libc::ENOSYS)).contains("seccomp"));
        assert!(confinement(&error(libc::EAGAIN)).contains("ulimit -u"));
        assert_eq!(namespaces(&error(libc::EIO)), if is_restricted() { RESTRICTED } else { "" });
    }
}
