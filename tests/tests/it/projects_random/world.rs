//! A tree of sources, what happened to it, and the comparison of two compilers on it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forerunner_tests::temp;
use walkdir::WalkDir;

use super::change;
use super::plan::{OutputBefore, Plan};
use crate::dice::{self, Dice};

pub(crate) struct World {
    folder: tempfile::TempDir,
    recc: PathBuf,
    dice: Dice,
    plan: Plan,
    /// What was changed, for the message of a failure.
    history: Vec<String>,
    /// Plans of before, which come back.
    past: Vec<Plan>,
    /// Steps whose command the plain compiler could do.
    succeeded: usize,
    /// Since the last one that succeeded.
    failed_in_a_row: u32,
}

/// What one command did.
#[derive(PartialEq, Eq)]
struct Result {
    status: Option<i32>,
    stdout: String,
    stderr: String,
    /// Kind, permissions and content of each file that is there now and was not before.
    files: BTreeMap<PathBuf, (char, u32, Vec<u8>)>,
}

impl World {
    pub(crate) fn new(recc: &Path, mut dice: Dice) -> Self {
        let folder = temp();
        let root = folder.path().join("w");
        fs::create_dir(&root).expect("made");
        change::first_state(&root, &mut dice);
        symlink("w", folder.path().join("link")).expect("linked");
        fs::write(folder.path().join("kept"), "kept").expect("written");
        let recc = recc.to_owned();
        Self {
            folder,
            recc,
            dice,
            plan: Plan::new(),
            history: Vec::new(),
            past: Vec::new(),
            succeeded: 0,
            failed_in_a_row: 0,
        }
    }
}

impl dice::World for World {
    fn step(&mut self, what: &str) {
        let root = self.root();
        if self.failed_in_a_row >= 3 {
            // Whoever changes things at random breaks them; most errors are alike.
            change::heal(&root, &mut self.dice);
            self.plan.heal();
            self.failed_in_a_row = 0;
            self.history.push("heal".to_owned());
        }
        // Sometimes several things happen between two builds, sometimes nothing.
        for _ in 0..self.dice.below(4) {
            let said = if self.dice.once_in(3) {
                if !self.past.is_empty() && self.dice.once_in(3) {
                    self.plan = self.dice.of(&self.past).clone();
                    "back to a former command".to_owned()
                } else {
                    self.past.push(self.plan.clone());
                    self.plan.change(&mut self.dice)
                }
            } else {
                change::change(&root, &mut self.dice)
            };
            self.history.push(said);
        }
        self.history.push(format!("{:?} {}", self.plan.variables, self.plan.words().join(" ")));
        let plain = self.run(false);
        if plain.status == Some(0) {
            self.succeeded += 1;
            self.failed_in_a_row = 0;
        } else {
            self.failed_in_a_row += 1;
        }
        let ours = self.run(true);
        self.compare(what, &plain, &ours);
        if self.dice.once_in(2) {
            let again = self.run(true);
            self.compare(&format!("{what}, again"), &plain, &again);
        }
    }

    /// Hits so far, as recc itself says.
    fn hits(&self) -> usize {
        let said = Command::new(&self.recc)
            .arg("--stats")
            .env("FORERUNNER_STORE", self.folder.path().join("store"))
            .output()
            .expect("recc starts");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let all = said.split("since the store was made").nth(1).unwrap_or_default();
        let line = all.lines().find(|line| line.trim_start().starts_with("hits"));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.unwrap_or_else(|| panic!("no hits in:\n{said}"))
    }

    fn succeeded(&self) -> usize {
        self.succeeded
    }
}

impl World {
    fn root(&self) -> PathBuf {
        self.folder.path().join("w")
    }

    fn run(&self, ours: bool) -> Result {
        let root = self.root();
        self.prepare();
        let before = listing(&root);
        let words = self.plan.words();
        let mut command = if ours {
            let mut command = Command::new(&self.recc);
            command.args(&words);
            command
        } else {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        };
        let place = self.folder.path().join(if self.plan.through_link { "link" } else { "w" });
        let mut path = std::env::var("PATH").unwrap_or_default();
        if self.plan.own_path {
            path = format!("{}:{path}", root.join("bin").display());
        }
        command
            .current_dir(&place)
            .env_clear()
            // What shells set, and what debug information has as the directory of compilation.
            .env("PWD", &place)
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("FORERUNNER_STORE", self.folder.path().join("store"))
            .envs(&self.plan.variables)
            .stdin(Stdio::null());
        // A bare name is looked up on the PATH of the command.
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut files = BTreeMap::new();
        for path in listing(&root) {
            if !before.contains(&path) || path.starts_with("out") {
                files.insert(path.clone(), described(&root.join(path)));
            }
        }
        files.insert("../kept".into(), described(&self.folder.path().join("kept")));
        for path in files.keys().filter(|path| !path.starts_with("..")) {
            fs::remove_file(root.join(path)).expect("removed");
        }
        Result {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            files,
        }
    }

    /// Nothing of the last run, and where the object will be, what the plan says.
    fn prepare(&self) {
        let (root, kept) = (self.root(), self.folder.path().join("kept"));
        let _ = fs::remove_file(&kept);
        fs::write(&kept, "kept").expect("written");
        let object = root.join("out/object.o");
        match self.plan.output_before {
            OutputBefore::Nothing => {}
            OutputBefore::File => fs::write(&object, "stale").expect("written"),
            OutputBefore::Link => symlink(&kept, &object).expect("linked"),
            OutputBefore::HardLink => fs::hard_link(&kept, &object).expect("linked"),
        }
    }

    fn compare(&self, what: &str, plain: &Result, ours: &Result) {
        if plain == ours {
            return;
        }
        let mut said = vec![what.to_owned()];
        if plain.status != ours.status {
            said.push(format!("status {:?} is {:?}", plain.status, ours.status));
        }
        for (name, plain, ours) in
            [("stdout", &plain.stdout, &ours.stdout), ("stderr", &plain.stderr, &ours.stderr)]
        {
            if plain != ours {
                said.push(format!("{name}: plain:\n{plain}\n{name}: ours:\n{ours}"));
            }
        }
        for path in plain.files.keys().chain(ours.files.keys()) {
            let (plain, ours) = (plain.files.get(path), ours.files.get(path));
            if plain != ours {
                let shown = |file: Option<&(char, u32, Vec<u8>)>| {
                    file.map(|(kind, mode, content)| {
                        format!("{kind} {mode:o} {} bytes", content.len())
                    })
                };
                let shown = (shown(plain), shown(ours));
                said.push(format!("{}: {:?} is {:?}", path.display(), shown.0, shown.1));
                if let (Some((_, _, a)), Some((_, _, b))) = (plain, ours) {
                    let text = |content: &[u8]| {
                        String::from_utf8_lossy(&content[..content.len().min(2000)]).into_owned()
                    };
                    if path.extension().is_some_and(|extension| extension == "d") {
                        said.push(format!("plain: {}\nours: {}", text(a), text(b)));
                    }
                }
            }
        }
        // What was changed last comes last.
        let from = self.history.len().saturating_sub(12);
        said.push(format!("{:?}\nafter:\n{}", self.plan, self.history[from..].join("\n")));
        if std::env::var_os("FORERUNNER_KEEP").is_some() {
            let kept = self.folder.path().with_extension("kept");
            let _ = Command::new("cp").arg("-a").arg(self.folder.path()).arg(&kept).status();
            said.push(format!("kept in {}", kept.display()));
        }
        panic!("{}", said.join("\n"));
    }
}

/// Every file and link below `root`, by its relative path.
fn listing(root: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in WalkDir::new(root) {
        let entry = entry.expect("readable");
        if !entry.file_type().is_dir() {
            paths.push(entry.path().strip_prefix(root).expect("inside").to_owned());
        }
    }
    paths
}

fn described(path: &Path) -> (char, u32, Vec<u8>) {
    let metadata = fs::symlink_metadata(path).expect("there");
    let kind = if metadata.is_symlink() { 'l' } else { '-' };
    let content = fs::read(path).unwrap_or_default();
    (kind, metadata.permissions().mode() & 0o7777, content)
}
