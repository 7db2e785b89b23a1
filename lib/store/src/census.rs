//! Counting what is there.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forerunner_merkle::{Digest, DigestFunction};
use rayon::prelude::*;

use crate::layout::EXECUTABLE_SUFFIX;
use crate::trust::Stamp;
use crate::{Store, StoreError};

/// What a directory entry costs, roughly, where no content is counted.
pub(crate) const ENTRY_BYTES: u64 = 256;

/// How much is in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of everything that counts towards the limit.
    pub bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of the blobs, executable variants included.
    pub blob_bytes: u64,
    /// Action results.
    pub results: u64,
    /// Element records among them.
    pub pinned: u64,
    /// Trees of hard links.
    pub trees: u64,
    /// Temporary folders, of live and dead processes.
    pub temporaries: u64,
    /// What the store may hold, in bytes.
    pub limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Tree,
    Result,
    Blob,
}

/// What is evicted as one.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) kind: Kind,
    pub(crate) function: DigestFunction,
    pub(crate) hash: Box<[u8]>,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) used: Stamp,
    pub(crate) bytes: u64,
}

impl Store {
    /// Counts what is in the store.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let mut stats = Stats { limit: self.inner.size_limit, ..Stats::default() };
        for unit in self.census()? {
            stats.bytes += unit.bytes;
            match unit.kind {
                Kind::Blob => {
                    stats.blobs += 1;
                    stats.blob_bytes += unit.bytes;
                }
                Kind::Result => stats.results += 1,
                Kind::Tree => stats.trees += 1,
            }
        }
        for function in DigestFunction::ALL {
            stats.pinned +=
                crate::reach::fanned_names(&self.layout().pins(), function).len() as u64;
        }
        stats.temporaries = std::fs::read_dir(self.layout().temporaries())
            .map_or(0, |entries| entries.flatten().count() as u64);
        Ok(stats)
    }

    /// Everything that counts towards the limit.
    pub(crate) fn census(&self) -> Result<Vec<Unit>, StoreError> {
        let mut units = Vec::new();
        for function in DigestFunction::ALL {
            let folder = function.name().to_ascii_lowercase();
            let blobs = self.layout().blobs().join(&folder);
            units.append(&mut self.census_fanned(&blobs, Kind::Blob, function)?);
            let results = self.layout().results().join(&folder);
            units.append(&mut self.census_fanned(&results, Kind::Result, function)?);
            let trees = self.layout().trees().join(&folder);
            units.append(&mut self.census_trees(&trees, function)?);
        }
        Ok(units)
    }

    fn census_fanned(
        &self,
        folder: &Path,
        kind: Kind,
        function: DigestFunction,
    ) -> Result<Vec<Unit>, StoreError> {
        let heads = self.list(folder)?;
        let lists: Vec<Vec<Unit>> = heads
            .par_iter()
            .map(|(head, path)| {
                let mut units: HashMap<Box<[u8]>, Unit> = HashMap::new();
                for (tail, path) in self.list(path)? {
                    let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
                    let tail = tail.strip_suffix(EXECUTABLE_SUFFIX).unwrap_or(&tail);
                    let Ok(digest) = Digest::from_hex(&format!("{head}{tail}"), 0) else {
                        continue;
                    };
                    add(&mut units, kind, function, &digest, path, &metadata);
                }
                Ok(units.into_values().collect())
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(lists.into_iter().flatten().collect())
    }

    fn census_trees(
        &self,
        folder: &Path,
        function: DigestFunction,
    ) -> Result<Vec<Unit>, StoreError> {
        self.list(folder)?
            .par_iter()
            .filter_map(|(name, path)| {
                let digest = Digest::from_hex(name, 0).ok()?;
                let metadata = std::fs::symlink_metadata(path).ok()?;
                let used = Stamp::used(&metadata);
                Some(Ok(Unit {
                    kind: Kind::Tree,
                    function,
                    hash: digest.hash().into(),
                    paths: vec![path.clone()],
                    used,
                    bytes: tree_bytes(&path.join(crate::tree::INNER)),
                }))
            })
            .collect()
    }

    /// The entries of a folder; none if it is not there.
    pub(crate) fn list(&self, folder: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            // Something that we did not put there.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(StoreError::io(self.root(), "read", folder, error)),
        };
        Ok(entries
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.to_owned(), entry.path())))
            .collect())
    }
}

fn add(
    units: &mut HashMap<Box<[u8]>, Unit>,
    kind: Kind,
    function: DigestFunction,
    digest: &Digest,
    path: PathBuf,
    metadata: &Metadata,
) {
    let used = Stamp::used(metadata);
    let unit = units.entry(digest.hash().into()).or_insert_with(|| Unit {
        kind,
        function,
        hash: digest.hash().into(),
        paths: Vec::new(),
        used,
        bytes: 0,
    });
    unit.paths.push(path);
    unit.used = unit.used.max(used);
    unit.bytes += metadata.len();
}

/// What would become free with a tree: its entries, and files that have no other name any more.
fn tree_bytes(path: &Path) -> u64 {
    let entries = walkdir::WalkDir::new(path).into_iter().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_file() && metadata.nlink() == 1 => {
                ENTRY_BYTES + metadata.len()
            }
            _ => ENTRY_BYTES,
        })
        .sum()
}
