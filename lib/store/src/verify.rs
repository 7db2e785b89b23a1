//! Checking everything.

use std::fs::{File, Metadata};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use forerunner_merkle::{Digest, DigestFunction};

use crate::layout::{EXECUTABLE_SUFFIX, Variant};
use crate::trust::{Verdict, is_marked};
use crate::{Store, StoreError, spread};

/// What `verify` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files of blobs that were hashed.
    pub blobs: u64,
    /// Action results that were checked.
    pub results: u64,
    /// Trees that were checked.
    pub trees: u64,
    /// What was wrong; it was removed, unless the store is read-only.
    pub bad: Vec<PathBuf>,
}

impl Store {
    /// Hashes every blob again, whatever its attributes say, and checks every action result and
    /// tree. What is wrong is removed.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        for function in DigestFunction::ALL {
            let store = self.with_function(function);
            let folder = function.name().to_ascii_lowercase();
            let bad = &mut verified.bad;
            let blobs = self.layout().blobs().join(&folder);
            verified.blobs += store.bad_fanned(&blobs, Self::is_right_blob, bad)?;
            let results = self.layout().results().join(&folder);
            verified.results += store.bad_fanned(&results, Self::is_right_result, bad)?;
            let trees = store.list(&self.layout().trees().join(&folder))?;
            verified.trees += trees.len() as u64;
            verified.bad.extend(store.bad(&trees, |_, _, path| Ok(is_right_tree(path)))?);
        }
        verified.bad.sort();
        Ok(verified)
    }

    /// Adds to `bad` what is wrong in the folders of `base`, one after the other, so that only the
    /// names of one are in memory. Answers how many files there are.
    fn bad_fanned(
        &self,
        base: &Path,
        is_right: impl Fn(&Self, &str, &Path) -> std::io::Result<bool> + Sync + Copy,
        bad: &mut Vec<PathBuf>,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        for (head, path) in self.list(base)? {
            let mut entries = self.list(&path)?;
            entries.iter_mut().for_each(|(tail, _)| tail.insert_str(0, &head));
            bad.extend(self.bad(&entries, is_right)?);
            count += entries.len() as u64;
        }
        Ok(count)
    }

    fn bad(
        &self,
        entries: &[(String, PathBuf)],
        is_right: impl Fn(&Self, &str, &Path) -> std::io::Result<bool> + Sync,
    ) -> Result<Vec<PathBuf>, StoreError> {
        let look = |(name, path): &(String, PathBuf)| {
            let Ok(held) = hold(path) else { return Ok(None) };
            match is_right(self, name, path) {
                Ok(true) => Ok(None),
                Ok(false) => {
                    let same = |there: &Metadata| {
                        held.metadata().is_ok_and(|held| held.ino() == there.ino())
                    };
                    let gone = self.take_away(&[path], |found| same(&found[0]));
                    // One that cannot be removed is bad all the same, and never served.
                    Ok(gone.unwrap_or(true).then(|| path.clone()))
                }
                // Evicted meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(StoreError::io(self.root(), "read", path, error)),
            }
        };
        Ok(spread::try_map(entries, look)?.into_iter().flatten().collect())
    }

    fn is_right_blob(&self, name: &str, path: &Path) -> std::io::Result<bool> {
        let (hex, variant) = match name.strip_suffix(EXECUTABLE_SUFFIX) {
            Some(hex) => (hex, Variant::Executable),
            None => (name, Variant::Plain),
        };
        let metadata = std::fs::symlink_metadata(path)?;
        let Ok(digest) = Digest::from_hex(hex, metadata.len()) else { return Ok(false) };
        if !metadata.is_file() {
            return Ok(false);
        }
        let mut file = Self::open_unused(path)?;
        Ok(self.hash_and_mark(&mut file, &digest, variant)? != Verdict::Wrong)
    }

    fn is_right_result(&self, name: &str, path: &Path) -> std::io::Result<bool> {
        if !std::fs::symlink_metadata(path)?.is_file() {
            return Ok(false);
        }
        let content = std::fs::read(path)?;
        let action = crate::reach::action_of(&content).filter(|action| action.hex() == name);
        let Some(action) = action else { return Ok(false) };
        match self.read_result(&action) {
            Ok(result) => Ok(result.is_some()),
            Err(error) => Err(std::io::Error::other(error)),
        }
    }
}

/// As long as this is open, nothing else gets the inode of what stands at `path`.
fn hold(path: &Path) -> std::io::Result<File> {
    File::options().read(true).custom_flags(nix::libc::O_PATH | nix::libc::O_NOFOLLOW).open(path)
}

/// Nobody has written to a file of the tree.
fn is_right_tree(path: &Path) -> bool {
    walkdir::WalkDir::new(path).into_iter().all(|entry| {
        entry.is_ok_and(|entry| {
            entry.metadata().is_ok_and(|metadata| !metadata.is_file() || is_marked(&metadata))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn what_others_put_there_meanwhile_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("store");
        let function = DigestFunction::Sha256;
        let store = Store::open(&Options { root, size_limit: u64::MAX, function }).expect("opened");
        let digest = store.put(b"content").expect("put");
        let path = store.layout().blob(function, &digest, Variant::Plain);
        // Another process replaces what is found wrong; its file may get the same inode.
        let replace = |_: &Store, _: &str, path: &Path| {
            std::fs::remove_file(path)?;
            std::fs::write(path, b"content")?;
            Ok(false)
        };
        let bad = store.bad(&[(digest.hex(), path.clone())], replace).expect("checked");
        assert_eq!((bad, path.exists()), (Vec::new(), true));
    }
}
