//! One level of a tree.

use std::cmp::Ordering;

use bytes::Bytes;
use forerunner_proto::reapi;
use prost::Message;

use crate::{Digest, DigestError, DigestFunction, Name, NameError};

/// A directory: every list sorted by name, no name twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directory {
    files: Vec<(Name, File)>,
    directories: Vec<(Name, Digest)>,
    symlinks: Vec<(Name, Symlink)>,
    properties: Option<Box<reapi::NodeProperties>>,
}

/// A file in a directory.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Its content.
    pub digest: Digest,
    /// Whether it may be executed.
    pub executable: bool,
    /// Further attributes, if they are part of its identity.
    pub properties: Option<Box<reapi::NodeProperties>>,
}

impl File {
    /// A file without further attributes.
    #[must_use]
    pub fn new(digest: Digest, executable: bool) -> Self {
        Self { digest, executable, properties: None }
    }
}

/// A symbolic link in a directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Symlink {
    /// Where it leads: not empty, without NUL; otherwise anything.
    pub target: String,
    /// Further attributes, if they are part of its identity.
    pub properties: Option<Box<reapi::NodeProperties>>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A file.
    File(File),
    /// A directory, by the digest of its encoding.
    Directory(Digest),
    /// A symbolic link.
    Symlink(Symlink),
}

/// Why a message is no directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// Not a protobuf message of this type.
    #[error("not a Directory message: {0}")]
    Encoding(String),
    /// A bad name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A bad digest.
    #[error("entry `{0}`: {1}")]
    Digest(String, DigestError),
    /// Entries are not in order.
    #[error("entry `{0}` is out of order")]
    Order(String),
    /// One name for two entries.
    #[error("the name `{0}` stands twice")]
    Duplicate(String),
    /// A link that leads nowhere.
    #[error("the target of symlink `{0}` is empty or contains NUL")]
    Target(String),
}

impl Directory {
    /// Parses the encoded form.
    ///
    /// # Errors
    /// If it is no message, or a name, a digest or the order of entries is not as it must be
    /// (REAPI, message Directory).
    pub fn decode(bytes: &[u8]) -> Result<Self, DirectoryError> {
        let message = reapi::Directory::decode(bytes)
            .map_err(|error| DirectoryError::Encoding(error.to_string()))?;
        Self::from_proto(message)
    }

    /// Checks a message.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn from_proto(message: reapi::Directory) -> Result<Self, DirectoryError> {
        // Projects have many small directories: no list is larger than it has to be.
        let mut directory = Self {
            files: Vec::with_capacity(message.files.len()),
            directories: Vec::with_capacity(message.directories.len()),
            symlinks: Vec::with_capacity(message.symlinks.len()),
            properties: message.node_properties.map(Box::new),
        };
        for node in message.files {
            let name = Name::try_from(node.name)?;
            let digest = Digest::required(node.digest.as_ref())
                .map_err(|error| DirectoryError::Digest(name.to_string(), error))?;
            let properties = node.node_properties.map(Box::new);
            let file = File { digest, executable: node.is_executable, properties };
            directory.files.push((name, file));
        }
        for node in message.directories {
            let name = Name::try_from(node.name)?;
            let digest = Digest::required(node.digest.as_ref())
                .map_err(|error| DirectoryError::Digest(name.to_string(), error))?;
            directory.directories.push((name, digest));
        }
        for node in message.symlinks {
            let name = Name::try_from(node.name)?;
            if node.target.is_empty() || node.target.contains('\0') {
                return Err(DirectoryError::Target(name.to_string()));
            }
            let properties = node.node_properties.map(Box::new);
            directory.symlinks.push((name, Symlink { target: node.target, properties }));
        }
        ordered(&directory.files)?;
        ordered(&directory.directories)?;
        ordered(&directory.symlinks)?;
        directory.disjoint()?;
        Ok(directory)
    }

    /// Makes a directory of entries in any order.
    ///
    /// # Errors
    /// [`DirectoryError::Duplicate`] if a name stands twice.
    pub fn from_entries(
        entries: impl IntoIterator<Item = (Name, Node)>,
    ) -> Result<Self, DirectoryError> {
        let mut directory = Self::default();
        for (name, node) in entries {
            match node {
                Node::File(file) => directory.files.push((name, file)),
                Node::Directory(digest) => directory.directories.push((name, digest)),
                Node::Symlink(symlink) => directory.symlinks.push((name, symlink)),
            }
        }
        sort(&mut directory.files)?;
        sort(&mut directory.directories)?;
        sort(&mut directory.symlinks)?;
        directory.disjoint()?;
        Ok(directory)
    }

    /// The same entries with the attributes of the directory itself.
    #[must_use]
    pub fn with_properties(mut self, properties: Option<reapi::NodeProperties>) -> Self {
        self.properties = properties.map(Box::new);
        self
    }

    /// The message form.
    #[must_use]
    pub fn to_proto(&self) -> reapi::Directory {
        let files = self.files.iter().map(|(name, file)| reapi::FileNode {
            name: name.to_string(),
            digest: Some(file.digest.to_proto()),
            is_executable: file.executable,
            node_properties: file.properties.as_deref().cloned(),
        });
        let directories = self.directories.iter().map(|(name, digest)| reapi::DirectoryNode {
            name: name.to_string(),
            digest: Some(digest.to_proto()),
        });
        let symlinks = self.symlinks.iter().map(|(name, symlink)| reapi::SymlinkNode {
            name: name.to_string(),
            target: symlink.target.clone(),
            node_properties: symlink.properties.as_deref().cloned(),
        });
        reapi::Directory {
            files: files.collect(),
            directories: directories.collect(),
            symlinks: symlinks.collect(),
            node_properties: self.properties.as_deref().cloned(),
        }
    }

    /// The canonical encoding, and its digest.
    #[must_use]
    pub fn encode(&self, function: DigestFunction) -> (Digest, Bytes) {
        let bytes: Bytes = self.to_proto().encode_to_vec().into();
        (function.digest(&bytes), bytes)
    }

    /// The files, sorted by name.
    #[must_use]
    pub fn files(&self) -> &[(Name, File)] {
        &self.files
    }

    /// The directories, sorted by name.
    #[must_use]
    pub fn directories(&self) -> &[(Name, Digest)] {
        &self.directories
    }

    /// The symlinks, sorted by name.
    #[must_use]
    pub fn symlinks(&self) -> &[(Name, Symlink)] {
        &self.symlinks
    }

    /// The attributes of the directory itself.
    #[must_use]
    pub fn properties(&self) -> Option<&reapi::NodeProperties> {
        self.properties.as_deref()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.directories.is_empty() && self.symlinks.is_empty()
    }

    /// What `name` stands for.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Node> {
        if let Some(digest) = find(&self.directories, name) {
            return Some(Node::Directory(*digest));
        }
        if let Some(file) = find(&self.files, name) {
            return Some(Node::File(file.clone()));
        }
        find(&self.symlinks, name).map(|symlink| Node::Symlink(symlink.clone()))
    }

    /// The directory that `name` stands for.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<Digest> {
        find(&self.directories, name).copied()
    }

    /// Every entry: files, then directories, then symlinks.
    pub fn entries(&self) -> impl Iterator<Item = (&Name, Node)> {
        let files = self.files.iter().map(|(name, file)| (name, Node::File(file.clone())));
        let directories =
            self.directories.iter().map(|(name, digest)| (name, Node::Directory(*digest)));
        let symlinks =
            self.symlinks.iter().map(|(name, symlink)| (name, Node::Symlink(symlink.clone())));
        files.chain(directories).chain(symlinks)
    }

    /// Checks that no name stands in two of the lists, each of which is sorted.
    fn disjoint(&self) -> Result<(), DirectoryError> {
        for (name, _) in &self.directories {
            if find(&self.files, name).is_some() {
                return Err(DirectoryError::Duplicate(name.to_string()));
            }
        }
        for (name, _) in &self.symlinks {
            if find(&self.files, name).is_some() || find(&self.directories, name).is_some() {
                return Err(DirectoryError::Duplicate(name.to_string()));
            }
        }
        Ok(())
    }
}

fn find<'a, T>(list: &'a [(Name, T)], name: &str) -> Option<&'a T> {
    let index = list.binary_search_by(|(candidate, _)| candidate.as_str().cmp(name)).ok()?;
    Some(&list[index].1)
}

fn sort<T>(list: &mut [(Name, T)]) -> Result<(), DirectoryError> {
    list.sort_by(|(left, _), (right, _)| left.cmp(right));
    ordered(list)
}

fn ordered<T>(list: &[(Name, T)]) -> Result<(), DirectoryError> {
    for pair in list.windows(2) {
        let [(left, _), (right, _)] = pair else { continue };
        match left.cmp(right) {
            Ordering::Less => {}
            Ordering::Equal => return Err(DirectoryError::Duplicate(right.to_string())),
            Ordering::Greater => return Err(DirectoryError::Order(right.to_string())),
        }
    }
    Ok(())
}
