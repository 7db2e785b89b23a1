//! Staying awake for what comes at once.
//!
//! A server on this machine answers most lookups within a fraction of a millisecond, and a client
//! asks again as soon. To fall asleep in between and be woken costs as much again. So for a moment
//! after a call was passed on, and after it was answered, the thread of the gateway asks the
//! kernel for news instead of waiting to be woken.
//!
//! It takes no time from others: before each look it leaves its processor to whoever wants it, the
//! server's threads above all. A thread that computes keeps the processor for its whole slice, for
//! which an answer would then wait: where that happens, it is left alone more and more often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// For how long an answer is waited for. What takes longer is not worth it.
const FOR_ANSWER: Duration = Duration::from_micros(300);

/// For how long the next call is waited for.
const FOR_CALL: Duration = Duration::from_micros(100);

/// More calls than this keep the thread awake by themselves.
const FEW: u32 = 2;

/// A thread that answers a call gives the processor back much sooner; one that computes keeps it
/// for a slice, which is 0.7 ms on one processor and longer on more.
const CROWD: Duration = Duration::from_micros(500);

/// What is in vain all the time is tried once in two to the power of this.
const MOST: u32 = 10;

/// Tells the watching task what happens. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Vigil {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Calls without an answer yet.
    under_way: AtomicU32,
    /// Calls and answers so far.
    events: AtomicU64,
    awake: AtomicBool,
    wake: Notify,
}

/// A call that waits for its answer, until this is dropped.
pub(crate) struct Call(Arc<Shared>);

impl Vigil {
    /// Says that a call is passed on.
    pub(crate) fn call(&self) -> Call {
        self.shared.under_way.fetch_add(1, Ordering::Relaxed);
        self.shared.event();
        Call(self.shared.clone())
    }

    /// Watches as long as the gateway serves.
    pub(crate) async fn keep(self) {
        let shared = &*self.shared;
        let (mut answers, mut calls) = (Patience::default(), Patience::default());
        let mut seen = 0;
        loop {
            while shared.events.load(Ordering::Relaxed) == seen {
                shared.wake.notified().await;
            }
            shared.awake.store(true, Ordering::Relaxed);
            loop {
                seen = shared.events.load(Ordering::Relaxed);
                let (patience, limit) = match shared.under_way.load(Ordering::Relaxed) {
                    0 => (&mut calls, FOR_CALL),
                    1..=FEW => (&mut answers, FOR_ANSWER),
                    _ => break,
                };
                if !patience.has() {
                    break;
                }
                let end = shared.watch(seen, limit).await;
                patience.learn(end);
                if end != End::Event {
                    break;
                }
            }
            shared.awake.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        self.0.event();
    }
}

impl Shared {
    fn event(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
        // Whoever watches sees it.
        if !self.awake.load(Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    /// Keeps the thread awake until something happens, or `limit` is over, or it turns out that
    /// others need the processor.
    async fn watch(&self, seen: u64, limit: Duration) -> End {
        let began = Instant::now();
        let mut now = Duration::ZERO;
        loop {
            // It cannot fail on Linux.
            let _ = nix::sched::sched_yield();
            // The thread goes round by way of the kernel, which is asked and not waited for.
            tokio::task::yield_now().await;
            let before = std::mem::replace(&mut now, began.elapsed());
            if now - before > CROWD {
                return End::Crowd;
            }
            if self.events.load(Ordering::Relaxed) != seen {
                return End::Event;
            }
            if now > limit {
                return End::Nothing;
            }
        }
    }
}

/// How a watch ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// With what it waited for.
    Event,
    /// In vain.
    Nothing,
    /// Others needed the processor: whatever happened was noticed late.
    Crowd,
}

/// Whether something is worth trying: after it was in vain, only every second time, then every
/// fourth, and so on.
#[derive(Default)]
struct Patience {
    lost: u32,
    pass_over: u32,
}

impl Patience {
    fn has(&mut self) -> bool {
        let has = self.pass_over == 0;
        self.pass_over = self.pass_over.saturating_sub(1);
        has
    }

    fn learn(&mut self, end: End) {
        // What was in vain has cost nobody much; a crowd has cost more than many events gain.
        self.lost = match end {
            End::Event => self.lost.saturating_sub(1),
            End::Nothing => (self.lost + 1).min(MOST),
            End::Crowd => (self.lost + 4).min(MOST),
        };
        if end != End::Event {
            self.pass_over = (1 << self.lost) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_runs_out_and_comes_back() {
        let tries = |end| {
            let mut patience = Patience::default();
            let turns = (0..40).filter(|_| {
                let has = patience.has();
                if has {
                    patience.learn(end);
                }
                has
            });
            (turns.collect::<Vec<_>>(), patience)
        };
        let (tried, mut patience) = tries(End::Nothing);
        assert_eq!(tried, [0, 2, 6, 14, 30]);
        assert_eq!(tries(End::Crowd).0, [0, 16]);
        while !patience.has() {}
        for _ in 0..5 {
            patience.learn(End::Event);
            assert!(patience.has());
        }
        patience.learn(End::Nothing);
        assert!(!patience.has() && patience.has());
    }

    #[tokio::test]
    async fn it_watches_while_calls_come_and_sleeps_otherwise() {
        let vigil = Vigil::default();
        let shared = vigil.shared.clone();
        let keeping = tokio::spawn(vigil.clone().keep());
        for _ in 0..50 {
            let call = vigil.call();
            tokio::task::yield_now().await;
            drop(call);
            tokio::task::yield_now().await;
        }
        assert_eq!(shared.under_way.load(Ordering::Relaxed), 0);
        assert_eq!(shared.events.load(Ordering::Relaxed), 100);
        // With nothing more to come it falls asleep, however long that takes.
        while shared.awake.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        assert!(!keeping.is_finished());
        keeping.abort();
    }
}
