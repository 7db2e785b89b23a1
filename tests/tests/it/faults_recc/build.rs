//! A build of a few commands: one with a warning, one with a large object, one that fails, an
//! archive, its index, a program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forerunner_tests::{bin, temp};

use super::hang::output_or_hang;

/// Each with the wrapper that it is run through.
const COMMANDS: &[(&str, &[&str])] = &[
    ("recc", &["gcc", "-Wall", "-MD", "-c", "a.c", "-o", "a.o"]),
    ("recc", &["gcc", "-c", "large.c", "-o", "large.o"]),
    ("recc", &["gcc", "-c", "wrong.c", "-o", "wrong.o"]),
    ("recc", &["gcc", "-c", "main.c", "-o", "main.o"]),
    ("rear", &["ar", "rcS", "lib.a", "a.o", "large.o"]),
    ("reranlib", &["ranlib", "lib.a"]),
    ("recc", &["gcc", "-o", "program", "main.o", "lib.a"]),
];

/// How the wrappers are set up.
pub(super) struct Settings {
    url: String,
    /// Whether they may keep small files in an embedded store.
    pub(super) own_store: bool,
    pub(super) retries: u32,
    /// Remote execution instead of cache-only.
    pub(super) remote: bool,
    pub(super) fallback: bool,
}

impl Settings {
    pub(super) fn cache_only(url: &str) -> Self {
        let url = url.to_owned();
        Self { url, own_store: true, retries: 0, remote: false, fallback: false }
    }

    fn apply(&self, command: &mut Command, store: &Path) {
        let store = if self.own_store { store } else { Path::new("/proc/forerunner") };
        command
            .env("FORERUNNER_STORE", store)
            .env("RECC_SERVER", &self.url)
            .env("RECC_REQUEST_TIMEOUT", "1")
            .env("RECC_RETRY_LIMIT", self.retries.to_string())
            .env("RECC_RETRY_DELAY", "1")
            .env("RECC_LINK", "1")
            .env("RECC_CACHE_UPLOAD_LOCAL_BUILD", "1");
        if !self.remote {
            command.env("RECC_CACHE_ONLY", "1");
        }
        if self.fallback {
            command.env("RECC_FALLBACK_TO_LOCAL", "1");
        }
    }
}

/// What one command did.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    status: Option<i32>,
    stderr: String,
}

/// What the plain tools do.
pub(super) struct Build {
    done: Vec<Done>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Build {
    pub(super) fn new() -> Self {
        // The name of the folder is neither in an object nor in an action (no -g, paths are
        // rewritten): each case builds in a folder of its own.
        let folder = temp();
        lay_out(folder.path());
        let run = |words: &[&str]| {
            let mut command = Command::new(words[0]);
            finish(command.args(&words[1..]), folder.path())
        };
        let done: Vec<Done> = COMMANDS.iter().map(|(_, words)| run(words)).collect();
        let failed = done.iter().filter(|done| done.status != Some(0)).count();
        assert_eq!(failed, 1, "{done:?}");
        Self { done, files: files(folder.path()) }
    }

    /// Builds through the wrappers and compares.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), String> {
        self.check_hits(settings).map(drop)
    }

    /// The same; answers with the number of hits.
    pub(super) fn check_hits(&self, settings: &Settings) -> Result<usize, String> {
        let (folder, home) = (temp(), temp());
        lay_out(folder.path());
        let mut hits = 0;
        for ((wrapper, words), plain) in COMMANDS.iter().zip(&self.done) {
            let ours = self.through(wrapper, words, folder.path(), home.path(), settings)?;
            let what = format!("{wrapper} {}", words.join(" "));
            if ours.status != plain.status {
                return Err(format!("{what}: status {:?}: {}", ours.status, ours.stderr));
            }
            // What it has to say of the server may stand around it.
            if !ours.stderr.contains(&plain.stderr) {
                return Err(format!("{what}: says:\n{}\nnot:\n{}", ours.stderr, plain.stderr));
            }
            hits += usize::from(ours.stderr.contains("Action Cache hit for ["));
        }
        let files = files(folder.path());
        for (path, content) in &self.files {
            match files.get(path) {
                None => return Err(format!("`{}` is missing", path.display())),
                Some(ours) if ours != content => {
                    return Err(format!("`{}` differs", path.display()));
                }
                Some(_) => {}
            }
        }
        let more = files.keys().find(|path| !self.files.contains_key(*path));
        more.map_or(Ok(hits), |path| Err(format!("`{}` is too much", path.display())))
    }

    /// The first command fails as the reference does, and leaves no object.
    pub(super) fn check_failure(&self, settings: &Settings) -> Result<(), String> {
        let (folder, home) = (temp(), temp());
        lay_out(folder.path());
        let (wrapper, words) = COMMANDS[0];
        let done = self.through(wrapper, words, folder.path(), home.path(), settings)?;
        if !matches!(done.status, Some(101 | 102)) || done.stderr.is_empty() {
            return Err(format!("status {:?}, says: {}", done.status, done.stderr));
        }
        if folder.path().join("a.o").exists() {
            return Err("an object is left".to_owned());
        }
        Ok(())
    }

    fn through(
        &self,
        wrapper: &str,
        words: &[&str],
        folder: &Path,
        home: &Path,
        settings: &Settings,
    ) -> Result<Done, String> {
        let mut command = Command::new(bin(wrapper));
        settings.apply(command.args(words), &home.join("store"));
        prepare(&mut command, folder);
        command.env("HOME", home).env("RECC_LOG_LEVEL", "info");
        let output = output_or_hang(&mut command)?;
        Ok(Done {
            status: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

fn prepare(command: &mut Command, folder: &Path) {
    command.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null());
}

fn finish(command: &mut Command, folder: &Path) -> Done {
    prepare(command, folder);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Done {
        status: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn lay_out(folder: &Path) {
    // Ten thousand strings of their own: more than a batch of the server holds.
    let strings: Vec<String> = (0..10_000).map(|n| format!("\"string {n}\"")).collect();
    let large = format!("const char *const strings[] = {{{}}};\n", strings.join(",\n"));
    let files = [
        ("a.h", "#pragma once\nint a(int);\n"),
        (
            "a.c",
            "#include \"a.h\"\n#include <stdlib.h>\nint a(int x) { int unused; return abs(x); }\n",
        ),
        ("large.c", large.as_str()),
        ("wrong.c", "int wrong(void) { return nowhere; }\n"),
        ("main.c", "#include \"a.h\"\nint main(void) { return a(0); }\n"),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("written");
    }
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let content = std::fs::read(&path).expect("readable");
            (path.file_name().expect("a name").into(), content)
        })
        .collect()
}
