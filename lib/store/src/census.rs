//! Counting what is there.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use forerunner_merkle::{Digest, DigestFunction};

use crate::layout::{ENTRY_BYTES, EXECUTABLE_SUFFIX, INNER, Layout, Variant, fanned_names};
use crate::stamp::Stamp;
use crate::{Store, StoreError, spread};

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

impl Stats {
    fn add(&mut self, unit: &Unit) {
        self.bytes += unit.bytes;
        match unit.kind {
            Kind::Blob => {
                self.blobs += 1;
                self.blob_bytes += unit.bytes;
            }
            Kind::Result => self.results += 1,
            Kind::Tree => self.trees += 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Tree,
    Result,
    Blob,
}

/// What is evicted as one. Of a fixed size, and where it is follows from it: there may be millions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) kind: Kind,
    pub(crate) function: DigestFunction,
    /// Its size is not known: the names of files do not say it.
    pub(crate) digest: Digest,
    pub(crate) used: Stamp,
    pub(crate) bytes: u64,
}

impl Unit {
    /// Where it is.
    pub(crate) fn paths(&self, layout: &Layout) -> Vec<PathBuf> {
        paths(layout, self.kind, self.function, &self.digest)
    }
}

fn paths(layout: &Layout, kind: Kind, function: DigestFunction, digest: &Digest) -> Vec<PathBuf> {
    match kind {
        Kind::Tree => vec![layout.tree(function, digest)],
        Kind::Result => vec![layout.result(function, digest)],
        Kind::Blob => [Variant::Plain, Variant::Executable]
            .map(|variant| layout.blob(function, digest, variant))
            .into(),
    }
}

impl Store {
    /// Counts what is in the store.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let counted = Mutex::new(Stats { limit: self.inner.size_limit, ..Stats::default() });
        self.census(|units| {
            let mut stats = counted.lock().unwrap_or_else(PoisonError::into_inner);
            units.iter().for_each(|unit| stats.add(unit));
        })?;
        let mut stats = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
        for function in DigestFunction::ALL {
            stats.pinned += fanned_names(&self.layout().pins(), function).len() as u64;
        }
        stats.temporaries = std::fs::read_dir(self.layout().temporaries())
            .map_or(0, |entries| entries.flatten().count() as u64);
        Ok(stats)
    }

    /// Shows everything that counts towards the limit to `each`: what is in one folder at a time,
    /// so that no more than that is in memory. Several threads do so.
    pub(crate) fn census(&self, each: impl Fn(Vec<Unit>) + Sync) -> Result<(), StoreError> {
        for function in DigestFunction::ALL {
            let folder = function.name().to_ascii_lowercase();
            let blobs = self.layout().blobs().join(&folder);
            self.census_fanned(&blobs, Kind::Blob, function, &each)?;
            let results = self.layout().results().join(&folder);
            self.census_fanned(&results, Kind::Result, function, &each)?;
            let trees = self.layout().trees().join(&folder);
            each(self.census_trees(&trees, function)?);
        }
        Ok(())
    }

    fn census_fanned(
        &self,
        folder: &Path,
        kind: Kind,
        function: DigestFunction,
        each: &(impl Fn(Vec<Unit>) + Sync),
    ) -> Result<(), StoreError> {
        spread::try_each(&self.list(folder)?, |(head, path)| {
            let mut units: HashMap<Digest, Unit> = HashMap::new();
            for (tail, path) in self.list(path)? {
                let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
                let tail = tail.strip_suffix(EXECUTABLE_SUFFIX).unwrap_or(&tail);
                let Ok(digest) = Digest::from_hex(&format!("{head}{tail}"), 0) else { continue };
                let used = Stamp::used(&metadata);
                let fresh = Unit { kind, function, digest, used, bytes: 0 };
                let unit = units.entry(digest).or_insert(fresh);
                unit.used = unit.used.max(used);
                unit.bytes += metadata.len();
            }
            each(units.into_values().collect());
            Ok(())
        })
    }

    fn census_trees(
        &self,
        folder: &Path,
        function: DigestFunction,
    ) -> Result<Vec<Unit>, StoreError> {
        let list = self.list(folder)?;
        let units = spread::map(&list, |(name, path)| {
            let digest = Digest::from_hex(name, 0).ok()?;
            let used = Stamp::used(&std::fs::symlink_metadata(path).ok()?);
            let bytes = tree_bytes(&path.join(INNER));
            Some(Unit { kind: Kind::Tree, function, digest, used, bytes })
        });
        Ok(units.into_iter().flatten().collect())
    }

    /// The bytes of a blob, of both its files, or of an action result; none if it is not there.
    pub(crate) fn bytes_of(&self, kind: Kind, function: DigestFunction, digest: &Digest) -> u64 {
        let paths = paths(self.layout(), kind, function, digest);
        let found = paths.iter().filter_map(|path| std::fs::symlink_metadata(path).ok());
        found.map(|metadata| metadata.len()).sum()
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
