//! Getting blobs out.

use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use forerunner_merkle::Digest;

use crate::layout::Variant;
use crate::trust::{Verdict, is_stale_use, mark};
use crate::{Store, StoreError};

/// How often a blob that others keep replacing is looked at again.
const ATTEMPTS: usize = 8;

impl Store {
    /// Whether the blob is there, and right. Counts as a use. The empty blob always is.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn contains(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.is_empty_blob(digest) || self.has(digest, Variant::Plain)?)
    }

    /// The content of a blob; `None` if it is not there.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        if self.is_empty_blob(digest) {
            return Ok(Some(Vec::new()));
        }
        let Some(mut file) = self.open_variant(digest, Variant::Plain)? else {
            return Ok(None);
        };
        let path = self.layout().blob(self.function, digest, Variant::Plain);
        // Its size was compared with the digest when it was opened; so there is no second read
        // that would only find the end.
        let mut content = vec![0; usize::try_from(digest.size()).unwrap_or(0)];
        match file.read_exact(&mut content) {
            Ok(()) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(StoreError::io(self.root(), "read", &path, error)),
        }
    }

    /// The blob as a file opened for reading; `None` if it is not there. It stays readable when
    /// the blob is evicted.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        if self.is_empty_blob(digest) && self.put_empty().is_err() {
            let path = Path::new("/dev/null");
            return File::open(path).map(Some).map_err(self.failed("read", path));
        }
        self.open_variant(digest, Variant::Plain)
    }

    /// Hard link to the blob (mode 0644 or 0755, modified 2011-11-11T11:11:11Z), for read-only
    /// use; a copy where there can be no link. `false` if the blob is not there.
    ///
    /// # Errors
    /// If `to` exists or cannot be made.
    pub fn link(&self, digest: &Digest, executable: bool, to: &Path) -> Result<bool, StoreError> {
        let variant = Variant::of(executable);
        let path = self.layout().blob(self.function, digest, variant);
        let mut attempts = 1;
        loop {
            let Some(mut file) = self.open_made(digest, variant)? else {
                return Ok(false);
            };
            let Err(error) = std::fs::hard_link(&path, to) else {
                return Ok(true);
            };
            match error.kind() {
                // Evicted meanwhile; or another process, which made the executable one at the same
                // time, put its own in the place of what the path led to.
                io::ErrorKind::NotFound if attempts < ATTEMPTS => attempts += 1,
                io::ErrorKind::NotFound
                | io::ErrorKind::CrossesDevices
                | io::ErrorKind::TooManyLinks
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::Unsupported
                | io::ErrorKind::ReadOnlyFilesystem => {
                    self.copy_open(&mut file, variant, to, true)?;
                    return Ok(true);
                }
                _ => return Err(StoreError::io(self.root(), "link", to, error)),
            }
        }
    }

    /// Independent copy (sharing blocks where the file system can), with mode 0644 or 0755 and
    /// modified now. `false` if the blob is not there.
    ///
    /// # Errors
    /// If `to` exists or cannot be made.
    pub fn copy(&self, digest: &Digest, executable: bool, to: &Path) -> Result<bool, StoreError> {
        let Some(mut file) = self.open_blob(digest)? else {
            return Ok(false);
        };
        self.copy_open(&mut file, Variant::of(executable), to, false)?;
        Ok(true)
    }

    /// Whether this is the digest of nothing, which needs no file.
    pub(crate) fn is_empty_blob(&self, digest: &Digest) -> bool {
        digest.size() == 0 && *digest == self.function.digest(&[])
    }

    /// Whether a file of the blob is there, and right.
    pub(crate) fn has(&self, digest: &Digest, variant: Variant) -> Result<bool, StoreError> {
        let path = self.layout().blob(self.function, digest, variant);
        if let Ok(metadata) = std::fs::symlink_metadata(&path)
            && self.is_trusted(&metadata, variant)
            && !is_stale_use(&metadata)
        {
            return Ok(metadata.len() == digest.size());
        }
        Ok(self.open_variant(digest, variant)?.is_some())
    }

    /// Opens a file of the blob that is right, and records the use.
    fn open_variant(&self, digest: &Digest, variant: Variant) -> Result<Option<File>, StoreError> {
        self.open_checked(digest, variant, true)
    }

    /// Opens a blob without that counting as a use.
    pub(crate) fn peek(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(mut file) = self.open_checked(digest, Variant::Plain, false)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        let path = self.layout().blob(self.function, digest, Variant::Plain);
        file.read_to_end(&mut content).map_err(self.failed("read", &path))?;
        Ok(Some(content))
    }

    fn open_checked(
        &self,
        digest: &Digest,
        variant: Variant,
        counts: bool,
    ) -> Result<Option<File>, StoreError> {
        let path = self.layout().blob(self.function, digest, variant);
        for _ in 0..ATTEMPTS {
            let opened = File::options()
                .read(true)
                .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
                .open(&path);
            let mut file = match opened {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                // A symlink, where we never put one.
                Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
                    let _ = self.take_away(&[&path], |found| found[0].is_symlink());
                    return Ok(None);
                }
                Err(error) => return Err(StoreError::io(self.root(), "read", &path, error)),
            };
            let read = |error| StoreError::io(self.root(), "read", &path, error);
            let metadata = file.metadata().map_err(read)?;
            match self.judge(&mut file, &metadata, digest, variant).map_err(read)? {
                Verdict::OtherSize => return Ok(None),
                Verdict::Wrong => {
                    let inode = metadata.ino();
                    // Not if another process has put a right one there meanwhile.
                    let gone = self.take_away(&[&path], |found| found[0].ino() == inode);
                    if gone.is_err() {
                        return Ok(None);
                    }
                }
                Verdict::Right => {
                    if !counts || self.record_use(&file, &path, &metadata) {
                        return Ok(Some(file));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Records a use. Answers whether the file is still in its place.
    pub(crate) fn record_use(&self, file: &File, path: &Path, metadata: &Metadata) -> bool {
        if !is_stale_use(metadata) {
            return true;
        }
        let _guard = self.share();
        if file.set_times(FileTimes::new().set_accessed(SystemTime::now())).is_err() {
            // A store that we may not write to: nobody evicts from it with our rights either.
            return true;
        }
        std::fs::symlink_metadata(path).is_ok_and(|there| there.ino() == metadata.ino())
    }

    /// Opens a file of the blob, and makes the executable one if only the plain one is there.
    fn open_made(&self, digest: &Digest, variant: Variant) -> Result<Option<File>, StoreError> {
        if self.is_empty_blob(digest) {
            self.put_empty()?;
        }
        if let Some(file) = self.open_variant(digest, variant)? {
            return Ok(Some(file));
        }
        if variant == Variant::Plain {
            return Ok(None);
        }
        let Some(mut plain) = self.open_variant(digest, Variant::Plain)? else {
            return Ok(None);
        };
        let (mut file, temporary) = self.temporary_file()?;
        let made = io::copy(&mut plain, &mut file)
            .map_err(self.failed("write", &temporary))
            .and_then(|_| self.adopt(&file, &temporary, digest, variant));
        if made.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        made?;
        self.open_variant(digest, variant)
    }

    /// The empty blob is everywhere and nowhere: it gets a file when one is asked for.
    fn put_empty(&self) -> Result<(), StoreError> {
        let digest = self.function.digest(&[]);
        if !self.has(&digest, Variant::Plain)? {
            let (file, path) = self.temporary_file()?;
            self.adopt(&file, &path, &digest, Variant::Plain)?;
        }
        Ok(())
    }

    fn copy_open(
        &self,
        from: &mut File,
        variant: Variant,
        to: &Path,
        marked: bool,
    ) -> Result<(), StoreError> {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)
            .map_err(self.failed("write", to))?;
        let copied = io::copy(from, &mut file).and_then(|_| {
            file.set_permissions(Permissions::from_mode(variant.mode()))?;
            if marked { file.set_modified(mark()) } else { Ok(()) }
        });
        copied.map_err(|error| {
            let _ = std::fs::remove_file(to);
            StoreError::io(self.root(), "write", to, error)
        })
    }
}
