//! The host's own compilers and libraries, for actions that bring none.

use std::path::Path;

use forerunner_merkle::{Digest, Forest, Node, TreePath};

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
///
/// A compile that recc describes has the system headers it read in its tree, but not the compiler.
/// So a place that the tree has in part is mounted nevertheless if the host has exactly the same
/// there, file by file.
pub(crate) fn mounts(forest: &Forest, root: &Digest) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for place in PLACES {
        let Ok(at) = TreePath::root().join(place) else { continue };
        let Ok(metadata) = std::fs::metadata(place) else { continue };
        let free = match node(forest, root, &at) {
            Found::Nothing => true,
            Found::Directory(part) => same(forest, &part, Path::new(place)),
            Found::Other => false,
        };
        if free {
            mounts.push(Mount {
                host: place.to_owned(),
                at,
                directory: metadata.is_dir(),
                read_only: true,
            });
        }
    }
    mounts
}

/// What a tree has at a path.
#[derive(Debug, PartialEq)]
enum Found {
    Nothing,
    Directory(Digest),
    /// A file or symlink there or above, or a directory that is not known.
    Other,
}

fn node(forest: &Forest, root: &Digest, path: &TreePath) -> Found {
    let mut at = *root;
    for name in path.names() {
        let Some(directory) = forest.get(&at) else { return Found::Other };
        match directory.get(name) {
            None => return Found::Nothing,
            Some(Node::Directory(child)) => at = child,
            Some(_) => return Found::Other,
        }
    }
    Found::Directory(at)
}

/// Whether everything below `part` is also below `host`, with the same content.
fn same(forest: &Forest, part: &Digest, host: &Path) -> bool {
    let Some(directory) = forest.get(part) else { return false };
    directory.files().iter().all(|(name, file)| {
        let path = host.join(name.as_str());
        // A size that differs spares the reading.
        let size = std::fs::metadata(&path).is_ok_and(|m| m.len() == file.digest.size());
        size && std::fs::read(&path)
            .is_ok_and(|content| forest.function().digest(&content) == file.digest)
    }) && directory.symlinks().iter().all(|(name, symlink)| {
        std::fs::read_link(host.join(name.as_str()))
            .is_ok_and(|target| target == Path::new(&symlink.target))
    }) && directory.directories().iter().all(|(name, child)| {
        let path = host.join(name.as_str());
        path.is_dir() && same(forest, child, &path)
    })
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
        assert!(matches!(node(&forest, &root, &path("usr")), Found::Directory(_)));
        assert_eq!(node(&forest, &root, &path("lib")), Found::Other);
        assert_eq!(node(&forest, &root, &path("lib/x")), Found::Other);
        assert_eq!(node(&forest, &root, &path("bin")), Found::Nothing);
        assert_eq!(node(&forest, &root, &path("etc/ld.so.cache")), Found::Nothing);
        let mounts = mounts(&forest, &root);
        assert!(mounts.iter().all(|mount| mount.read_only && mount.at != path("lib")));
    }

    #[test]
    fn a_part_that_the_host_has_too_is_no_obstacle() {
        let host = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(host.path().join("include")).expect("a directory");
        std::fs::write(host.path().join("include/a.h"), "one").expect("a file");
        std::fs::write(host.path().join("more"), "more").expect("a file");
        std::os::unix::fs::symlink("a.h", host.path().join("include/b.h")).expect("a symlink");
        let part = |content: &str, target: &str| {
            let mut forest = Forest::new(DigestFunction::Sha256);
            let mut builder = TreeBuilder::new();
            let path = |text| TreePath::parse(text).expect("a path");
            let digest = DigestFunction::Sha256.digest(content.as_bytes());
            let file = forerunner_merkle::File::new(digest, false);
            builder.file(&path("include/a.h"), file).expect("free");
            builder.symlink(&path("include/b.h"), target).expect("free");
            let root = builder.build(&mut forest);
            same(&forest, &root, host.path())
        };
        assert!(part("one", "a.h"));
        assert!(!part("two", "a.h"));
        assert!(!part("longer", "a.h"));
        assert!(!part("one", "c.h"));
    }
}
