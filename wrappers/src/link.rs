//! What a link command reads.

pub mod archive;
pub mod driver;
pub mod elf;
pub mod options;
pub mod search;
