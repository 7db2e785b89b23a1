//! What goes first, without a list of everything.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};

use crate::census::Unit;
use crate::{Store, StoreError};

/// At most so many are chosen in one go: some megabytes, however much there is.
const MOST: usize = 1 << 16;

/// The least recently used of those that were offered: as many as are needed to free `wanted`
/// bytes, and no more than [`MOST`].
struct Oldest {
    wanted: u64,
    bytes: u64,
    /// The youngest on top.
    chosen: BinaryHeap<ByUse>,
}

impl Oldest {
    fn new(wanted: u64) -> Self {
        Self { wanted, bytes: 0, chosen: BinaryHeap::new() }
    }

    fn offer(&mut self, unit: Unit) {
        let unit = ByUse(unit);
        if self.chosen.len() == MOST {
            // Not one more, not even for a moment: there would be memory for twice as many then.
            if self.chosen.peek().is_none_or(|youngest| *youngest <= unit) {
                return;
            }
            self.leave_out_youngest();
        }
        self.bytes += unit.0.bytes;
        self.chosen.push(unit);
        let wanted = self.wanted;
        while self.chosen.peek().is_some_and(|it| self.bytes - it.0.bytes >= wanted) {
            self.leave_out_youngest();
        }
    }

    fn leave_out_youngest(&mut self) {
        if let Some(ByUse(youngest)) = self.chosen.pop() {
            self.bytes -= youngest.bytes;
        }
    }

    /// The oldest first.
    fn into_units(self) -> impl Iterator<Item = Unit> {
        self.chosen.into_sorted_vec().into_iter().map(|ByUse(unit)| unit)
    }
}

impl Store {
    /// Those of the least recently used units that `may_go` with which `wanted` bytes become free,
    /// the oldest first. There may be more that may go.
    pub(crate) fn oldest(
        &self,
        wanted: u64,
        may_go: impl Fn(&Unit) -> bool + Sync,
    ) -> Result<impl Iterator<Item = Unit>, StoreError> {
        let oldest = Mutex::new(Oldest::new(wanted));
        self.census(|units| {
            let mut oldest = oldest.lock().unwrap_or_else(PoisonError::into_inner);
            units.into_iter().filter(&may_go).for_each(|unit| oldest.offer(unit));
        })?;
        Ok(oldest.into_inner().unwrap_or_else(PoisonError::into_inner).into_units())
    }
}

/// In the order of their last use; of those used at once, trees go first.
struct ByUse(Unit);

impl Ord for ByUse {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |Self(unit): &Self| (unit.used, unit.kind, unit.digest);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for ByUse {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByUse {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByUse {}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use forerunner_merkle::DigestFunction;

    use super::*;
    use crate::census::Kind;

    fn unit(seconds: u64, bytes: u64) -> Unit {
        let function = DigestFunction::Sha256;
        let digest = function.digest(&seconds.to_le_bytes());
        let used = (UNIX_EPOCH + Duration::from_secs(seconds)).into();
        Unit { kind: Kind::Blob, function, digest, used, bytes }
    }

    /// Every number below `count` once, mixed up.
    fn mixed(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(move |number| number * 7_919 % count)
    }

    #[test]
    fn no_more_than_needed_are_chosen() {
        let mut oldest = Oldest::new(95);
        mixed(100).for_each(|seconds| oldest.offer(unit(seconds, 10)));
        let chosen: Vec<Unit> = oldest.into_units().collect();
        let expected: Vec<Unit> = (0..10).map(|seconds| unit(seconds, 10)).collect();
        assert_eq!(chosen, expected);
        let mut nothing = Oldest::new(0);
        nothing.offer(unit(1, 1));
        assert_eq!(nothing.into_units().count(), 0);
    }

    #[test]
    fn what_is_held_does_not_grow_with_what_is_there() {
        let mut oldest = Oldest::new(u64::MAX);
        for seconds in mixed(300_000) {
            oldest.offer(unit(seconds, 1));
            assert!(oldest.chosen.len() <= MOST && oldest.chosen.capacity() < 2 * MOST);
        }
        assert!(oldest.into_units().zip(0..).all(|(chosen, seconds)| chosen == unit(seconds, 1)));
    }
}
