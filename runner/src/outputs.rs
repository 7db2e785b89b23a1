//! Which outputs an action declares, and what must be there before it runs.

use std::collections::BTreeSet;

use forerunner_merkle::{NameError, TreePath};
use forerunner_proto::reapi;

/// An output as the command spells it, and where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// As in the Command; the result repeats it.
    pub(crate) spelled: String,
    /// From the root of the sandbox.
    pub(crate) path: TreePath,
    /// What it may be.
    pub(crate) kind: Kind,
}

/// What an output is declared to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `output_paths`: whatever is there.
    Any,
    /// `output_files`: a file.
    File,
    /// `output_directories`: a directory.
    Directory,
}

/// How directories are described in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// As one Tree message.
    pub(crate) tree: bool,
    /// As Directory messages.
    pub(crate) directory: bool,
}

/// The outputs of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outputs {
    /// In the order of the Command.
    pub(crate) list: Vec<Output>,
    /// For directories.
    pub(crate) format: Format,
    /// Whether modification times are wanted.
    pub(crate) mtime: bool,
    /// Whether permissions are wanted.
    pub(crate) unix_mode: bool,
}

/// Why the outputs of a command make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutputError {
    /// With `/` at an end.
    #[error("the output path `{0}` begins or ends with a slash, which the protocol forbids")]
    Slash(String),
    /// Leads out of the root, or is no path.
    #[error("the output path `{path}`, seen from the working directory `{from}`: {why}")]
    Path { path: String, from: String, why: NameError },
}

impl Outputs {
    /// Reads those of `command`, which runs in `working_directory`.
    #[allow(deprecated, reason = "older clients declare their outputs in the old fields")]
    pub(crate) fn parse(
        command: &reapi::Command,
        working_directory: &TreePath,
    ) -> Result<Self, OutputError> {
        let declared: Vec<(&String, Kind)> = if command.output_paths.is_empty() {
            let files = command.output_files.iter().map(|path| (path, Kind::File));
            let directories = command.output_directories.iter().map(|path| (path, Kind::Directory));
            files.chain(directories).collect()
        } else {
            command.output_paths.iter().map(|path| (path, Kind::Any)).collect()
        };
        let mut list = Vec::with_capacity(declared.len());
        for (path, kind) in declared {
            if path.starts_with('/') || path.ends_with('/') {
                return Err(OutputError::Slash(path.clone()));
            }
            let resolved = working_directory.join(path).map_err(|why| OutputError::Path {
                path: path.clone(),
                from: working_directory.to_string(),
                why,
            })?;
            list.push(Output { spelled: path.clone(), path: resolved, kind });
        }
        let wants = |name| command.output_node_properties.iter().any(|wanted| wanted == name);
        use reapi::command::OutputDirectoryFormat as Wire;
        let format = match command.output_directory_format() {
            Wire::TreeOnly => Format { tree: true, directory: false },
            Wire::DirectoryOnly => Format { tree: false, directory: true },
            Wire::TreeAndDirectory => Format { tree: true, directory: true },
        };
        Ok(Self { list, format, mtime: wants("mtime"), unix_mode: wants("unix_mode") })
    }

    /// The directories above the outputs, which exist before the command runs.
    pub(crate) fn parents(&self) -> BTreeSet<TreePath> {
        let parents = self.list.iter().filter_map(|output| output.path.split_last());
        parents.map(|(parent, _)| parent).filter(|parent| !parent.is_root()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(paths: &[&str], from: &str) -> Result<Outputs, OutputError> {
        let command = reapi::Command {
            output_paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            ..Default::default()
        };
        Outputs::parse(&command, &TreePath::parse(from).expect("a path"))
    }

    #[test]
    fn paths_are_seen_from_the_working_directory() {
        let found = outputs(&[".", "../../../install", "a/b"], "buildstream/p/e.bst");
        let paths: Vec<String> =
            found.expect("outputs").list.iter().map(|o| o.path.to_string()).collect();
        assert_eq!(paths, ["buildstream/p/e.bst", "install", "buildstream/p/e.bst/a/b"]);
    }

    #[test]
    fn what_leaves_the_root_is_refused() {
        assert!(matches!(outputs(&["../x"], ""), Err(OutputError::Path { .. })));
        assert!(matches!(outputs(&["../../x"], "a"), Err(OutputError::Path { .. })));
        assert!(matches!(outputs(&["/x"], "a"), Err(OutputError::Slash(_))));
        assert!(matches!(outputs(&["x/"], "a"), Err(OutputError::Slash(_))));
        assert!(matches!(outputs(&["a\0b"], "a"), Err(OutputError::Path { .. })));
    }

    #[test]
    #[allow(deprecated, reason = "what is tested")]
    fn the_new_field_wins() {
        let mut command = reapi::Command {
            output_paths: vec!["new".to_owned()],
            output_files: vec!["file".to_owned()],
            output_directories: vec!["directory".to_owned()],
            ..Default::default()
        };
        let kinds = |command: &reapi::Command| {
            let outputs = Outputs::parse(command, &TreePath::root()).expect("outputs");
            outputs.list.into_iter().map(|o| (o.spelled, o.kind)).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&command), [("new".to_owned(), Kind::Any)]);
        command.output_paths.clear();
        let old = [("file".to_owned(), Kind::File), ("directory".to_owned(), Kind::Directory)];
        assert_eq!(kinds(&command), old);
    }

    #[test]
    fn parents_are_made_once() {
        let parents = outputs(&["a/b/x", "a/b/y", "z"], "w").expect("outputs").parents();
        let parents: Vec<String> = parents.iter().map(ToString::to_string).collect();
        assert_eq!(parents, ["w", "w/a/b"]);
    }
}
