//! Reading from the embedded store on all cores: there is nothing to wait for but the disk.

use std::collections::HashSet;

use forerunner_merkle::{Digest, Directory, Forest};
use forerunner_store::{Store, StoreError};
use rayon::prelude::*;

/// What `parse` makes of those of `digests` that are there, in their order.
///
/// # Errors
/// If the store cannot be read.
pub(crate) fn blobs<T: Send>(
    store: &Store,
    digests: &[Digest],
    parse: impl Fn(Digest, Vec<u8>) -> Option<T> + Sync,
) -> Result<Vec<T>, StoreError> {
    let read = |digest: &Digest| Ok(store.get(digest)?.and_then(|bytes| parse(*digest, bytes)));
    let found: Result<Vec<Option<T>>, StoreError> = digests.par_iter().map(read).collect();
    Ok(found?.into_iter().flatten().collect())
}

/// Loads as many of the trees as there are, level by level; answers whether that was all of them.
///
/// # Errors
/// If the store cannot be read.
pub(crate) fn trees(
    store: &Store,
    forest: &mut Forest,
    roots: &[Digest],
) -> Result<bool, StoreError> {
    let mut seen: HashSet<Digest> = HashSet::with_capacity(roots.len());
    let mut level: Vec<Digest> = roots.iter().copied().filter(|root| seen.insert(*root)).collect();
    let mut complete = true;
    while !level.is_empty() {
        let missing: Vec<Digest> =
            level.iter().copied().filter(|digest| forest.get(digest).is_none()).collect();
        let read = blobs(store, &missing, |digest, bytes| {
            Some((digest, Directory::decode(&bytes).ok()?))
        })?;
        complete &= read.len() == missing.len();
        for (digest, directory) in read {
            forest.insert_decoded(digest, directory);
        }
        let mut below = Vec::new();
        for directory in level.iter().filter_map(|digest| forest.get(digest)) {
            for (_, child) in directory.directories() {
                if seen.insert(*child) {
                    below.push(*child);
                }
            }
        }
        level = below;
    }
    Ok(complete)
}
