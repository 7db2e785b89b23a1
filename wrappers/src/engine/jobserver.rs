//! The job slot that make gave us, handed back while the work is done elsewhere.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// Where make's tokens are taken from and given to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Jobserver {
    read: PathBuf,
    write: PathBuf,
}

/// A slot that was handed back; taken again when dropped.
pub(super) struct Released(Jobserver);

/// Hands the slot back, if `MAKEFLAGS` names a jobserver that can be reached.
pub(super) fn release(makeflags: &str) -> Option<Released> {
    let jobserver = parse(makeflags)?;
    // Make names its pipe to commands too that it does not give it to: under that number may be
    // any file by now.
    if !is_pipe(&jobserver.read) || !is_pipe(&jobserver.write) {
        return None;
    }
    File::options().write(true).open(&jobserver.write).ok()?.write_all(b"+").ok()?;
    Some(Released(jobserver))
}

fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

impl Drop for Released {
    fn drop(&mut self) {
        let take = || -> io::Result<()> {
            let mut token = [0];
            File::open(&self.0.read)?.read_exact(&mut token)
        };
        // Without a jobserver nobody counts any more.
        let _taken = take();
    }
}

fn parse(makeflags: &str) -> Option<Jobserver> {
    let value = makeflags.split_whitespace().rev().find_map(|word| {
        word.strip_prefix("--jobserver-auth=").or_else(|| word.strip_prefix("--jobserver-fds="))
    })?;
    if let Some(path) = value.strip_prefix("fifo:") {
        return Some(Jobserver { read: path.into(), write: path.into() });
    }
    let (read, write) = value.split_once(',')?;
    let place = |number: &str| -> Option<PathBuf> {
        let number: u32 = number.parse().ok()?;
        Some(PathBuf::from(format!("/proc/self/fd/{number}")))
    };
    Some(Jobserver { read: place(read)?, write: place(write)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_make() {
        let old = parse("-j --jobserver-fds=3,4").expect("a jobserver");
        assert_eq!(old.write, PathBuf::from("/proc/self/fd/4"));
        let new = parse("-j2 --jobserver-auth=fifo:/tmp/x").expect("a jobserver");
        assert_eq!(new.read, new.write);
        assert_eq!(parse("-k"), None);
        assert_eq!(parse("--jobserver-auth=-2,-2"), None);
    }

    #[test]
    fn only_a_pipe_gets_a_token() {
        use std::os::fd::AsRawFd as _;
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "text").expect("written");
        let number = file.as_file().as_raw_fd();
        assert!(release(&format!("--jobserver-auth={number},{number}")).is_none());
        assert!(release(&format!("--jobserver-auth=fifo:{}", file.path().display())).is_none());
        assert_eq!(std::fs::read(file.path()).expect("read"), b"text");
    }

    #[test]
    fn the_token_goes_and_comes() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        // Open both ends, so that nobody waits for the other.
        let mut make = File::options().read(true).write(true).open(&path).expect("the fifo");
        let released =
            release(&format!("--jobserver-auth=fifo:{}", path.display())).expect("released");
        let mut token = [0];
        make.read_exact(&mut token).expect("the token");
        assert_eq!(&token, b"+");
        make.write_all(b"+").expect("given back");
        drop(released);
    }
}
