//! Generates `proto/src/gen` from `proto/defs`, without protoc.
//!
//! Messages and services are made in two passes. In the second, every message is taken from the
//! first, except those that the gateway passes on: these are [`Kept`], which holds the bytes as
//! they came, so that fields unknown to us survive.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use prost::Message as _;
use tonic_prost_build::Config;
use walkdir::WalkDir;

/// Package, and module of the generated file that holds it.
const PACKAGES: &[(&str, &str)] = &[
    (".build.bazel.remote.execution.v2", "crate::reapi"),
    (".build.bazel.remote.asset.v1", "crate::asset"),
    (".build.bazel.semver", "crate::semver"),
    (".build.buildgrid", "crate::buildgrid"),
    (".build.buildbox", "crate::buildbox"),
    (".buildstream.v2", "crate::buildstream"),
    (".google.bytestream", "crate::bytestream"),
    (".google.longrunning", "crate::longrunning"),
    (".google.rpc", "crate::rpc"),
    (".forerunner.v1", "crate::ours"),
];

/// Messages that services hand over as they came.
const KEPT: &[&str] = &["ActionResult", "UpdateActionResultRequest"];

/// Fields that hold file content; `Bytes` shares them instead of copying.
const BYTES: &[&str] = &[
    ".google.bytestream",
    ".build.bazel.remote.execution.v2.BatchUpdateBlobsRequest.Request.data",
    ".build.bazel.remote.execution.v2.BatchReadBlobsResponse.Response.data",
];

/// Writes the generated code, or with `check` fails if it differs from what is there.
pub(crate) fn generate(check: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let defs = root.join("proto/defs");
    let target = root.join("proto/src/gen");
    let made = tempfile::tempdir()?;
    write_all(&defs, made.path())?;
    if check {
        return compare(made.path(), &target);
    }
    std::fs::create_dir_all(&target)?;
    for entry in std::fs::read_dir(made.path())? {
        let entry = entry?;
        std::fs::copy(entry.path(), target.join(entry.file_name()))?;
    }
    Ok(())
}

fn write_all(defs: &Path, out: &Path) -> Result<()> {
    let mut files: Vec<PathBuf> = WalkDir::new(defs)
        .into_iter()
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|ext| ext == "proto"))
        .collect();
    files.sort();
    let set = protox::compile(&files, [defs])?;
    let mut bare = set.clone();
    for file in &mut bare.file {
        // Comments and positions: nobody asks the descriptors for them.
        file.source_code_info = None;
    }
    std::fs::write(out.join("descriptors.bin"), bare.encode_to_vec())?;

    let messages = tempfile::tempdir()?;
    let mut config = Config::new();
    config.bytes(BYTES).out_dir(messages.path());
    // A comment of a table is prose, not a doc test.
    config.disable_comments(["."]);
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .out_dir(messages.path())
        .compile_fds_with_config(set.clone(), config)?;
    gather(messages.path(), out, "")?;

    let services = tempfile::tempdir()?;
    let mut config = Config::new();
    config.out_dir(services.path());
    let mut build = tonic_prost_build::configure().out_dir(services.path());
    for (package, module) in PACKAGES {
        build = build.extern_path(*package, *module);
    }
    for name in KEPT {
        let full = format!(".build.bazel.remote.execution.v2.{name}");
        build = build.extern_path(full, format!("crate::Kept<crate::reapi::{name}>"));
    }
    build.compile_fds_with_config(set, config)?;
    gather(services.path(), out, "services.")
}

/// Takes what was generated, leaving out files without an item.
fn gather(from: &Path, to: &Path, prefix: &str) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?;
        if !text.contains("pub ") {
            continue;
        }
        let name = entry.file_name();
        let name = name.to_str().context("a generated file's name is UTF-8")?;
        std::fs::write(to.join(format!("{prefix}{name}")), text)?;
    }
    Ok(())
}

fn compare(made: &Path, committed: &Path) -> Result<()> {
    for entry in std::fs::read_dir(made)? {
        let entry = entry?;
        let name = entry.file_name();
        let there = std::fs::read(committed.join(&name)).unwrap_or_default();
        if there != std::fs::read(entry.path())? {
            bail!(
                "proto/src/gen/{} is not what proto/defs gives: run `cargo xtask proto`",
                name.display()
            );
        }
    }
    for entry in std::fs::read_dir(committed)? {
        let name = entry?.file_name();
        if !made.join(&name).exists() {
            bail!("proto/src/gen/{} comes from no file of proto/defs: remove it", name.display());
        }
    }
    Ok(())
}
