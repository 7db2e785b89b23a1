//! An action and all that it refers to, on the way to an endpoint or a store.

use std::path::Path;

use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction, File, Forest, TreeBuilder, TreePath};
use forerunner_proto::{Message, reapi};
use forerunner_reapi::{Config, Connection, Content, Endpoint, LocalExecution, Remote, Tool};

use crate::bin;

/// What makes the digests of tests.
pub const FUNCTION: DigestFunction = DigestFunction::Sha256;

/// The server at `url`, else the embedded store in the folder `store`, with our runner and room
/// for 10 GiB.
#[must_use]
pub fn config(store: &Path, url: Option<&str>) -> Config {
    Config {
        remote: url.map(|url| Remote::all(Connection::new(url))),
        store: forerunner_store::Options {
            root: store.to_owned(),
            size_limit: 10 << 30,
            function: FUNCTION,
        },
        function: FUNCTION,
        local: LocalExecution {
            runner: bin("buildbox-run"),
            runner_arguments: Vec::new(),
            jobs: Some(2),
        },
        tool: Tool { name: "tests".to_owned(), ..Tool::default() },
    }
}

/// A shell script that runs in `work` and makes one file there.
#[must_use]
pub fn script(text: &str, output: &str) -> reapi::Command {
    reapi::Command {
        arguments: ["/bin/sh", "-e", "-c", text].map(str::to_owned).to_vec(),
        environment_variables: vec![reapi::command::EnvironmentVariable {
            name: "PATH".to_owned(),
            value: "/usr/bin:/bin".to_owned(),
        }],
        output_paths: vec![output.to_owned()],
        working_directory: "work".to_owned(),
        ..Default::default()
    }
}

/// Blobs, and a tree that grows.
pub struct Parcel {
    /// The directories of trees that are finished.
    pub forest: Forest,
    growing: TreeBuilder,
    blobs: Vec<(Digest, Bytes)>,
}

impl Default for Parcel {
    fn default() -> Self {
        Self::new(Forest::new(FUNCTION))
    }
}

impl Parcel {
    /// One whose trees may contain those of `forest`.
    #[must_use]
    pub fn new(forest: Forest) -> Self {
        Self { forest, growing: TreeBuilder::new(), blobs: Vec::new() }
    }

    /// Adds a blob.
    pub fn blob(&mut self, content: impl Into<Bytes>) -> Digest {
        let content = content.into();
        let digest = FUNCTION.digest(&content);
        self.blobs.push((digest, content));
        digest
    }

    /// Adds a file to the tree.
    ///
    /// # Panics
    /// If there is something else, or the path is none; so do the other two.
    pub fn file(&mut self, path: &str, content: impl Into<Bytes>, executable: bool) {
        let digest = self.blob(content);
        self.growing.file(&parse(path), File::new(digest, executable)).expect("a place");
    }

    /// Adds a symlink to the tree.
    pub fn link(&mut self, path: &str, target: &str) {
        self.growing.symlink(&parse(path), target).expect("a place");
    }

    /// Adds a directory to the tree.
    pub fn folder(&mut self, path: &str) {
        self.growing.directory(&parse(path)).expect("a place");
    }

    /// Finishes the tree; the next one begins empty.
    pub fn tree(&mut self) -> Digest {
        std::mem::take(&mut self.growing).build(&mut self.forest)
    }

    /// Adds an action that is `action` with this command. Answers also with its bytes.
    pub fn action(&mut self, command: &reapi::Command, action: reapi::Action) -> (Digest, Bytes) {
        let command_digest = Some(self.blob(command.encode_to_vec()).to_proto());
        let action = Bytes::from(reapi::Action { command_digest, ..action }.encode_to_vec());
        (self.blob(action.clone()), action)
    }

    /// Finishes the tree and adds the action that runs `command` in it.
    pub fn action_in_tree(&mut self, command: &reapi::Command) -> (Digest, Bytes) {
        let input_root_digest = Some(self.tree().to_proto());
        self.action(command, reapi::Action { input_root_digest, ..Default::default() })
    }

    /// Everything, directories included.
    #[must_use]
    pub fn into_blobs(mut self) -> Vec<(Digest, Bytes)> {
        self.blobs.extend(self.forest.take_made());
        self.blobs
    }

    /// Uploads everything.
    ///
    /// # Panics
    /// If the endpoint refuses.
    pub async fn upload(self, endpoint: &Endpoint) {
        let blobs = self.into_blobs().into_iter();
        let blobs = blobs.map(|(digest, bytes)| (digest, Content::Bytes(bytes)));
        endpoint.upload(blobs.collect()).await.expect("an upload");
    }
}

fn parse(path: &str) -> TreePath {
    TreePath::parse(path).expect("a path")
}
