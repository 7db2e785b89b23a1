//! Which files may be served without hashing them.
//!
//! A file that was checked carries the time 2011-11-11T11:11:11Z as its modification time, to the
//! nanosecond: whoever writes to it changes that. Its status must have changed since the marker of
//! this boot was made (see `boot`), and not in the future. Everything else is hashed, and then
//! gets these attributes or is removed.

use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forerunner_merkle::{Digest, DigestFunction};

use crate::Store;
use crate::layout::Variant;
use crate::stamp::Stamp;

/// 2011-11-11T11:11:11Z in seconds since 1970; the time that the reference tools give staged files.
pub(crate) const MARK_SECONDS: i64 = 1_321_009_871;

/// Uses within this time are recorded once.
const GRAIN: Duration = Duration::from_secs(3600);

/// A file as it was when it was found right: device, inode, size, times of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(u64, u64, u64, Stamp, i64, i64);

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self(
            metadata.dev(),
            metadata.ino(),
            metadata.len(),
            Stamp::changed(metadata),
            metadata.mtime(),
            metadata.mtime_nsec(),
        )
    }
}

/// The modification time of everything that was checked.
pub(crate) fn mark() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(MARK_SECONDS as u64)
}

pub(crate) fn is_marked(metadata: &Metadata) -> bool {
    metadata.mtime() == MARK_SECONDS && metadata.mtime_nsec() == 0
}

/// Sets the attributes of a file that was checked, as used now.
pub(crate) fn set_mark(file: &File, variant: Variant) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(variant.mode()))?;
    file.set_times(FileTimes::new().set_accessed(SystemTime::now()).set_modified(mark()))
}

/// What a file is, compared with the digest it stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has this digest.
    Right,
    /// It has this hash; the size in the digest is wrong.
    OtherSize,
    /// It has another hash, or is no file.
    Wrong,
}

impl Store {
    /// Whether the attributes alone say that a file was checked and not changed since.
    pub(crate) fn is_trusted(&self, metadata: &Metadata, variant: Variant) -> bool {
        let Some(boot) = self.inner.boot else {
            return false;
        };
        let changed = Stamp::changed(metadata);
        metadata.is_file()
            && is_marked(metadata)
            && metadata.mode() & 0o7777 == variant.mode()
            && changed >= boot
            && changed <= Stamp::now()
    }

    /// Decides about an open file with these attributes. One that was only found right by hashing
    /// gets its mark.
    pub(crate) fn judge(
        &self,
        file: &mut File,
        metadata: &Metadata,
        digest: &Digest,
        variant: Variant,
    ) -> io::Result<Verdict> {
        if !metadata.is_file() {
            return Ok(Verdict::Wrong);
        }
        if self.is_trusted(metadata, variant) || self.was_checked(metadata) {
            let right = metadata.len() == digest.size();
            return Ok(if right { Verdict::Right } else { Verdict::OtherSize });
        }
        self.hash_and_mark(file, digest, variant)
    }

    /// Decides by the content, whatever the attributes say.
    pub(crate) fn hash_and_mark(
        &self,
        file: &mut File,
        digest: &Digest,
        variant: Variant,
    ) -> io::Result<Verdict> {
        // Somebody may be writing to it; then what was hashed is not what is there. Other
        // processes that check it at the same time only set times, to the same values.
        for _ in 0..3 {
            let before = file.metadata()?;
            let found = hash(file, self.function)?;
            let after = file.metadata()?;
            let unchanged = before.len() == after.len()
                && (is_marked(&after)
                    || (before.mtime(), before.mtime_nsec())
                        == (after.mtime(), after.mtime_nsec()));
            if !unchanged {
                continue;
            }
            if found.hash() != digest.hash() {
                return Ok(Verdict::Wrong);
            }
            // The time of the last use stays: another process may be recording one.
            let marked = file
                .set_permissions(Permissions::from_mode(variant.mode()))
                .and_then(|()| file.set_modified(mark()));
            if marked.is_err() || self.inner.boot.is_none() {
                self.remember(&file.metadata()?);
            }
            let right = found.size() == digest.size();
            return Ok(if right { Verdict::Right } else { Verdict::OtherSize });
        }
        Ok(Verdict::Wrong)
    }

    fn was_checked(&self, metadata: &Metadata) -> bool {
        self.inner.checked.lock().is_ok_and(|checked| checked.contains(&Identity::of(metadata)))
    }

    fn remember(&self, metadata: &Metadata) {
        if let Ok(mut checked) = self.inner.checked.lock() {
            checked.insert(Identity::of(metadata));
        }
    }
}

/// Whether a use has to be recorded: the last one that was is older than an hour, or than a hold
/// of this process.
pub(crate) fn is_stale_use(metadata: &Metadata) -> bool {
    let now = SystemTime::now();
    let used = Stamp::used(metadata);
    used > Stamp::from(now)
        || now.checked_sub(GRAIN).is_none_or(|limit| used < Stamp::from(limit))
        || crate::hold::latest().is_some_and(|start| used < start)
}

/// The digest of a file, from its beginning; it is rewound.
pub(crate) fn hash(file: &mut File, function: DigestFunction) -> io::Result<Digest> {
    use std::io::Seek;
    file.rewind()?;
    let digest = hash_stream(file, function)?;
    file.rewind()?;
    Ok(digest)
}

/// The digest of everything that is still to be read.
pub(crate) fn hash_stream(from: &mut impl Read, function: DigestFunction) -> io::Result<Digest> {
    let mut hasher = function.hasher();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
