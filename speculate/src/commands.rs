//! One module per command.

pub(crate) mod background;
pub(crate) mod demo;
pub(crate) mod dot;
pub(crate) mod follow;
pub(crate) mod generate;
pub(crate) mod import;
pub(crate) mod index;
pub(crate) mod instantiate;
pub(crate) mod prime;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod show;
pub(crate) mod store;
pub(crate) mod verify;
