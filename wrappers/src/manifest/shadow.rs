//! Files that stand before another of the same name without having been read.
//!
//! Nobody includes them now. An edit may: then the compiler here takes the first file of the name,
//! and one that has only the inputs takes the next. While there are none, a command that succeeds
//! with only the inputs does the same here.

use std::collections::HashSet;

use crate::paths;

use super::files::Files;
use super::twins::Twins;

/// The inputs, and what was found that is none of them.
#[derive(Default)]
pub(super) struct Shadows {
    /// The inputs, absolute.
    paths: HashSet<String>,
    /// The same by device and inode.
    files: HashSet<(u64, u64)>,
    /// Inputs that were found beside the file that includes them.
    beside: HashSet<String>,
    /// What is read once only.
    pub(super) twins: Twins,
    /// One was found.
    pub(super) found: bool,
}

impl Shadows {
    pub(super) fn of(
        inputs: &[String],
        directory: &str,
        files: &mut Files,
    ) -> std::io::Result<Self> {
        let mut shadows = Self::default();
        for input in inputs {
            let full = paths::absolute(input, directory);
            let entry = files.look(&full).ok_or(std::io::ErrorKind::NotFound)?;
            shadows.files.insert(entry.identity);
            shadows.paths.insert(tidy(&full));
        }
        Ok(shadows)
    }

    /// Follows a name through the places where it is searched. `whole`: a file that is no input
    /// cannot be read elsewhere either.
    pub(super) fn follow(
        &mut self,
        places: impl Iterator<Item = String>,
        whole: bool,
        files: &mut Files,
    ) {
        let mut hidden = false;
        for place in places {
            let Some(entry) = files.look(&place).filter(|entry| entry.is_file) else { continue };
            let is_input = self.paths.contains(&tidy(&place));
            if !hidden {
                if is_input {
                    return;
                }
                hidden = true;
                self.twins.not_read(place, entry.size);
            } else if is_input || !whole || self.files.contains(&entry.identity) {
                self.found = true;
                return;
            }
        }
    }

    /// Notes that a file is found beside the one that names it.
    pub(super) fn note_beside(&mut self, path: &str) {
        self.beside.insert(tidy(path));
    }

    /// The number of directories that `#include_next` in a file passes over.
    pub(super) fn passed(&self, file: &str, directories: &[String]) -> usize {
        if self.beside.contains(&tidy(file)) {
            return 0;
        }
        let within = |directory: &String| {
            let rest = file.strip_prefix(directory.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        directories.iter().position(within).map_or(0, |at| at + 1)
    }

    /// Whether twins decide what is read.
    pub(super) fn twins_decide(&self, directory: &str, files: &mut Files) -> bool {
        self.twins.decide(self.paths.iter(), directory, files)
    }
}

/// Without empty components and `.`; `..` stays, for what it means depends on links.
fn tidy(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
        out.push('/');
        out.push_str(name);
    }
    out
}
