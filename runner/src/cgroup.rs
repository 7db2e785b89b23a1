//! A control group (cgroup v2) for each action: limits, and what was used.
//!
//! It has two levels: `buildbox-run-PID-N`, which has the limits, and in it `sandbox`, which has
//! the processes and is all that they can ever see of the hierarchy. So a command that makes
//! namespaces of its own and mounts the hierarchy there finds no limit that it could lift.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forerunner_proto::ours::SandboxUsage;

use crate::bounds::Bounds;
use crate::claim::Claim;

mod delegated;
mod usage;

pub(crate) use delegated::{Undelegated, delegated};

const INNER: &str = "sandbox";

/// How many groups a sandbox may make below its own: enough for runners in it.
const MOST_GROUPS: u64 = 1000;

/// The kernel's customary period for sharing out processor time.
const PERIOD_MICROSECONDS: u64 = 100_000;

/// How often the removal of a group is tried; processes that were killed take a moment to go.
const ATTEMPTS: u32 = 400;
const PAUSE: Duration = Duration::from_millis(5);

/// Why there is no group for an action.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    /// Nobody gave us one.
    #[error("{0}")]
    Undelegated(#[from] Undelegated),
    /// Some other directory.
    #[error("`{}` is not a directory of a cgroup v2 hierarchy", .0.display())]
    NoGroup(PathBuf),
    /// The kernel.
    #[error("cannot {verb} `{}`: {error}", path.display())]
    Io { verb: &'static str, path: PathBuf, error: io::Error },
    /// A limit that nobody would enforce.
    #[error(
        "a limit of {what} is asked for, but the controller `{controller}` is not in \
         `{}/cgroup.subtree_control` and cannot be put there; have it enabled in every group above, \
         and let no process be in that group itself",
        parent.display()
    )]
    NoController { what: &'static str, controller: &'static str, parent: PathBuf },
}

/// The group of one action. Dropped, its processes are killed and it is removed.
///
/// A live one is locked: the next runner to start removes those that are not.
#[derive(Debug)]
pub(crate) struct Group {
    parent: PathBuf,
    outer: Claim,
    inner: File,
}

impl Group {
    /// Makes one below `parent`, with limits.
    ///
    /// # Errors
    /// If the kernel refuses, or a limit cannot be enforced.
    pub(crate) fn make(parent: &Path, bounds: &Bounds) -> Result<Self, GroupError> {
        let file_system = nix::sys::statfs::statfs(parent)
            .map_err(|errno| failed("look at", parent)(errno.into()))?;
        if file_system.filesystem_type() != nix::sys::statfs::CGROUP2_SUPER_MAGIC {
            return Err(GroupError::NoGroup(parent.to_owned()));
        }
        sweep(parent);
        delegated::enable_controllers(parent);
        let outer = Claim::make(parent, 0o755).map_err(failed("make a group in", parent))?;
        let inner = outer.path().join(INNER);
        let made = limit(parent, outer.path(), bounds)
            .and_then(|()| std::fs::create_dir(&inner).map_err(failed("make", &inner)))
            .and_then(|()| open(&inner).map_err(failed("open", &inner)));
        match made {
            Ok(inner) => Ok(Self { parent: parent.to_owned(), outer, inner }),
            Err(error) => {
                remove(outer.path());
                Err(error)
            }
        }
    }

    /// The directory of the group that processes are born in.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    /// What its processes used up to now.
    pub(crate) fn usage(&self) -> SandboxUsage {
        usage::read(self.outer.path())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(self.outer.path());
        // Those whose processes were still about when we began.
        sweep(&self.parent);
    }
}

fn limit(parent: &Path, group: &Path, bounds: &Bounds) -> Result<(), GroupError> {
    let set = |what, controller, file: &str, value: String| {
        let path = group.join(file);
        match write(&path, &value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(GroupError::NoController { what, controller, parent: parent.to_owned() })
            }
            other => other.map_err(failed("write", &path)),
        }
    };
    if let Some(bytes) = bounds.memory_bytes {
        set("memory", "memory", "memory.max", bytes.to_string())?;
        // Else what does not fit would be swapped out. Not every kernel has it.
        let _ = write(&group.join("memory.swap.max"), "0");
    }
    if let Some(processes) = bounds.processes {
        // The sandbox has one of its own.
        set("processes", "pids", "pids.max", (processes + 1).to_string())?;
    }
    if let Some(milli) = bounds.milli_cpus {
        let quota = milli * PERIOD_MICROSECONDS / 1000;
        set("processors", "cpu", "cpu.max", format!("{quota} {PERIOD_MICROSECONDS}"))?;
    }
    let _ = write(&group.join("cgroup.max.descendants"), &MOST_GROUPS.to_string());
    Ok(())
}

/// Removes the groups of dead runners. Their processes ended with them.
fn sweep(parent: &Path) {
    for dead in Claim::dead(parent) {
        let path = dead.path();
        tracing::debug!("removing `{}`, left by a runner that was killed", path.display());
        // One that still has processes stays for the next time.
        let _ = remove_empty(path);
    }
}

fn remove(path: &Path) {
    let mut result = Ok(());
    for attempt in 0..ATTEMPTS {
        result = remove_empty(path);
        match &result {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                let _ = write(&path.join("cgroup.kill"), "1");
                if attempt > 0 {
                    std::thread::sleep(PAUSE);
                }
            }
            _ => break,
        }
    }
    if let Err(error) = result {
        tracing::warn!("cannot remove the control group `{}`: {error}", path.display());
    }
}

/// Removes a group and those below it, if none of them has processes.
fn remove_empty(path: &Path) -> io::Result<()> {
    let mut groups = vec![path.to_owned()];
    let mut next = 0;
    while let Some(group) = groups.get(next).cloned() {
        next += 1;
        for entry in std::fs::read_dir(&group).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                groups.push(entry.path());
            }
        }
    }
    for group in groups.iter().rev() {
        match std::fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Writes to a file of the kernel; it is not made if it is not there.
fn write(path: &Path, value: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(value.as_bytes())
}

fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    File::options().read(true).custom_flags(flags).open(path)
}

fn failed<'a>(verb: &'static str, path: &'a Path) -> impl Fn(io::Error) -> GroupError + 'a {
    move |error| GroupError::Io { verb, path: path.to_owned(), error }
}
