//! What the tests of `buildbox-run` share: an action described in a line, run by any runner.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use forerunner_merkle::{Digest, Directory, File, Forest, Name, Node, TreePath};
use forerunner_proto::{Message, reapi, rpc};
use forerunner_reapi::Endpoint;
use forerunner_tests::{Casd, Parcel, bin, on_path, peer, temp};
use nix::libc::SIGSEGV;

use crate::endpoint::{FUNCTION, embedded, remote, runtime};

/// The programs of BusyBox that the sandboxes have.
const APPLETS: &str = "sh ls cat id env mount umount stat find touch mkdir ln chmod sleep kill ps \
    readlink hostname pwd cp mv rm echo wc dd head od tr grep sort ip test true false uname sed \
    mkfifo mknod chroot printf basename dirname cut seq yes tail uniq date rmdir unlink sync nc \
    setsid tee xargs sysctl dmesg id chown insmod reboot swapon losetup nproc md5sum sha256sum";

/// An action and how it is run.
#[derive(Clone, Default)]
pub(crate) struct Case {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: String,
    pub(crate) outputs: Vec<String>,
    pub(crate) output_files: Vec<String>,
    pub(crate) output_directories: Vec<String>,
    pub(crate) format: i32,
    pub(crate) attributes: Vec<String>,
    pub(crate) properties: Vec<(String, String)>,
    pub(crate) command_properties: Vec<(String, String)>,
    pub(crate) options: Vec<String>,
    pub(crate) timeout_seconds: i64,
    /// Path, content, whether executable; a target for symlinks; neither for directories.
    pub(crate) tree: Vec<(String, Entry)>,
    /// Properties of files and directories of the tree.
    pub(crate) nodes: Vec<(String, reapi::NodeProperties)>,
    pub(crate) without_programs: bool,
    pub(crate) input: Option<String>,
    pub(crate) input_root: Option<Digest>,
}

#[derive(Clone)]
pub(crate) enum Entry {
    File(Vec<u8>, bool),
    Link(String),
    Folder,
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A shell script as an action.
pub(crate) fn sh(script: &str) -> Case {
    args(&["/bin/sh", "-c", script])
}

/// A command as an action.
pub(crate) fn args(list: &[&str]) -> Case {
    Case {
        arguments: strings(list),
        environment: pairs(&[("PATH", "/bin")]),
        directory: "w".to_owned(),
        ..Case::default()
    }
}

impl Case {
    pub(crate) fn env(mut self, list: &[(&str, &str)]) -> Self {
        self.environment = pairs(list);
        self
    }
    pub(crate) fn cd(mut self, directory: &str) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }
    pub(crate) fn out(mut self, list: &[&str]) -> Self {
        self.outputs = strings(list);
        self
    }
    pub(crate) fn format(mut self, format: i32) -> Self {
        self.format = format;
        self
    }
    pub(crate) fn attributes(mut self, list: &[&str]) -> Self {
        self.attributes = strings(list);
        self
    }
    pub(crate) fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self.properties.sort();
        self
    }
    pub(crate) fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }
    pub(crate) fn timeout(mut self, seconds: i64) -> Self {
        self.timeout_seconds = seconds;
        self
    }
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.entry(path, Entry::File(content.into(), false))
    }
    pub(crate) fn program(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, Entry::File(content.to_vec(), true))
    }
    /// Gives a file or directory of the tree properties: a time, a mode, a name that is
    /// `true`, or `false` with a `-` before it.
    pub(crate) fn node(mut self, path: &str, seconds: i64, mode: u32, name: &str) -> Self {
        let time = |seconds| forerunner_proto::Timestamp { seconds, nanos: 0 };
        let (name, value) = match name.strip_prefix('-') {
            Some(name) => (name, "false"),
            None => (name, "true"),
        };
        let property = || reapi::NodeProperty { name: name.to_owned(), value: value.to_owned() };
        let properties = reapi::NodeProperties {
            mtime: (seconds != 0).then(|| time(seconds)),
            unix_mode: (mode != 0).then_some(mode),
            properties: (!name.is_empty()).then(property).into_iter().collect(),
        };
        self.nodes.push((path.to_owned(), properties));
        self
    }
    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.entry(path, Entry::Link(target.to_owned()))
    }
    pub(crate) fn folder(self, path: &str) -> Self {
        self.entry(path, Entry::Folder)
    }
    pub(crate) fn entry(mut self, path: &str, entry: Entry) -> Self {
        self.tree.push((path.to_owned(), entry));
        self
    }
}

/// What became of an action.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Of the runner; -N if signal N ended it.
    pub(crate) exit_status: i32,
    /// In `.error-status`.
    pub(crate) status: Option<rpc::Status>,
    pub(crate) result: Option<reapi::ActionResult>,
    /// Of the command.
    pub(crate) stdout: Option<String>,
    pub(crate) stderr: Option<String>,
    /// Of the runner.
    pub(crate) own_stdout: String,
    pub(crate) log: String,
    /// Everything in output directories, a line each.
    pub(crate) trees: BTreeMap<String, Vec<String>>,
}

impl Outcome {
    /// The exit code of the command.
    pub(crate) fn code(&self) -> i32 {
        self.result.as_ref().unwrap_or_else(|| panic!("no result: {self:#?}")).exit_code
    }
    pub(crate) fn stdout(&self) -> &str {
        self.stdout.as_deref().unwrap_or_else(|| panic!("no output: {self:#?}"))
    }
    /// The paths of output files.
    pub(crate) fn files(&self) -> Vec<&str> {
        let result = self.result.as_ref().expect("a result");
        result.output_files.iter().map(|file| file.path.as_str()).collect()
    }
}

/// An endpoint with actions in it, and what runs them.
pub(crate) struct Lab {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) endpoint: Endpoint,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) casd: Option<Casd>,
    busybox: Bytes,
}

impl Lab {
    /// On the embedded store.
    pub(crate) fn embedded() -> Option<Self> {
        let busybox = peer("busybox (static)", on_path("busybox"))?;
        let folder = temp();
        let runtime = runtime();
        let config = embedded(folder.path());
        let endpoint = runtime.block_on(async { Endpoint::open(&config).expect("a store") });
        let busybox = std::fs::read(busybox).expect("busybox").into();
        Some(Self { runtime, endpoint, folder, casd: None, busybox })
    }

    /// On a stock casd.
    pub(crate) fn casd() -> Option<Self> {
        Self::casd_with(&[])
    }

    pub(crate) fn casd_with(arguments: &[String]) -> Option<Self> {
        let busybox = peer("busybox (static)", on_path("busybox"))?;
        let casd = Casd::start_with(arguments)?;
        let runtime = runtime();
        let mut config = remote(&casd.url());
        // What nobody used for half an hour may have been cut.
        config.remote.as_mut().expect("a server").cas.retry_limit = 1;
        let endpoint = runtime.block_on(async { Endpoint::open(&config).expect("an address") });
        let busybox = std::fs::read(busybox).expect("busybox").into();
        Some(Self { runtime, endpoint, folder: temp(), casd: Some(casd), busybox })
    }

    /// Uploads all of a case; answers with the Action.
    pub(crate) fn upload(&self, case: &Case) -> (Digest, Bytes) {
        let mut parcel = Parcel::default();
        if !case.without_programs {
            parcel.file("bin/busybox", self.busybox.clone(), true);
            for applet in APPLETS.split_whitespace() {
                parcel.link(&format!("bin/{applet}"), "busybox");
            }
        }
        for (at, entry) in &case.tree {
            match entry {
                Entry::File(content, executable) => parcel.file(at, content.clone(), *executable),
                Entry::Link(target) => parcel.link(at, target),
                Entry::Folder => parcel.folder(at),
            }
        }
        let mut root = case.input_root.unwrap_or_else(|| parcel.tree());
        for (at, properties) in &case.nodes {
            let at = TreePath::parse(at).expect("a path");
            root = set(&mut parcel.forest, root, at.names(), properties);
        }
        let platform = |list: &[(String, String)]| {
            let properties = list.iter().map(|(name, value)| reapi::platform::Property {
                name: name.clone(),
                value: value.clone(),
            });
            (!list.is_empty()).then(|| reapi::Platform { properties: properties.collect() })
        };
        #[allow(deprecated, reason = "what older clients send")]
        let command = reapi::Command {
            arguments: case.arguments.clone(),
            environment_variables: case
                .environment
                .iter()
                .map(|(name, value)| reapi::command::EnvironmentVariable {
                    name: name.clone(),
                    value: value.clone(),
                })
                .collect(),
            output_paths: case.outputs.clone(),
            output_files: case.output_files.clone(),
            output_directories: case.output_directories.clone(),
            working_directory: case.directory.clone(),
            output_node_properties: case.attributes.clone(),
            output_directory_format: case.format,
            platform: platform(&case.command_properties),
        };
        let action = reapi::Action {
            input_root_digest: Some(root.to_proto()),
            timeout: (case.timeout_seconds != 0)
                .then_some(forerunner_proto::Duration { seconds: case.timeout_seconds, nanos: 0 }),
            platform: platform(&case.properties),
            ..Default::default()
        };
        let (digest, action) = parcel.action(&command, action);
        self.runtime.block_on(parcel.upload(&self.endpoint));
        (digest, action)
    }

    /// The command line for a case, and where its result will be.
    pub(crate) fn command(&self, program: &Path, case: &Case) -> (Command, Files) {
        let (_, action) = self.upload(case);
        let folder = tempfile::tempdir_in(self.folder.path()).expect("a folder");
        let files = Files { folder };
        std::fs::write(files.at("action"), action).expect("a file");
        let mut command = Command::new(program);
        if let Some(casd) = &self.casd {
            command.arg(format!("--remote={}", casd.url()));
        } else {
            let config = self.endpoint.config();
            command.env("FORERUNNER_STORE", &config.store.root);
        }
        command
            .arg(format!("--action={}", files.at("action").display()))
            .arg(format!("--action-result={}", files.at("result").display()))
            .args(&case.options)
            .stdin(Stdio::null());
        if let Some(input) = &case.input {
            std::fs::write(files.at("input"), input).expect("a file");
            command.stdin(std::fs::File::open(files.at("input")).expect("a file"));
        }
        (command, files)
    }

    /// Runs a case.
    pub(crate) fn run(&self, program: &Path, case: &Case) -> Outcome {
        let attempt = || self.attempt(program, case);
        let crashed = |(_, output): &(Files, Output)| output.status.signal() == Some(SIGSEGV);
        let (files, output) = forgiving(program, attempt, crashed);
        let mut outcome = self.read(&files);
        outcome.exit_status = exit_status(output.status);
        outcome.own_stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        outcome.log = String::from_utf8_lossy(&output.stderr).into_owned();
        outcome
    }

    fn attempt(&self, program: &Path, case: &Case) -> (Files, Output) {
        let (mut command, files) = self.command(program, case);
        let output = command.output().expect("a runner");
        (files, output)
    }

    /// Runs a case with our runner.
    pub(crate) fn ours(&self, case: &Case) -> Outcome {
        self.run(&bin("buildbox-run"), case)
    }

    /// Reads what a runner wrote.
    pub(crate) fn read(&self, files: &Files) -> Outcome {
        let mut outcome = Outcome::default();
        if let Ok(bytes) = std::fs::read(files.at("result.error-status")) {
            outcome.status = Some(rpc::Status::decode(&bytes[..]).expect("a status"));
        }
        if let Ok(bytes) = std::fs::read(files.at("result")) {
            let result = reapi::ActionResult::decode(&bytes[..]).expect("a result");
            self.fill(&mut outcome, result);
        }
        outcome
    }

    /// Fetches what a result names.
    pub(crate) fn fill(&self, outcome: &mut Outcome, result: reapi::ActionResult) {
        let text = |digest: &Option<reapi::Digest>| {
            digest.as_ref().map(|digest| String::from_utf8_lossy(&self.get(digest)).into_owned())
        };
        outcome.stdout = text(&result.stdout_digest);
        outcome.stderr = text(&result.stderr_digest);
        for file in &result.output_files {
            // It must be there.
            self.get(file.digest.as_ref().expect("a digest"));
        }
        for output in &result.output_directories {
            for (kind, digest) in
                [("tree", &output.tree_digest), ("directory", &output.root_directory_digest)]
            {
                let Some(digest) = digest else { continue };
                let lines = self.list(kind == "tree", digest);
                outcome.trees.insert(format!("{} ({kind})", output.path), lines);
            }
        }
        outcome.result = Some(result);
    }

    pub(crate) fn get(&self, digest: &reapi::Digest) -> Bytes {
        let digest = Digest::from_proto(digest).expect("a digest");
        self.runtime.block_on(self.endpoint.get(&digest)).expect("the blob")
    }

    fn list(&self, tree: bool, digest: &reapi::Digest) -> Vec<String> {
        let mut forest = Forest::new(FUNCTION);
        let root = if tree {
            let message = reapi::Tree::decode(self.get(digest)).expect("a tree");
            forest.insert_tree(&message).expect("a tree")
        } else {
            let root = Digest::from_proto(digest).expect("a digest");
            self.runtime.block_on(self.endpoint.load(&mut forest, &[root])).expect("a tree");
            root
        };
        let mut lines = Vec::new();
        self.list_level(&forest, &root, "", &mut lines);
        lines
    }

    fn list_level(&self, forest: &Forest, digest: &Digest, at: &str, lines: &mut Vec<String>) {
        let directory = forest.get(digest).expect("a directory");
        let mode = |properties: Option<&reapi::NodeProperties>| {
            let properties = properties.cloned().unwrap_or_default();
            format!("{:?} {}", properties.unix_mode, properties.mtime.is_some())
        };
        lines.push(format!("{at}/ {}", mode(directory.properties())));
        for (name, file) in directory.files() {
            let x = if file.executable { "x" } else { "" };
            let properties = mode(file.properties.as_deref());
            lines.push(format!("{at}/{name} {x} {} {properties}", file.digest));
            self.get(&file.digest.to_proto());
        }
        for (name, link) in directory.symlinks() {
            lines.push(format!("{at}/{name} -> {}", link.target));
        }
        for (name, child) in directory.directories() {
            self.list_level(forest, child, &format!("{at}/{name}"), lines);
        }
    }
}

/// The tree with properties at a path.
fn set(
    forest: &mut Forest,
    root: Digest,
    path: &[Name],
    properties: &reapi::NodeProperties,
) -> Digest {
    let directory = Directory::clone(forest.get(&root).expect("a directory"));
    let Some((name, rest)) = path.split_first() else {
        return forest.insert(directory.with_properties(Some(properties.clone())));
    };
    let node = match directory.get(name).expect("a node") {
        Node::Directory(child) => Node::Directory(set(forest, child, rest, properties)),
        Node::File(file) => {
            Node::File(File { properties: Some(Box::new(properties.clone())), ..file })
        }
        symlink => symlink,
    };
    let own = directory.properties().cloned();
    let entries = directory.entries().filter(|(other, _)| *other != name);
    let entries = entries.map(|(name, node)| (name.clone(), node));
    let entries: Vec<_> = entries.chain([(name.clone(), node)]).collect();
    forest.insert(Directory::from_entries(entries).expect("a directory").with_properties(own))
}

/// On a busy machine the reference now and then crashes in a thread of gRPC's when all is done: then
/// it has another try, ours never.
pub(crate) fn forgiving<T>(
    program: &Path,
    mut attempt: impl FnMut() -> T,
    crashed: impl Fn(&T) -> bool,
) -> T {
    let mut seen = attempt();
    for _ in 0..3 {
        if !crashed(&seen) || program == bin("buildbox-run") {
            break;
        }
        seen = attempt();
    }
    seen
}

/// The files of one run.
pub(crate) struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

pub(crate) fn exit_status(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
}
