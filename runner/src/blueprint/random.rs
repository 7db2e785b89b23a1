//! Messages changed at random, from their bytes to the plan of a sandbox: nothing panics, and no
//! plan leaves the root. Some that came through are changed further. The same every time;
//! `FORERUNNER_LONG=1` makes ten million of them.

use std::ffi::CString;

use forerunner_merkle::{Digest, DigestFunction, Directory, File, Forest, TreeBuilder, TreePath};
use forerunner_proto::{Duration, Message, reapi};

use crate::job::Job;
use crate::plan::{Blueprint, Root, Step, plan};

const FUNCTION: DigestFunction = DigestFunction::Sha256;

/// Texts that have a meaning somewhere.
const WORDS: [&[u8]; 10] = [
    b"..",
    b"/",
    b"\0",
    b"../../../..",
    b"//",
    b".",
    b"\xff\xfe",
    b"capability",
    b"=",
    b"tmp/../..",
];

/// Properties of which the sandbox makes something.
const PROPERTIES: [&str; 8] = [
    "remoteApisSocketPath",
    "unixUID",
    "capability",
    "inject",
    "chrootRootDigest",
    "chrootTreeDigest",
    "container-image",
    "forerunnerElement",
];

/// So many of those that came through are kept, to be changed further.
const KEPT: usize = 256;

/// xorshift64*: as good as this needs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides.max(1)
    }

    /// A text with a meaning, or several of them.
    fn text(&mut self) -> String {
        let words = (0..=self.roll(3)).map(|_| WORDS[self.roll(WORDS.len())]);
        let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
        words.join(["", "/", "a"][self.roll(3)])
    }

    /// Changes the meaning of one of an Action, a Command, a Tree and a Directory.
    fn say_otherwise(&mut self, bytes: &mut [Vec<u8>; 4]) {
        let which = self.roll(4);
        match which {
            0 => {
                let Ok(mut action) = reapi::Action::decode(&bytes[0][..]) else { return };
                match self.roll(3) {
                    0 => action.input_root_digest = self.digest(),
                    1 => {
                        let (seconds, nanos) = (self.roll(4) as i64 - 2, self.roll(4) as i32 - 2);
                        action.timeout = Some(Duration { seconds, nanos });
                    }
                    _ => {
                        let properties = &mut action.platform.get_or_insert_default().properties;
                        let names = PROPERTIES[self.roll(PROPERTIES.len())];
                        let value = self.text();
                        properties.push(property(names, &value));
                    }
                }
                bytes[0] = action.encode_to_vec();
            }
            1 => {
                let Ok(mut command) = reapi::Command::decode(&bytes[1][..]) else { return };
                let text = self.text();
                match self.roll(4) {
                    0 => command.working_directory = text,
                    1 => command.output_paths.push(text),
                    2 => command.arguments.insert(0, text),
                    _ => command.environment_variables.push(reapi::command::EnvironmentVariable {
                        name: text,
                        value: self.text(),
                    }),
                }
                bytes[1] = command.encode_to_vec();
            }
            2 => {
                let Ok(mut tree) = reapi::Tree::decode(&bytes[2][..]) else { return };
                let at = self.roll(tree.children.len() + 1);
                match tree.children.get_mut(at) {
                    Some(child) => self.misplace(child),
                    None => self.misplace(tree.root.get_or_insert_default()),
                }
                bytes[2] = tree.encode_to_vec();
            }
            _ => {
                let Ok(mut root) = reapi::Directory::decode(&bytes[3][..]) else { return };
                self.misplace(&mut root);
                bytes[3] = root.encode_to_vec();
            }
        }
    }

    /// Adds something to a directory that has no place there, or perhaps one.
    fn misplace(&mut self, directory: &mut reapi::Directory) {
        let mut name = self.text();
        if let Some(other) = directory.directories.first()
            && self.roll(3) == 0
        {
            name.clone_from(&other.name);
        }
        let digest = self.digest();
        match self.roll(4) {
            0 => directory.files.push(reapi::FileNode { name, digest, ..Default::default() }),
            1 => directory.directories.push(reapi::DirectoryNode { name, digest }),
            2 => {
                let target = self.text();
                directory.symlinks.push(reapi::SymlinkNode { name, target, ..Default::default() });
            }
            _ => directory.directories.reverse(),
        }
    }

    /// One that lies, or none.
    fn digest(&mut self) -> Option<reapi::Digest> {
        let sizes = [0, -1, 1, i64::MAX, i64::MIN];
        let mut digest = digest("elsewhere")?;
        digest.size_bytes = sizes[self.roll(sizes.len())];
        digest.hash.truncate([64, 64, 64, 63, 0][self.roll(5)]);
        (self.roll(8) > 0).then_some(digest)
    }

    fn change(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.roll(4) {
            let at = self.roll(bytes.len());
            match self.roll(7) {
                0 => bytes.truncate(at),
                1 if !bytes.is_empty() => bytes[at] ^= 1 << self.roll(8),
                2 if !bytes.is_empty() => bytes[at] = self.roll(256) as u8,
                3 if !bytes.is_empty() => drop(bytes.remove(at)),
                4 => bytes.insert(at, self.roll(256) as u8),
                5 => {
                    // In place, so that the lengths around it stay right.
                    let word = WORDS[self.roll(WORDS.len())];
                    for (place, byte) in bytes.iter_mut().skip(at).zip(word) {
                        *place = *byte;
                    }
                }
                _ => {
                    let from = self.roll(other.len());
                    bytes.extend_from_slice(other.get(from..).unwrap_or_default());
                }
            }
        }
        bytes
    }
}

fn digest(text: &str) -> Option<reapi::Digest> {
    Some(FUNCTION.digest(text.as_bytes()).to_proto())
}

fn platform() -> Option<reapi::Platform> {
    let pairs = [
        ("ISA", "x86-32"),
        ("OSFamily", "linux"),
        ("capability", "CAP_CHOWN"),
        ("network", "on"),
        ("remoteApisSocketPath", "run/reapi.sock"),
        ("unixGID", "7"),
        ("unixUID", "1000"),
    ];
    let properties = pairs.iter().map(|(name, value)| property(name, value));
    Some(reapi::Platform { properties: properties.collect() })
}

fn property(name: &str, value: &str) -> reapi::platform::Property {
    reapi::platform::Property { name: name.to_owned(), value: value.to_owned() }
}

/// An Action, a Command, a Tree and a Directory that are fine.
fn seeds() -> [Vec<u8>; 4] {
    let action = reapi::Action {
        command_digest: digest("command"),
        input_root_digest: digest("root"),
        timeout: Some(Duration { seconds: 60, nanos: 5 }),
        platform: platform(),
        ..Default::default()
    };
    let command = reapi::Command {
        arguments: ["sh", "-c", "true"].map(str::to_owned).to_vec(),
        environment_variables: vec![reapi::command::EnvironmentVariable {
            name: "PATH".to_owned(),
            value: "/usr/bin::/bin".to_owned(),
        }],
        output_paths: [".", "../../../install", "a/b/c"].map(str::to_owned).to_vec(),
        working_directory: "buildstream/p/e.bst".to_owned(),
        output_node_properties: vec!["mtime".to_owned()],
        ..Default::default()
    };
    let mut builder = TreeBuilder::new();
    let path = |text: &str| TreePath::parse(text).expect("a path");
    for name in ["tmp/a", "usr/bin/tool", "usr/lib/x/y"] {
        builder.file(&path(name), File::new(FUNCTION.digest(b"x"), true)).expect("a place");
    }
    builder.symlink(&path("usr/link"), "../etc").expect("a place");
    let mut forest = Forest::new(FUNCTION);
    let root = builder.build(&mut forest);
    let tree = forest.tree(root).expect("a tree");
    let directory = forest.get(&root).expect("a root").to_proto();
    [
        action.encode_to_vec(),
        command.encode_to_vec(),
        tree.encode_to_vec(),
        directory.encode_to_vec(),
    ]
}

fn sandbox(job: &Job, keep_tmp: bool) -> Option<Vec<Step>> {
    let blueprint = Blueprint {
        root: Root::Directory("/staged".to_owned()),
        subtrees: Vec::new(),
        pivot_at: "/pivot".to_owned(),
        outer: (0, 0),
        inner: (job.platform.uid, job.platform.gid),
        own_group: true,
        network: job.platform.network,
        bits32: job.platform.bits32,
        keep_tmp,
        directories: job.outputs.parents(),
        working_directory: job.working_directory.clone(),
        mounts: Vec::new(),
        exec: super::exec(job).ok()?,
    };
    Some(plan(&blueprint).ok()?.steps)
}

fn stays_inside(path: &CString) {
    let text = path.to_str().expect("UTF-8");
    assert!(text.starts_with('/'), "{text}");
    assert!(text.split('/').all(|name| name != ".."), "{text}");
}

/// A tree, and the steps of a plan; nothing comes of most messages.
fn consider(bytes: &[Vec<u8>; 4]) -> (bool, bool) {
    let mut forest = Forest::new(FUNCTION);
    let mut roots: Vec<Digest> = Vec::new();
    if let Ok(directory) = Directory::decode(&bytes[3]) {
        for (name, _) in directory.entries() {
            assert!(!name.contains(['/', '\0']) && !["", ".", ".."].contains(&name.as_str()));
        }
        roots.push(forest.insert(directory));
    }
    if let Ok(tree) = reapi::Tree::decode(&bytes[2][..]) {
        roots.extend(forest.insert_tree(&tree));
    }
    if let [over, base] = roots[..]
        && let Ok(merged) = forest.merge(base, over)
    {
        let _ = forest.walk(merged);
    }
    let (Ok(action), Ok(command)) =
        (reapi::Action::decode(&bytes[0][..]), reapi::Command::decode(&bytes[1][..]))
    else {
        return (!roots.is_empty(), false);
    };
    let job = Job::parse(FUNCTION.digest(&bytes[0]), &action, command);
    let steps =
        job.ok().and_then(|job| sandbox(&job, super::has_tmp(&forest, &job.input_root, &job)));
    for step in steps.iter().flatten().skip_while(|step| !matches!(step, Step::Pivot { .. })) {
        match step {
            Step::Directory { path, .. }
            | Step::EmptyFile { path }
            | Step::Symlink { path, .. }
            | Step::WorkingDirectory(path) => stays_inside(path),
            Step::Attach { at, .. } => stays_inside(at),
            _ => {}
        }
    }
    (!roots.is_empty(), steps.is_some())
}

#[test]
fn changed_messages_make_no_bad_plans() {
    let long = std::env::var_os("FORERUNNER_LONG").is_some_and(|value| value == "1");
    let rounds = if long { 10_000_000 } else { 20_000 };
    let seeds = seeds();
    assert_eq!(consider(&seeds), (true, true));
    let mut dice = Dice(0x5EED_0F0F_1234_5678);
    let mut counts = (0, 0);
    let mut kept = vec![seeds.clone()];
    for _ in 0..rounds {
        let mut bytes = kept[dice.roll(kept.len())].clone();
        // One or two, or hardly any message would be fine.
        for _ in 0..=dice.roll(2) {
            if dice.roll(2) == 0 {
                dice.say_otherwise(&mut bytes);
                continue;
            }
            let which = dice.roll(4);
            let other = &seeds[dice.roll(4)];
            bytes[which] = dice.change(&bytes[which], other);
        }
        let (tree, steps) = consider(&bytes);
        // Not too large, or they would only grow.
        if tree && steps && bytes.iter().all(|message| message.len() < 2000) {
            match kept.len() {
                KEPT => {
                    // The first is what all began with.
                    let at = 1 + dice.roll(KEPT - 1);
                    kept[at] = bytes;
                }
                _ => kept.push(bytes),
            }
        }
        counts.0 += usize::from(tree);
        counts.1 += usize::from(steps);
    }
    // Otherwise this would not look at what it is for.
    assert!(counts.0 > rounds / 10 && counts.1 > rounds / 10, "{counts:?} of {rounds}");
    assert!(counts.1 < rounds, "nothing was refused");
}
