//! What tells without reading that a file is still the same.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Size, times and identity of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Time of the last change of the content, nanoseconds since 1970.
    pub mtime: i64,
    /// Time of the last change of anything, nanoseconds since 1970.
    pub ctime: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
}

/// The time that buildbox-fuse gives everything that was not changed, for the last change of the
/// content and for that of anything; nanoseconds since 1970.
pub(crate) const STAGED_TIME: i64 = 1_321_009_871_000_000_000;

/// Within this time two changes may bear the same time stamp, on the coarsest file systems.
const GRANULARITY: Duration = Duration::from_secs(2);

/// The clock of file systems does not stand still for longer.
const LONGEST_TICK: Duration = Duration::from_secs(1);
/// The finest tick takes a millisecond.
const PAUSE: Duration = Duration::from_micros(500);

impl Stamp {
    /// The stamp of a file.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            size: metadata.size(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// Whether this is the stamp of a file, or directory, as buildbox-fuse shows what was not changed.
    /// It then says nothing of the file: in the next sandbox another may have the same, down to inode
    /// and device.
    #[must_use]
    pub fn is_staged(&self) -> bool {
        self.mtime == STAGED_TIME && self.ctime == STAGED_TIME
    }

    /// Whether a later change would show: the last one is not so recent, seen from `now`, that
    /// the next could bear the same times. A file from the future is never settled, nor one whose
    /// times are made up.
    #[must_use]
    pub fn is_settled(&self, now: i64) -> bool {
        !self.is_staged()
            && self.mtime.max(self.ctime).saturating_add(GRANULARITY.as_nanos() as i64) < now
    }
}

/// Nanoseconds since 1970.
#[must_use]
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

/// The clock that file systems take time stamps from, nanoseconds since 1970. It moves in ticks of
/// a few milliseconds: what is changed after this call bears this time or a later one.
#[must_use]
pub fn file_clock() -> i64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME_COARSE)
        .map_or_else(|_| now(), |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// Waits until that clock is past `time`, which takes until its next tick, and tells what it shows
/// then. What was changed before `time` bears an earlier time: `time` must be of the finer clock
/// ([`now`]), because a change may bear that as well (Linux 6.13 and later, multigrain timestamps),
/// and the tick may be late.
#[must_use]
pub fn file_clock_past(time: i64) -> i64 {
    // Somebody may have set the clock back.
    for _ in 0..LONGEST_TICK.as_micros() / PAUSE.as_micros() {
        let clock = file_clock();
        if clock > time {
            return clock;
        }
        std::thread::sleep(PAUSE);
    }
    file_clock()
}

/// The bytes that a stamp is stored as.
pub(crate) const STAMP_BYTES: usize = 40;

impl Stamp {
    /// Fixed length, little-endian.
    pub(crate) fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        let fields = [self.size, self.mtime as u64, self.ctime as u64, self.inode, self.device];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// The opposite.
    pub(crate) fn from_bytes(bytes: &[u8; STAMP_BYTES]) -> Self {
        let mut fields = [0_u64; 5];
        for (field, place) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(place);
            *field = u64::from_le_bytes(eight);
        }
        let [size, mtime, ctime, inode, device] = fields;
        Self { size, mtime: mtime as i64, ctime: ctime as i64, inode, device }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_back() {
        let stamp = Stamp { size: 1, mtime: -2, ctime: 3, inode: u64::MAX, device: 5 };
        assert_eq!(Stamp::from_bytes(&stamp.to_bytes()), stamp);
    }

    #[test]
    fn only_what_is_old_is_settled() {
        let stamp = Stamp { mtime: 10_000_000_000, ctime: 5, ..Stamp::default() };
        assert!(!stamp.is_settled(11_000_000_000));
        assert!(stamp.is_settled(12_000_000_001));
        assert!(!stamp.is_settled(0), "from the future");
    }

    #[test]
    fn what_was_changed_before_bears_an_earlier_time() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("a");
        let stamp = || Stamp::of(&std::fs::metadata(&path).expect("there"));
        for round in 0..100 {
            std::fs::write(&path, "once").expect("written");
            // Of what was looked at, the next change bears the finer time.
            let _looked_at = stamp();
            std::fs::write(&path, "twice").expect("written");
            let clock = file_clock_past(now());
            assert!(stamp().ctime < clock, "round {round}");
            std::fs::write(&path, "later").expect("written");
            assert!(stamp().ctime >= clock, "round {round}");
        }
    }
}
