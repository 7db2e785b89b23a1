//! From a command line to what it reads and writes.

pub mod compiler;
pub mod flags;
pub mod parse;
pub mod products;
pub mod profile;
pub mod response;
pub mod sources;

pub use compiler::{Compiler, Family};
pub use parse::{Parsed, parse};
pub use products::Product;
