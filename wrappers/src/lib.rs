//! Tools of a build as cached actions: a command line becomes an action, its result is looked up,
//! and only what is not stored is run.

pub mod action;
mod bytes_io;
pub mod command;
pub mod environment;
pub mod link;
pub mod log;
pub mod make_rule;
pub mod paths;
pub mod reason;
pub mod run;
pub mod scan;
pub mod session;
pub mod settings;
pub mod stamp;
pub mod stat_cache;
pub mod toolchain;
