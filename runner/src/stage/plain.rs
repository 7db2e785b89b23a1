//! Remembers which of the store's trees have no node with properties of its own.
//!
//! The note is an extended attribute of the tree's own directory, so it goes when the tree goes.
//! Where the file system has no such attributes, every tree is looked at anew.

use std::path::Path;

const ATTRIBUTE: &str = "user.forerunner.plain.2";

/// Whether the tree at `path` was marked.
pub(super) fn is_marked(path: &Path) -> bool {
    matches!(xattr::get(path, ATTRIBUTE), Ok(Some(_)))
}

/// Marks the tree at `path`.
pub(super) fn mark(path: &Path) {
    if let Err(error) = xattr::set(path, ATTRIBUTE, b"1") {
        tracing::debug!("cannot mark `{}`: {error}", path.display());
    }
}
