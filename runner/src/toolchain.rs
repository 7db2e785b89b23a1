//! The host's own compilers and libraries, for actions that bring none.

use forerunner_merkle::{Digest, Forest, Node, TreePath};
use forerunner_reapi::Endpoint;

use crate::failure::Failure;
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

/// Where programs are: a tree that has one of these brings its own toolchain.
const PROGRAMS: [&str; 2] = ["bin", "usr/bin"];

/// Loads the directories near the root that decide what the sandbox gets of the host: those that
/// [`mounts`] looks into, and `/tmp`.
///
/// # Errors
/// If one is missing or malformed.
pub(crate) async fn load(
    endpoint: &Endpoint,
    forest: &mut Forest,
    root: &Digest,
) -> Result<(), Failure> {
    load_one(endpoint, forest, root).await?;
    for name in ["etc", "tmp", "usr"] {
        if let Some(child) = forest.get(root).and_then(|directory| directory.child(name)) {
            load_one(endpoint, forest, &child).await?;
        }
    }
    Ok(())
}

async fn load_one(
    endpoint: &Endpoint,
    forest: &mut Forest,
    digest: &Digest,
) -> Result<(), Failure> {
    if forest.get(digest).is_none() {
        let bytes = endpoint.get(digest).await?;
        forest.insert_encoded(*digest, &bytes)?;
    }
    Ok(())
}

/// Read-only mounts of the host's toolchain under the tree `root`, which is staged at `staged`.
/// Where both have a directory, the tree's files lie over those of the host: a compile command
/// that was recorded with its system headers is executed with exactly these.
pub(crate) fn mounts(forest: &Forest, root: Digest, staged: &str) -> Vec<Mount> {
    if stands_alone(forest, root) {
        return Vec::new();
    }
    let standing = |path: &str| standing(forest, root, path);
    let mut mounts = Vec::new();
    for place in PLACES {
        let Ok(at) = TreePath::root().join(place) else { continue };
        let Ok(metadata) = std::fs::metadata(place) else { continue };
        let over = match standing(&at.to_string()) {
            None => None,
            Some(Node::Directory(_)) if metadata.is_dir() => Some(format!("{staged}{place}")),
            // A file or symlink of the tree wins.
            Some(_) => continue,
        };
        let directory = metadata.is_dir();
        mounts.push(Mount { host: place.to_owned(), at, directory, read_only: true, over });
    }
    mounts
}

/// Whether a tree brings its own toolchain, so that it gets nothing of the host's.
pub(crate) fn stands_alone(forest: &Forest, root: Digest) -> bool {
    PROGRAMS.iter().any(|place| standing(forest, root, place).is_some())
}

fn standing(forest: &Forest, root: Digest, path: &str) -> Option<Node> {
    let path = TreePath::parse(path).ok()?;
    forest.lookup(root, &path).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::{DigestFunction, File, TreeBuilder};

    fn made(build: impl FnOnce(&mut TreeBuilder)) -> Vec<Mount> {
        let mut forest = Forest::new(DigestFunction::Sha256);
        let mut builder = TreeBuilder::new();
        build(&mut builder);
        let root = builder.build(&mut forest);
        mounts(&forest, root, "/staged")
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).expect("a path")
    }

    #[test]
    fn the_tree_lies_over_the_host() {
        let mounts = made(|builder| {
            let file = File::new(DigestFunction::Sha256.digest(b""), false);
            builder.file(&path("usr/include/a.h"), file).expect("a file");
            builder.symlink(&path("lib"), "usr/lib").expect("a symlink");
        });
        let usr = mounts.iter().find(|mount| mount.at == path("usr")).expect("a mount");
        assert_eq!(usr.over.as_deref(), Some("/staged/usr"));
        assert!(mounts.iter().all(|mount| mount.read_only && mount.at != path("lib")));
        assert!(mounts.iter().any(|mount| mount.at == path("bin") && mount.over.is_none()));
    }

    #[test]
    fn a_tree_with_programs_stands_alone() {
        let mounts = made(|builder| builder.directory(&path("usr/bin")).expect("a directory"));
        assert_eq!(mounts, []);
    }
}
