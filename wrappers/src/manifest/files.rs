//! What stands at a path, looked at once.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;

/// What stands there, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) is_file: bool,
    pub(super) is_dir: bool,
    /// Device and inode.
    pub(super) identity: (u64, u64),
    /// Bytes.
    pub(super) size: u64,
}

/// Answers of the file system. Most questions are about files in directories that do not exist:
/// these cost nothing once the directory is known.
#[derive(Default)]
pub(super) struct Files(HashMap<String, Option<Entry>>);

impl Files {
    /// What stands at an absolute path.
    pub(super) fn look(&mut self, path: &str) -> Option<Entry> {
        if let Some(entry) = self.0.get(path) {
            return *entry;
        }
        let parent = path.rfind('/').map_or("", |at| &path[..at]);
        let possible = parent.is_empty() || self.look(parent).is_some_and(|entry| entry.is_dir);
        let metadata = possible.then(|| std::fs::metadata(path).ok()).flatten();
        let entry = metadata.map(|metadata| Entry {
            is_file: metadata.is_file(),
            is_dir: metadata.is_dir(),
            identity: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
        });
        self.0.insert(path.to_owned(), entry);
        entry
    }

    /// Whether a file stands there.
    pub(super) fn is_file(&mut self, path: &str) -> bool {
        self.look(path).is_some_and(|entry| entry.is_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_missing_below() {
        let folder = tempfile::tempdir().expect("a directory");
        let root = folder.path().to_str().expect("UTF-8").to_owned();
        std::fs::write(folder.path().join("f"), "text").expect("written");
        let mut files = Files::default();
        assert!(files.is_file(&format!("{root}/f")) && files.is_file(&format!("{root}/.//f")));
        assert_eq!(files.look(&format!("{root}/f")).map(|entry| entry.size), Some(4));
        assert!(files.look(&root).is_some_and(|entry| entry.is_dir));
        for name in ["f/x", "d/e/x", "d/e/y"] {
            assert_eq!(files.look(&format!("{root}/{name}")), None);
        }
        // It was not asked again.
        std::fs::create_dir_all(folder.path().join("d/e")).expect("made");
        assert_eq!(files.look(&format!("{root}/d/e")), None);
        assert!(files.look("/").is_some_and(|entry| entry.is_dir));
    }
}
