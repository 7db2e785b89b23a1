//! Files that appear whole or not at all.

use std::fs::{File, Permissions};
use std::io::{self, Seek as _, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use forerunner_merkle::DigestFunction;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, renameat2};
use nix::unistd::linkat;
use tempfile::{PathPersistError, TempPath};

/// What the names of files on their way begin with.
const PREFIX: &str = ".forerunner-";

/// A file on its way to its place: until [`Self::appear`] it has no name, so that nothing is left of
/// it, also if we are killed. Where the file system knows no files without one (`O_TMPFILE`,
/// open(2)), it stands beside, under a name that is nobody else's, and dropping it removes it. The
/// mode is what a tool would give it; the umask applies.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    name: Option<TempPath>,
    path: PathBuf,
    mode: u32,
}

impl WholeFile {
    /// Begins the file that is to be at `path`.
    ///
    /// # Errors
    /// If there is no room, or the folder cannot be written to.
    pub fn beside(path: &Path, executable: bool) -> io::Result<Self> {
        let mode = if executable { 0o777 } else { 0o666 };
        let mut unnamed = File::options();
        unnamed.read(true).write(true).mode(mode).custom_flags(OFlag::O_TMPFILE.bits());
        let (file, name) = match unnamed.open(folder(path)) {
            Ok(file) => (file, None),
            Err(_) => named(path, mode).map(|(file, name)| (file, Some(name)))?,
        };
        Ok(Self { file, name, path: path.to_owned(), mode })
    }

    /// Writes everything that is still to be read; from a file, the system copies it by itself.
    ///
    /// # Errors
    /// If it cannot be read, or there is no room.
    pub fn fill<R: io::Read + ?Sized>(&mut self, from: &mut R) -> io::Result<u64> {
        io::copy(from, &mut self.file)
    }

    /// Gives it its place; what is there is replaced in one step.
    ///
    /// # Errors
    /// If that cannot be replaced.
    pub fn appear(mut self) -> io::Result<()> {
        let name = match self.name.take() {
            Some(name) => name,
            None if self.appear_unnamed()? => return Ok(()),
            None => {
                let (mut copy, name) = named(&self.path, self.mode)?;
                self.file.rewind()?;
                io::copy(&mut self.file, &mut copy)?;
                name
            }
        };
        put_in_place(name, &self.path).map_err(|error| error.error)
    }

    /// Answers whether a file that has no name could be given one: not without /proc, nor if
    /// another process that places a file here takes the name away (once named, never again).
    fn appear_unnamed(&self) -> io::Result<bool> {
        match give_name(&self.file, &self.path) {
            Err(Errno::EEXIST) => {}
            other => return Ok(other.is_ok()),
        }
        // The name in between is the same each time: one that was left by a process that was killed
        // at this point goes with the next file that takes it.
        let name = name_beside(&self.path);
        let mut given = give_name(&self.file, &name);
        if given == Err(Errno::EEXIST) {
            let _gone = std::fs::remove_file(&name);
            given = give_name(&self.file, &name);
        }
        if given.is_err() {
            return Ok(false);
        }
        match put_in_place(TempPath::try_from_path(&name)?, &self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.error),
        }
    }
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// What the name of a file on its way to `path` begins with.
fn prefix(path: &Path) -> String {
    // Whoever asks for a temporary file finds what was left of it by its name.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with(PREFIX) { format!(".{name}.") } else { PREFIX.to_owned() }
}

/// The name of what is about to replace what is at `path`.
fn name_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let hash = DigestFunction::Sha256.digest(name.as_encoded_bytes()).hex();
    path.with_file_name(format!("{}{}", prefix(path), &hash[..16]))
}

fn named(path: &Path, mode: u32) -> io::Result<(File, TempPath)> {
    let file = tempfile::Builder::new()
        .prefix(&prefix(path))
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder(path))?;
    Ok(file.into_parts())
}

/// Names a file that has no name.
fn give_name(file: &File, path: &Path) -> nix::Result<()> {
    let descriptor = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    linkat(AT_FDCWD, &descriptor, AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)
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
        self.file.write(bytes)
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
    fn nothing_is_left_of_one_whose_maker_is_killed() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("a.o");
        let mut file = WholeFile::beside(&path, false).expect("begun");
        file.write_all(b"half").expect("written");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 0);
        // Killed between the two steps of a replacement: the next one clears up.
        std::fs::write(&path, "old").expect("written");
        std::fs::write(name_beside(&path), "left").expect("written");
        file.appear().expect("in place");
        assert_eq!(std::fs::read(&path).expect("read"), b"half");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn without_files_that_have_no_name_it_is_the_same() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("a.o");
        for content in ["old", "new"] {
            let (file, name) = named(&path, 0o666).expect("begun");
            let mut file = WholeFile { file, name: Some(name), path: path.clone(), mode: 0o666 };
            file.write_all(content.as_bytes()).expect("written");
            assert!(std::fs::read(&path).is_ok_and(|it| it == b"old") == (content == "new"));
            file.appear().expect("in place");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), content);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn several_may_take_the_same_place() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("a.o");
        std::thread::scope(|scope| {
            for number in 0..4_u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..200 {
                        let mut file = WholeFile::beside(path, false).expect("begun");
                        file.write_all(&[number; 1000]).expect("written");
                        file.appear().expect("in place");
                        let seen = std::fs::read(path).expect("it is always there");
                        assert!(seen.len() == 1000 && seen.iter().all(|it| *it == seen[0]));
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn what_is_left_of_a_temporary_file_has_its_name() {
        let name = name_beside(Path::new("/a/.forerunner-12-ab"));
        let name = name.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name.starts_with("..forerunner-12-ab."), "{name:?}");
        let name = name_beside(Path::new("b.o"));
        assert!(name.to_string_lossy().starts_with(".forerunner-"), "{name:?}");
    }
}
