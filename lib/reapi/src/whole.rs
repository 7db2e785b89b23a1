//! Files that appear whole or not at all.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use tempfile::{NamedTempFile, PathPersistError, TempPath};

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

    /// Gives it its place; what is there is replaced in one step.
    ///
    /// # Errors
    /// If that cannot be replaced.
    pub fn appear(self) -> io::Result<()> {
        put_in_place(self.file.into_temp_path(), &self.path).map_err(|error| error.error)
    }
}

/// Gives a temporary file its place; what is there is replaced in one step.
///
/// The two change places, and the old one is removed then. Of a file that is renamed over another,
/// ext4 has the content written to the disk first (`auto_da_alloc`), which takes longer than
/// everything else. Compilers do not wait for the disk either.
///
/// # Errors
/// If what is there cannot be replaced. The error has the temporary file.
pub fn put_in_place(from: TempPath, to: &Path) -> Result<(), PathPersistError> {
    let is_file = to.symlink_metadata().is_ok_and(|there| there.is_file());
    // Not every file system, and not every sandbox, has it.
    if is_file && renameat2(AT_FDCWD, &*from, AT_FDCWD, to, RenameFlags::RENAME_EXCHANGE).is_ok() {
        // Dropping it removes what has its name now.
        return Ok(());
    }
    from.persist(to)
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
    fn links_are_replaced_and_directories_are_not() {
        let folder = tempfile::tempdir().expect("a directory");
        let put = |path: &Path| {
            let mut file = WholeFile::beside(path, false).expect("begun");
            file.write_all(b"new").expect("written");
            file.appear()
        };
        let [a, link, other, directory] =
            ["a", "link", "other", "d"].map(|it| folder.path().join(it));
        std::fs::write(&a, "old").expect("written");
        std::os::unix::fs::symlink("a", &link).expect("a link");
        std::fs::hard_link(&a, &other).expect("a link");
        put(&link).expect("in place");
        assert!(link.symlink_metadata().expect("there").is_file());
        put(&other).expect("in place");
        assert_eq!(std::fs::read(&a).expect("read"), b"old");
        assert_eq!(std::fs::read(&other).expect("read"), b"new");
        std::fs::create_dir(&directory).expect("a directory");
        assert!(put(&directory).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 4);
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
