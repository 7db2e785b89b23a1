//! From a command, its inputs and its outputs to an Action, digest for digest as the reference
//! forms it.

mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction, File};
use forerunner_proto::reapi::{self, command::EnvironmentVariable, platform::Property};
use prost::Message as _;

use crate::command::Product;
use crate::paths::{self, PathRules};
use crate::reason::Reason;
use crate::settings::Settings;

pub use tree::InputTree;

/// A file that goes into the input tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input {
    /// Where it stands in the action: absolute from the root, or relative to the working
    /// directory.
    pub remote: String,
    /// Where it is here, absolute.
    pub local: String,
}

impl Input {
    /// The input that a path of the command means.
    #[must_use]
    pub fn new(path: &str, rules: &PathRules) -> Self {
        Self { remote: rules.rewrite_input(path), local: paths::absolute(path, &rules.directory) }
    }
}

/// What the tree holds at a place.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file that was digested.
    File(File),
    /// Content that exists only in the action.
    Made(Bytes),
    /// A directory that may be empty.
    Directory,
    /// A symbolic link.
    Symlink(String),
    /// Nothing, but the directories that a `..` in the path leaves are there.
    Passage,
}

/// Everything that an action is made from.
pub struct Parts<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// How paths are rewritten.
    pub rules: &'a PathRules,
    /// Arguments, the program first.
    pub arguments: &'a [String],
    /// The environment.
    pub environment: &'a BTreeMap<String, String>,
    /// The platform properties.
    pub platform: &'a BTreeMap<String, String>,
    /// Inputs by their place in the action, with what stands there and, for files, where they are.
    pub inputs: &'a [(String, Place, Option<PathBuf>)],
    /// Output files, sorted.
    pub products: &'a [Product],
    /// Output directories.
    pub output_directories: &'a [String],
    /// Sets actions apart.
    pub salt: &'a [u8],
    /// Makes the digests.
    pub function: DigestFunction,
}

/// An action and all that it names.
#[derive(Clone, Debug)]
pub struct Formed {
    /// The action's digest.
    pub action: Digest,
    /// The encoded Action.
    pub action_bytes: Bytes,
    /// The command's digest.
    pub command: Digest,
    /// The encoded Command.
    pub command_bytes: Bytes,
    /// The input tree.
    pub tree: InputTree,
    /// Where the command runs, relative to the root of the input tree.
    pub working_directory: String,
    /// The outputs as the action names them.
    pub output_paths: Vec<String>,
}

impl Formed {
    /// Bytes of the command and of the input tree, as the reference counts them.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        let tree = &self.tree;
        let size = |digest: &Digest| digest.size();
        size(&self.command)
            + tree.directories.iter().map(|(digest, _)| size(digest)).sum::<u64>()
            + tree.files.iter().map(|(digest, _)| size(digest)).sum::<u64>()
            + tree.made.iter().map(|(digest, _)| size(digest)).sum::<u64>()
    }
}

/// Forms the action.
///
/// # Errors
/// [`Reason::InputName`] if an input has a name, or two inputs one place, that a tree cannot have.
pub fn form(parts: &Parts<'_>) -> Result<Formed, Reason> {
    let settings = parts.settings;
    let working_directory = working_directory(parts, |directory| parts.rules.map(directory));
    // The reference forgets the prefix map here, so both must be named by it.
    let tree = tree::build(parts, &self::working_directory(parts, str::to_owned))?;
    let mut output_paths: Vec<String> =
        parts.products.iter().map(|product| product.remote.clone()).collect();
    output_paths.sort();
    output_paths.dedup();
    output_paths.extend(parts.output_directories.iter().cloned());
    let platform = reapi::Platform {
        properties: parts
            .platform
            .iter()
            .map(|(name, value)| Property { name: name.clone(), value: value.clone() })
            .collect(),
    };
    let mut command = reapi::Command {
        arguments: parts.arguments.to_vec(),
        environment_variables: parts
            .environment
            .iter()
            .map(|(name, value)| EnvironmentVariable { name: name.clone(), value: value.clone() })
            .collect(),
        working_directory: working_directory.clone(),
        output_paths: output_paths.clone(),
        ..Default::default()
    };
    set_platform(&mut command, &platform);
    let command_bytes = Bytes::from(command.encode_to_vec());
    let command_digest = parts.function.digest(&command_bytes);
    let action = reapi::Action {
        command_digest: Some(command_digest.to_proto()),
        input_root_digest: Some(tree.root.to_proto()),
        do_not_cache: settings.uncacheable,
        salt: parts.salt.to_vec(),
        platform: (settings.reapi_minor >= 2).then_some(platform),
        ..Default::default()
    };
    let action_bytes = Bytes::from(action.encode_to_vec());
    Ok(Formed {
        action: parts.function.digest(&action_bytes),
        action_bytes,
        command: command_digest,
        command_bytes,
        tree,
        working_directory,
        output_paths,
    })
}

/// The platform stands in the command too, unless it is empty: older servers look there.
#[allow(deprecated)]
fn set_platform(command: &mut reapi::Command, platform: &reapi::Platform) {
    command.platform = (!platform.properties.is_empty()).then(|| platform.clone());
}

/// The whole current directory where paths are kept; otherwise as many of its last names as some
/// input or output leads above it.
fn working_directory(parts: &Parts<'_>, map: impl Fn(&str) -> String) -> String {
    let (settings, directory) = (parts.settings, &parts.rules.directory);
    if !settings.deps_directory.is_empty() {
        return settings.working_dir_prefix.clone();
    }
    if settings.no_path_rewrite && settings.working_dir_prefix.is_empty() {
        return map(directory).trim_start_matches('/').to_owned();
    }
    let levels = parts
        .inputs
        .iter()
        .filter(|(_, place, _)| !matches!(place, Place::Passage))
        .map(|(remote, ..)| remote.as_str())
        .chain(parts.products.iter().map(|product| product.remote.as_str()))
        .filter(|path| !path.starts_with('/'))
        .map(paths::levels_above)
        .max()
        .unwrap_or(0);
    // The last names are those of the real directory, whatever it is mapped to.
    let own = paths::last_names(directory, levels);
    match (settings.working_dir_prefix.is_empty(), own.is_empty()) {
        (true, _) => own,
        (false, true) => settings.working_dir_prefix.clone(),
        (false, false) => format!("{}/{own}", settings.working_dir_prefix),
    }
}
