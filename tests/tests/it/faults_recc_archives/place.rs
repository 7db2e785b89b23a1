//! A folder with members and an archive, and what is done to the archive.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use forerunner_tests::{bin, on_path, temp};

/// Something done to `lib.a`.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// `ar` or `ranlib`.
    pub(super) tool: &'static str,
    words: &'static [&'static str],
    stdin: &'static str,
    /// A member that is read.
    pub(super) member: Option<&'static str>,
    /// No archive is there before.
    pub(super) fresh: bool,
    pub(super) form: Form,
}

/// What stands at `lib.a`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    File,
    /// A link to a file in another folder.
    Link,
    /// A file that is also called `twin.a`.
    Twin,
}

const fn ar(name: &'static str, words: &'static [&'static str]) -> Case {
    Case {
        name,
        tool: "ar",
        words,
        stdin: "",
        member: Some("two.o"),
        fresh: false,
        form: Form::File,
    }
}

pub(super) const CASES: &[Case] = &[
    Case { fresh: true, ..ar("create", &["rcs", "lib.a", "one.o", "two.o"]) },
    Case { fresh: true, ..ar("thin", &["rcsDT", "lib.a", "one.o", "two.o"]) },
    ar("replace", &["rs", "lib.a", "one.o", "two.o"]),
    ar("append", &["q", "lib.a", "two.o"]),
    Case { member: None, ..ar("delete", &["d", "lib.a", "one.o"]) },
    Case { member: None, ..ar("move", &["m", "lib.a", "one.o"]) },
    Case { member: None, ..ar("index", &["s", "lib.a"]) },
    Case { stdin: "OPEN lib.a\nADDMOD two.o\nSAVE\nEND\n", ..ar("script", &["-M"]) },
    Case {
        stdin: "CREATE lib.a\nADDMOD one.o\nADDMOD two.o\nSAVE\nEND\n",
        ..ar("script that creates", &["-M"])
    },
    Case { tool: "ranlib", member: None, ..ar("ranlib", &["lib.a"]) },
    Case { form: Form::Link, ..ar("through a link", &["rs", "lib.a", "two.o"]) },
    Case { form: Form::Twin, ..ar("with a second name", &["rs", "lib.a", "two.o"]) },
    ar("response file", &["@words"]),
];

/// What stands in the response file.
const WORDS: &str = "rs lib.a one.o two.o\n";

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// `None` if a signal ended it.
    pub(super) status: Option<i32>,
    pub(super) stderr: String,
}

/// What the wrappers know before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Empty,
    /// The result of this very command.
    Full,
}

/// The folder. Everything happens at one path, which is part of what is stored.
pub(super) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let folder = temp();
        let place = Self { folder };
        let root = place.folder.path();
        // Others must get here too (see `not_writable`), and to our programs.
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("a mode");
        for name in ["rear", "reranlib"] {
            fs::create_dir_all(root.join("bin")).expect("made");
            fs::copy(bin(name), root.join("bin").join(name)).expect("copied");
        }
        for name in ["members", "site"] {
            fs::create_dir(root.join(name)).expect("made");
        }
        fs::write(root.join("members/words"), WORDS).expect("written");
        for name in ["zero", "one", "two", "other"] {
            let strings: Vec<String> = (0..1_500).map(|n| format!("\"{name} {n}\"")).collect();
            let text = format!("const char *{name}[] = {{{}}};\nint {name}_f;", strings.join(","));
            fs::write(root.join("members").join(format!("{name}.c")), text).expect("written");
            forerunner_tests::run(
                Command::new("gcc")
                    .current_dir(root.join("members"))
                    .args(["-c", &format!("{name}.c")]),
            );
        }
        place
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("site").join(name)
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The state before, with this store.
    pub(super) fn reset(&self, case: &Case, store: Store) {
        self.unprotect();
        if self.store().exists() {
            fs::remove_dir_all(self.store()).expect("removed");
        }
        if store == Store::Full {
            self.reset_files(case);
            assert_eq!(self.run(case, &[]).status, Some(0), "{}", case.name);
            assert_eq!(self.archive(), self.wanted(case), "{}", case.name);
        }
        self.reset_files(case);
    }

    /// The state before, except for the store.
    pub(super) fn reset_files(&self, case: &Case) {
        self.unprotect();
        let site = self.path("");
        fs::remove_dir_all(&site).expect("removed");
        fs::create_dir(&site).expect("made");
        for name in ["zero.o", "one.o", "two.o", "other.o"] {
            fs::copy(self.folder.path().join("members").join(name), self.path(name))
                .expect("copied");
        }
        fs::write(self.path("words"), WORDS).expect("written");
        let Some(old) = self.old(case) else { return };
        fs::create_dir(self.path("real")).expect("made");
        let (real, name) = (self.path("real/lib.a"), self.path("lib.a"));
        let written = match case.form {
            Form::File => fs::write(name, old),
            Form::Link => fs::write(real, old).and_then(|()| symlink("real/lib.a", name)),
            Form::Twin => {
                fs::write(&name, old).and_then(|()| fs::hard_link(name, self.path("twin.a")))
            }
        };
        written.expect("written");
    }

    /// What our wrappers left beside the archive.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path(".")).expect("readable").filter_map(Result::ok);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains(".forerunner-")).collect()
    }

    pub(super) fn archive(&self) -> Option<Vec<u8>> {
        fs::read(self.path("lib.a")).ok()
    }

    /// The archive before.
    pub(super) fn old(&self, case: &Case) -> Option<Vec<u8>> {
        (!case.fresh).then(|| {
            self.made("old", || {
                let words: &[&str] = &["rcS", "lib.a", "zero.o", "one.o"];
                forerunner_tests::run(Command::new("ar").current_dir(self.aside()).args(words));
            })
        })
    }

    /// The archive after.
    pub(super) fn wanted(&self, case: &Case) -> Option<Vec<u8>> {
        Some(self.made(case.name, || {
            if let Some(old) = self.old(case) {
                fs::write(self.aside().join("lib.a"), old).expect("written");
            }
            let mut command = Command::new(case.tool);
            command.args(case.words).current_dir(self.aside());
            assert_eq!(feed(&mut command, case.stdin).status, Some(0), "{}", case.name);
        }))
    }

    /// What a command makes in a folder with the members, made once.
    fn made(&self, name: &str, make: impl Fn()) -> Vec<u8> {
        let kept = self.folder.path().join(format!("{name}.kept"));
        if !kept.exists() {
            make();
            fs::rename(self.aside().join("lib.a"), &kept).expect("renamed");
        }
        fs::read(kept).expect("readable")
    }

    fn aside(&self) -> PathBuf {
        self.folder.path().join("members")
    }

    /// Runs a case through our wrapper, started by the words `before`.
    pub(super) fn run(&self, case: &Case, before: &[&str]) -> Ended {
        self.run_with(case, before, &[])
    }

    pub(super) fn run_with(
        &self,
        case: &Case,
        before: &[&str],
        environment: &[(&str, &str)],
    ) -> Ended {
        let wrapper = self.wrapper(case);
        let mut words: Vec<&str> = before.to_vec();
        words.push(&wrapper);
        words.extend(case.words);
        let mut command = self.command(&words);
        feed(command.envs(environment.iter().copied()), case.stdin)
    }

    /// The same through the plain tool.
    pub(super) fn run_plain(&self, case: &Case, before: &[&str]) -> Ended {
        let mut words: Vec<&str> = before.to_vec();
        words.push(case.tool);
        words.extend(case.words);
        feed(&mut self.command(&words), case.stdin)
    }

    /// Runs a case on a file system with so much room left, and copies the archive back.
    pub(super) fn run_in_tmpfs(&self, case: &Case, way: &[&str], room_kib: u32) -> Ended {
        let script = "set -e
            mkdir ../saved; cp -a . ../saved
            mount -t tmpfs -o size=8m tmpfs \"$PWD\"; cd \"$PWD\"
            cp -a ../saved/. .
            if [ \"$1\" != 0 ]; then dd if=/dev/zero of=room bs=1k count=$1 status=none; fi
            dd if=/dev/zero of=full bs=4k status=none 2>/dev/null || true
            rm -f room; shift
            status=0; \"$@\" || status=$?
            rm full; if [ -e lib.a ]; then cp lib.a ../saved/after.a; fi
            exit $status";
        let (wrapper, room) = (self.wrapper(case), room_kib.to_string());
        let mut words: Vec<&str> = way.to_vec();
        words.extend(["sh", "-c", script, "sh", &room, &wrapper]);
        words.extend(case.words);
        let ended = feed(&mut self.command(&words), case.stdin);
        let saved = self.folder.path().join("saved");
        let _ = fs::remove_file(self.path("lib.a"));
        if saved.join("after.a").exists() {
            fs::copy(saved.join("after.a"), self.path("lib.a")).expect("copied");
        }
        fs::remove_dir_all(saved).expect("removed");
        ended
    }

    fn wrapper(&self, case: &Case) -> String {
        self.folder.path().join("bin").join(format!("re{}", case.tool)).display().to_string()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .current_dir(self.path(""))
            .env("HOME", self.folder.path())
            .env("LC_ALL", "C")
            .env("FORERUNNER_STORE", self.store());
        command
    }

    pub(super) fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// Makes the files and the store those of everyone.
    pub(super) fn give_away(&self) {
        let mut command = Command::new("chmod");
        command.args(["-R", "a+rwX"]).arg(self.path(""));
        if !self.store().exists() {
            fs::create_dir(self.store()).expect("made");
        }
        forerunner_tests::run(command.arg(self.store()));
        let owner = Some(nix::unistd::Uid::from_raw(65534));
        if nix::unistd::geteuid().is_root() {
            for name in ["lib.a", "."] {
                nix::unistd::chown(&self.path(name), owner, None).expect("an owner");
            }
            let mut command = Command::new("chown");
            forerunner_tests::run(command.args(["-R", "65534"]).arg(self.store()));
        }
    }

    pub(super) fn unprotect(&self) {
        let permissions = fs::Permissions::from_mode(0o777);
        fs::set_permissions(self.path("."), permissions).expect("a mode");
    }
}

/// Runs a command that reads `text`.
fn feed(command: &mut Command, text: &str) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        // It may be dead already.
        let _written = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().expect("an end");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ended { status: output.status.code(), stderr }
}

/// How to start a program with mounts of its own.
pub(super) fn with_mounts() -> Option<Vec<String>> {
    let unshare = on_path("unshare")?.display().to_string();
    let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--user", "--map-root-user"]];
    ways.into_iter().find_map(|flags| {
        let way: Vec<String> =
            [&unshare[..]].into_iter().chain(flags.iter().copied()).map(str::to_owned).collect();
        let mut probe = Command::new(&way[0]);
        probe.args(&way[1..]).arg("true").stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success()).then_some(way)
    })
}
