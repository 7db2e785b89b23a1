//! recc: the same actions as the reference, the same files as the compiler.

mod both;
mod edited;
mod knowing;
mod names;
mod nearby;
mod once;
mod plain;
mod precompiled;
mod profile;
mod reference;
mod remote;
mod rules;
mod sandbox;
mod search;
mod shared;
mod signals;
mod sysroot;
mod verify;
mod watched;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use forerunner_tests::{bin, long, peer, peers, temp};

/// A directory to work in, and a store of its own.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: temp() };
        std::fs::create_dir(place.work()).expect("a directory");
        place
    }

    fn work(&self) -> PathBuf {
        // The real path: what a compiler writes into objects must not change between runs.
        self.folder.path().canonicalize().expect("a path").join("work")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    /// Writes a program; answers with its path.
    fn script(&self, name: &str, text: &str) -> String {
        self.write(name, text);
        let path = self.work().join(name);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("a mode");
        path.display().to_string()
    }

    /// One of our programs with a clean environment.
    fn ours(&self, program: &str) -> Command {
        let mut command = Command::new(bin(program));
        self.dress(&mut command);
        command
    }

    fn dress(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("FORERUNNER_STORE", self.folder.path().join("store"))
            .current_dir(self.work());
    }

    /// Hits and misses so far.
    fn figures(&self) -> (u64, u64) {
        let output = self.ours("recc").arg("--stats").output().expect("recc");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = text.split("since the store was made").nth(1).expect("figures").to_owned();
        let number = |name: &str| -> u64 {
            let line = all.lines().find(|line| line.trim().starts_with(name)).expect("a line");
            line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
        };
        (number("hits"), number("misses"))
    }
}

/// A folder in a Debian unstable that has the reference recc, with ours in it as `ours`.
struct Chroot {
    folder: tempfile::TempDir,
    /// The folder as it is called inside.
    inside: String,
}

impl Chroot {
    /// In the long form of tests only: the system is made for it.
    fn new() -> Option<Self> {
        if !long() {
            return None;
        }
        let root = peers().join("sid");
        let reference = root.join("usr/bin/recc").is_file().then_some(());
        peer("recc 1.4.30 in a chroot", reference)?;
        let folder = tempfile::tempdir_in(root.join("tmp")).expect("a directory in the chroot");
        std::fs::copy(bin("recc"), folder.path().join("ours")).expect("our recc");
        let name = folder.path().file_name().expect("a name").to_string_lossy();
        let inside = format!("/tmp/{name}");
        Some(Self { folder, inside })
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(peers().join("sid")).args(["/bin/sh", "-c", script]);
        command
    }
}

/// Every file below a directory, with its content and whether it may be executed.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>, bool)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found: Vec<_> = walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let mode = entry.metadata().expect("metadata").permissions().mode();
            let content = std::fs::read(entry.path()).expect("a file");
            (entry.path().to_owned(), content, mode & 0o111 != 0)
        })
        .collect();
    found.sort();
    found
}

fn assert_same(name: &str, ours: &Output, plain: &Output) {
    assert_eq!(ours.status.code(), plain.status.code(), "{name}: {ours:?}");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&ours.stdout), text(&plain.stdout), "{name}: standard output");
    assert_eq!(text(&ours.stderr), text(&plain.stderr), "{name}: standard error");
}
