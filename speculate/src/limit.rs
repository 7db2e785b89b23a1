//! How many executions may be under way at once.

/// A limit that backs off when the endpoint is loaded and creeps up again when it is not:
/// additive increase, multiplicative decrease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    now: f64,
    most: f64,
}

impl Limit {
    /// At most `share` (0 to 1) of `capacity`, but never less than one execution at a time.
    #[must_use]
    pub fn new(capacity: usize, share: f64) -> Self {
        let most = (capacity as f64 * share.clamp(0.0, 1.0)).floor().max(1.0);
        Self { now: most, most }
    }

    /// How many may be under way now.
    #[must_use]
    pub fn get(&self) -> usize {
        self.now as usize
    }

    /// An execution had to queue: others want the endpoint.
    pub fn queued(&mut self) {
        self.now = (self.now / 2.0).max(1.0);
    }

    /// An execution ended without having queued.
    pub fn free(&mut self) {
        self.now = (self.now + 1.0 / self.now).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_of_the_capacity() {
        assert_eq!(Limit::new(8, 0.5).get(), 4);
        assert_eq!(Limit::new(8, 0.01).get(), 1);
        assert_eq!(Limit::new(0, 1.0).get(), 1);
        assert_eq!(Limit::new(8, 7.0).get(), 8);
    }

    #[test]
    fn backs_off_and_recovers() {
        let mut limit = Limit::new(8, 1.0);
        limit.queued();
        assert_eq!(limit.get(), 4);
        for _ in 0..10 {
            limit.queued();
        }
        assert_eq!(limit.get(), 1);
        for _ in 0..100 {
            limit.free();
        }
        assert_eq!(limit.get(), 8);
    }
}
