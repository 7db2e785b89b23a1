//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// What the names of files on their way begin with.
const PREFIX: &str = ".forerunner-";

/// A file on its way to its place: until [`Self::appear`] it stands beside, under a name that is
/// nobody else's, and dropping it removes it. The mode is what a tool would give it; the umask
/// applies.
#[derive(Debug)]
pub struct WholeFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl WholeFile {
    /// Begins the file that is to be at `path`.
    ///
    /// # Errors
    /// If there is no room, or the folder cannot be written to.
    pub fn beside(path: &Path, executable: bool) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mode = if executable { 0o777 } else { 0o666 };
        // Whoever asks for a temporary file finds what was left of it by its name.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let prefix = match name.starts_with(PREFIX) {
            true => format!(".{name}."),
            false => PREFIX.to_owned(),
        };
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(std::fs::Permissions::from_mode(mode))
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Writes everything that is still to be read; from a file, the system copies it by itself.
    ///
    /// # Errors
    /// If it cannot be read, or there is no room.
    pub fn fill<R: io::Read + ?Sized>(&mut self, from: &mut R) -> io::Result<u64> {
        io::copy(from, self.file.as_file_mut())
    }

    /// Another descriptor, to read what was written from its beginning.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub(crate) fn reader(&self) -> io::Result<File> {
        self.file.reopen()
    }

    /// Gives it its place; what is there is replaced in one step.
    ///
    /// # Errors
    /// If that cannot be replaced.
    pub fn appear(self) -> io::Result<()> {
        self.file.persist(&self.path).map(drop).map_err(|error| error.error)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_replaces_what_is_there_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("a.o");
        std::fs::write(&path, "old").expect("written");
        let mut file = WholeFile::beside(&path, true).expect("begun");
        file.write_all(b"new").expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 2);
        file.appear().expect("in place");
        assert_eq!(std::fs::read(&path).expect("read"), b"new");
        assert_ne!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o100, 0);
        drop(WholeFile::beside(&path, false).expect("begun"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn what_is_left_of_a_temporary_file_has_its_name() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join(".forerunner-12-ab");
        let _file = WholeFile::beside(&path, false).expect("begun");
        let entry = std::fs::read_dir(folder.path()).expect("a directory").next();
        let name = entry.expect("a file").expect("a file").file_name();
        assert!(name.to_string_lossy().starts_with("..forerunner-12-ab."), "{name:?}");
    }
}
