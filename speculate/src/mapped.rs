//! A file as memory: the only unsafe code of this program.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

/// The content of a regular file, mapped: pages are read when they are looked at, and shared by all
/// processes that look at them.
///
/// Only for files that nobody changes once they have their name: they are written under another one
/// and renamed, and removed rather than shortened.
///
/// # Errors
/// If it is no regular file, or cannot be opened or mapped.
pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the map is only read, and its bytes stay what they are: the files that are mapped here
    // are those of `Tables`, in the store's own folder. `Tables::write` writes them under a temporary
    // name and renames them; no program of ours opens one for writing after that, and one that is
    // replaced or removed lives on as long as it is mapped. Whoever shortens one in place all the same
    // has the rights of this user, and ends the process with SIGBUS; nothing that was built is lost.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }?;
    Ok(Bytes::from_owner(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_outlives_the_name_of_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "content").expect("a file");
        let bytes = map(&path).expect("a map");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(&bytes[..], b"content");
        std::fs::write(&path, "").expect("an empty file");
        assert!(map(&path).is_ok_and(|bytes| bytes.is_empty()));
        assert!(map(folder.path()).is_err());
        assert!(map(&folder.path().join("none")).is_err());
    }
}
