//! From a command line to what it reads and writes.

pub mod compiler;
mod draft;
pub mod flags;
mod kind;
pub mod parse;
mod preprocessor;
pub mod products;
pub mod profile;
pub mod response;
pub mod sources;

pub use compiler::{Compiler, Family};
pub use kind::{Deps, Kind};
pub use parse::{Parsed, parse};
pub use products::Product;
