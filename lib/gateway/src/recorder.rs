//! What was asked for through a socket.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use forerunner_merkle::Digest;

/// The actions that clients looked up with a hit, executed or updated: each once, in the order of
/// first use. Clones share one list.
#[derive(Clone, Default)]
pub struct Recorder {
    list: Arc<Mutex<List>>,
}

#[derive(Default)]
struct List {
    seen: HashSet<Digest>,
    order: Vec<Digest>,
}

impl Recorder {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn note(&self, action: Digest) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.seen.insert(action) {
            list.order.push(action);
        }
    }

    /// The list as it stands now.
    #[must_use]
    pub fn subactions(&self) -> Vec<Digest> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).order.clone()
    }
}
