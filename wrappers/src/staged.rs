//! Files that buildbox-fuse shows of a tree in CAS: it knows their digests and says so.

use std::path::Path;

use forerunner_merkle::{Digest, DigestFunction};
use nix::sys::statfs::{FUSE_SUPER_MAGIC, statfs};

use crate::stamp::Stamp;

/// The attribute with the SHA-256 of a file's content.
const ATTRIBUTE: &str = "user.checksum.sha256";

/// The digest of a staged file, without reading it. The attribute alone would not do: a copy can
/// take it along and be changed. The time of the last change of anything cannot be set on file systems
/// that keep files, and one that passes them through passes that on.
#[must_use]
pub fn digest(path: &Path, stamp: &Stamp, function: DigestFunction) -> Option<Digest> {
    if !stamp.is_staged() || function != DigestFunction::Sha256 {
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
    use crate::stamp::STAGED_TIME;

    #[test]
    fn only_what_is_staged_by_fuse() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("f");
        std::fs::write(&path, "text").expect("written");
        // Where the file system keeps attributes of users, a copy may have it.
        let _set = xattr::set(&path, ATTRIBUTE, "0".repeat(64).as_bytes());
        let stamp = Stamp { size: 4, mtime: STAGED_TIME, ctime: STAGED_TIME, ..Stamp::default() };
        assert_eq!(digest(&path, &stamp, DigestFunction::Sha256), None);
        assert!(stamp.is_staged() && !stamp.is_settled(i64::MAX));
        assert!(!Stamp { ctime: STAGED_TIME + 1, ..stamp }.is_staged());
    }
}
