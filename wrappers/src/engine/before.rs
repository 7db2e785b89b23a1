//! Whether inputs, and names that must not be there, are still what they were before a run.

use std::path::{Path, PathBuf};

use forerunner_merkle::{Digest, DigestFunction};

use crate::action::Formed;
use crate::manifest::Change;
use crate::stamp::{self, Stamp};
use crate::stat_cache::digest_file;

use super::{Job, Known};

/// An input as it was digested.
pub(super) struct Seen {
    pub(super) path: PathBuf,
    pub(super) digest: Digest,
    pub(super) stamp: Option<Stamp>,
}

impl Seen {
    /// Whether it still is what it was, when all were `taken`. One whose last change was then so
    /// recent that a further one might not show is read again.
    pub(super) fn is_unchanged(&self, function: DigestFunction, taken: i64) -> bool {
        let path = &self.path;
        let after = std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        let Some(stamp) = after.filter(|_| after == self.stamp) else { return false };
        stamp.is_settled(taken)
            || digest_file(path, &stamp, function).is_ok_and(|digest| digest == self.digest)
    }
}

/// The inputs as they were digested.
#[derive(Default)]
pub(super) struct Before {
    pub(super) seen: Vec<Seen>,
    /// When, nanoseconds since 1970.
    pub(super) taken: i64,
}

impl Before {
    pub(super) fn of(formed: &Formed) -> Self {
        let stamp = |path: &Path| std::fs::metadata(path).ok().map(|m| Stamp::of(&m));
        let seen = |(digest, path): &(Digest, PathBuf)| Seen {
            path: path.clone(),
            digest: *digest,
            stamp: stamp(path),
        };
        Self { taken: stamp::now(), seen: formed.tree.files.iter().map(seen).collect() }
    }

    /// The first input that is no longer what it was.
    pub(super) fn changed(
        &self,
        function: DigestFunction,
        in_place: impl Fn(&Path) -> bool,
    ) -> Option<&Path> {
        let changed =
            |seen: &&Seen| !in_place(&seen.path) && !seen.is_unchanged(function, self.taken);
        self.seen.iter().find(changed).map(|seen| seen.path.as_path())
    }
}

/// What appeared that was not there when the inputs were found, or went that must be there. What
/// the command itself makes does not count.
pub(super) fn changed_names(known: &Known, job: &Job, directory: &str) -> Option<Change> {
    // Of a copy: what is remembered is how things were before.
    let mut variant = known.variant.clone()?;
    for group in &mut variant.absent {
        let at = Path::new(&group.directory);
        group.names.retain(|name| !job.makes(&at.join(name.trim_end_matches('/')), directory));
    }
    variant.check_names(directory, stamp::now()).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_in_the_same_tick_is_read() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("a.h");
        std::fs::write(&path, "old").expect("written");
        let digest = DigestFunction::Sha256.digest(b"old");
        let now = || {
            let metadata = std::fs::metadata(&path).expect("there");
            (Some(Stamp::of(&metadata)), stamp::now())
        };
        let (stamp, taken) = now();
        let seen = Seen { path: path.clone(), digest, stamp };
        assert!(seen.is_unchanged(DigestFunction::Sha256, taken));
        std::fs::write(&path, "new").expect("written");
        assert!(!seen.is_unchanged(DigestFunction::Sha256, taken), "another stamp");
        // Written between the digest and the stamp.
        let (stamp, taken) = now();
        let seen = Seen { path: path.clone(), digest, stamp };
        assert!(!seen.is_unchanged(DigestFunction::Sha256, taken), "the stamp says nothing");
    }
}
