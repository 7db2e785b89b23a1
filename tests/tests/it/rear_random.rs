//! Never a wrong archive: archives in a folder are changed at random, by `ar` in one world and by
//! `rear` in its twin, and after each step both hold the same files, said the same and ended alike.
//!
//! The seed is printed; `FORERUNNER_SEED` repeats a run, `FORERUNNER_STEPS` changes its length.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use forerunner_tests::{bin, long, on_path, peer, run, temp};

use crate::dice::{self, Dice, walk};

/// Steps in one world before the next one begins, with a store of its own.
const STEPS_PER_WORLD: usize = 50;

const MEMBERS: &[&str] =
    &["a.o", "b.o", "d/a.o", "seventeen-chars.o", "sp ace.o", "text", "d/e.o", "gone.o"];
const ARCHIVES: &[&str] = &["l.a", "d/m.a", "t.a", "link.a", "twin.a"];

struct World {
    folder: tempfile::TempDir,
    dice: Dice,
    ar: &'static str,
    succeeded: usize,
}

/// A command: words, and a script on standard input.
type Line = (Vec<String>, Option<String>);
/// A file or link: its name, mode, number of names, content or target.
type Entry = (PathBuf, u32, u64, Vec<u8>);

impl World {
    fn new(mut dice: Dice) -> Self {
        let ar = dice.of(&["ar", "ar", "llvm-ar"]);
        let world = Self { folder: temp(), ar, dice, succeeded: 0 };
        let script = "mkdir pool plain ours plain/d ours/d; cd pool
            for n in 1 2 3 4; do
                echo \"int f$n(void) { return $n; } int g$n;\" >x.c; gcc -c x.c -o $n.o
            done; echo some text >5.o";
        world.shell(script);
        for (number, name) in MEMBERS.iter().enumerate().take(7) {
            world.both(&format!("cp -p ../pool/{}.o '{name}'", number % 5 + 1));
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shell(&self, script: &str) {
        let mut sh = Command::new("sh");
        run(sh.args(["-ec", script]).current_dir(self.folder.path()));
    }

    /// Does the same in both worlds.
    fn both(&self, script: &str) {
        self.shell(&format!("(cd plain; {script}); (cd ours; {script})"));
    }

    /// Something happens to the files.
    fn happen(&mut self) {
        let member = (*self.dice.of(&MEMBERS[..7])).to_owned();
        let archive = *self.dice.of(ARCHIVES);
        let number = self.dice.below(5) + 1;
        let script = match self.dice.below(8) {
            0..=3 => format!("cp -p ../pool/{number}.o '{member}'"),
            4 => format!("rm -f '{archive}'"),
            5 => "rm -f link.a; ln -s l.a link.a".to_owned(),
            6 => "rm -f twin.a; if [ -f l.a ]; then ln l.a twin.a; fi".to_owned(),
            _ => format!("if [ -f '{archive}' ]; then chmod 640 '{archive}'; fi"),
        };
        self.both(&script);
    }

    fn members(&mut self) -> Vec<String> {
        // One that is not there is seldom worth it.
        let many = if self.dice.once_in(8) { 8 } else { 7 };
        let count = 1 + self.dice.below(4);
        (0..count).map(|_| (*self.dice.of(&MEMBERS[..many])).to_owned()).collect()
    }

    fn line(&mut self) -> Line {
        let archive = (*self.dice.of(ARCHIVES)).to_owned();
        let members = self.members();
        let name = members[0].rsplit('/').next().unwrap_or_default().to_owned();
        let mut letters = (*self.dice.of(&["r", "r", "r", "q", "q", "d", "m", "s"])).to_owned();
        for (letter, times) in [("c", 2), ("s", 2), ("S", 5), ("T", 4), ("P", 4), ("v", 4)] {
            if self.dice.once_in(times) {
                letters += letter;
            }
        }
        letters += "D";
        let mut words = Vec::new();
        if letters.starts_with(['r', 'm']) && self.dice.once_in(4) {
            letters.push_str(self.dice.of::<&str>(&["a", "b", "i"]));
            words.push((*self.dice.of(&["a.o", "b.o", "text"])).to_owned());
        } else if letters.starts_with(['d', 'm']) && self.dice.once_in(4) {
            letters += "N";
            words.push((1 + self.dice.below(3)).to_string());
        }
        let operands = match letters.chars().next() {
            Some('s') => Vec::new(),
            Some('d' | 'm') => vec![name],
            _ if self.dice.once_in(6) => vec![(*self.dice.of(ARCHIVES)).to_owned()],
            _ => members,
        };
        if self.dice.once_in(10) && !operands.iter().any(|word| word.contains([' ', '~'])) {
            let script = format!("CREATE {archive}\nADDMOD {}\nSAVE\nEND\n", operands.join(", "));
            let whole = !operands.is_empty() && operands.iter().all(|o| self.exists(o));
            if whole {
                return (vec!["-M".to_owned()], Some(script));
            }
        }
        words.insert(0, letters);
        words.push(archive);
        words.extend(operands);
        if self.dice.once_in(6) {
            // Some or all of the words in a file.
            let at = self.dice.below(words.len() - 1) + 1;
            let quoted: Vec<String> =
                words.split_off(at).iter().map(|w| w.replace(' ', "\\ ")).collect();
            let text = quoted.join("\n");
            for world in ["plain", "ours"] {
                std::fs::write(self.path(world).join("words"), &text).expect("written");
            }
            words.push("@words".to_owned());
        }
        (words, None)
    }

    fn exists(&self, name: &str) -> bool {
        self.path("plain").join(name).exists()
    }

    fn run(&self, world: &str, line: &Line) -> Output {
        use std::io::Write as _;
        let program = if world == "ours" { bin("rear") } else { PathBuf::from(self.ar) };
        let mut command = Command::new(program);
        if world == "ours" {
            command.arg(self.ar);
        }
        command
            .args(&line.0)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", self.folder.path())
            .env("FORERUNNER_STORE", self.path("store"))
            .current_dir(self.path(world))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        if let Some(mut pipe) = child.stdin.take() {
            let _written = pipe.write_all(line.1.as_deref().unwrap_or_default().as_bytes());
        }
        child.wait_with_output().expect("its end")
    }

    fn files(&self, world: &str) -> Vec<Entry> {
        use std::os::unix::ffi::OsStringExt as _;
        use std::os::unix::fs::MetadataExt as _;
        let root = self.path(world);
        let entry = |entry: walkdir::DirEntry| {
            let metadata = entry.metadata().expect("there");
            let content = match std::fs::read_link(entry.path()) {
                Ok(target) => target.into_os_string().into_vec(),
                Err(_) => std::fs::read(entry.path()).expect("readable"),
            };
            let name = entry.path().strip_prefix(&root).expect("inside").to_owned();
            (name, metadata.mode(), metadata.nlink(), content)
        };
        let entries = walkdir::WalkDir::new(&root).into_iter().filter_map(Result::ok);
        let mut found: Vec<_> =
            entries.filter(|found| !found.file_type().is_dir()).map(entry).collect();
        found.sort();
        found
    }
}

impl dice::World for World {
    fn step(&mut self, at: &str) {
        for _ in 0..self.dice.below(3) {
            self.happen();
        }
        let line = self.line();
        let again = self.dice.once_in(2);
        if again {
            self.shell("rm -rf before; cp -a ours before");
        }
        let plain = self.run("plain", &line);
        let expected = self.files("plain");
        self.succeeded += usize::from(plain.status.success());
        for round in 0..=usize::from(again) {
            if round == 1 {
                self.shell("rm -rf ours; mv before ours");
            }
            let ours = self.run("ours", &line);
            let what = format!("{at}, round {round}: {} {line:?}", self.ar);
            assert_eq!(ours, plain, "{what}");
            let found = self.files("ours");
            let differs = expected.iter().zip(&found).find(|(plain, ours)| plain != ours);
            if let Some((plain, ours)) = differs {
                let shown = |entry: &Entry| {
                    let (name, mode, names, content) = entry;
                    let start = String::from_utf8_lossy(&content[..content.len().min(400)]);
                    format!("{name:?} {mode:o} {names} {} {start:?}", content.len())
                };
                panic!("{what}: plain {}, ours {}", shown(plain), shown(ours));
            }
            assert_eq!(found.len(), expected.len(), "{what}: as many files");
        }
    }

    fn hits(&self) -> usize {
        let said = self.run("ours", &(vec!["--version".to_owned()], None));
        assert!(said.status.success());
        let mut recc = Command::new(bin("recc"));
        recc.arg("--stats").env("FORERUNNER_STORE", self.path("store"));
        let said = run(recc.current_dir(self.folder.path()));
        let line = said.lines().find(|line| line.trim_start().starts_with("hits"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    }

    fn succeeded(&self) -> usize {
        self.succeeded
    }
}

#[test]
fn never_a_wrong_archive() {
    let tools = on_path("gcc").and(on_path("llvm-ar"));
    let Some(_) = peer("gcc and llvm-ar", tools) else { return };
    let walk = walk(if long() { 5_000 } else { 100 }, 20_261_122, STEPS_PER_WORLD, World::new);
    // Otherwise nothing was tried.
    assert!(walk.succeeded * 3 > walk.steps, "only {} commands succeeded", walk.succeeded);
    assert!(walk.hits * 25 > walk.steps, "{} hits in {} steps", walk.hits, walk.steps);
}
