//! Files that a command only asks for (`__has_include`). Lists of what it read do not name them,
//! so one that was removed while it ran leaves no trace but in its directory.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::manifest::Change;
use crate::paths;
use crate::stamp::{self, Stamp};

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

/// What the directories that a command writes to held before it ran: these change in any case.
pub(super) struct Held(HashMap<PathBuf, HashSet<OsString>>);

impl Held {
    pub(super) fn before(job: &Job, directory: &str) -> Self {
        let mut held = HashMap::new();
        for product in &job.products {
            let path = PathBuf::from(paths::absolute(&product.local, directory));
            let Some(folder) = path.parent() else { continue };
            if held.contains_key(folder) {
                continue;
            }
            let names = std::fs::read_dir(folder).map(|entries| {
                entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect()
            });
            held.insert(folder.to_owned(), names.unwrap_or_default());
        }
        Self(held)
    }

    /// Whether one of `asked`, directories and names in them that are not there, may have been
    /// there for the command, which `started` then by the clock of the file system.
    pub(super) fn or_later(&self, asked: &[(PathBuf, String)], started: i64) -> bool {
        let steady = |directory: &Path| {
            std::fs::metadata(directory).is_ok_and(|m| Stamp::of(&m).ctime < started)
        };
        asked.iter().any(|(directory, name)| {
            let held = self.0.get(directory.as_path());
            let was_missing =
                held.is_some_and(|names| !names.contains(Path::new(name).as_os_str()));
            !was_missing && !steady(directory)
        })
    }
}
