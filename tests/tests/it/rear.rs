//! rear and reranlib: the same archives as ar and ranlib, whether made or taken.

mod lines;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use forerunner_tests::{bin, long, on_path, peer, temp};

use lines::{DRESS, LINES, RANLIB, SCRIPTS};

/// A file or link: mode and number of names, content.
type Entry = (PathBuf, (u32, u64), Vec<u8>);

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: temp() }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("a path").join("here")
    }

    fn dress(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", self.folder.path())
            .env("FORERUNNER_STORE", self.folder.path().join("store"))
            .current_dir(self.work());
    }

    fn shell(&self, script: &str) {
        let mut shell = Command::new("/bin/sh");
        self.dress(&mut shell);
        assert!(shell.args(["-ec", script]).status().expect("sh").success(), "{script}");
    }

    /// The same state each time. The objects are compiled once.
    fn reset(&self) {
        let _ = std::fs::remove_dir_all(self.work());
        std::fs::create_dir(self.work()).expect("a directory");
        if !self.folder.path().join("objects").exists() {
            self.shell(&format!("mkdir ../objects; cd ../objects; {DRESS}"));
        }
        self.shell("cp -a ../objects/. .");
    }

    fn run<W: AsRef<OsStr>>(&self, program: &Path, arguments: &[W], stdin: Option<&str>) -> Output {
        use std::io::Write as _;
        let mut command = Command::new(program);
        self.dress(&mut command);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().expect("the program");
        if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
            let _ = pipe.write_all(text.as_bytes());
        }
        child.wait_with_output().expect("its end")
    }

    /// Every file and link with its mode, how many names it has, and what is in it.
    fn files(&self) -> Vec<Entry> {
        use std::os::unix::ffi::OsStringExt as _;
        use std::os::unix::fs::MetadataExt as _;
        let read = |path: &Path| match std::fs::read_link(path) {
            Ok(target) => target.into_os_string().into_vec(),
            Err(_) => std::fs::read(path).expect("a file"),
        };
        let mut found: Vec<_> = walkdir::WalkDir::new(self.work())
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_type().is_dir())
            .map(|entry| {
                let metadata = entry.metadata().expect("there");
                let (path, content) = (entry.path().to_owned(), read(entry.path()));
                (path, (metadata.mode(), metadata.nlink()), content)
            })
            .collect();
        found.sort();
        found
    }

    fn hits(&self) -> u64 {
        let output = self.run(&bin("rear"), &["--stats"], None);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = text.split("since the store was made").nth(1).expect("figures").to_owned();
        let line =
            all.lines().find(|line| line.trim().starts_with("hits")).expect("a line").to_owned();
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    }

    /// Runs a command plainly, cold and warm, each from the same state.
    fn compare(
        &self,
        ours: &str,
        program: &str,
        arguments: &[OsString],
        stdin: Option<&str>,
    ) -> Result<(), String> {
        self.reset();
        let real = on_path(program).expect("the program");
        // Times of archives that bear real ones differ from run to run, and so may their bytes.
        let real_times = arguments.first().is_some_and(|word| word.to_string_lossy().contains('U'));
        // By its plain name, which the messages repeat.
        let plain = self.run(Path::new(program), arguments, stdin);
        let expected = self.files();
        for round in ["cold", "warm"] {
            self.reset();
            let words = [&[program.into()], arguments].concat();
            let output = self.run(&bin(ours), &words, stdin);
            let tidy = |bytes: &[u8]| {
                String::from_utf8_lossy(bytes).replace(&real.display().to_string(), program)
            };
            let said = |output: &Output| {
                (output.status.code(), tidy(&output.stdout), tidy(&output.stderr))
            };
            let mut wrong = String::new();
            if said(&output) != said(&plain) {
                wrong = format!("{:?} instead of {:?}", said(&output), said(&plain));
            }
            if !real_times {
                wrong += &other_files(&expected, &self.files());
            }
            if !wrong.is_empty() {
                return Err(format!("{program} {arguments:?} {stdin:?} ({round}): {wrong}"));
            }
        }
        Ok(())
    }
}

/// The first file that differs, if any does.
fn other_files(plain: &[Entry], ours: &[Entry]) -> String {
    let differs = plain.iter().zip(ours).find(|(plain, ours)| plain != ours);
    let shown = |(path, (mode, names), content): &Entry| {
        format!("{} {mode:o} {names} names {} bytes", path.display(), content.len())
    };
    match differs {
        Some((plain, ours)) => format!("\n plain {}\n ours {}", shown(plain), shown(ours)),
        None if plain.len() != ours.len() => format!("{} and {} files", plain.len(), ours.len()),
        None => String::new(),
    }
}

/// A line's words.
fn words(line: &str) -> Vec<OsString> {
    use std::os::unix::ffi::OsStringExt as _;
    let word = |text: &str| {
        let mut bytes = Vec::new();
        let mut parts = text.split('%');
        bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).expect("a byte"));
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        OsString::from_vec(bytes)
    };
    line.replace("{plugin}", plugin()).split(' ').map(word).collect()
}

/// gcc's plugin for the archivers.
fn plugin() -> &'static str {
    static PLUGIN: OnceLock<String> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        let mut gcc = Command::new("gcc");
        forerunner_tests::run(gcc.arg("-print-file-name=liblto_plugin.so")).trim().to_owned()
    })
}

/// Every `step`-th command line.
fn all(ar: &str, step: usize, at_least: u64) {
    if peer(ar, on_path(ar)).is_none() || peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    let lines =
        LINES.iter().step_by(step).map(|line| place.compare("rear", ar, &words(line), None));
    let scripts = SCRIPTS
        .iter()
        .step_by(step)
        .map(|script| place.compare("rear", ar, &words("-M"), Some(script)));
    none_wrong(lines.chain(scripts));
    let hits = place.hits();
    assert!(hits >= at_least, "{hits} hits");
}

fn none_wrong(results: impl Iterator<Item = Result<(), String>>) {
    let wrong: Vec<String> = results.filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn there_are_many_command_lines() {
    let lines: BTreeSet<_> = LINES.iter().collect();
    let scripts: BTreeSet<_> = SCRIPTS.iter().collect();
    assert_eq!((lines.len(), scripts.len()), (LINES.len(), SCRIPTS.len()), "some stand twice");
    assert!(lines.len() + scripts.len() >= 200, "{}", lines.len() + scripts.len());
}

#[test]
fn the_same_archives_as_gnu_ar() {
    all("ar", 1, 100);
}

#[test]
fn the_same_archives_as_llvm_ar() {
    all("llvm-ar", 1, 80);
}

#[test]
fn the_same_archives_as_a_prefixed_ar() {
    all("x86_64-linux-gnu-ar", if long() { 1 } else { 12 }, 8);
}

/// It starts the plain one with gcc's plugin.
#[test]
fn the_same_archives_as_gcc_ar() {
    all("gcc-ar", if long() { 1 } else { 4 }, 25);
}

#[test]
fn the_same_index_as_ranlib() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    for ranlib in ["ranlib", "llvm-ranlib"] {
        if peer(ranlib, on_path(ranlib)).is_none() {
            continue;
        }
        let place = Place::new();
        none_wrong(RANLIB.iter().map(|line| place.compare("reranlib", ranlib, &words(line), None)));
        assert!(place.hits() >= 4, "{} hits", place.hits());
    }
}

/// The archive on disk is the old one or the new one.
#[test]
fn an_archive_that_cannot_be_written_stays() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    place.reset();
    let store = place.run(&bin("rear"), &["rcsD", "old.a", "e.o"], None);
    assert!(store.status.success());
    place.reset();
    let before = std::fs::read(place.work().join("old.a")).expect("the archive");
    // No file larger than some blocks can be written: neither by us nor by ar.
    let script = format!("ulimit -f 1; {} rcsD old.a e.o e.o d/a.o b.o", bin("rear").display());
    let mut shell = Command::new("/bin/sh");
    place.dress(&mut shell);
    let output = shell.args(["-c", &script]).output().expect("sh");
    assert!(!output.status.success());
    let after = std::fs::read(place.work().join("old.a")).expect("the archive");
    assert!(after == before, "the old archive is damaged");
}
