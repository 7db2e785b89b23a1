//! Results that were asked for a moment ago.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forerunner_merkle::Digest;
use forerunner_proto::{Kept, reapi};

/// How long an answer stands. What a server names in a result it keeps for those who asked, as a
/// client takes its time to fetch it; to be asked twice within this time is no different.
const STANDS: Duration = Duration::from_secs(10);

/// Bytes of results that are remembered at most.
const LIMIT_BYTES: usize = 1024 * 1024;

/// The hits of a server, for those who ask again: configure scripts compile the same few lines
/// again and again. Clones share one memory.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    hits: HashMap<Digest, Hit>,
    bytes: usize,
}

struct Hit {
    /// The outputs that were to stand in the result.
    inline: Vec<String>,
    since: Instant,
    result: Kept<reapi::ActionResult>,
}

impl Memory {
    /// What the server said of `action` a moment ago, when it was asked in the same way.
    pub(crate) fn get(
        &self,
        action: &Digest,
        inline: &[String],
        now: Instant,
    ) -> Option<Kept<reapi::ActionResult>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = state.hits.get(action)?;
        let stands = now.saturating_duration_since(hit.since) < STANDS;
        (stands && hit.inline == inline).then(|| hit.result.clone())
    }

    /// Remembers what the server says.
    pub(crate) fn put(
        &self,
        action: Digest,
        inline: Vec<String>,
        result: Kept<reapi::ActionResult>,
        now: Instant,
    ) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += result.bytes().len() + size_of::<(Digest, Hit)>();
        if state.bytes > LIMIT_BYTES {
            *state = State::default();
            return;
        }
        state.hits.insert(action, Hit { inline, since: now, result });
    }

    /// Forgets an action whose result may become another.
    pub(crate) fn forget(&self, action: &Digest) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).hits.remove(action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::DigestFunction;

    fn result(size: usize) -> Kept<reapi::ActionResult> {
        Kept::new(&reapi::ActionResult { stdout_raw: vec![7; size], ..Default::default() })
    }

    #[test]
    fn an_answer_stands_for_a_moment_and_for_the_same_question() {
        let memory = Memory::default();
        let [one, two] = [b"1", b"2"].map(|text| DigestFunction::Sha256.digest(text));
        let now = Instant::now();
        memory.put(one, Vec::new(), result(1), now);
        assert_eq!(memory.get(&one, &[], now), Some(result(1)));
        assert_eq!(memory.get(&two, &[], now), None);
        assert_eq!(memory.get(&one, &["o".to_owned()], now), None);
        assert_eq!(memory.get(&one, &[], now + STANDS), None);
        memory.forget(&one);
        assert_eq!(memory.get(&one, &[], now), None);
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let memory = Memory::default();
        let now = Instant::now();
        for number in 0..100_u32 {
            let action = DigestFunction::Sha256.digest(&number.to_le_bytes());
            memory.put(action, Vec::new(), result(100_000), now);
        }
        let state = memory.state.lock().expect("no panic before");
        let bytes: usize = state.hits.values().map(|hit| hit.result.bytes().len()).sum();
        assert!(bytes <= LIMIT_BYTES && bytes > 0, "{bytes}");
    }
}
