//! Digests, names and input trees of the Remote Execution API, as pure values.
//!
//! Nothing here does I/O. A [`Digest`] names content; a [`Name`] and a [`TreePath`] are validated;
//! a [`Directory`] is sorted and free of duplicates by construction, and [`Directory::encode`] is
//! the only encoder. A [`Forest`] holds directories by digest; on it work [`TreeBuilder`],
//! [`Forest::lookup`], [`Forest::edit`], [`Forest::merge`] and [`Forest::diff`].

mod build;
mod diff;
mod digest;
mod directory;
mod edit;
mod forest;
mod hasher;
mod merge;
mod name;

pub use build::{Conflict, TreeBuilder};
pub use diff::Difference;
pub use digest::{Digest, DigestError};
pub use directory::{Directory, DirectoryError, File, Node, Symlink};
pub use edit::{Edit, EditError};
pub use forest::{Forest, MissingDirectory};
pub use hasher::{DigestFunction, Hasher, UnknownFunction};
pub use name::{Name, NameError, TreePath};
