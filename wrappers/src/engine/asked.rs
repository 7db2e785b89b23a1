//! Names that must be there, or must not, when a command ends as when its inputs were found.

use std::path::Path;

use crate::manifest::Change;
use crate::stamp;

use super::{Job, Known};

/// What appeared that was not there when the inputs were found, or went that must be there. What
/// the command itself makes does not count.
pub(super) fn changed(known: &Known, job: &Job, directory: &str) -> Option<Change> {
    // Of a copy: what is remembered is how things were before.
    let mut variant = known.variant.clone()?;
    for group in &mut variant.absent {
        let at = Path::new(&group.directory);
        group.names.retain(|name| !job.makes(&at.join(name.trim_end_matches('/')), directory));
    }
    variant.check_names(directory, stamp::now()).err()
}
