//! Speculative actions: everything an element's build will ask for, executed before it asks.
//!
//! After a build, [`generate()`] finds where each input of each recorded action came from. Before
//! the next one, [`Instantiator`] swaps in today's content, and [`prime`] executes the result. A
//! wrong guess wastes an execution; it never changes what a build makes, because the build still
//! asks the action cache for exactly the action that it would run.

pub mod buildstream;
mod doubts;
pub mod error;
pub mod generate;
pub mod graph;
pub mod history;
pub mod include;
pub mod index;
pub mod instantiate;
#[cfg(test)]
mod lessons;
pub mod limit;
pub mod load;
pub mod loaded;
mod local;
mod mapped;
pub mod mode;
pub mod origins;
mod parse;
mod paths;
pub mod place;
pub mod plan;
pub mod prime;
pub mod project;
mod question;
#[cfg(test)]
mod random_projects;
mod reach;
pub mod reason;
pub mod recorded;
pub mod report;
pub mod reshape;
mod search;
#[cfg(test)]
mod simulated;
mod stage;
pub mod summary;
mod switches;
pub mod tables;
pub mod text;
pub mod today;
pub mod verify;
pub mod view;
#[cfg(test)]
mod worked_example;

pub use error::Error;
pub use generate::{Subject, expand, generate};
pub use graph::{Element, Graph, GraphError, Tree};
pub use instantiate::{Adapted, Instantiator, Outcome};
pub use loaded::{Loaded, LoadedAction};
pub use mode::Mode;
pub use origins::Origins;
pub use place::{Kind, Place};
pub use plan::{Plan, Step};
pub use project::{Format, Project};
pub use reason::{Reason, Wait};
pub use recorded::{Known, Recorded, RecordedError};
pub use summary::Summary;
pub use today::{Produced, Today};
