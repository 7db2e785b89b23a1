//! Files that buildbox-fuse shows of a tree in CAS: it knows their digests and says so.

use std::path::Path;

use forerunner_merkle::{Digest, DigestFunction};
use nix::sys::statfs::{FUSE_SUPER_MAGIC, statfs};

use crate::stamp::Stamp;

/// The time that buildbox-fuse gives everything that was not changed, for the last change of the
/// content and for that of anything; nanoseconds since 1970.
const TIME: i64 = 1_321_009_871_000_000_000;

/// The attribute with the SHA-256 of a file's content.
const ATTRIBUTE: &str = "user.checksum.sha256";

/// Whether a stamp is that of a file, or directory, as it was staged. It then says nothing of the
/// file: in the next sandbox another may have the same, down to inode and device.
#[must_use]
pub fn is_staged(stamp: &Stamp) -> bool {
    stamp.mtime == TIME && stamp.ctime == TIME
}

/// The digest of a staged file, without reading it. The attribute alone would not do: a copy can
/// take it along and be changed. The time of the last change of anything cannot be set on file systems
/// that keep files, and one that passes them through passes that on.
#[must_use]
pub fn digest(path: &Path, stamp: &Stamp, function: DigestFunction) -> Option<Digest> {
    if !is_staged(stamp) || function != DigestFunction::Sha256 {
        return None;
    }
    if statfs(path).ok()?.filesystem_type() != FUSE_SUPER_MAGIC {
        return None;
    }
    let value = xattr::get_deref(path, ATTRIBUTE).ok()??;
    Digest::from_hex(std::str::from_utf8(&value).ok()?, stamp.size).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_staged_by_fuse() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("f");
        std::fs::write(&path, "text").expect("written");
        // Where the file system keeps attributes of users, a copy may have it.
        let _set = xattr::set(&path, ATTRIBUTE, "0".repeat(64).as_bytes());
        let stamp = Stamp { size: 4, mtime: TIME, ctime: TIME, ..Stamp::default() };
        assert_eq!(digest(&path, &stamp, DigestFunction::Sha256), None);
        assert!(is_staged(&stamp) && !stamp.is_settled(i64::MAX));
        assert!(!is_staged(&Stamp { ctime: TIME + 1, ..stamp }));
    }
}
