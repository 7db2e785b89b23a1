//! The embedded store. (Interface sketch; bodies follow.)
#![allow(missing_docs, clippy::unimplemented, unused_variables, clippy::needless_pass_by_value)]
use std::fs::File;
use std::path::{Path, PathBuf};
use forerunner_merkle::{Digest, DigestFunction, Forest};

#[derive(Clone, Debug)]
pub struct Options { pub root: PathBuf, pub size_limit: u64, pub function: DigestFunction }
#[derive(Clone, Debug)]
pub struct Store;
#[derive(Debug, thiserror::Error)]
#[error("sketch")]
pub struct StoreError;
/// Keeps what is used from now on from eviction, until dropped.
pub struct Hold;
/// A blob being written; nothing is visible until `commit`.
pub struct BlobWriter;
impl std::io::Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> { unimplemented!() }
    fn flush(&mut self) -> std::io::Result<()> { unimplemented!() }
}
impl BlobWriter {
    /// Checks against the expected digest if one was given.
    pub fn commit(self) -> Result<Digest, StoreError> { unimplemented!() }
}
impl Store {
    pub fn open(options: &Options) -> Result<Self, StoreError> { unimplemented!() }
    pub fn root(&self) -> &Path { unimplemented!() }
    pub fn function(&self) -> DigestFunction { unimplemented!() }
    pub fn hold(&self) -> Result<Hold, StoreError> { unimplemented!() }
    pub fn contains(&self, digest: &Digest) -> Result<bool, StoreError> { unimplemented!() }
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> { unimplemented!() }
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> { unimplemented!() }
    pub fn put(&self, content: &[u8]) -> Result<Digest, StoreError> { unimplemented!() }
    pub fn put_file(&self, path: &Path) -> Result<Digest, StoreError> { unimplemented!() }
    pub fn writer(&self, expected: Option<Digest>) -> Result<BlobWriter, StoreError> { unimplemented!() }
    /// Hard link to the blob (mode 0644 or 0755, mtime 2011-11-11T11:11:11Z), for read-only use.
    pub fn link(&self, digest: &Digest, executable: bool, to: &Path) -> Result<bool, StoreError> { unimplemented!() }
    /// Independent copy (reflink where possible).
    pub fn copy(&self, digest: &Digest, executable: bool, to: &Path) -> Result<bool, StoreError> { unimplemented!() }
    pub fn action_result(&self, action: &Digest) -> Result<Option<Vec<u8>>, StoreError> { unimplemented!() }
    pub fn put_action_result(&self, action: &Digest, result: &[u8]) -> Result<(), StoreError> { unimplemented!() }
    /// A directory of hard links, cached by the digest of `root`, for use as a read-only lower layer.
    pub fn tree(&self, forest: &Forest, root: &Digest) -> Result<PathBuf, StoreError> { unimplemented!() }
    /// Folder for small files of tools that share the store (statistics, stat caches); made on demand.
    pub fn aside(&self, name: &str) -> Result<PathBuf, StoreError> { unimplemented!() }
    /// A fresh temporary directory on the same file system, that `gc` removes once its process is dead.
    pub fn scratch(&self) -> Result<Scratch, StoreError> { unimplemented!() }
}
pub struct Scratch;
impl Scratch { pub fn path(&self) -> &Path { unimplemented!() } }
impl Drop for Scratch { fn drop(&mut self) {} }
pub mod scan {
    use super::*;
    /// A directory tree on disk, hashed: symlinks kept, not followed.
    pub struct Scanned { pub root: Digest, pub forest: Forest, pub files: Vec<(Digest, PathBuf)> }
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Attributes { pub mtime: bool, pub unix_mode: bool }
    pub fn directory(path: &Path, function: DigestFunction, attributes: Attributes) -> Result<Scanned, StoreError> { unimplemented!() }
}
