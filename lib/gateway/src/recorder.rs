//! What was asked for through a socket.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use forerunner_merkle::Digest;
use tokio::sync::mpsc;

/// Lookups that a listener may lag behind; it is not told of more.
const LAG: usize = 1024;

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
    listener: Option<mpsc::Sender<Digest>>,
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

    /// The actions that clients are about to do themselves, from now on: looked up without a hit,
    /// or executed. There is one listener; nobody waits for it.
    #[must_use]
    pub fn listen(&self) -> mpsc::Receiver<Digest> {
        let (sender, receiver) = mpsc::channel(LAG);
        self.list.lock().unwrap_or_else(PoisonError::into_inner).listener = Some(sender);
        receiver
    }

    pub(crate) fn asked(&self, action: Digest) {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = &list.listener {
            let _ = listener.try_send(action);
        }
    }

    /// The list as it stands now.
    #[must_use]
    pub fn subactions(&self) -> Vec<Digest> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).order.clone()
    }
}
