//! Debian systems in folders, made by debootstrap: a sysroot for sandboxes, and one that has
//! upstream's recc.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::chore::run;

/// A small Debian 12 with compilers, which BuildStream projects of tests use as their base.
pub(crate) fn sysroot(folder: &Path, mirror: &str) -> Result<()> {
    let place = folder.join("sysroot");
    if place.join("usr/bin/g++").exists() {
        return Ok(());
    }
    bootstrap(&place, "bookworm", "gcc,g++,make,libc6-dev", mirror, &[])
}

/// Debian unstable with BuildBox's recc, which needs its newer C library.
pub(crate) fn upstream(folder: &Path, mirror: &str) -> Result<()> {
    let place = folder.join("sid");
    if place.join("usr/bin/recc").exists() {
        return Ok(());
    }
    let packages = "gcc,g++,make,bubblewrap,clang,lld,ccache";
    let install: &[&[&str]] = &[
        &["apt-get", "install", "-y", "-qq", "buildbox"],
        &["apt-get", "-f", "install", "-y", "-qq"],
    ];
    bootstrap(&place, "sid", packages, mirror, install)
}

/// Makes a system; it is there whole or not at all.
fn bootstrap(
    place: &Path,
    suite: &str,
    packages: &str,
    mirror: &str,
    then: &[&[&str]],
) -> Result<()> {
    let part = place.with_extension("part");
    let make = || -> Result<()> {
        if part.exists() {
            std::fs::remove_dir_all(&part)?;
        }
        run(Command::new("debootstrap")
            .args(["--variant=minbase", &format!("--include={packages}"), suite])
            .arg(&part)
            .arg(mirror)
            .stdout(std::process::Stdio::null()))
    };
    // An archive that is being updated gives a mixture now and then.
    make().or_else(|_| make()).with_context(|| format!("debootstrap of {suite}"))?;
    for words in then {
        // The second of these mends what the first left undone.
        let done = Command::new("chroot").arg(&part).args(*words).status()?;
        if !done.success() {
            println!("`{}` in {suite} ended with {done}", words.join(" "));
        }
    }
    // Device nodes cannot be part of an input tree, and packages are not needed any more.
    for leftover in ["dev", "var/cache/apt/archives", "var/lib/apt/lists"] {
        let leftover = part.join(leftover);
        if leftover.exists() {
            std::fs::remove_dir_all(&leftover)?;
            std::fs::create_dir_all(&leftover)?;
        }
    }
    std::fs::rename(&part, place)?;
    Ok(())
}
