//! Opening and reading what a command left, whatever permissions it gave it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};

use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction, Name};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstatat};

/// Up to this size a file is kept in memory until it is uploaded; a larger one stays open.
const SMALL_BYTES: u64 = 64 * 1024;

/// A file and its digest.
pub(super) struct Content {
    pub(super) digest: Digest,
    pub(super) place: Place,
}

/// Where the content is.
pub(super) enum Place {
    Memory(Bytes),
    Open(File),
}

/// Opens a file that is no symlink.
pub(super) fn open_file(directory: BorrowedFd<'_>, name: &Name) -> io::Result<File> {
    // Not waiting, should it have become a FIFO.
    open(directory, name, OFlag::O_NONBLOCK | OFlag::O_NOCTTY, Mode::S_IRUSR).map(File::from)
}

/// Opens a directory that is no symlink.
pub(super) fn open_directory(directory: BorrowedFd<'_>, name: &Name) -> io::Result<OwnedFd> {
    open(directory, name, OFlag::O_DIRECTORY, Mode::S_IRUSR | Mode::S_IXUSR)
}

fn open(directory: BorrowedFd<'_>, name: &Name, flags: OFlag, needed: Mode) -> io::Result<OwnedFd> {
    let flags = flags | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(directory, name.as_str(), flags, Mode::empty()) {
        // What a command made unreadable is an output all the same.
        Err(Errno::EACCES) => {
            let stat = fstatat(directory, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            let mode = Mode::from_bits_truncate(stat.st_mode) | needed;
            fchmodat(directory, name.as_str(), mode, FchmodatFlags::FollowSymlink)?;
            Ok(openat(directory, name.as_str(), flags, Mode::empty())?)
        }
        other => Ok(other?),
    }
}

/// Reads and hashes a file.
pub(super) fn content(mut file: File, function: DigestFunction) -> io::Result<Content> {
    let mut start = Vec::new();
    (&mut file).take(SMALL_BYTES + 1).read_to_end(&mut start)?;
    if start.len() as u64 <= SMALL_BYTES {
        let digest = function.digest(&start);
        return Ok(Content { digest, place: Place::Memory(start.into()) });
    }
    let mut hasher = function.hasher();
    hasher.update(&start);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => hasher.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Content { digest: hasher.finish(), place: Place::Open(file) })
}
