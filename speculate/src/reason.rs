//! Why an action is not primed. Each reason has a stable name that is counted and shown.

use std::fmt;

use forerunner_merkle::Digest;

/// Why an action is skipped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The source file of an input is no longer there.
    SourceGone {
        /// Whose.
        element: String,
        /// Which.
        path: String,
    },
    /// Several sources fit equally well, and they are no longer equal.
    Ambiguous {
        /// Whose.
        element: String,
        /// The first of them.
        path: String,
    },
    /// The artifact no longer has the file.
    ArtifactGone {
        /// Whose.
        element: String,
        /// Which.
        path: String,
    },
    /// The artifact is needed and was not known in time.
    ArtifactUnknown {
        /// Whose.
        element: String,
    },
    /// The graph has no such element any more.
    ElementGone {
        /// Which.
        element: String,
    },
    /// The action that makes an input was skipped, or failed.
    ProducerSkipped {
        /// Its base digest.
        producer: Digest,
    },
    /// Nothing is known of the action that makes an input.
    ProducerUnknown {
        /// Its base digest.
        producer: Digest,
    },
    /// The action that makes an input no longer makes it.
    OutputGone {
        /// Its base digest.
        producer: Digest,
        /// The missing output.
        path: String,
    },
    /// The recorded action, or a part of it, is no longer on the endpoint.
    BaseGone,
    /// The action may not be cached, so executing it early is of no use.
    DoNotCache,
    /// The action has fields that we cannot write, so an adapted one would not be the one asked for.
    ForeignEncoding,
    /// A content that the adapted action needs is not on the endpoint.
    InputMissing,
    /// It failed for want of a file: the source asks for something that it did not ask for before.
    ShapeChanged {
        /// What it said.
        message: String,
    },
    /// It failed.
    Failed {
        /// The exit code of its command.
        exit_code: i32,
        /// What it said last.
        message: String,
    },
    /// The endpoint refused.
    Endpoint {
        /// What it said.
        message: String,
    },
    /// Priming was stopped before it was its turn.
    Cancelled,
}

impl Reason {
    /// The stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SourceGone { .. } => "source-gone",
            Self::Ambiguous { .. } => "ambiguous",
            Self::ArtifactGone { .. } => "artifact-gone",
            Self::ArtifactUnknown { .. } => "artifact-unknown",
            Self::ElementGone { .. } => "element-gone",
            Self::ProducerSkipped { .. } => "producer-skipped",
            Self::ProducerUnknown { .. } => "producer-unknown",
            Self::OutputGone { .. } => "output-gone",
            Self::BaseGone => "base-gone",
            Self::DoNotCache => "do-not-cache",
            Self::ForeignEncoding => "foreign-encoding",
            Self::InputMissing => "input-missing",
            Self::ShapeChanged { .. } => "shape-changed",
            Self::Failed { .. } => "failed",
            Self::Endpoint { .. } => "endpoint",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::SourceGone { element, path } => {
                write!(f, ": `{element}` has no source `{path}` any more")
            }
            Self::Ambiguous { element, path } => {
                write!(f, ": `{path}` of `{element}` and another source were equal and are not now")
            }
            Self::ArtifactGone { element, path } => {
                write!(f, ": `{element}` does not install `{path}` any more")
            }
            Self::ArtifactUnknown { element } => {
                write!(f, ": `{element}` is still to be built")
            }
            Self::ElementGone { element } => write!(f, ": the graph has no element `{element}`"),
            Self::ProducerSkipped { producer } => {
                write!(f, ": action {producer}, which makes an input, was skipped or failed")
            }
            Self::ProducerUnknown { producer } => {
                write!(f, ": nothing is known of action {producer}, which makes an input")
            }
            Self::OutputGone { producer, path } => {
                write!(f, ": action {producer} does not make `{path}` any more")
            }
            Self::BaseGone => f.write_str(": the recorded action is not on the endpoint any more"),
            Self::DoNotCache => f.write_str(": its result may not be cached"),
            Self::ForeignEncoding => f.write_str(": it has fields that are unknown to us"),
            Self::InputMissing => f.write_str(": an input is not on the endpoint"),
            Self::Failed { exit_code, message } => write!(f, ": exit code {exit_code}: {message}"),
            Self::ShapeChanged { message } | Self::Endpoint { message } => write!(f, ": {message}"),
            Self::Cancelled => Ok(()),
        }
    }
}

/// What an action has to wait for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// The result of an action of an element, by its index in the graph and its base digest.
    Action(usize, Digest),
    /// What an element installs, by its index in the graph.
    Artifact(usize),
}
