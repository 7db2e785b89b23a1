//! Element records: what one build of an element used (docs/element-record.md).
//!
//! A record is found by the name of its element, by any worker, through the action cache. The
//! list of subactions stands in field 99 of the ActionResult and, because some servers drop
//! fields they do not know, in a blob that the result names as an output file.

use forerunner_merkle::{Digest, DigestFunction};
use forerunner_proto::{Kept, Message, Timestamp, ours, reapi};
use forerunner_store::{EARLIER_RECORDS, whole_record};

use crate::{Content, Endpoint, Error};

/// Path of the record in the ActionResult.
const OUTPUT_PATH: &str = "element-record";

/// What one build of one element used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The element's name.
    pub element: String,
    /// Actions that were asked for, in the order of first use.
    pub subactions: Vec<Digest>,
    /// Input root of the element's own action, if it had one.
    pub input_root: Option<Digest>,
    /// Root of the element's source tree, if it is known.
    pub sources: Option<Digest>,
    /// The build failed or was ended.
    pub partial: bool,
    /// When it was written, in seconds since 1970 (UTC).
    pub written: i64,
    /// Earlier records of the element, as blobs, the newest first. Filled in by [`write`].
    pub previous: Vec<Digest>,
}

/// The action under which the record of `element` stands: an Action without a command, whose
/// salt says what it is for. Nothing that is executed has this digest.
fn key_action(element: &str) -> Vec<u8> {
    let salt = format!("forerunner element record 1\0{element}").into_bytes();
    reapi::Action { salt, do_not_cache: true, ..Default::default() }.encode_to_vec()
}

/// Digest under which the newest record of `element` stands in the action cache.
#[must_use]
pub fn key(function: DigestFunction, element: &str) -> Digest {
    function.digest(&key_action(element))
}

/// Writes the record of an element. The one that stood there becomes the first of `previous`.
///
/// # Errors
/// If the endpoint refuses.
pub async fn write(endpoint: &Endpoint, record: &Record) -> Result<(), Error> {
    let function = endpoint.function();
    let key = key(function, &record.element);
    let mut record = record.clone();
    if let Some((digest, earlier)) = find(endpoint, &record.element).await? {
        record.previous = vec![digest];
        record.previous.extend(earlier.previous);
        record.previous.truncate(EARLIER_RECORDS);
    }
    let blob = to_proto(&record).encode_to_vec();
    let digest = function.digest(&blob);
    let action = key_action(&record.element);
    // Some servers refuse a result whose action they do not have.
    let blobs = vec![(digest, Content::Bytes(blob.into())), (key, Content::Bytes(action.into()))];
    endpoint.upload(blobs).await?;
    let result = Kept::new(&reapi::ActionResult {
        output_files: vec![reapi::OutputFile {
            path: OUTPUT_PATH.to_owned(),
            digest: Some(digest.to_proto()),
            ..Default::default()
        }],
        subactions: record.subactions.iter().map(Digest::to_proto).collect(),
        ..Default::default()
    });
    match endpoint.store() {
        Some(store) => Ok(store.put_action_result_pinned(&key, result.bytes())?),
        None => endpoint.update_action_result(&key, &result).await,
    }
}

/// The newest record of an element.
///
/// # Errors
/// If the endpoint does not answer, or what it has is no record.
pub async fn read(endpoint: &Endpoint, element: &str) -> Result<Option<Record>, Error> {
    Ok(find(endpoint, element).await?.map(|(_, record)| record))
}

/// The record of an element to start from, of those that are kept: the newest that is whole (see
/// [`whole_record`]).
///
/// # Errors
/// If the endpoint does not answer, or the newest is no record.
pub async fn base(endpoint: &Endpoint, element: &str) -> Result<Option<Record>, Error> {
    let Some(newest) = read(endpoint, element).await? else { return Ok(None) };
    if newest.previous.is_empty() {
        return Ok(Some(newest));
    }
    // Earlier ones may be gone.
    let found = endpoint.get_many(&newest.previous).await?;
    let blobs = newest.previous.iter().filter_map(|digest| found.get(digest));
    let earlier: Vec<Record> = blobs
        .filter_map(|blob| from_proto(&ours::ElementRecord::decode(blob.clone()).ok()?).ok())
        .collect();
    let mut records = vec![newest];
    records.extend(earlier);
    let sizes: Vec<(bool, usize)> =
        records.iter().map(|record| (record.partial, record.subactions.len())).collect();
    Ok(whole_record(&sizes).map(|index| records.swap_remove(index)))
}

/// A record from its blob.
///
/// # Errors
/// If the blob is missing or no record.
pub async fn read_blob(endpoint: &Endpoint, digest: &Digest) -> Result<Record, Error> {
    from_proto(&endpoint.message(digest).await?)
}

async fn find(endpoint: &Endpoint, element: &str) -> Result<Option<(Digest, Record)>, Error> {
    let key = key(endpoint.function(), element);
    let Some(result) = endpoint.action_result(&key, &[]).await? else { return Ok(None) };
    let what = || format!("the record of element `{element}`");
    let result = result.message().map_err(|error| Error::malformed(what(), error))?;
    let file = result.output_files.iter().find(|file| file.path == OUTPUT_PATH);
    let digest = file.and_then(|file| file.digest.as_ref());
    let digest = Digest::required(digest).map_err(|error| Error::malformed(what(), error))?;
    match read_blob(endpoint, &digest).await {
        Ok(record) => Ok(Some((digest, record))),
        // A server may forget the blob and keep the result.
        Err(Error::MissingBlob(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn to_proto(record: &Record) -> ours::ElementRecord {
    ours::ElementRecord {
        element: record.element.clone(),
        subactions: record.subactions.iter().map(Digest::to_proto).collect(),
        input_root: record.input_root.as_ref().map(Digest::to_proto),
        sources: record.sources.as_ref().map(Digest::to_proto),
        partial: record.partial,
        written: Some(Timestamp { seconds: record.written, nanos: 0 }),
        previous: record.previous.iter().map(Digest::to_proto).collect(),
    }
}

fn from_proto(message: &ours::ElementRecord) -> Result<Record, Error> {
    let list = |digests: &[reapi::Digest]| -> Result<Vec<Digest>, Error> {
        digests.iter().map(|digest| Ok(Digest::from_proto(digest)?)).collect()
    };
    let optional = |digest: &Option<reapi::Digest>| -> Result<Option<Digest>, Error> {
        Ok(digest.as_ref().map(Digest::from_proto).transpose()?)
    };
    Ok(Record {
        element: message.element.clone(),
        subactions: list(&message.subactions)?,
        input_root: optional(&message.input_root)?,
        sources: optional(&message.sources)?,
        partial: message.partial,
        written: message.written.as_ref().map_or(0, |time| time.seconds),
        previous: list(&message.previous)?,
    })
}
