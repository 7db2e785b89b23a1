//! The host's own compilers and libraries, for actions that bring none.

use forerunner_merkle::{Forest, Name, TreePath};

use crate::plan::Mount;

/// What a toolchain consists of on the usual systems.
const PLACES: [&str; 11] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
];

/// Read-only mounts of what is on the host and not in the tree `root`: the tree always wins.
pub(crate) fn mounts(forest: &Forest, root: &forerunner_merkle::Digest) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for place in PLACES {
        let Ok(at) = TreePath::root().join(place) else { continue };
        let Ok(metadata) = std::fs::metadata(place) else { continue };
        if has(forest, root, &at) {
            continue;
        }
        mounts.push(Mount {
            host: place.to_owned(),
            at,
            directory: metadata.is_dir(),
            read_only: true,
        });
    }
    mounts
}

/// Whether the tree has something at `path`, or something other than a directory above it.
fn has(forest: &Forest, root: &forerunner_merkle::Digest, path: &TreePath) -> bool {
    let mut at = *root;
    let names: &[Name] = path.names();
    for (index, name) in names.iter().enumerate() {
        let Some(directory) = forest.get(&at) else { return false };
        let last = index + 1 == names.len();
        match directory.child(name) {
            Some(_) if last => return true,
            Some(child) => at = child,
            None => return directory.get(name).is_some(),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::{DigestFunction, TreeBuilder};

    #[test]
    fn the_tree_wins() {
        let mut forest = Forest::new(DigestFunction::Sha256);
        let mut builder = TreeBuilder::new();
        let path = |text| TreePath::parse(text).expect("a path");
        builder.directory(&path("usr/include")).expect("a directory");
        builder.symlink(&path("lib"), "usr/lib").expect("a symlink");
        let root = builder.build(&mut forest);
        assert!(has(&forest, &root, &path("usr")));
        assert!(has(&forest, &root, &path("lib")));
        assert!(!has(&forest, &root, &path("bin")));
        assert!(!has(&forest, &root, &path("etc/ld.so.cache")));
        assert!(has(&forest, &root, &path("lib/x")));
        let mounts = mounts(&forest, &root);
        assert!(mounts.iter().all(|mount| mount.read_only && mount.at != path("usr")));
    }
}
