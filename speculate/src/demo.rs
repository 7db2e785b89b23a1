//! The demo: a small project is built, changed, primed and built again.

pub(crate) mod build;
pub(crate) mod report;
pub(crate) mod sample;
