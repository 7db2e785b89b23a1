//! Recorded actions with everything that belongs to them, in memory.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use forerunner_merkle::{Digest, Forest, TreePath};
use forerunner_proto::reapi;

/// The properties of a platform whose value is a digest: inputs, too.
pub const CHROOT_PROPERTIES: [&str; 2] = ["chrootRootDigest", "chrootTreeDigest"];

/// One recorded action.
#[derive(Clone, Debug)]
pub struct LoadedAction {
    /// The action as it was encoded.
    pub bytes: Bytes,
    /// Its fields.
    pub action: reapi::Action,
    /// The input root.
    pub root: Digest,
    /// What it ran.
    pub command: Arc<reapi::Command>,
    /// The files it made, by their path in the input root; empty if that is of no interest.
    pub outputs: Vec<(String, Digest)>,
}

/// Actions, and the directories of all trees.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Every directory of every tree.
    pub forest: Forest,
    /// By action digest. What is not here could not be loaded.
    pub actions: HashMap<Digest, LoadedAction>,
}

impl LoadedAction {
    /// The properties of its platform that are digests; a newer client has them in the Action,
    /// an older one in the Command.
    pub fn chroots(&self) -> impl Iterator<Item = &reapi::platform::Property> {
        #[allow(deprecated)]
        let both = [self.action.platform.as_ref(), self.command.platform.as_ref()];
        let properties = both.into_iter().flatten().flat_map(|platform| &platform.properties);
        properties.filter(|property| CHROOT_PROPERTIES.contains(&property.name.as_str()))
    }
}

/// The files among the outputs of a result: path in the input root, and content.
///
/// `directory` gives the root Directory digest of an output directory, if its tree is in `forest`.
#[must_use]
pub fn output_files(
    working_directory: &str,
    result: &reapi::ActionResult,
    forest: &Forest,
    directory: &dyn Fn(&reapi::OutputDirectory) -> Option<Digest>,
) -> Vec<(String, Digest)> {
    let place =
        |path: &str| TreePath::parse(working_directory).and_then(|base| base.join(path)).ok();
    let mut files = Vec::new();
    for output in &result.output_files {
        let digest = Digest::required(output.digest.as_ref());
        if let (Some(path), Ok(digest)) = (place(&output.path), digest) {
            files.push((path.to_string(), digest));
        }
    }
    for output in &result.output_directories {
        let (Some(base), Some(root)) = (place(&output.path), directory(output)) else { continue };
        // A directory that is not at hand has no origins to offer; nothing else depends on it.
        let _ = forest.leaves(root, &mut |path, node| {
            if let forerunner_merkle::Node::File(file) = node
                && let Ok(full) = base.join(&path.to_string())
            {
                files.push((full.to_string(), file.digest));
            }
        });
    }
    files
}
