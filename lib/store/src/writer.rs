//! Putting blobs in.

use std::fs::{File, FileTimes};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use forerunner_merkle::{Digest, Hasher};

use crate::layout::Variant;
use crate::trust::set_mark;
use crate::{Store, StoreError, trust};

/// A blob being written; nothing is visible until [`BlobWriter::commit`].
pub struct BlobWriter {
    store: Store,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    expected: Option<Digest>,
}

impl std::fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobWriter")
            .field("path", &self.path)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buf).map_err(|error| {
            let kind = error.kind();
            io::Error::new(kind, StoreError::io(self.store.root(), "write", &self.path, error))
        })?;
        self.hasher.update(&buf[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter {
    /// Makes the blob visible. Checks against the expected digest if one was given.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] if the content is not as expected; or if it cannot be written.
    pub fn commit(self) -> Result<Digest, StoreError> {
        let digest = self.hasher.clone().finish();
        if let Some(expected) = self.expected
            && expected != digest
        {
            let (expected, found) = (Box::new(expected), Box::new(digest));
            return Err(StoreError::Mismatch { expected, found });
        }
        self.store.adopt(&self.file, &self.path, &digest, Variant::Plain)?;
        Ok(digest)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // After a commit it is not there any more.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Store {
    /// Begins a blob whose content comes in pieces.
    ///
    /// # Errors
    /// If the store cannot be written to.
    pub fn writer(&self, expected: Option<Digest>) -> Result<BlobWriter, StoreError> {
        let (file, path) = self.temporary_file()?;
        let hasher = self.function.hasher();
        Ok(BlobWriter { store: self.clone(), file, path, hasher, expected })
    }

    /// Puts a blob; answers with its digest.
    ///
    /// # Errors
    /// If it is not there and cannot be written.
    pub fn put(&self, content: &[u8]) -> Result<Digest, StoreError> {
        let digest = self.function.digest(content);
        if self.contains(&digest)? {
            return Ok(digest);
        }
        let (mut file, path) = self.temporary_file()?;
        let written = file
            .write_all(content)
            .map_err(self.failed("write", &path))
            .and_then(|()| self.adopt(&file, &path, &digest, Variant::Plain));
        if written.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        written.map(|()| digest)
    }

    /// Puts a copy of a file; answers with its digest. Where the file system can, the copy shares
    /// its blocks.
    ///
    /// # Errors
    /// If the file cannot be read, or the blob is not there and cannot be written.
    pub fn put_file(&self, path: &Path) -> Result<Digest, StoreError> {
        /// What is read at once rather than twice.
        const SMALL_BYTES: u64 = 1024 * 1024;
        let mut source = File::open(path).map_err(self.failed("read", path))?;
        let metadata = source.metadata().map_err(self.failed("read", path))?;
        if !metadata.is_file() {
            let error = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(StoreError::io(self.root(), "read as a file", path, error));
        }
        if metadata.len() <= SMALL_BYTES {
            let mut content = Vec::with_capacity(metadata.len() as usize);
            io::Read::read_to_end(&mut source, &mut content).map_err(self.failed("read", path))?;
            return self.put(&content);
        }
        let digest = trust::hash(&mut source, self.function).map_err(self.failed("read", path))?;
        if self.contains(&digest)? {
            return Ok(digest);
        }
        // The file may change meanwhile: the digest is that of what was copied.
        let (mut file, temporary) = self.temporary_file()?;
        let put = io::copy(&mut source, &mut file)
            .and_then(|_| trust::hash(&mut file, self.function))
            .map_err(self.failed("write", &temporary))
            .and_then(|digest| {
                self.adopt(&file, &temporary, &digest, Variant::Plain)?;
                Ok(digest)
            });
        if put.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        put
    }

    /// A new empty file in the temporary folder of this process.
    pub(crate) fn temporary_file(&self) -> Result<(File, PathBuf), StoreError> {
        loop {
            let path = self.temporary_path()?;
            let file =
                File::options().read(true).write(true).create_new(true).mode(0o600).open(&path);
            match file {
                Ok(file) => return Ok((file, path)),
                // A forked child counts as its parent did.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StoreError::io(self.root(), "write", &path, error)),
            }
        }
    }

    /// Gives a complete file at `temporary` its place, and counts it.
    pub(crate) fn adopt(
        &self,
        file: &File,
        temporary: &Path,
        digest: &Digest,
        variant: Variant,
    ) -> Result<(), StoreError> {
        // One that is there and right stays: others may have links to it.
        if self.has(digest, variant)? {
            let _ = std::fs::remove_file(temporary);
            return Ok(());
        }
        set_mark(file, variant).map_err(self.failed("write", temporary))?;
        let path = self.layout().blob(self.function, digest, variant);
        self.place(temporary, &path)?;
        self.count_added(digest.size());
        Ok(())
    }

    /// Renames, and makes the folder for it where there is none.
    pub(crate) fn place(&self, temporary: &Path, path: &Path) -> Result<(), StoreError> {
        self.rename_into(temporary, path).map_err(self.failed("write", path))
    }

    pub(crate) fn rename_into(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        let _guard = self.share();
        match std::fs::rename(temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                std::fs::rename(temporary, path)
            }
            other => other,
        }
    }

    /// Writes a small file that replaces whatever is at `path`.
    pub(crate) fn write_whole(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let (mut file, temporary) = self.temporary_file()?;
        let written = file
            .write_all(content)
            .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(0o644)))
            // The clock that the file system goes by may be a little behind.
            .and_then(|()| file.set_times(FileTimes::new().set_accessed(SystemTime::now())))
            .map_err(self.failed("write", &temporary))
            .and_then(|()| self.place(&temporary, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }
}
