//! Opening what is below a directory, and nothing else.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// `struct open_how`.
#[repr(C)]
struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

const RESOLVE_NO_MAGICLINKS: u64 = 2;
const RESOLVE_IN_ROOT: u64 = 0x10;

/// Attempts after which the kernel's answer stands. It asks for another one whenever anything is
/// renamed or mounted anywhere while it resolves a `..`; with many sandboxes that is often.
const ATTEMPTS: u32 = 3000;
/// Attempts without a pause between them.
const EAGER_ATTEMPTS: u32 = 100;

/// Opens `path` as if `root` were `/`: neither `..` nor a symlink leads out of it.
///
/// # Errors
/// Those of `openat2`.
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: &str, flags: i32) -> io::Result<OwnedFd> {
    let path = CString::new(path)?;
    let how = How {
        flags: (flags | libc::O_CLOEXEC) as u64,
        mode: 0,
        resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    let mut attempt = 0;
    loop {
        attempt += 1;
        // SAFETY: the path is a C string, and the structure lives through the call and has the
        // size that is given.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                root.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<How>(),
            )
        };
        if answer >= 0 {
            // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
            return Ok(unsafe { OwnedFd::from_raw_fd(answer as i32) });
        }
        let error = io::Error::last_os_error();
        let again = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR));
        if !again || attempt == ATTEMPTS {
            return Err(error);
        }
        if attempt > EAGER_ATTEMPTS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_leads_out() {
        let temp = tempfile::tempdir().expect("a directory");
        std::fs::write(temp.path().join("inside"), "in").expect("a file");
        symlink("/inside", temp.path().join("absolute")).expect("a symlink");
        symlink("../../../../etc/passwd", temp.path().join("up")).expect("a symlink");
        symlink("/proc/self/exe", temp.path().join("magic")).expect("a symlink");
        let root = File::open(temp.path()).expect("the directory");
        let open = |path| open_in_root(root.as_fd(), path, libc::O_RDONLY);
        assert!(open("inside").is_ok());
        assert!(open("/inside").is_ok());
        assert!(open("../../inside").is_ok());
        assert!(open("absolute").is_ok());
        for path in ["up", "magic", "/etc/passwd", "../etc/passwd"] {
            assert_eq!(open(path).expect_err(path).kind(), io::ErrorKind::NotFound, "{path}");
        }
        assert!(open("a\0b").is_err());
    }
}
