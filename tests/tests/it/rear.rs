//! rear and reranlib: the same archives as ar and ranlib, whether made or taken.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use forerunner_tests::{bin, on_path, peer, temp};

/// Command lines of ar. They run in a directory with `a.o b.o d/a.o e.o`, the archives `old.a`
/// (a.o b.o), `dup.a` (a.o d/a.o), `thin.a` (a.o b.o) and `empty.a`, and the response file `r`.
const LINES: &[&str] = &[
    "rcs new.a a.o b.o",
    "-rcs new.a a.o b.o",
    "rc new.a a.o",
    "r new.a a.o",
    "rcv new.a a.o b.o",
    "cr new.a a.o",
    "csr new.a b.o a.o",
    "csrD new.a b.o a.o",
    "rcsD new.a a.o d/a.o",
    "rcsD new.a a.o a.o",
    "qc new.a a.o b.o",
    "qcD new.a a.o a.o",
    "qcs new.a a.o d/a.o b.o",
    "rcS new.a a.o",
    "rcsP new.a d/a.o a.o",
    "cDPrST new.a d/a.o",
    "crT new.a a.o b.o",
    "crsT new.a a.o d/a.o",
    "rcsT sub/new.a a.o",
    "rcs sub/new.a a.o",
    "rcs ./new.a ./a.o",
    "rcs new.a d/../a.o",
    "rcsD new.a @r",
    "@op new.a a.o",
    "rcs new.a",
    "rc new.a e.o",
    "rcs old.a e.o",
    "rD old.a b.o",
    "rcsD old.a d/a.o",
    "rs old.a a.o b.o e.o",
    "rsD empty.a a.o",
    "rsD dup.a a.o",
    "qD old.a a.o",
    "qsD old.a e.o",
    "d old.a a.o",
    "dD old.a a.o",
    "ds old.a b.o",
    "dsv old.a a.o",
    "d old.a nothing.o",
    "dD dup.a a.o",
    "m old.a a.o",
    "mD old.a a.o",
    "rbD b.o old.a e.o",
    "raD a.o old.a e.o",
    "riD b.o old.a e.o",
    "maD b.o old.a a.o",
    "mbD a.o old.a b.o",
    "s old.a",
    "sD old.a",
    "sv old.a",
    "s empty.a",
    "--thin -rcD new.a a.o",
    "rcsD new.a old.a",
    "rcsDT new.a old.a",
    "rcsD thin.a e.o",
    "dD thin.a a.o",
    "rcsD new.a \u{20ac}.o",
    "rcsD new.a a-name-that-is-longer-than-sixteen-bytes.o b.o",
    "rcsD liba.a.tmp a.o",
    "rcu new.a a.o b.o",
    "rcsDo new.a a.o",
    "rcsDf new.a a-name-that-is-longer-than-sixteen-bytes.o",
    "-c -r -s new.a a.o",
    "rcs -D new.a a.o",
    "rcs new.a gone.o",
    "rcs gone/new.a a.o",
    "t old.a",
    "p old.a a.o",
    "rcsU new.a a.o",
    "ru old.a a.o",
    "--help",
    "rd old.a a.o",
];

/// What is run with a script on standard input.
const SCRIPTS: &[&str] = &[
    "CREATE new.a\nADDMOD a.o\nADDMOD b.o\nSAVE\nEND\n",
    "create new.a\naddlib old.a\naddmod e.o\nsave\nend\n",
    "CREATETHIN new.a\nADDMOD a.o\nSAVE\nEND\n",
    "OPEN old.a\nDELETE a.o\nSAVE\nEND\n",
    "CREATE new.a\nADDMOD a.o\nEND\n",
];

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: temp() }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("a path").join("work")
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
        let objects = self.folder.path().join("objects");
        if !objects.exists() {
            self.shell(
                "mkdir -p ../objects/d ../objects/sub; cd ../objects; \
                 for n in a b e d/a; do \
                   echo \"int v_$(echo $n | tr / _)(void) { return 1; }\" > x.c; gcc -c x.c -o $n.o; done; \
                 cp a.o \u{20ac}.o; cp a.o a-name-that-is-longer-than-sixteen-bytes.o; \
                 ar rcsD old.a a.o b.o; ar qcsD dup.a a.o d/a.o; ar rcsDT thin.a a.o b.o; \
                 ar rcsD empty.a; printf 'a.o b.o' > r; printf 'rcsD' > op; rm x.c",
            );
        }
        self.shell("cp -p -r ../objects/. .");
    }

    fn run(&self, program: &Path, arguments: &[&str], stdin: Option<&str>) -> Output {
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

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found: Vec<_> = walkdir::WalkDir::new(self.work())
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| (entry.path().to_owned(), std::fs::read(entry.path()).expect("a file")))
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
    fn compare(&self, ours: &str, program: &str, arguments: &[&str], stdin: Option<&str>) {
        self.reset();
        let real = on_path(program).expect("the program");
        // Times of archives that bear real ones differ from run to run, and so may their bytes.
        let real_times = arguments.first().is_some_and(|word| word.contains('U'));
        // By its plain name, which the messages repeat.
        let plain = self.run(Path::new(program), arguments, stdin);
        let expected = self.files();
        for round in ["cold", "warm"] {
            self.reset();
            let mut words = vec![program];
            words.extend(arguments);
            let output = self.run(&bin(ours), &words, stdin);
            let name = format!("{program} {} ({round})", arguments.join(" "));
            assert_eq!(output.status.code(), plain.status.code(), "{name}: {output:?}");
            let tidy = |bytes: &[u8]| {
                String::from_utf8_lossy(bytes).replace(&real.display().to_string(), program)
            };
            assert_eq!(tidy(&output.stdout), tidy(&plain.stdout), "{name}");
            assert_eq!(tidy(&output.stderr), tidy(&plain.stderr), "{name}");
            assert!(real_times || self.files() == expected, "{name}: other files");
        }
    }
}

fn all(ar: &str, at_least: u64) {
    if peer(ar, on_path(ar)).is_none() || peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    for line in LINES {
        let words: Vec<&str> = line.split(' ').collect();
        place.compare("rear", ar, &words, None);
    }
    for script in SCRIPTS {
        place.compare("rear", ar, &["-M"], Some(script));
    }
    let hits = place.hits();
    assert!(hits >= at_least, "{hits} hits");
}

#[test]
fn the_same_archives_as_gnu_ar() {
    all("ar", 50);
}

#[test]
fn the_same_archives_as_llvm_ar() {
    all("llvm-ar", 40);
}

#[test]
fn the_same_archives_as_gcc_ar() {
    all("gcc-ar", 50);
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
        for line in [
            "old.a",
            "-D old.a",
            "old.a dup.a",
            "empty.a",
            "-U old.a",
            "-t old.a",
            "gone.a",
            "--version",
            "thin.a",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            place.compare("reranlib", ranlib, &words, None);
        }
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
