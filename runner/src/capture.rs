//! Taking the outputs out of what the sandbox left.
//!
//! No process of the sandbox is alive any more. Even so, nothing is resolved by a path of ours:
//! everything is opened below the root of the sandbox, and what the command put there is hostile.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use forerunner_merkle::{Digest, DigestFunction, Directory, Name, Node, Symlink};
use forerunner_proto::{Timestamp, reapi};
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use crate::outputs::{Kind, Output, Outputs};
use crate::sys::open_in_root;

mod batch;
mod directories;
mod read;

use batch::Batches;
pub(crate) use batch::{Batch, Sink};
use directories::{Directories, Tree};

/// Folders within folders; each takes an open file, and no real output comes near.
const DEEPEST: usize = 400;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub(crate) files: Vec<reapi::OutputFile>,
    pub(crate) directories: Vec<reapi::OutputDirectory>,
    pub(crate) symlinks: Vec<reapi::OutputSymlink>,
    /// Of all files.
    pub(crate) bytes: u64,
}

/// Why outputs could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    /// The file system.
    #[error("cannot {verb} the output `{path}`: {error}")]
    Io { verb: &'static str, path: String, error: io::Error },
    /// Not UTF-8.
    #[error(
        "the output `{0}` has a name or symlink target that is not UTF-8, which the Remote Execution API requires"
    )]
    Encoding(String),
    /// A FIFO, socket or device.
    #[error("the output `{0}` is neither a file, a directory nor a symlink")]
    Special(String),
    /// Deeper than any tree that makes sense.
    #[error("the output `{0}` nests directories more than 400 deep")]
    Deep(String),
    /// Nobody takes the contents.
    #[error("the outputs are no longer wanted")]
    Unwanted,
}

/// Takes all outputs below `root`; contents go to `sink` in batches. In `folder` large descriptions
/// are kept until they are uploaded.
///
/// # Errors
/// If something cannot be read, or no result can hold it.
pub(crate) fn capture(
    root: BorrowedFd<'_>,
    outputs: &Outputs,
    function: DigestFunction,
    folder: &Path,
    sink: &mut Sink<'_>,
) -> Result<Captured, CaptureError> {
    let mut capture = Capture {
        root,
        outputs,
        function,
        directories: Directories::new(function, folder),
        batches: Batches::new(sink),
        captured: Captured::default(),
        links: HashMap::new(),
    };
    for output in &outputs.list {
        capture.output(output)?;
    }
    capture.batches.finish()?;
    Ok(capture.captured)
}

struct Capture<'a, 's> {
    root: BorrowedFd<'a>,
    outputs: &'a Outputs,
    function: DigestFunction,
    directories: Directories<'a>,
    batches: Batches<'a, 's>,
    captured: Captured,
    /// Digests of files that have several names.
    links: HashMap<(u64, u64), Digest>,
}

impl Capture<'_, '_> {
    fn output(&mut self, output: &Output) -> Result<(), CaptureError> {
        let io = |verb, error| CaptureError::Io { verb, path: output.spelled.clone(), error };
        let Some((parent, name)) = output.path.split_last() else {
            let root = open_directory(self.root, ".").map_err(|error| io("open", error))?;
            let stat = nix::sys::stat::fstat(&root).map_err(|e| io("look at", e.into()))?;
            return self.directory(output, &root, &stat);
        };
        let parent = match parent.is_root() {
            true => ".".to_owned(),
            false => parent.to_string(),
        };
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let parent = match open_in_root(self.root, &parent, flags) {
            Ok(parent) => parent,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(io("find", error)),
        };
        let stat = match stat(parent.as_fd(), name) {
            Ok(stat) => stat,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(io("look at", error)),
        };
        match (kind(&stat), output.kind) {
            (SFlag::S_IFREG, Kind::Any | Kind::File) => {
                let digest = self.file(parent.as_fd(), name, &stat, &output.spelled)?;
                self.captured.files.push(reapi::OutputFile {
                    path: output.spelled.clone(),
                    digest: Some(digest.to_proto()),
                    is_executable: is_executable(&stat),
                    node_properties: self.properties(&stat),
                    ..Default::default()
                });
                Ok(())
            }
            (SFlag::S_IFDIR, Kind::Any | Kind::Directory) => {
                let directory =
                    read::open_directory(parent.as_fd(), name).map_err(|e| io("open", e))?;
                self.directory(output, &directory, &stat)
            }
            (SFlag::S_IFLNK, _) => {
                let target = target(parent.as_fd(), name, &output.spelled)?;
                self.captured.symlinks.push(reapi::OutputSymlink {
                    path: output.spelled.clone(),
                    target,
                    node_properties: None,
                });
                Ok(())
            }
            (SFlag::S_IFREG | SFlag::S_IFDIR, _) => {
                tracing::warn!(
                    "the output `{}` is not of the kind that was declared; it counts as missing",
                    output.spelled
                );
                Ok(())
            }
            _ => Err(CaptureError::Special(output.spelled.clone())),
        }
    }

    fn directory(
        &mut self,
        output: &Output,
        directory: &OwnedFd,
        stat: &FileStat,
    ) -> Result<(), CaptureError> {
        let root = self.tree(directory.as_fd(), stat, &mut output.spelled.clone(), 0)?;
        let format = self.outputs.format;
        let mut message =
            reapi::OutputDirectory { path: output.spelled.clone(), ..Default::default() };
        if format.tree {
            let (digest, tree) = self.directories.tree(root).map_err(|error| CaptureError::Io {
                verb: "describe",
                path: output.spelled.clone(),
                error,
            })?;
            match tree {
                Tree::Memory(bytes) => self.batches.bytes(digest, bytes)?,
                Tree::File(path) => self.batches.file(digest, path)?,
            }
            message.tree_digest = Some(digest.to_proto());
            message.is_topologically_sorted = true;
        }
        if format.directory {
            message.root_directory_digest = Some(root.to_proto());
        }
        self.captured.directories.push(message);
        Ok(())
    }

    fn tree(
        &mut self,
        directory: BorrowedFd<'_>,
        stat: &FileStat,
        path: &mut String,
        depth: usize,
    ) -> Result<Digest, CaptureError> {
        if depth > DEEPEST {
            return Err(CaptureError::Deep(path.clone()));
        }
        let names = names(directory, path)?;
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            let length = path.len();
            path.push('/');
            path.push_str(&name);
            if let Some(node) = self.entry(directory, &name, path, depth)? {
                entries.push((name, node));
            }
            path.truncate(length);
        }
        self.describe(entries, stat, path)
    }

    /// Apart from [`Self::tree`], which recurs: the less stands in its frame the better.
    fn describe(
        &mut self,
        entries: Vec<(Name, Node)>,
        stat: &FileStat,
        path: &str,
    ) -> Result<Digest, CaptureError> {
        let failed = |error| CaptureError::Io { verb: "describe", path: path.to_owned(), error };
        let directory = Directory::from_entries(entries)
            .map_err(|error| failed(io::Error::other(error)))?
            .with_properties(self.properties(stat));
        let (digest, made) = self.directories.insert(&directory).map_err(failed)?;
        if self.outputs.format.directory
            && let Some(bytes) = made
        {
            self.batches.bytes(digest, bytes)?;
        }
        Ok(digest)
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &Name,
        path: &mut String,
        depth: usize,
    ) -> Result<Option<Node>, CaptureError> {
        let failed =
            |verb, path: &str, error| CaptureError::Io { verb, path: path.to_owned(), error };
        let stat = stat(directory, name).map_err(|error| failed("look at", path, error))?;
        Ok(match kind(&stat) {
            SFlag::S_IFREG => Some(Node::File(forerunner_merkle::File {
                digest: self.file(directory, name, &stat, path)?,
                executable: is_executable(&stat),
                properties: self.properties(&stat).map(Into::into),
            })),
            SFlag::S_IFDIR => {
                let child = read::open_directory(directory, name)
                    .map_err(|error| failed("open", path, error))?;
                Some(Node::Directory(self.tree(child.as_fd(), &stat, path, depth + 1)?))
            }
            SFlag::S_IFLNK => {
                let target = target(directory, name, path)?;
                Some(Node::Symlink(Symlink { target, properties: None }))
            }
            _ => {
                tracing::debug!("`{path}` is neither file, directory nor symlink and is left out");
                None
            }
        })
    }

    fn file(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &Name,
        stat: &FileStat,
        path: &str,
    ) -> Result<Digest, CaptureError> {
        self.captured.bytes += stat.st_size.unsigned_abs();
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(digest) = self.links.get(&identity)
        {
            return Ok(*digest);
        }
        let io = |error| CaptureError::Io { verb: "read", path: path.to_owned(), error };
        let file = read::open_file(directory, name).map_err(io)?;
        let content = read::content(file, self.function).map_err(io)?;
        let digest = content.digest;
        self.batches.content(content)?;
        if stat.st_nlink > 1 {
            self.links.insert(identity, digest);
        }
        Ok(digest)
    }

    fn properties(&self, stat: &FileStat) -> Option<reapi::NodeProperties> {
        if !self.outputs.mtime && !self.outputs.unix_mode {
            return None;
        }
        Some(reapi::NodeProperties {
            properties: Vec::new(),
            mtime: self.outputs.mtime.then(|| Timestamp {
                seconds: stat.st_mtime,
                nanos: i32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            }),
            unix_mode: self.outputs.unix_mode.then_some(stat.st_mode & 0o7777),
        })
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn is_executable(stat: &FileStat) -> bool {
    stat.st_mode & 0o100 != 0
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG)
    )
}

fn stat(directory: BorrowedFd<'_>, name: &Name) -> io::Result<FileStat> {
    Ok(fstatat(directory, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

fn target(directory: BorrowedFd<'_>, name: &Name, path: &str) -> Result<String, CaptureError> {
    let target = readlinkat(directory, name.as_str()).map_err(|errno| CaptureError::Io {
        verb: "read",
        path: path.to_owned(),
        error: errno.into(),
    })?;
    target.into_string().map_err(|_| CaptureError::Encoding(path.to_owned()))
}

fn open_directory(at: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::openat(at, path, flags, Mode::empty())?)
}

/// The names in a directory, sorted.
fn names(directory: BorrowedFd<'_>, path: &str) -> Result<Vec<Name>, CaptureError> {
    let failed = |errno: nix::Error| CaptureError::Io {
        verb: "list",
        path: path.to_owned(),
        error: errno.into(),
    };
    // A descriptor of its own, because reading has a position.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut list = Dir::openat(directory, ".", flags, Mode::empty()).map_err(failed)?;
    let mut names = Vec::new();
    for entry in list.iter() {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().to_str() else {
            let shown = entry.file_name().to_string_lossy();
            return Err(CaptureError::Encoding(format!("{path}/{shown}")));
        };
        // Only `.` and `..` are no names.
        if let Ok(name) = Name::new(name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests;
