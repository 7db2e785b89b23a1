//! Where things are in a store.

use std::path::{Path, PathBuf};

use forerunner_merkle::{Digest, DigestFunction};

/// The tree stands in a folder of its own that nobody lists, because listing a folder counts as a
/// use of it to the file system.
pub(crate) const INNER: &str = "tree";

/// What a directory entry costs, roughly, where no content is counted.
pub(crate) const ENTRY_BYTES: u64 = 256;

/// The paths of a store.
pub(crate) struct Layout {
    root: PathBuf,
}

/// Which of the two files of a blob: they differ in their permissions only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Mode 0644.
    Plain,
    /// Mode 0755.
    Executable,
}

impl Variant {
    pub(crate) fn of(executable: bool) -> Self {
        if executable { Self::Executable } else { Self::Plain }
    }

    /// The permission bits.
    pub(crate) fn mode(self) -> u32 {
        match self {
            Self::Plain => 0o644,
            Self::Executable => 0o755,
        }
    }
}

/// What executable variants end in.
pub(crate) const EXECUTABLE_SUFFIX: &str = ".x";

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("cas")
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.root.join("ac")
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    pub(crate) fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    pub(crate) fn temporaries(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn holds(&self) -> PathBuf {
        self.root.join("holds")
    }

    pub(crate) fn boots(&self) -> PathBuf {
        self.root.join("boot")
    }

    pub(crate) fn aside(&self, name: &str) -> PathBuf {
        self.root.join("aside").join(name)
    }

    pub(crate) fn usage(&self) -> PathBuf {
        self.root.join("usage")
    }

    pub(crate) fn evict_lock(&self) -> PathBuf {
        self.root.join("evict.lock")
    }

    pub(crate) fn use_lock(&self) -> PathBuf {
        self.root.join("use.lock")
    }

    pub(crate) fn blob(
        &self,
        function: DigestFunction,
        digest: &Digest,
        variant: Variant,
    ) -> PathBuf {
        let mut path = fanned(self.blobs(), function, digest);
        if variant == Variant::Executable {
            path.as_mut_os_string().push(EXECUTABLE_SUFFIX);
        }
        path
    }

    pub(crate) fn result(&self, function: DigestFunction, action: &Digest) -> PathBuf {
        fanned(self.results(), function, action)
    }

    pub(crate) fn pin(&self, function: DigestFunction, action: &Digest) -> PathBuf {
        fanned(self.pins(), function, action)
    }

    /// The folder around a tree.
    pub(crate) fn tree(&self, function: DigestFunction, root: &Digest) -> PathBuf {
        self.trees().join(folder(function)).join(root.hex())
    }
}

/// The folder of a function: its name in lower case.
fn folder(function: DigestFunction) -> String {
    function.name().to_ascii_lowercase()
}

fn fanned(base: PathBuf, function: DigestFunction, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    let (head, tail) = hex.split_at(2);
    let mut path = base;
    path.push(folder(function));
    path.push(head);
    path.push(tail);
    path
}

/// The hashes, in hex, that stand below the folder of `function` in `base`.
pub(crate) fn fanned_names(base: &Path, function: DigestFunction) -> Vec<String> {
    let folder = base.join(function.name().to_ascii_lowercase());
    let mut names = Vec::new();
    for head in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        for tail in std::fs::read_dir(head.path()).into_iter().flatten().flatten() {
            if let (Some(head), Some(tail)) = (head.file_name().to_str(), tail.file_name().to_str())
            {
                names.push(format!("{head}{tail}"));
            }
        }
    }
    names
}
