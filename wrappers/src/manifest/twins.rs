//! Files that are read once only, and others with the same content.
//!
//! `#pragma once` and `#import` make gcc pass over a file that has the size, the time and the
//! content of one that was read (libcpp, `is_known_idempotent_file` and what it calls), and clang
//! over one that is the same inode. No list of dependencies names it then. Once it is edited, or
//! has another time, it is read.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::paths;

use super::files::Files;

/// What is read once only, and what was named and not read.
#[derive(Default)]
pub(super) struct Twins {
    /// Hashes of the contents of inputs that are read once only, by size, each with the device
    /// and inode that it was found at.
    once: HashMap<u64, HashMap<blake3::Hash, (u64, u64)>>,
    /// Two files of them have the same content.
    again: bool,
    /// Files that are named and not read, absolute, by size.
    unread: HashMap<u64, HashSet<String>>,
}

impl Twins {
    /// Notes an input that is read once only; `identity` is its device and inode.
    pub(super) fn read_once(&mut self, identity: (u64, u64), text: &[u8]) {
        let known = self.once.entry(text.len() as u64).or_default();
        let before = known.insert(blake3::hash(text), identity);
        self.again |= before.is_some_and(|before| before != identity);
    }

    /// Notes a file that is named and not read.
    pub(super) fn not_read(&mut self, path: String, size: u64) {
        self.unread.entry(size).or_default().insert(path);
    }

    /// Whether nothing is read once only.
    pub(super) fn is_empty(&self) -> bool {
        self.once.is_empty()
    }

    /// Whether a file may have been passed over, or may be after an edit.
    pub(super) fn are_possible(&self) -> bool {
        self.once.keys().any(|size| self.unread.contains_key(size))
    }

    /// Whether it depends on more than the contents of the inputs which files are read. `inputs`
    /// are absolute, as is `directory`, where the compiler runs.
    pub(super) fn decide<'a>(
        &self,
        inputs: impl Iterator<Item = &'a String> + Clone,
        directory: &str,
        files: &mut Files,
    ) -> bool {
        self.again
            || self.once.iter().any(|(size, hashes)| {
                self.unread.get(size).into_iter().flatten().any(|path| {
                    let text = std::fs::read(path);
                    text.map_or(true, |text| hashes.contains_key(&blake3::hash(&text)))
                        && !is_an_input(path, inputs.clone(), directory, files)
                })
            })
    }
}

/// Whether a path is only another way to write that of an input: an edit of the one is one of the
/// other. Links may point elsewhere some day.
fn is_an_input<'a>(
    path: &str,
    mut inputs: impl Iterator<Item = &'a String>,
    directory: &str,
    files: &mut Files,
) -> bool {
    let Some(identity) = files.look(path).map(|entry| entry.identity) else { return false };
    let Ok(real) = std::fs::canonicalize(path) else { return false };
    let plain = PathBuf::from(paths::normalise(path));
    let plainly_named = plain == real
        || plain.strip_prefix(directory).is_ok_and(|rest| {
            std::fs::canonicalize(directory).is_ok_and(|folder| folder.join(rest) == real)
        });
    plainly_named
        && inputs.any(|input| {
            files.look(input).is_some_and(|entry| entry.identity == identity)
                && std::fs::canonicalize(input).is_ok_and(|input| input == real)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_file_is_a_twin() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().to_str().expect("UTF-8").to_owned();
        let at = |name: &str| format!("{root}/{name}");
        std::fs::create_dir(at("d")).expect("made");
        for (name, text) in [("one.h", "once"), ("two.h", "once"), ("other.h", "else")] {
            std::fs::write(at(name), text).expect("written");
        }
        std::os::unix::fs::symlink("one.h", at("link.h")).expect("a link");
        std::fs::hard_link(at("one.h"), at("hard.h")).expect("a link");
        for (unread, expected) in [
            ("two.h", true),
            ("other.h", false),
            ("d/../one.h", false),
            ("./one.h", false),
            ("link.h", true),
            ("hard.h", true),
        ] {
            let mut twins = Twins::default();
            twins.read_once((1, 1), b"once");
            twins.not_read(at(unread), 4);
            assert!(twins.are_possible());
            let inputs = [at("one.h")];
            let decide = twins.decide(inputs.iter(), &root, &mut Files::default());
            assert_eq!(decide, expected, "{unread}");
        }
        for (identity, expected) in [((1, 1), false), ((1, 2), true)] {
            let mut twins = Twins::default();
            twins.read_once((1, 1), b"once");
            twins.read_once(identity, b"once");
            assert_eq!(twins.decide([].iter(), &root, &mut Files::default()), expected);
        }
    }
}
