//! Release programs, and the demonstration.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::chore::{cargo, run, target, target_root};

/// Builds the release programs and copies them into `target/dist/bin`.
pub(crate) fn dist() -> Result<()> {
    run(&mut cargo(&["build", "--release", "--workspace", "--bins", "--exclude", "xtask"]))?;
    let bin = target_root().join("dist/bin");
    std::fs::create_dir_all(&bin)?;
    let mut programs: Vec<_> = std::fs::read_dir(target("release"))?
        .filter_map(Result::ok)
        .filter(|entry| {
            let executable = entry
                .metadata()
                .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
            executable && entry.path().extension().is_none() && entry.file_name() != "xtask"
        })
        .collect();
    programs.sort_by_key(std::fs::DirEntry::file_name);
    for program in programs {
        let to = bin.join(program.file_name());
        // A program that runs at this moment cannot be written to, but replaced.
        let _ = std::fs::remove_file(&to);
        let bytes = std::fs::copy(program.path(), &to)?;
        check_static(to.as_os_str())?;
        println!("{} ({:.1} MB)", to.display(), bytes as f64 / 1e6);
    }
    Ok(())
}

/// A program with an interpreter is not statically linked and would not run in every sandbox.
fn check_static(program: &OsStr) -> Result<()> {
    let output = Command::new("readelf").arg("-lW").arg(program).output();
    let output = output.context("`readelf` (binutils) is needed to check what was linked")?;
    if String::from_utf8_lossy(&output.stdout).contains("INTERP") {
        bail!("{} is not statically linked", program.display());
    }
    Ok(())
}

/// Builds everything and runs `speculate demo`.
pub(crate) fn demo(arguments: &[String]) -> Result<()> {
    run(&mut cargo(&[
        "build",
        "--release",
        "--bins",
        "-p",
        "speculate",
        "-p",
        "buildbox-run",
        "-p",
        "forerunner-wrappers",
    ]))?;
    let speculate = target("release").join("speculate");
    run(Command::new(speculate).arg("demo").args(arguments))
}
