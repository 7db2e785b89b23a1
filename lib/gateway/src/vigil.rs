//! Staying awake for what comes at once.
//!
//! A server on this machine answers most lookups within a fraction of a millisecond, and a client
//! asks again as soon. To fall asleep in between and be woken costs as much again. So for a moment
//! after a call was passed on, and after it was answered, the thread of the gateway asks the
//! kernel for news instead of waiting to be woken.
//!
//! It takes no time from others: it does so only while the machine has processors for which there
//! is nothing else to do, while few calls are under way, and as long as it was worth it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
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

/// Between two looks at how busy the machine is.
const LOOK: Duration = Duration::from_micros(30);

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
        let Some(crowd) = Crowd::new() else { return };
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
                if !shared.watch(seen, limit, &crowd).await {
                    patience.lose();
                    break;
                }
                patience.gain();
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

    /// Keeps the thread awake until something happens; not for longer than `limit`, and not while
    /// others want the processor. Answers whether something happened.
    async fn watch(&self, seen: u64, limit: Duration, crowd: &Crowd) -> bool {
        let began = Instant::now();
        let (mut look, mut crowded) = (LOOK, false);
        loop {
            // The thread goes round by way of the kernel, which is asked and not waited for.
            tokio::task::yield_now().await;
            if self.events.load(Ordering::Relaxed) != seen {
                return true;
            }
            let passed = began.elapsed();
            if passed > limit {
                return false;
            }
            if passed > look {
                // A thread that is just going to sleep is no crowd: only two looks count.
                let before = std::mem::replace(&mut crowded, crowd.is_there());
                if before && crowded {
                    return false;
                }
                look = passed + LOOK;
            }
        }
    }
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

    fn gain(&mut self) {
        self.lost = 0;
    }

    fn lose(&mut self) {
        self.lost = (self.lost + 1).min(10);
        self.pass_over = (1 << self.lost) - 1;
    }
}

/// Looks whether there is more to do on this machine than it has processors.
struct Crowd {
    /// `/proc/loadavg`: its fourth word begins with how many threads run or want to.
    file: File,
    processors: u32,
}

impl Crowd {
    /// `None` where that cannot be known, or a single processor would have to do all.
    fn new() -> Option<Self> {
        let processors = std::thread::available_parallelism().ok()?.get();
        let file = File::open("/proc/loadavg").ok()?;
        Some(Self { file, processors: u32::try_from(processors).ok()? })
            .filter(|crowd| crowd.processors > 1)
    }

    /// We are one of those who run, and server and client may well run two threads at once for the
    /// very call that is waited for: with one processor for each of these, nobody waits for us.
    fn is_there(&self) -> bool {
        let mut buffer = [0; 128];
        let length = self.file.read_at(&mut buffer, 0).unwrap_or(0);
        let running = running(&buffer[..length]);
        running.is_none_or(|running| running > self.processors + 1)
    }
}

fn running(text: &[u8]) -> Option<u32> {
    let word = std::str::from_utf8(text).ok()?.split(' ').nth(3)?;
    word.split_once('/')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_runs_out_and_comes_back() {
        let mut patience = Patience::default();
        let mut tried = Vec::new();
        for turn in 0..40 {
            if patience.has() {
                tried.push(turn);
                patience.lose();
            }
        }
        assert_eq!(tried, [0, 2, 6, 14, 30]);
        while !patience.has() {}
        patience.gain();
        assert!(patience.has());
        patience.lose();
        assert!(!patience.has() && patience.has());
    }

    #[test]
    fn the_kernels_count_is_understood() {
        assert_eq!(running(b"2.16 2.02 2.81 3/103 25081\n"), Some(3));
        for bad in [&b""[..], b"1 2 3", b"1 2 3 x/4 5", b"1 2 3 4 5", b"\xff"] {
            assert_eq!(running(bad), None);
        }
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
        assert!(!keeping.is_finished() || Crowd::new().is_none());
        keeping.abort();
    }
}
