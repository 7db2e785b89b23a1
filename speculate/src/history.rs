//! The speculative actions of an element, found again by its name.
//!
//! They stand in the action cache of the endpoint, so that any worker finds them: an ActionResult
//! under a key made of the element's name, with one output file for each generation that is kept.
//! Its path is `WRITTEN/SOURCES`: seconds since 1970, and the root of the element's source tree as
//! `HASH_SIZE` (or `none`).

use std::collections::{HashMap, HashSet};

use forerunner_merkle::{Digest, DigestFunction, Forest, Node};
use forerunner_proto::{Kept, reapi};
use forerunner_reapi::{Content, Endpoint};
use prost::Message;

use crate::error::Error;
use crate::load;

/// How many generations of an element are kept.
const KEPT: usize = 8;

/// How long a generation is kept: 90 days, in seconds.
const LIFE_SECONDS: i64 = 90 * 24 * 3600;

/// One generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The SpeculativeActions message.
    pub message: Digest,
    /// The element's source tree at that time.
    pub sources: Option<Digest>,
    /// Seconds since 1970, UTC.
    pub written: i64,
}

/// An Action without a command; nothing that is executed has its digest.
fn key_action(element: &str) -> Vec<u8> {
    let salt = format!("forerunner speculative actions 1\0{element}").into_bytes();
    reapi::Action { salt, do_not_cache: true, ..Default::default() }.encode_to_vec()
}

/// The key in the action cache under which the generations of `element` stand.
#[must_use]
pub fn key(function: DigestFunction, element: &str) -> Digest {
    function.digest(&key_action(element))
}

/// The generations of an element that are kept, the newest first.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn read(endpoint: &Endpoint, element: &str) -> Result<Vec<Entry>, Error> {
    Ok(read_all(endpoint, &[element]).await?.remove(element).unwrap_or_default())
}

/// As [`read`], of many elements at once; those that have none are left out.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn read_all<'a>(
    endpoint: &Endpoint,
    elements: &[&'a str],
) -> Result<HashMap<&'a str, Vec<Entry>>, Error> {
    let keys = elements.iter().map(|element| (key(endpoint.function(), element), *element));
    let keys: HashMap<Digest, &str> = keys.collect();
    let digests: Vec<Digest> = keys.keys().copied().collect();
    let results = load::results(endpoint, &digests).await?;
    let found = results.into_iter().filter_map(|(key, result)| {
        let entries = result.output_files.iter().filter_map(entry).collect();
        Some((*keys.get(&key)?, entries))
    });
    Ok(found.collect())
}

fn entry(file: &reapi::OutputFile) -> Option<Entry> {
    let message = Digest::required(file.digest.as_ref()).ok()?;
    let (written, sources) = file.path.split_once('/')?;
    let sources = match sources {
        "none" => None,
        text => Some(text.replacen('_', "/", 1).parse().ok()?),
    };
    Some(Entry { message, sources, written: written.parse().ok()? })
}

/// Adds a generation; what is too old or too much goes.
///
/// # Errors
/// If the endpoint refuses.
pub async fn write(endpoint: &Endpoint, element: &str, new: Entry) -> Result<(), Error> {
    let action = key_action(element);
    let key = key(endpoint.function(), element);
    let entries = merge(new, read(endpoint, element).await?);
    // A server may check that what a result names is there, and the blob may be gone.
    let messages: Vec<Digest> = entries.iter().map(|entry| entry.message).collect();
    let gone: HashSet<Digest> = endpoint.missing(&messages).await?.into_iter().collect();
    let files = entries.iter().filter(|entry| !gone.contains(&entry.message)).map(|entry| {
        let sources = entry.sources.map_or_else(
            || "none".to_owned(),
            |digest| format!("{}_{}", digest.hex(), digest.size()),
        );
        reapi::OutputFile {
            path: format!("{}/{sources}", entry.written),
            digest: Some(entry.message.to_proto()),
            ..Default::default()
        }
    });
    let result = reapi::ActionResult { output_files: files.collect(), ..Default::default() };
    endpoint.upload(vec![(key, Content::Bytes(action.into()))]).await?;
    let result = Kept::new(&result);
    match endpoint.store() {
        Some(store) => store
            .put_action_result_pinned(&key, result.bytes())
            .map_err(|error| Error::Endpoint(error.into())),
        None => Ok(endpoint.update_action_result(&key, &result).await?),
    }
}

/// The new generation and those that stay: one per source tree, few, and none too old.
fn merge(new: Entry, old: Vec<Entry>) -> Vec<Entry> {
    let mut entries = vec![new];
    for entry in old {
        let fresh = new.written.saturating_sub(entry.written) <= LIFE_SECONDS;
        let distinct = entry.sources != new.sources;
        if fresh && distinct && entries.len() < KEPT {
            entries.push(entry);
        }
    }
    entries
}

/// The generation to start from: made of the same sources, else of those that have most files
/// (path and content) in common with `sources`, else the newest.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn nearest(
    endpoint: &Endpoint,
    entries: &[Entry],
    sources: Option<Digest>,
    forest: &mut Forest,
) -> Result<Option<Entry>, Error> {
    let (Some(newest), Some(sources)) = (entries.first(), sources) else {
        return Ok(entries.first().copied());
    };
    if let Some(same) = entries.iter().find(|entry| entry.sources == Some(sources)) {
        return Ok(Some(*same));
    }
    if entries.len() == 1 {
        return Ok(Some(*newest));
    }
    let mut roots: Vec<Digest> = entries.iter().filter_map(|entry| entry.sources).collect();
    roots.push(sources);
    load::trees(endpoint, forest, &roots).await?;
    let today = files(forest, sources);
    let common = |entry: &Entry| {
        entry.sources.map_or(0, |root| files(forest, root).intersection(&today).count())
    };
    // Of equal ones the newest, which comes first.
    let best = entries.iter().rev().max_by_key(|entry| common(entry));
    Ok(best.copied())
}

fn files(forest: &Forest, root: Digest) -> HashSet<(String, Digest)> {
    let mut files = HashSet::new();
    // A tree that is not there any more has nothing in common with today's.
    let _ = forest.leaves(root, &mut |path, node| {
        if let Node::File(file) = node {
            files.insert((path.to_string(), file.digest));
        }
    });
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        DigestFunction::Sha256.digest(text.as_bytes())
    }

    fn at(written: i64, sources: &str) -> Entry {
        let message = digest(&format!("{written}"));
        Entry { message, sources: Some(digest(sources)), written }
    }

    #[test]
    fn old_ones_expire() {
        let day = 24 * 3600;
        let old = vec![at(99 * day, "a"), at(50 * day, "b"), at(day, "c")];
        let merged = merge(at(100 * day, "d"), old);
        let written: Vec<i64> = merged.iter().map(|entry| entry.written / day).collect();
        assert_eq!(written, [100, 99, 50]);
    }

    #[test]
    fn one_per_source_tree_and_few() {
        let merged = merge(at(9, "a"), vec![at(8, "a"), at(7, "b")]);
        assert_eq!(merged, [at(9, "a"), at(7, "b")]);
        let many = (0..20).map(|n| at(n, &n.to_string())).collect();
        assert_eq!(merge(at(30, "x"), many).len(), KEPT);
    }

    #[test]
    fn keys_differ() {
        let function = DigestFunction::Sha256;
        assert_ne!(key(function, "a"), key(function, "b"));
        assert_ne!(key(function, "a"), forerunner_reapi::record::key(function, "a"));
    }
}
