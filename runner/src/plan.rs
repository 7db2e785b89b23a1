//! What will be done to make a sandbox, as a list that is complete before anything is done.
//!
//! A plan is made by [`plan`] from plain values, without privileges and without looking at the
//! machine; `sys` carries it out. Everything that a step needs is in it already, because nothing
//! that allocates may run between the birth of the sandbox and the command.

use std::ffi::{CStr, CString};
use std::fmt;

use crate::capability::Capabilities;
use crate::seccomp::Program;

mod layout;

pub(crate) use layout::{Blueprint, Mount, Root, Subtree, plan};

/// A namespace that the sandbox gets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// Users and capabilities.
    User,
    /// Mounts.
    Mount,
    /// Processes.
    Pid,
    /// Network.
    Net,
    /// Host name.
    Uts,
    /// System V and POSIX message queues, shared memory.
    Ipc,
}

/// A mount that was opened and is not attached yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) usize);

/// Restrictions of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restrictions {
    /// Nothing can be written.
    pub(crate) read_only: bool,
    /// Device nodes do not work.
    pub(crate) no_devices: bool,
    /// Programs cannot be executed.
    pub(crate) no_exec: bool,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file or directory that is visible now, with what is mounted below it.
    Bind(CString),
    /// A file system of its own; its parameters, those without a value as flags.
    New {
        /// The kind, as in `/proc/filesystems`.
        kind: &'static CStr,
        /// Keys and values.
        parameters: Vec<(CString, Option<CString>)>,
    },
}

/// One step. Those before [`Step::Pivot`] see the host, those after it only the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write a file of the kernel, in one call.
    Write { path: CString, content: CString },
    /// See nothing of the control groups above our own. Not at birth: then it would be the view
    /// of the runner, and who has a view with capabilities may change what it shows.
    CgroupNamespace,
    /// Keep mounts from reaching the host, and those of the host from reaching us.
    Private,
    /// Open a mount into a slot.
    Open { slot: Slot, source: Source, restrictions: Restrictions, when_refused: WhenRefused },
    /// Put the root on any directory of the host for a moment; its slot stays filled.
    Place { root: Slot, at: CString },
    /// Hand a second mount of the root to the runner and wait for its word to go on. What is
    /// mounted in the sandbox later is not in that one, and it outlives the sandbox.
    Meet { root: Slot },
    /// Make the mount in this slot, which was placed, the root. The host is gone then.
    Pivot { root: Slot },
    /// Let nothing be written through the mount in this slot from now on.
    ReadOnly { slot: Slot },
    /// Make a directory unless something is there.
    Directory { path: CString, mode: u32 },
    /// Make an empty file unless something is there.
    EmptyFile { path: CString },
    /// Make a symlink.
    Symlink { path: CString, target: CString },
    /// Put the mount in `slot` at a path of the sandbox; nothing if the slot stayed empty.
    Attach { slot: Slot, at: CString },
    /// Set the host name.
    HostName(CString),
    /// Start the loopback interface.
    LoopbackUp,
    /// Report a 32-bit machine.
    Personality32,
    /// Change to the working directory.
    WorkingDirectory(CString),
}

/// What happens when the kernel refuses to open a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WhenRefused {
    /// The sandbox cannot be made.
    Fail,
    /// The slot stays empty if there is no such thing.
    SkipIfAbsent,
    /// This is bound instead, with what is below it.
    Bind(CString),
}

/// The command and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exec {
    /// Files to try, in order.
    pub(crate) candidates: Vec<CString>,
    /// Its arguments, the name of the program first.
    pub(crate) arguments: Vec<CString>,
    /// `NAME=value`, all of them.
    pub(crate) environment: Vec<CString>,
    /// What it may do beyond an ordinary user.
    pub(crate) capabilities: Capabilities,
    /// The system calls it is refused.
    pub(crate) filter: Program,
}

/// A sandbox and the command in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Those that are new.
    pub(crate) namespaces: Vec<Namespace>,
    /// In this order.
    pub(crate) steps: Vec<Step>,
    /// The number of slots that the steps use.
    pub(crate) slots: usize,
    /// Run at the end.
    pub(crate) exec: Exec,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |path: &CString| path.to_string_lossy().into_owned();
        match self {
            Self::Write { path, .. } => write!(f, "write `{}`", show(path)),
            Self::CgroupNamespace => f.write_str("unshare the view of the control groups"),
            Self::Private => f.write_str("make the mounts private"),
            Self::Open { source: Source::Bind(path), .. } => {
                write!(f, "bind `{}` of the host", show(path))
            }
            Self::Open { source: Source::New { kind, .. }, .. } => {
                write!(f, "mount a new {}", kind.to_string_lossy())
            }
            Self::Place { .. } => f.write_str("mount the root of the action"),
            Self::Meet { .. } => f.write_str("hand over the root"),
            Self::Pivot { .. } => f.write_str("enter the root of the action"),
            Self::ReadOnly { .. } => f.write_str("make the root read-only"),
            Self::Directory { path, .. } => write!(f, "make the directory `{}`", show(path)),
            Self::EmptyFile { path } => write!(f, "make the file `{}`", show(path)),
            Self::Symlink { path, .. } => write!(f, "make the symlink `{}`", show(path)),
            Self::Attach { at, .. } => write!(f, "mount at `{}`", show(at)),
            Self::HostName(_) => f.write_str("set the host name"),
            Self::LoopbackUp => f.write_str("start the loopback interface"),
            Self::Personality32 => f.write_str("choose the 32-bit personality"),
            Self::WorkingDirectory(path) => {
                write!(f, "change to the working directory `{}`", show(path))
            }
        }
    }
}
