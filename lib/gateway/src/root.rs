//! The root of the sandbox that a socket is served into.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

/// The root of a sandbox, as a directory descriptor. It is set when the sandbox exists, which may
/// be after its socket is served; until then no path is found.
#[derive(Clone, Debug, Default)]
pub struct SandboxRoot {
    root: Arc<OnceLock<OwnedFd>>,
}

impl SandboxRoot {
    /// A root that is not known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says where the root is. Only the first call counts.
    pub fn set(&self, root: OwnedFd) {
        let _ = self.root.set(root);
    }

    /// Opens what a process in the sandbox calls `path`. Nothing outside the root can be reached:
    /// `..` and absolute symlinks end at the root, as they do inside.
    pub(crate) fn open(&self, path: &str, flags: OFlag) -> io::Result<Opened> {
        /// The kernel asks for another try when something was renamed or mounted meanwhile,
        /// anywhere: with many sandboxes that is often.
        const TRIES: usize = 1000;
        /// Tries without a pause between them.
        const EAGER_TRIES: usize = 100;
        let root = self.root.get().ok_or(io::ErrorKind::NotFound)?;
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .mode(if flags.contains(OFlag::O_CREAT) {
                Mode::from_bits_truncate(0o666)
            } else {
                Mode::empty()
            })
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = if path.is_empty() { "." } else { path };
        for attempt in 0..TRIES {
            match openat2(root.as_fd(), path, how) {
                Err(Errno::EAGAIN) if attempt < EAGER_TRIES => {}
                Err(Errno::EAGAIN) => std::thread::sleep(std::time::Duration::from_millis(1)),
                Err(errno) => return Err(errno.into()),
                Ok(descriptor) => return Ok(Opened { file: File::from(descriptor) }),
            }
        }
        Err(Errno::EAGAIN.into())
    }
}

/// Something opened inside the sandbox.
pub(crate) struct Opened {
    pub(crate) file: File,
}

impl Opened {
    /// A path of ours that leads to exactly this, whatever is renamed inside meanwhile.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}
