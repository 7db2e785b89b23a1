//! Reading a directory tree from disk.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forerunner_merkle::{
    Digest, DigestFunction, Directory, File as FileEntry, Forest, Name, Node, Symlink,
};
use forerunner_proto::{Timestamp, reapi::NodeProperties};
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use crate::trust::hash_stream;
use crate::{StoreError, spread};

/// A directory tree on disk, hashed: symlinks kept, not followed.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// The digest of the top directory.
    pub root: Digest,
    /// Every directory; those to upload are what [`Forest::take_made`] hands over.
    pub forest: Forest,
    /// Every regular file, sorted by path; one content may stand several times.
    pub files: Vec<(Digest, PathBuf)>,
}

/// Which further attributes become part of the identity of what is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// When a file was modified.
    pub mtime: bool,
    /// The permission bits of files and directories below the top.
    pub unix_mode: bool,
}

/// Reads and hashes everything below `path`, in parallel. `path` itself may be a symlink to a
/// directory; below it none is followed, also when somebody changes the tree meanwhile.
///
/// # Errors
/// If something cannot be read, has a name that is not UTF-8, or is a socket, FIFO or device.
pub fn directory(
    path: &Path,
    function: DigestFunction,
    attributes: Attributes,
) -> Result<Scanned, StoreError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let top = nix::fcntl::open(path, flags, Mode::empty()).map_err(|errno| failed(path, errno))?;
    let scan = Scan { function, attributes };
    let level = scan.level(&top, path)?;
    let mut forest = Forest::new(function);
    let mut files = Vec::new();
    let root = level.collect(&mut forest, &mut files)?;
    files.sort_by(|(_, left), (_, right)| left.cmp(right));
    Ok(Scanned { root, forest, files })
}

struct Scan {
    function: DigestFunction,
    attributes: Attributes,
}

/// What was found in one directory.
struct Level {
    path: PathBuf,
    leaves: Vec<(Name, Node)>,
    children: Vec<(Name, Level)>,
    properties: Option<NodeProperties>,
}

enum Found {
    Leaf(Node),
    Directory(Level),
}

impl Level {
    fn collect(
        self,
        forest: &mut Forest,
        files: &mut Vec<(Digest, PathBuf)>,
    ) -> Result<Digest, StoreError> {
        let mut entries = self.leaves;
        for (name, node) in &entries {
            if let Node::File(file) = node {
                files.push((file.digest, self.path.join(name.as_str())));
            }
        }
        for (name, child) in self.children {
            entries.push((name, Node::Directory(child.collect(forest, files)?)));
        }
        let directory = Directory::from_entries(entries)
            .map_err(|error| StoreError::Directory { path: self.path, error })?;
        Ok(forest.insert(directory.with_properties(self.properties)))
    }
}

impl Scan {
    fn level(&self, folder: &OwnedFd, path: &Path) -> Result<Level, StoreError> {
        let names = names(folder, path)?;
        let found = spread::try_map(&names, |name| {
            let path = path.join(OsStr::from_bytes(name.as_bytes()));
            let valid = name
                .to_str()
                .map_err(|_| {
                    forerunner_merkle::NameError::Encoding(name.to_string_lossy().into_owned())
                })
                .and_then(Name::new)
                .map_err(|error| StoreError::Name { path: path.clone(), error })?;
            Ok((valid, self.entry(folder, name, &path)?))
        })?;
        let mut level = Level {
            path: path.to_owned(),
            leaves: Vec::new(),
            children: Vec::new(),
            properties: None,
        };
        for (name, found) in found {
            match found {
                Found::Leaf(node) => level.leaves.push((name, node)),
                Found::Directory(child) => level.children.push((name, child)),
            }
        }
        Ok(level)
    }

    fn entry(&self, folder: &OwnedFd, name: &CString, path: &Path) -> Result<Found, StoreError> {
        let stat = fstatat(folder, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(path, errno))?;
        match kind(&stat) {
            SFlag::S_IFREG => self.file(folder, name, path),
            SFlag::S_IFDIR => {
                let flags =
                    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let child = openat(folder, name.as_c_str(), flags, Mode::empty())
                    .map_err(|errno| failed(path, errno))?;
                let mut level = self.level(&child, path)?;
                level.properties = self.attributes.unix_mode.then(|| NodeProperties {
                    unix_mode: Some(stat.st_mode & 0o7777),
                    ..NodeProperties::default()
                });
                Ok(Found::Directory(level))
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(folder, name.as_c_str())
                    .map_err(|errno| failed(path, errno))
                    .map(OsString::into_string)?;
                match target {
                    Ok(target) if !target.is_empty() => {
                        Ok(Found::Leaf(Node::Symlink(Symlink { target, properties: None })))
                    }
                    _ => Err(StoreError::Target { path: path.to_owned() }),
                }
            }
            other => Err(StoreError::Special { path: path.to_owned(), kind: special(other) }),
        }
    }

    fn file(&self, folder: &OwnedFd, name: &CString, path: &Path) -> Result<Found, StoreError> {
        let read = |error| StoreError::Io { verb: "read", path: path.to_owned(), error };
        // Should it have become a FIFO meanwhile, opening must not wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(folder, name.as_c_str(), flags, Mode::empty())
            .map_err(|errno| failed(path, errno))?;
        let mut file = File::from(file);
        let metadata = file.metadata().map_err(read)?;
        if !metadata.is_file() {
            return Err(StoreError::Special { path: path.to_owned(), kind: "changing file" });
        }
        let digest = hash_stream(&mut file, self.function).map_err(read)?;
        let executable = metadata.mode() & 0o100 != 0;
        let wanted = self.attributes.mtime || self.attributes.unix_mode;
        let properties = wanted.then(|| {
            let mtime =
                Timestamp { seconds: metadata.mtime(), nanos: metadata.mtime_nsec() as i32 };
            Box::new(NodeProperties {
                properties: Vec::new(),
                mtime: self.attributes.mtime.then_some(mtime),
                unix_mode: self.attributes.unix_mode.then_some(metadata.mode() & 0o7777),
            })
        });
        Ok(Found::Leaf(Node::File(FileEntry { digest, executable, properties })))
    }
}

fn names(folder: &OwnedFd, path: &Path) -> Result<Vec<CString>, StoreError> {
    // Reading moves the position of an open directory, so it gets its own.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir =
        Dir::openat(folder, ".", flags, Mode::empty()).map_err(|errno| failed(path, errno))?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(|errno| failed(path, errno))?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn special(kind: SFlag) -> &'static str {
    match kind {
        SFlag::S_IFSOCK => "socket",
        SFlag::S_IFIFO => "FIFO",
        SFlag::S_IFBLK => "block device",
        SFlag::S_IFCHR => "character device",
        _ => "special file",
    }
}

fn failed(path: &Path, errno: nix::errno::Errno) -> StoreError {
    StoreError::Io { verb: "read", path: path.to_owned(), error: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use forerunner_merkle::TreePath;

    use super::*;

    const FUNCTION: DigestFunction = DigestFunction::Sha256;

    #[test]
    fn files_directories_and_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("a/void")).expect("made");
        std::fs::write(at("a/run"), "x").expect("written");
        std::fs::set_permissions(at("a/run"), PermissionsExt::from_mode(0o755)).expect("set");
        std::fs::write(at("text"), "text").expect("written");
        std::os::unix::fs::symlink("/", at("a/loop")).expect("linked");
        let scanned = directory(folder.path(), FUNCTION, Attributes::default()).expect("read");
        let get = |path: &str| {
            let path = TreePath::parse(path).expect("a path");
            scanned.forest.lookup(scanned.root, &path).expect("known")
        };
        let symlink = Symlink { target: "/".into(), properties: None };
        assert_eq!(get("a/loop"), Some(Node::Symlink(symlink)));
        let run = FileEntry::new(FUNCTION.digest(b"x"), true);
        assert_eq!(get("a/run"), Some(Node::File(run)));
        assert_eq!(get("a/void"), Some(Node::Directory(FUNCTION.digest(b""))));
        let expected =
            vec![(FUNCTION.digest(b"x"), at("a/run")), (FUNCTION.digest(b"text"), at("text"))];
        assert_eq!(scanned.files, expected);
    }

    #[test]
    fn attributes_on_request() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d/f");
        std::fs::create_dir(folder.path().join("d")).expect("made");
        std::fs::write(&path, "x").expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("set");
        let file = File::options().write(true).open(&path).expect("opened");
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(1000, 5);
        file.set_modified(time).expect("set");
        let attributes = Attributes { mtime: true, unix_mode: true };
        let scanned = directory(folder.path(), FUNCTION, attributes).expect("read");
        let path = TreePath::parse("d/f").expect("a path");
        let node = scanned.forest.lookup(scanned.root, &path).expect("known");
        let Some(Node::File(file)) = node else { panic!("{node:?}") };
        let properties = file.properties.expect("properties");
        assert_eq!(properties.mtime, Some(Timestamp { seconds: 1000, nanos: 5 }));
        assert_eq!(properties.unix_mode, Some(0o640));
    }

    #[test]
    fn what_no_tree_can_hold_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("pipe");
        nix::unistd::mkfifo(&fifo, Mode::S_IRUSR).expect("made");
        let scan = || directory(folder.path(), FUNCTION, Attributes::default());
        let error = scan().expect_err("a FIFO").to_string();
        assert!(error.contains("pipe") && error.contains("FIFO"), "{error}");
        std::fs::remove_file(&fifo).expect("removed");
        let name = OsStr::from_bytes(b"bad\xff");
        std::fs::write(folder.path().join(name), "x").expect("written");
        assert!(matches!(scan(), Err(StoreError::Name { .. })));
        std::fs::remove_file(folder.path().join(name)).expect("removed");
        std::os::unix::fs::symlink(name, folder.path().join("link")).expect("linked");
        assert!(matches!(scan(), Err(StoreError::Target { .. })));
        let absent = folder.path().join("absent");
        let error = directory(&absent, FUNCTION, Attributes::default()).expect_err("absent");
        assert!(error.to_string().contains("absent"), "{error}");
    }
}
