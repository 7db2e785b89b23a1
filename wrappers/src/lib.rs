//! Tools of a build as cached actions: a command line becomes an action, its result is looked up,
//! and only what is not stored is run.

pub mod action;
mod bytes_io;
pub mod cache;
pub mod command;
mod datagram;
pub mod engine;
pub mod environment;
pub mod figures;
pub mod link;
pub mod links;
pub mod log;
pub mod make_rule;
pub mod manifest;
mod metadata;
pub mod paths;
pub mod program;
pub mod reason;
pub mod recc;
mod refused;
pub mod run;
pub mod scan;
pub mod search_path;
pub mod session;
pub mod settings;
pub mod staged;
pub mod stamp;
pub mod stat_cache;
pub mod stats;
pub mod toolchain;
pub mod tools;
