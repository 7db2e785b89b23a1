//! `speculate import buildstream`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use forerunner_merkle::{Digest, Forest};
use forerunner_proto::{Kept, Message, reapi};
use forerunner_reapi::{Content, Endpoint};
use speculate::buildstream::{SHOW_FORMAT, Shown, checkout_folder, graph, parse};
use speculate::load;

use crate::commands::generate::write;
use crate::context::{endpoint, print};
use crate::options::EndpointArgs;

/// Where an element graph is made from.
#[derive(Subcommand)]
pub(crate) enum From {
    /// A BuildStream project: `bst show`, `bst source checkout` and the artifacts in its cache.
    Buildstream(Options),
}

/// The options of `speculate import buildstream`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Elements; their dependencies come along. Default: the project's default targets.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// The project's directory.
    #[arg(long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The `bst` program.
    #[arg(long, value_name = "PROGRAM", default_value = "bst")]
    bst: PathBuf,
    /// A BuildStream configuration file, passed on to it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the graph here instead of to standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Makes the element graph.
pub(crate) async fn run(args: &EndpointArgs, from: &From) -> Result<ExitCode> {
    let From::Buildstream(options) = from;
    // BuildStream holds its cache's casd while it runs; the endpoint is opened between its runs.
    let shown = show(options)?;
    let mut sources = HashMap::new();
    let mut wanted: Vec<&Shown> = Vec::new();
    {
        let endpoint = endpoint(args)?;
        // What is only imported is found in its artifact, under the same names.
        for one in shown.iter().filter(|one| one.kind != "import" && !one.key.is_empty()) {
            match known(&endpoint, &one.key).await? {
                Some(root) => {
                    sources.insert(one.name.clone(), root);
                }
                None => wanted.push(one),
            }
        }
    }
    if !wanted.is_empty() {
        // The connections of the endpoint close when the runtime has a moment.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        crate::casd::end_unused();
        let folder = tempfile::Builder::new().prefix("speculate-").tempdir()?;
        checkout(options, &shown, &wanted, folder.path())?;
        let endpoint = endpoint(args)?;
        for one in wanted {
            let path = folder.path().join(checkout_folder(&one.name));
            if !path.is_dir() {
                continue;
            }
            let mut forest = Forest::new(endpoint.function());
            let root = load::capture(&endpoint, &one.name, &path, &mut forest).await?;
            remember(&endpoint, &one.key, root).await?;
            sources.insert(one.name.clone(), root);
        }
    }
    let empty = reapi::Directory::default().encode_to_vec();
    let empty = args.digest_function.digest(&empty);
    sources.retain(|_, root| *root != empty);
    let text = graph(&shown, &sources)?.to_json();
    match &options.output {
        Some(path) => write(path, &text)?,
        None => print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn bst(options: &Options) -> Command {
    let mut command = Command::new(&options.bst);
    command.arg("--no-colors").current_dir(&options.directory).stdin(Stdio::null());
    if let Some(file) = &options.config {
        // It changes its directory before it reads the file.
        command.arg("--config").arg(std::path::absolute(file).unwrap_or_else(|_| file.clone()));
    }
    command
}

fn finish(mut command: Command, what: &str, options: &Options) -> Result<String> {
    let output = command
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("`{}` cannot be started", options.bst.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.lines().rev().take(12).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("`bst {what}` in `{}` failed:\n{}", options.directory.display(), last.join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn show(options: &Options) -> Result<Vec<Shown>> {
    let mut command = bst(options);
    command.args(["show", "--deps", "all", "--format", SHOW_FORMAT]).args(&options.targets);
    Ok(parse(&finish(command, "show", options)?)?)
}

/// Checks out the sources of the elements in `wanted`.
fn checkout(options: &Options, shown: &[Shown], wanted: &[&Shown], folder: &Path) -> Result<()> {
    let names: HashSet<&str> = wanted.iter().map(|one| one.name.as_str()).collect();
    // Few elements change between two builds; then one call for each costs less than leaving out
    // all others by name.
    if names.len() <= 3 {
        for name in names {
            let place = folder.join("one");
            let mut command = bst(options);
            command.args(["source", "checkout", "--deps", "none", "--directory"]);
            command.arg(&place).arg(name);
            finish(command, "source checkout", options)?;
            let from = place.join(checkout_folder(name));
            if from.is_dir() {
                std::fs::rename(&from, folder.join(checkout_folder(name)))?;
            }
            std::fs::remove_dir_all(&place).or_else(ignore_missing)?;
        }
        return Ok(());
    }
    // Nobody depends on the tops: each of them brings everything below it along.
    let below: HashSet<&str> =
        shown.iter().flat_map(|one| one.depends.iter().map(String::as_str)).collect();
    let tops = shown.iter().filter(|one| !below.contains(one.name.as_str()));
    for (number, top) in tops.enumerate() {
        let place = folder.join(format!("{number}"));
        let mut command = bst(options);
        command.args(["source", "checkout", "--deps", "all"]);
        for other in shown.iter().filter(|one| !names.contains(one.name.as_str())) {
            if other.name != top.name {
                command.args(["--except", &other.name]);
            }
        }
        command.arg("--directory").arg(&place).arg(&top.name);
        finish(command, "source checkout", options)?;
        for entry in std::fs::read_dir(&place)? {
            let entry = entry?;
            let to = folder.join(entry.file_name());
            if !to.exists() {
                std::fs::rename(entry.path(), to)?;
            }
        }
        std::fs::remove_dir_all(&place).or_else(ignore_missing)?;
    }
    Ok(())
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

/// An Action without a command, under which the source tree of a cache key stands.
fn key_action(key: &str) -> Vec<u8> {
    let salt = format!("forerunner buildstream sources 1\0{key}").into_bytes();
    reapi::Action { salt, do_not_cache: true, ..Default::default() }.encode_to_vec()
}

/// The source tree of an element with this cache key, if it was imported before and is still there.
async fn known(endpoint: &Endpoint, key: &str) -> Result<Option<Digest>> {
    let action = endpoint.function().digest(&key_action(key));
    let Some(kept) = endpoint.action_result(&action, &[]).await? else { return Ok(None) };
    let Ok(result) = kept.message() else { return Ok(None) };
    let root = result.output_directories.first().and_then(|o| o.root_directory_digest.as_ref());
    let Ok(root) = Digest::required(root) else { return Ok(None) };
    let mut forest = Forest::new(endpoint.function());
    Ok(load::trees(endpoint, &mut forest, &[root]).await?.then_some(root))
}

async fn remember(endpoint: &Endpoint, key: &str, root: Digest) -> Result<()> {
    let action = key_action(key);
    let digest = endpoint.function().digest(&action);
    endpoint.upload(vec![(digest, Content::Bytes(action.into()))]).await?;
    let mut forest = Forest::new(endpoint.function());
    load::trees(endpoint, &mut forest, &[root]).await?;
    let tree = forest.tree(root)?.encode_to_vec();
    let tree_digest = endpoint.function().digest(&tree);
    endpoint.upload(vec![(tree_digest, Content::Bytes(tree.into()))]).await?;
    let result = Kept::new(&reapi::ActionResult {
        output_directories: vec![reapi::OutputDirectory {
            path: "sources".to_owned(),
            // Servers check and keep alive what a Tree names.
            tree_digest: Some(tree_digest.to_proto()),
            root_directory_digest: Some(root.to_proto()),
            ..Default::default()
        }],
        ..Default::default()
    });
    endpoint.update_action_result(&digest, &result).await?;
    Ok(())
}
