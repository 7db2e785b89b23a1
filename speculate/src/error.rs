//! What may go wrong.

use std::path::PathBuf;

use forerunner_merkle::{Digest, MissingDirectory};

use crate::graph::GraphError;
use crate::recorded::RecordedError;

/// Why a command cannot go on. What concerns one action only is a [`crate::Reason`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The endpoint.
    #[error(transparent)]
    Endpoint(#[from] forerunner_reapi::Error),
    /// The graph.
    #[error("`{file}`: {error}")]
    Graph {
        /// Where it was read from.
        file: PathBuf,
        /// What is wrong with it.
        error: GraphError,
    },
    /// A directory that was to be captured.
    #[error("element `{element}`: `{path}` cannot be captured: {problem}")]
    Capture {
        /// Whose.
        element: String,
        /// Which.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// A tree that the graph names is not on the endpoint.
    #[error("element `{element}`: its {what} {root} cannot be read: {problem}")]
    Tree {
        /// Whose.
        element: String,
        /// `sources` or `artifact`.
        what: &'static str,
        /// Which.
        root: Digest,
        /// What the endpoint said.
        problem: String,
    },
    /// A SpeculativeActions message.
    #[error("the speculative actions {digest} of element `{element}`: {error}")]
    Recorded {
        /// Whose.
        element: String,
        /// Which.
        digest: Digest,
        /// What is wrong with it.
        error: RecordedError,
    },
    /// A directory that was loaded before and is not there now.
    #[error(transparent)]
    Missing(#[from] MissingDirectory),
}
