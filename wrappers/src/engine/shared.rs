//! Manifests at the endpoint, so that the first command in a fresh sandbox needs no preprocessor.
//!
//! A manifest is a blob. It is found through the action cache: a result whose one output file it
//! is, under a digest made from the manifest's key. The result says by its worker that it is no
//! result of an action, so that nobody takes it for one.

use forerunner_merkle::{Digest, DigestFunction};
use forerunner_proto::reapi::{ActionResult, ExecutedActionMetadata, OutputFile};
use forerunner_reapi::{Content, MANIFEST_WORKER};

use crate::cache::{Cache, CacheError};
use crate::manifest::{Key, Manifest};

/// Name of the output file.
const NAME: &str = "manifest";
/// Larger ones are not worth the time.
const LARGEST: u64 = 4 << 20;

fn digest(function: DigestFunction, key: &Key) -> Digest {
    function.digest(format!("forerunner manifest {}", key.as_str()).as_bytes())
}

/// The manifest that the endpoint has. Any trouble means that it has none.
pub(super) fn fetch(cache: &Cache, key: &Key) -> Option<Manifest> {
    let function = cache.function()?;
    let result = cache.action_result(&digest(function, key), &[NAME.to_owned()]).ok()??;
    let file = result.output_files.iter().find(|file| file.path == NAME)?;
    let blob = Digest::required(file.digest.as_ref()).ok().filter(|d| d.size() <= LARGEST)?;
    let inline = !file.contents.is_empty() && function.digest(&file.contents) == blob;
    let bytes = if inline { file.contents.to_vec() } else { cache.get(&blob).ok()?.to_vec() };
    Manifest::decode(&bytes)
}

/// Stores a manifest. It only saves work, so trouble is ignored.
pub(super) fn store(cache: &Cache, key: &Key, manifest: &Manifest) {
    let put = |function: DigestFunction| -> Result<(), CacheError> {
        let bytes = manifest.encode(false);
        let blob = function.digest(&bytes);
        cache.upload(vec![(blob, Content::Bytes(bytes.into()))])?;
        let result = ActionResult {
            output_files: vec![OutputFile {
                path: NAME.to_owned(),
                digest: Some(blob.to_proto()),
                ..OutputFile::default()
            }],
            execution_metadata: Some(ExecutedActionMetadata {
                worker: MANIFEST_WORKER.to_owned(),
                ..ExecutedActionMetadata::default()
            }),
            ..ActionResult::default()
        };
        cache.update(&digest(function, key), &result)
    };
    let _stored = cache.function().map(put);
}
