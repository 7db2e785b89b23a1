//! The sandbox as builds know it: which steps, in which order.

use std::collections::BTreeSet;
use std::ffi::{CString, NulError};

use forerunner_merkle::TreePath;

use super::{Exec, Namespace, Plan, Restrictions, Slot, Source, Step, WhenRefused};

/// Devices that are bound from the host.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Symlinks in `/dev`.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Parts of `/proc` that root could change the machine through, even without capabilities.
const KERNEL: [&str; 9] =
    ["sys", "sysrq-trigger", "irq", "bus", "fs", "scsi", "acpi", "driver", "mtrr"];

/// The root file system of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// This directory of the host.
    Directory(String),
    /// An overlay that leaves `lower` as it is.
    Overlay {
        /// What is there at first.
        lower: String,
        /// Takes what is written.
        upper: String,
        /// For the file system's own use, beside `upper`.
        work: String,
    },
}

/// A directory of the tree at which it becomes read-only, or writable again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subtree {
    /// Path in the sandbox.
    pub(crate) at: TreePath,
    /// Whether nothing can be written.
    pub(crate) read_only: bool,
}

/// A part of the host that the sandbox sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Path on the host.
    pub(crate) host: String,
    /// Path in the sandbox.
    pub(crate) at: TreePath,
    /// Whether `host` is a directory.
    pub(crate) directory: bool,
    /// Whether nothing can be written through it.
    pub(crate) read_only: bool,
    /// A directory of the host that is laid over `host`; then nothing can be written either.
    pub(crate) over: Option<String>,
}

/// What a sandbox is to be.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    /// Its file system.
    pub(crate) root: Root,
    /// Those above first.
    pub(crate) subtrees: Vec<Subtree>,
    /// Any directory of the host that may serve as a mount point for a moment.
    pub(crate) pivot_at: String,
    /// Identity outside.
    pub(crate) outer: (u32, u32),
    /// Identity inside.
    pub(crate) inner: (u32, u32),
    /// Whether it is born in a control group of its own.
    pub(crate) own_group: bool,
    /// Whether it uses the host's network.
    pub(crate) network: bool,
    /// Whether it reports a 32-bit machine.
    pub(crate) bits32: bool,
    /// Whether `/tmp` is part of the tree, so that outputs can be taken from it.
    pub(crate) keep_tmp: bool,
    /// Directories that exist before the command runs.
    pub(crate) directories: BTreeSet<TreePath>,
    /// Where the command starts.
    pub(crate) working_directory: TreePath,
    /// In this order.
    pub(crate) mounts: Vec<Mount>,
    /// The command.
    pub(crate) exec: Exec,
}

/// Makes the plan.
///
/// # Errors
/// If a path contains NUL.
pub(crate) fn plan(blueprint: &Blueprint) -> Result<Plan, NulError> {
    let mut list = List::default();
    let mut namespaces =
        vec![Namespace::User, Namespace::Mount, Namespace::Pid, Namespace::Uts, Namespace::Ipc];
    if !blueprint.network {
        namespaces.push(Namespace::Net);
    }
    identity(&mut list, blueprint)?;
    if blueprint.own_group {
        list.steps.push(Step::CgroupNamespace);
    }
    list.steps.push(Step::Private);
    let root = open_root(&mut list, &blueprint.root)?;
    let at = CString::new(blueprint.pivot_at.as_str())?;
    list.steps.push(Step::Place { root, at });
    list.steps.push(Step::Meet { root });

    let plain = Restrictions::default();
    let closed = Restrictions { no_devices: true, ..plain };
    let proc = list.open(
        Source::New { kind: c"proc", parameters: Vec::new() },
        Restrictions { no_devices: true, no_exec: true, ..plain },
        // Nested in a sandbox that hides parts of /proc, the kernel refuses a fresh one.
        WhenRefused::Bind(c"/proc".to_owned()),
    );
    let dev = list.open(tmpfs("755")?, closed, WhenRefused::Fail);
    let pts = list.open(
        Source::New {
            kind: c"devpts",
            parameters: vec![
                (c"newinstance".to_owned(), None),
                (c"ptmxmode".to_owned(), Some(c"0666".to_owned())),
                (c"mode".to_owned(), Some(c"620".to_owned())),
            ],
        },
        Restrictions { no_exec: true, ..plain },
        WhenRefused::Fail,
    );
    let mut devices = Vec::new();
    for name in DEVICES {
        let path = CString::new(format!("/dev/{name}"))?;
        let restrictions = Restrictions { no_exec: true, ..plain };
        let slot = list.open(Source::Bind(path.clone()), restrictions, WhenRefused::Fail);
        devices.push((slot, path));
    }
    let tmp = if blueprint.keep_tmp {
        None
    } else {
        Some(list.open(tmpfs("1777")?, closed, WhenRefused::Fail))
    };
    let mut mounts = Vec::new();
    for mount in &blueprint.mounts {
        let restrictions = Restrictions { read_only: mount.read_only, ..plain };
        let source = match &mount.over {
            None => Source::Bind(CString::new(mount.host.as_str())?),
            Some(over) => Source::New {
                kind: c"overlay",
                parameters: vec![
                    (c"lowerdir".to_owned(), Some(layers(&[over, &mount.host])?)),
                    (c"userxattr".to_owned(), None),
                ],
            },
        };
        mounts.push((list.open(source, restrictions, WhenRefused::Fail), mount));
    }

    list.steps.push(Step::Pivot { root });
    for path in &blueprint.directories {
        list.directories(path)?;
    }
    list.directories(&blueprint.working_directory)?;
    if !blueprint.subtrees.is_empty() {
        for (path, mode) in [(c"/proc", 0o755), (c"/dev", 0o755), (c"/tmp", 0o1777)] {
            list.steps.push(Step::Directory { path: path.to_owned(), mode });
        }
        for (_, mount) in &mounts {
            list.point(mount)?;
        }
        list.protect(root, &blueprint.subtrees)?;
    }
    list.mount_point("/proc", proc)?;
    for part in KERNEL {
        let path = CString::new(format!("/proc/{part}"))?;
        let restrictions = Restrictions { read_only: true, ..plain };
        let slot = list.open(Source::Bind(path.clone()), restrictions, WhenRefused::SkipIfAbsent);
        list.steps.push(Step::Attach { slot, at: path });
    }
    match tmp {
        Some(slot) => list.mount_point("/tmp", slot)?,
        None => list.steps.push(Step::Directory { path: c"/tmp".to_owned(), mode: 0o1777 }),
    }
    list.mount_point("/dev", dev)?;
    for (slot, path) in devices {
        list.steps.push(Step::EmptyFile { path: path.clone() });
        list.steps.push(Step::Attach { slot, at: path });
    }
    for (name, target) in LINKS {
        let path = CString::new(format!("/dev/{name}"))?;
        list.steps.push(Step::Symlink { path, target: CString::new(target)? });
    }
    list.mount_point("/dev/pts", pts)?;
    list.steps.push(Step::Directory { path: c"/dev/shm".to_owned(), mode: 0o1777 });
    for (slot, mount) in mounts {
        list.attach(mount, slot)?;
    }
    if tmp.is_some() && blueprint.working_directory.names().first().is_some_and(|n| &**n == "tmp") {
        list.directories(&blueprint.working_directory)?;
    }
    list.steps.push(Step::HostName(c"buildbox".to_owned()));
    if !blueprint.network {
        list.steps.push(Step::LoopbackUp);
    }
    if blueprint.bits32 {
        list.steps.push(Step::Personality32);
    }
    list.steps.push(Step::WorkingDirectory(absolute(&blueprint.working_directory)?));
    Ok(Plan { namespaces, steps: list.steps, slots: list.slots, exec: blueprint.exec.clone() })
}

/// Maps one identity; the kernel lets everybody do that for their own.
fn identity(list: &mut List, blueprint: &Blueprint) -> Result<(), NulError> {
    let (uid, gid) = blueprint.inner;
    let (outer_uid, outer_gid) = blueprint.outer;
    for (path, content) in [
        (c"/proc/self/setgroups", "deny".to_owned()),
        (c"/proc/self/uid_map", format!("{uid} {outer_uid} 1\n")),
        (c"/proc/self/gid_map", format!("{gid} {outer_gid} 1\n")),
    ] {
        let content = CString::new(content)?;
        list.steps.push(Step::Write { path: path.to_owned(), content });
    }
    Ok(())
}

fn open_root(list: &mut List, root: &Root) -> Result<Slot, NulError> {
    let restrictions = Restrictions { no_devices: true, ..Restrictions::default() };
    let source = match root {
        Root::Directory(path) => Source::Bind(CString::new(path.as_str())?),
        Root::Overlay { lower, upper, work } => Source::New {
            kind: c"overlay",
            parameters: vec![
                (c"lowerdir".to_owned(), Some(layers(&[lower])?)),
                (c"upperdir".to_owned(), Some(CString::new(escape(upper))?)),
                (c"workdir".to_owned(), Some(CString::new(escape(work))?)),
                (c"userxattr".to_owned(), None),
                // What it holds is thrown away after a crash anyway.
                (c"volatile".to_owned(), None),
            ],
        },
    };
    Ok(list.open(source, restrictions, WhenRefused::Fail))
}

/// The lower layers of an overlay, the top one first. A colon separates them.
fn layers(paths: &[&str]) -> Result<CString, NulError> {
    let paths: Vec<String> = paths.iter().map(|path| escape(path).replace(':', "\\:")).collect();
    CString::new(paths.join(":"))
}

fn escape(path: &str) -> String {
    path.replace('\\', "\\\\")
}

fn tmpfs(mode: &str) -> Result<Source, NulError> {
    let parameters = vec![(c"mode".to_owned(), Some(CString::new(mode)?))];
    Ok(Source::New { kind: c"tmpfs", parameters })
}

fn absolute(path: &TreePath) -> Result<CString, NulError> {
    CString::new(format!("/{path}"))
}

#[derive(Default)]
struct List {
    steps: Vec<Step>,
    slots: usize,
    made: BTreeSet<TreePath>,
}

impl List {
    fn open(
        &mut self,
        source: Source,
        restrictions: Restrictions,
        when_refused: WhenRefused,
    ) -> Slot {
        let slot = Slot(self.slots);
        self.slots += 1;
        self.steps.push(Step::Open { slot, source, restrictions, when_refused });
        slot
    }

    /// Makes a directory and those above it.
    fn directories(&mut self, path: &TreePath) -> Result<(), NulError> {
        let mut at = TreePath::root();
        for name in path.names() {
            at = at.child(name.clone());
            // What lies in a mount must be made again once that is there.
            if self.made.insert(at.clone()) || at.names()[0].as_str() == "tmp" {
                self.steps.push(Step::Directory { path: absolute(&at)?, mode: 0o755 });
            }
        }
        Ok(())
    }

    fn mount_point(&mut self, path: &str, slot: Slot) -> Result<(), NulError> {
        let at = CString::new(path)?;
        self.steps.push(Step::Directory { path: at.clone(), mode: 0o755 });
        self.steps.push(Step::Attach { slot, at });
        Ok(())
    }

    /// Makes parts of the root read-only or writable, by mounts of them on themselves.
    fn protect(&mut self, root: Slot, subtrees: &[Subtree]) -> Result<(), NulError> {
        // All are opened while everything is writable, and no other mounts are there.
        let mut opened = Vec::new();
        for subtree in subtrees.iter().filter(|subtree| !subtree.at.is_root()) {
            let at = absolute(&subtree.at)?;
            let restrictions = Restrictions {
                read_only: subtree.read_only,
                no_devices: true,
                ..Restrictions::default()
            };
            let slot = self.open(Source::Bind(at.clone()), restrictions, WhenRefused::Fail);
            opened.push((slot, at));
        }
        if subtrees.iter().any(|subtree| subtree.at.is_root() && subtree.read_only) {
            self.steps.push(Step::ReadOnly { slot: root });
        }
        self.steps.extend(opened.into_iter().map(|(slot, at)| Step::Attach { slot, at }));
        Ok(())
    }

    fn attach(&mut self, mount: &Mount, slot: Slot) -> Result<(), NulError> {
        self.point(mount)?;
        self.steps.push(Step::Attach { slot, at: absolute(&mount.at)? });
        Ok(())
    }

    /// Makes what a mount is attached to.
    fn point(&mut self, mount: &Mount) -> Result<(), NulError> {
        let at = absolute(&mount.at)?;
        // Not noted as made: an earlier mount may hide what is there.
        let mut above = TreePath::root();
        let (names, last) = match mount.at.names().split_last() {
            Some((last, names)) => (names, Some(last)),
            None => (&[][..], None),
        };
        for name in names {
            above = above.child(name.clone());
            self.steps.push(Step::Directory { path: absolute(&above)?, mode: 0o755 });
        }
        if last.is_some() {
            self.steps.push(if mount.directory {
                Step::Directory { path: at, mode: 0o755 }
            } else {
                Step::EmptyFile { path: at }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
