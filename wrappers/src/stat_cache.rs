//! Digests of files that need no reading while the file's stamp is the same.
//!
//! One small file per directory, so that a header directory that every source includes from is
//! read once per command and written once.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use forerunner_merkle::{Digest, DigestFunction};

use crate::bytes_io::{Reader, Writer, replace_file};
use crate::staged;
use crate::stamp::{self, STAMP_BYTES, Stamp};

const MAGIC: &[u8] = b"forerunner stat cache 1\n";
/// More files than any sane directory has; a shard that grows beyond is begun anew.
const MOST_ENTRIES: usize = 20_000;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Of its content.
    pub digest: Digest,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// What tells that it is still the same.
    pub stamp: Stamp,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<String, Known>,
    changed: bool,
}

/// Digests of files.
pub struct StatCache {
    folder: Option<PathBuf>,
    function: DigestFunction,
    shards: HashMap<PathBuf, Shard>,
    now: i64,
}

impl StatCache {
    /// A cache that is kept in `folder`, or only in memory.
    #[must_use]
    pub fn new(folder: Option<PathBuf>, function: DigestFunction) -> Self {
        Self { folder, function, shards: HashMap::new(), now: stamp::now() }
    }

    /// What the file at an absolute path is; symbolic links are followed.
    ///
    /// # Errors
    /// If it cannot be read or is no regular file.
    pub fn know(&mut self, path: &Path) -> io::Result<Known> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let stamp = Stamp::of(&metadata);
        let executable = is_executable(&metadata);
        let (Some(directory), Some(name)) =
            (path.parent(), path.file_name().and_then(|n| n.to_str()))
        else {
            return Err(io::Error::other("not the path of a file"));
        };
        if !self.shards.contains_key(directory) {
            let shard = self.load(directory);
            self.shards.insert(directory.to_owned(), shard);
        }
        if let Some(known) = self.shards.get(directory).and_then(|shard| shard.entries.get(name))
            && known.stamp == stamp
        {
            return Ok(Known { executable, ..*known });
        }
        let digest = digest_file(path, &stamp, self.function)?;
        let known = Known { digest, executable, stamp };
        // Only what did not change while it was read, and would show the next change, is kept.
        let after = Stamp::of(&std::fs::metadata(path)?);
        if after == stamp
            && stamp.is_settled(self.now)
            && let Some(shard) = self.shards.get_mut(directory)
        {
            shard.entries.insert(name.to_owned(), known);
            shard.changed = true;
        }
        Ok(known)
    }

    /// The content's digest of a file that is not to be remembered.
    #[must_use]
    pub fn function(&self) -> DigestFunction {
        self.function
    }

    /// Writes what was learned.
    pub fn save(&mut self) {
        let Some(folder) = &self.folder else { return };
        for (directory, shard) in &mut self.shards {
            if !std::mem::take(&mut shard.changed) || shard.entries.len() > MOST_ENTRIES {
                continue;
            }
            let mut writer = Writer(MAGIC.to_vec());
            writer.text(self.function.name());
            writer.bytes(directory.as_os_str().as_encoded_bytes());
            for (name, known) in &shard.entries {
                writer.text(name);
                writer.0.extend_from_slice(&known.stamp.to_bytes());
                writer.byte(u8::from(known.executable));
                writer.text(&known.digest.hex());
                writer.number(known.digest.size());
            }
            replace_file(&folder.join(shard_name(directory)), &writer.0);
        }
    }

    fn load(&self, directory: &Path) -> Shard {
        let read = || {
            let bytes = std::fs::read(self.folder.as_ref()?.join(shard_name(directory))).ok()?;
            self.parse(&bytes, directory)
        };
        read().unwrap_or_default()
    }

    fn parse(&self, bytes: &[u8], directory: &Path) -> Option<Shard> {
        let mut reader = Reader(bytes.strip_prefix(MAGIC)?);
        if reader.text()? != self.function.name()
            || reader.bytes()? != directory.as_os_str().as_encoded_bytes()
        {
            return None;
        }
        let mut shard = Shard::default();
        while !reader.0.is_empty() {
            let name = reader.text()?.to_owned();
            let stamp = Stamp::from_bytes(reader.take(STAMP_BYTES)?.try_into().ok()?);
            let executable = reader.byte()? != 0;
            let hash = reader.text()?;
            let digest = Digest::from_hex(hash, reader.number()?).ok()?;
            shard.entries.insert(name, Known { digest, executable, stamp });
        }
        Some(shard)
    }
}

fn shard_name(directory: &Path) -> String {
    blake3::hash(directory.as_os_str().as_encoded_bytes()).to_hex()[..32].to_owned()
}

/// Whether the owner may execute the file; what the reference stores.
pub(crate) fn is_executable(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o100 != 0
}

/// The digest of a file whose stamp was just taken: as the file system says, or by reading it.
///
/// # Errors
/// If it cannot be read.
pub fn digest_file(path: &Path, stamp: &Stamp, function: DigestFunction) -> io::Result<Digest> {
    staged::digest(path, stamp, function).map_or_else(|| hash_file(path, function), Ok)
}

/// The digest of a file's content, in pieces.
///
/// # Errors
/// If it cannot be read.
pub fn hash_file(path: &Path, function: DigestFunction) -> io::Result<Digest> {
    let mut hasher = function.hasher();
    io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    #[test]
    fn what_is_settled_is_remembered() {
        let folder = tempfile::tempdir().expect("a directory");
        let data = tempfile::tempdir().expect("a directory");
        let path = data.path().join("f");
        fs::write(&path, "one").expect("written");
        let function = DigestFunction::Sha256;
        let mut cache = StatCache::new(Some(folder.path().to_owned()), function);
        // As if it were looked at much later.
        cache.now = i64::MAX;
        let known = cache.know(&path).expect("known");
        assert_eq!(known.digest, function.digest(b"one"));
        cache.save();
        let mut again = StatCache::new(Some(folder.path().to_owned()), function);
        again.know(&path).expect("known");
        assert!(!again.shards[data.path()].changed, "nothing was learned");
        assert_eq!(again.shards[data.path()].entries.len(), 1);
        // Another content of the same size with the same mtime shows in the ctime.
        let old = fs::metadata(&path).and_then(|m| m.modified()).expect("a time");
        std::thread::sleep(Duration::from_millis(20));
        fs::write(&path, "two").expect("written");
        File::options().write(true).open(&path).and_then(|f| f.set_modified(old)).expect("set");
        assert_eq!(again.know(&path).expect("known").digest, function.digest(b"two"));
    }

    #[test]
    fn what_is_recent_or_torn_is_not_trusted() {
        let folder = tempfile::tempdir().expect("a directory");
        let data = tempfile::tempdir().expect("a directory");
        let path = data.path().join("f");
        fs::write(&path, "one").expect("written");
        let future = SystemTime::now() + Duration::from_secs(1000);
        File::options().write(true).open(&path).and_then(|f| f.set_modified(future)).expect("set");
        let mut cache = StatCache::new(Some(folder.path().to_owned()), DigestFunction::Sha256);
        cache.know(&path).expect("known");
        assert!(cache.shards[data.path()].entries.is_empty());
        fs::write(folder.path().join(shard_name(data.path())), b"forerunner stat cache 1\n\x07")
            .expect("written");
        let mut cache = StatCache::new(Some(folder.path().to_owned()), DigestFunction::Sha256);
        assert!(cache.know(&path).is_ok());
        assert!(cache.know(&data.path().join("gone")).is_err());
        assert!(cache.know(data.path()).is_err());
    }
}
