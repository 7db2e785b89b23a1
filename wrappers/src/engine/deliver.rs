//! From a result to files, output and exit status.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use forerunner_merkle::Digest;
use forerunner_proto::reapi::{self, ActionResult};

use crate::cache::{Cache, CacheError, Delivery};
use crate::paths;
use crate::settings::Work;
use crate::stat_cache::StatCache;

use super::place::Place;
use super::{Engine, Job};

impl Engine<'_> {
    /// Writes the outputs of a result and replays what the tool said; answers with the number of
    /// bytes written.
    ///
    /// Everything that could fail is done before anything is shown.
    pub(super) fn deliver(
        &mut self,
        cache: &Cache,
        job: &Job,
        action: &Digest,
        result: &ActionResult,
        mut known: Option<&mut StatCache>,
    ) -> Result<u64, CacheError> {
        let settings = &self.session.settings;
        let stdout = text(cache, action, &result.stdout_raw, result.stdout_digest.as_ref())?;
        let stderr = text(cache, action, &result.stderr_raw, result.stderr_digest.as_ref())?;
        let mut bytes = 0;
        if !settings.dont_save_output {
            let mut files = Vec::new();
            let mut places = Vec::new();
            for product in &job.products {
                let found = result.output_files.iter().find(|file| file.path == product.remote);
                let file = match found {
                    Some(file) => file,
                    None if result.exit_code == 0 => {
                        return Err(CacheError::Incomplete(*action, product.remote.clone()));
                    }
                    None => continue,
                };
                let digest = digest(action, file.digest.as_ref())?;
                bytes += digest.size();
                let inline = (!file.contents.is_empty()
                    && file.contents.len() as u64 == digest.size())
                .then_some(&file.contents[..])
                .filter(|content| settings.function.digest(content) == digest);
                let mut path =
                    PathBuf::from(paths::absolute(&product.local, &self.session.directory));
                let unfit = || CacheError::Incomplete(*action, product.local.clone());
                let place = match job.in_place {
                    // Only a run of the tool shows what it does to links.
                    Some(_) => {
                        let place = Place::find(&path).filter(Place::is_plain);
                        Some(place.ok_or_else(unfit)?)
                    }
                    None if is_special(&path) => return Err(unfit()),
                    None => None,
                };
                // A tool that rewrites a file in place often finds it as it would be.
                let equal = job.work == Work::Tool
                    && known
                        .as_mut()
                        .is_some_and(|known| is_there(known, &path, &digest, file.is_executable));
                if equal && touch(&path) {
                    continue;
                }
                if let Some(place) = place {
                    let failed = |error| CacheError::File(path.clone(), error);
                    let temporary = place.temporary().map_err(failed)?;
                    let place_path = std::mem::replace(&mut path, temporary.to_path_buf());
                    places.push((place, temporary, place_path));
                }
                files.push(Delivery { digest, inline, path, executable: file.is_executable });
            }
            let directories = self.directories_of(cache, job, action, result)?;
            bytes += directories.bytes();
            cache.deliver(&directories.prepare()?)?;
            cache.deliver(&files)?;
            for (place, temporary, path) in places {
                place.put(temporary).map_err(|error| CacheError::File(path, error))?;
            }
        }
        // A reader that went away is the user's wish.
        let _written = self.out.write_all(&stdout).and_then(|()| self.out.flush());
        let _written = self.err.write_all(&stderr).and_then(|()| self.err.flush());
        Ok(bytes)
    }
}

/// Whether a file has this content already.
fn is_there(known: &mut StatCache, path: &Path, digest: &Digest, executable: bool) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == digest.size())
        && known
            .know(path)
            .is_ok_and(|there| there.digest == *digest && there.executable == executable)
}

/// Sets the time as writing it anew would.
fn touch(path: &Path) -> bool {
    std::fs::File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .is_ok()
}

/// Whether a tool would write through what stands there instead of replacing it.
pub(super) fn is_special(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

fn digest(action: &Digest, message: Option<&reapi::Digest>) -> Result<Digest, CacheError> {
    Digest::required(message).map_err(|error| CacheError::Malformed(*action, error.to_string()))
}

fn text(
    cache: &Cache,
    action: &Digest,
    raw: &[u8],
    by_digest: Option<&reapi::Digest>,
) -> Result<Vec<u8>, CacheError> {
    match by_digest {
        Some(message) if raw.is_empty() && message.size_bytes != 0 => {
            Ok(cache.get(&digest(action, Some(message))?)?.to_vec())
        }
        _ => Ok(raw.to_vec()),
    }
}

/// How long the tool ran when the result was made.
pub(super) fn execution_time(result: &ActionResult) -> Duration {
    let times = result.execution_metadata.as_ref().and_then(|metadata| {
        let start = metadata.execution_start_timestamp.as_ref()?;
        let end = metadata.execution_completed_timestamp.as_ref()?;
        let nanoseconds = |time: &prost_types::Timestamp| {
            i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
        };
        u64::try_from(nanoseconds(end) - nanoseconds(start)).ok()
    });
    Duration::from_nanos(times.unwrap_or(0))
}
