//! A folder in which tools run plainly and through our wrappers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use forerunner_tests::{bin_dir, temp};

/// Content of files by their name.
pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;

pub(super) struct Place {
    folder: tempfile::TempDir,
    /// What a script makes in the folder before each command.
    dress: &'static str,
    environment: Vec<(String, String)>,
}

impl Place {
    pub(super) fn new(dress: &'static str) -> Self {
        Self { folder: temp(), dress, environment: Vec::new() }
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("a path")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root().join("work").join(name)
    }

    /// The state before, made once, then changed by a script.
    pub(super) fn reset(&self, change: &str) {
        let (work, kept) = (self.root().join("work"), self.root().join("kept"));
        if !kept.exists() {
            std::fs::create_dir(&kept).expect("made");
            std::fs::create_dir(&work).expect("made");
            self.shell(&format!("cd ../kept; {}", self.dress));
        }
        std::fs::remove_dir_all(self.root().join("work")).expect("removed");
        std::fs::create_dir(self.root().join("work")).expect("made");
        self.shell(&format!("cp -a ../kept/. .; {change}"));
    }

    fn shell(&self, script: &str) {
        let output = self.run("sh", &["-ec", script]);
        assert!(output.status.success(), "{script}: {output:?}");
    }

    /// Runs a program in the folder; ours are found before those of the system.
    pub(super) fn run(&self, program: &str, words: &[&str]) -> Output {
        Command::new(program)
            .args(words)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin_dir().display()))
            .env("LANG", "C.UTF-8")
            .env("HOME", self.folder.path())
            .env("TMPDIR", "/tmp")
            .env("FORERUNNER_STORE", self.folder.path().join("store"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.path("."))
            .stdin(Stdio::null())
            .output()
            .expect("the program")
    }

    pub(super) fn files(&self) -> Files {
        let root = self.root().join("work");
        walkdir::WalkDir::new(&root)
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_type().is_dir())
            .map(|entry| {
                let name = entry.path().strip_prefix(&root).expect("inside").to_owned();
                (name, std::fs::read(entry.path()).expect("readable"))
            })
            .collect()
    }

    /// A line of `--stats` since the last call.
    pub(super) fn figure(&self, name: &str) -> u64 {
        let said = text(&self.run("recc", &["--stats"]).stdout);
        let since = said.split("since the last --zero-stats").nth(1).unwrap_or_default();
        let line = since.lines().find(|line| line.trim_start().starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    }

    pub(super) fn stats(&self) -> String {
        text(&self.run("recc", &["--stats"]).stdout)
    }

    pub(super) fn forget_figures(&self) {
        self.run("recc", &["--zero-stats"]);
    }

    /// Runs a tool plainly, cold and warm: all must end alike, say the same and leave the same
    /// files. Answers with the hits of the warm run.
    pub(super) fn thrice(&self, tool: &str, words: &[&str], change: &str) -> u64 {
        let what = format!("{tool} {words:?} after `{change}`");
        self.reset(change);
        let plain = self.run(tool, words);
        let expected = self.files();
        let mut hits = 0;
        for round in ["cold", "warm"] {
            self.reset(change);
            self.forget_figures();
            let ours = self.run(&format!("re{tool}"), words);
            let said = |output: &Output| {
                let tidy = |bytes: &[u8]| text(bytes).replace(&format!("/usr/bin/{tool}"), tool);
                (output.status.code(), tidy(&output.stdout), tidy(&output.stderr))
            };
            assert_eq!(said(&ours), said(&plain), "{what}, {round}");
            same(&format!("{what}, {round}"), &expected, &self.files());
            hits = self.figure("hits");
            assert!(round == "warm" || hits == 0, "{what}: a hit at once");
        }
        hits
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn same(what: &str, plain: &Files, ours: &Files) {
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(plain), names(ours), "{what}");
    for (name, content) in plain {
        assert!(ours[Path::new(name)] == *content, "{what}: {} differs", name.display());
    }
}
