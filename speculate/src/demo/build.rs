//! Building the sample's elements, each as an action that `buildbox-run` executes.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use forerunner_merkle::{Digest, Forest, Node, TreeBuilder, TreePath};
use forerunner_proto::{Message, reapi};
use forerunner_reapi::{Config, Content, Endpoint, ExecuteOptions};

use super::sample::{SAMPLES, Sample};

/// Where the programs beside this one are seen in the sandbox.
const TOOLS: &str = "/forerunner";

/// Where the element's socket appears, without a leading `/`.
const SOCKET: &str = "tmp/reapi.sock";

/// What the build of one element came to.
pub(crate) struct Built {
    /// What it installs.
    pub(crate) artifact: Digest,
    /// The actions that it used, in order.
    pub(crate) subactions: Vec<Digest>,
    /// How long it took.
    pub(crate) time: Duration,
}

/// The configuration for the demo: the embedded store at `root`, the host's toolchain and our
/// wrappers in every sandbox.
pub(crate) fn configure(config: &Config, root: &Path, tools: &Path) -> Config {
    let mut config = config.clone();
    config.remote = None;
    config.store.root = root.to_owned();
    config.local.runner_arguments = vec![
        "--host-toolchain".to_owned(),
        format!("--ro-bind-mount={}:{TOOLS}", tools.display()),
        "--nested-ac-enable-update".to_owned(),
    ];
    config
}

/// Builds all elements, dependencies first.
pub(crate) async fn build(endpoint: &Endpoint, changed: bool) -> Result<Vec<Built>> {
    let mut built: Vec<Built> = Vec::new();
    for sample in &SAMPLES {
        let one = element(endpoint, sample, changed, &built)
            .await
            .with_context(|| format!("the build of `{}`", sample.name))?;
        built.push(one);
    }
    Ok(built)
}

async fn element(
    endpoint: &Endpoint,
    sample: &Sample,
    changed: bool,
    built: &[Built],
) -> Result<Built> {
    let mut forest = Forest::new(endpoint.function());
    let directory = format!("buildstream/chain/{}", sample.name);
    let (sources, files) = sample.sources(changed, &mut forest)?;
    let mut builder = TreeBuilder::new();
    builder.leaf(&TreePath::parse(&directory)?, Node::Directory(sources))?;
    let mut root = builder.build(&mut forest);
    for dependency in sample.depends {
        let artifact = built[*dependency].artifact;
        endpoint.load(&mut forest, &[artifact]).await?;
        root = forest.merge(root, artifact)?;
    }
    let command = command(sample.script, &directory);
    let command_bytes = command.encode_to_vec();
    let command_digest = endpoint.function().digest(&command_bytes);
    let action = reapi::Action {
        command_digest: Some(command_digest.to_proto()),
        input_root_digest: Some(root.to_proto()),
        platform: command_platform(),
        // Always built anew: it is the cache of its subactions that is to be seen.
        do_not_cache: true,
        ..Default::default()
    };
    let action_bytes = action.encode_to_vec();
    let action_digest = endpoint.function().digest(&action_bytes);
    let mut blobs: Vec<(Digest, Content)> = forest
        .take_made()
        .into_iter()
        .map(|(digest, bytes)| (digest, Content::Bytes(bytes)))
        .collect();
    blobs.extend(files.into_iter().map(|(d, text)| (d, Content::Bytes(text.into_bytes().into()))));
    blobs.push((command_digest, Content::Bytes(command_bytes.into())));
    blobs.push((action_digest, Content::Bytes(action_bytes.into())));
    endpoint.upload(blobs).await?;

    let begun = Instant::now();
    let options = ExecuteOptions { skip_cache_lookup: true, ..ExecuteOptions::default() };
    let response = endpoint.execute(&action_digest, &options)?.finish().await?.message()?;
    let time = begun.elapsed();
    if let Some(status) = response.status.filter(|status| status.code != 0) {
        bail!("{}", status.message);
    }
    let result = response.result.context("there is no result")?;
    if result.exit_code != 0 {
        let stderr = match Digest::required(result.stderr_digest.as_ref()) {
            Ok(digest) => endpoint.get(&digest).await?.to_vec(),
            Err(_) => result.stderr_raw.clone(),
        };
        bail!("exit code {}\n{}", result.exit_code, String::from_utf8_lossy(&stderr).trim_end());
    }
    let subactions: Result<Vec<Digest>, _> =
        result.subactions.iter().map(Digest::from_proto).collect();
    let artifact = artifact(endpoint, &result).await?;
    Ok(Built { artifact, subactions: subactions?, time })
}

fn command_platform() -> Option<reapi::Platform> {
    let property = |name: &str, value: &str| reapi::platform::Property {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let properties = vec![property("OSFamily", "linux"), property("remoteApisSocketPath", SOCKET)];
    Some(reapi::Platform { properties })
}

fn command(script: &str, directory: &str) -> reapi::Command {
    let environment = [
        ("DESTDIR", "/buildstream-install".to_owned()),
        ("HOME", "/tmp".to_owned()),
        ("LC_ALL", "C".to_owned()),
        ("PATH", format!("{TOOLS}:/usr/bin:/bin")),
        ("RECC_CACHE_ONLY", "1".to_owned()),
        ("RECC_CACHE_UPLOAD_LOCAL_BUILD", "1".to_owned()),
        // The host's toolchain is mounted wherever an action runs, and does not change while the
        // demo runs; its identity is in the salt.
        ("RECC_DEPS_EXCLUDE_PATHS", "/usr,/lib,/lib64,/bin".to_owned()),
        ("RECC_DEPS_GLOBAL_PATHS", "1".to_owned()),
        ("RECC_LINK", "1".to_owned()),
        ("RECC_NO_PATH_REWRITE", "1".to_owned()),
        ("RECC_REMOTE_PLATFORM_OSFamily", "linux".to_owned()),
        ("RECC_SERVER", format!("unix:/{SOCKET}")),
        ("FORERUNNER_TOOLCHAIN_SALT", "1".to_owned()),
        ("SOURCE_DATE_EPOCH", "0".to_owned()),
    ];
    let mut variables: Vec<reapi::command::EnvironmentVariable> = environment
        .into_iter()
        .map(|(name, value)| reapi::command::EnvironmentVariable { name: name.to_owned(), value })
        .collect();
    variables.sort_by(|left, right| left.name.cmp(&right.name));
    let script = format!("mkdir -p \"$DESTDIR\"\n{script}");
    reapi::Command {
        arguments: ["sh", "-e", "-c", &script].map(str::to_owned).to_vec(),
        environment_variables: variables,
        output_paths: vec!["../../../buildstream-install".to_owned()],
        working_directory: directory.to_owned(),
        output_directory_format: reapi::command::OutputDirectoryFormat::TreeAndDirectory as i32,
        ..Default::default()
    }
}

/// The root of the only output directory; its directories are on the endpoint afterwards.
async fn artifact(endpoint: &Endpoint, result: &reapi::ActionResult) -> Result<Digest> {
    let output = result.output_directories.first().context("nothing was installed")?;
    if let Ok(root) = Digest::required(output.root_directory_digest.as_ref()) {
        return Ok(root);
    }
    let tree = Digest::required(output.tree_digest.as_ref())?;
    let mut forest = Forest::new(endpoint.function());
    let root = forest.insert_tree(&endpoint.message(&tree).await?)?;
    let blobs = forest.take_made().into_iter();
    endpoint.upload(blobs.map(|(d, bytes)| (d, Content::Bytes(bytes))).collect()).await?;
    Ok(root)
}

/// How many of the actions that a build used had their result in the cache before it began.
pub(crate) fn hits(built: &Built, cached: &HashSet<Digest>) -> usize {
    built.subactions.iter().filter(|digest| cached.contains(digest)).count()
}
