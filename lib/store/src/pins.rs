//! Element records: action results that keep what they refer to.
//!
//! A pin is an empty file beside its result. It ends when a new record takes its place (what only
//! the old one referred to is then like everything else), when [`Store::unpin`] is called, or when
//! the record was neither written nor read for [`LIFE`]: its element is gone.

use std::fs::Metadata;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use forerunner_merkle::{Digest, DigestFunction};

use crate::layout::fanned_names;
use crate::stamp::Stamp;
use crate::{Store, StoreError};

/// How long a record that nobody uses keeps what it refers to: 90 days.
const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// A pinned result.
pub(crate) struct Pin {
    pub(crate) function: DigestFunction,
    /// The key of the result; its size is not known.
    pub(crate) key: Digest,
    path: PathBuf,
    used: Stamp,
}

impl Store {
    /// Puts an element record: an action result that keeps what can be reached from it: its
    /// outputs, its subactions with their commands and inputs, and their results.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_action_result_pinned(
        &self,
        action: &Digest,
        result: &[u8],
    ) -> Result<(), StoreError> {
        self.write_whole(&self.layout().pin(self.function, action), &[])?;
        self.put_action_result(action, result)
    }

    /// Lets go of an element record: from now on it is evicted like any other result. Answers
    /// whether there was one.
    ///
    /// # Errors
    /// If the store cannot be written to.
    pub fn unpin(&self, action: &Digest) -> Result<bool, StoreError> {
        let path = self.layout().pin(self.function, action);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io(self.root(), "remove", &path, error)),
        }
    }

    /// All pins, the one that was used last first.
    pub(crate) fn pinned(&self) -> Vec<Pin> {
        let mut pins = Vec::new();
        for function in DigestFunction::ALL {
            for hex in fanned_names(&self.layout().pins(), function) {
                let Ok(key) = Digest::from_hex(&hex, 0) else { continue };
                let path = self.layout().pin(function, &key);
                let Ok(written) = std::fs::symlink_metadata(&path) else { continue };
                let result = std::fs::symlink_metadata(self.layout().result(function, &key));
                let read = result.as_ref().map_or(Stamp::used(&written), Stamp::used);
                pins.push(Pin { function, key, path, used: read.max(Stamp::used(&written)) });
            }
        }
        pins.sort_by(|left, right| (right.used, &left.key).cmp(&(left.used, &right.key)));
        pins
    }

    /// Ends the pins of records that nobody used for a long time; answers how many.
    pub(crate) fn expire_pins(&self) -> u64 {
        let Some(limit) = SystemTime::now().checked_sub(LIFE).map(Stamp::from) else { return 0 };
        // Whoever writes the record anew meanwhile has made another file of it.
        let old = |found: &[Metadata]| found.iter().all(|found| Stamp::used(found) < limit);
        let expired = self.pinned().into_iter().filter(|pin| pin.used < limit);
        expired.filter(|pin| self.take_away(&[&pin.path], old).unwrap_or(false)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::path::Path;

    use forerunner_proto::{Message, reapi};

    use super::*;
    use crate::Options;

    const DAY: u64 = 24 * 3600;

    fn age(path: &Path, seconds: u64) {
        let then = SystemTime::now() - Duration::from_secs(seconds);
        let file = File::open(path).expect("opened");
        file.set_times(FileTimes::new().set_accessed(then)).expect("aged");
    }

    fn open(folder: &tempfile::TempDir, size_limit: u64) -> Store {
        let root = folder.path().join("store");
        let function = DigestFunction::Sha256;
        Store::open(&Options { root, size_limit, function }).expect("opened")
    }

    /// A record of `element` whose one output is `content`, used so long ago.
    fn record(store: &Store, element: &str, content: &[u8], seconds: u64) -> (Digest, Digest) {
        let blob = store.put(content).expect("put");
        let result = reapi::ActionResult {
            output_files: vec![reapi::OutputFile {
                digest: Some(blob.to_proto()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let key = store.function().digest(element.as_bytes());
        store.put_action_result_pinned(&key, &result.encode_to_vec()).expect("put");
        let blob_path = store.layout().blob(store.function(), &blob, crate::layout::Variant::Plain);
        let function = store.function();
        let paths = [blob_path, store.layout().pin(function, &key)];
        for path in paths.iter().chain([&store.layout().result(function, &key)]) {
            age(path, seconds);
        }
        (key, blob)
    }

    fn is_there(store: &Store, blob: &Digest) -> bool {
        store.layout().blob(store.function(), blob, crate::layout::Variant::Plain).exists()
    }

    #[test]
    fn a_replaced_record_lets_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder, u64::MAX);
        let (_, old) = record(&store, "lib", &[1; 4000], 9 * DAY);
        let (_, new) = record(&store, "lib", &[2; 4000], 8 * DAY);
        open(&folder, 12_000).gc().expect("collected");
        assert!(is_there(&store, &old) && is_there(&store, &new), "there is room for both");
        store.put(&[3; 9000]).expect("put");
        open(&folder, 12_000).gc().expect("collected");
        assert!(!is_there(&store, &old) && is_there(&store, &new));
    }

    #[test]
    fn a_record_that_nobody_uses_expires() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder, u64::MAX);
        let (gone, gone_blob) = record(&store, "gone", &[1; 1000], 91 * DAY);
        let (read, _) = record(&store, "read", &[2; 1000], 91 * DAY);
        let (_, young) = record(&store, "young", &[3; 1000], 89 * DAY);
        // Looked at by us, which is no use.
        store.reach(u64::MAX).expect("followed");
        assert!(store.action_result(&read).expect("asked").is_some());
        let tiny = open(&folder, 1);
        assert_eq!(tiny.gc().expect("collected").unpinned, 1);
        assert_eq!(tiny.stats().expect("counted").pinned, 2);
        assert!(!tiny.unpin(&gone).expect("asked"));
        // Three quarters of nothing.
        assert!(!is_there(&store, &gone_blob) && !is_there(&store, &young));
    }

    #[test]
    fn records_keep_no_more_than_their_share() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder, u64::MAX);
        let (_, old) = record(&store, "old", &[1; 4000], 3 * DAY);
        let (_, huge) = record(&store, "huge", &[2; 20_000], 2 * DAY);
        let (_, new) = record(&store, "new", &[3; 4000], DAY);
        store.put(&[4; 500]).expect("put");
        let small = open(&folder, 16_000);
        small.gc().expect("collected");
        assert!(is_there(&store, &new) && is_there(&store, &old) && !is_there(&store, &huge));
        assert!(small.stats().expect("counted").bytes <= 16_000);
        let smaller = open(&folder, 6_000);
        smaller.gc().expect("collected");
        assert!(is_there(&store, &new) && !is_there(&store, &old));
        assert!(smaller.stats().expect("counted").bytes <= 6_000);
    }
}
