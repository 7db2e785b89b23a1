//! From an action and the settings to what its sandbox is to be.

use std::ffi::CString;
use std::path::PathBuf;

use forerunner_merkle::{Digest, Forest, TreePath};

use crate::failure::Failure;
use crate::job::Job;
use crate::plan::{Blueprint, Exec, Mount, Root};
use crate::sandbox::SandboxError;
use crate::scratch::Scratch;
use crate::seccomp::Program;
use crate::settings::Settings;
use crate::stage::Staged;
use crate::toolchain;

/// Where the socket is before it is bound into the sandbox.
pub(crate) fn socket(scratch: &Scratch) -> PathBuf {
    scratch.path().join("socket")
}

/// Puts everything together.
///
/// # Errors
/// If a mount does not exist on the host, or a text contains NUL.
pub(crate) fn blueprint(
    settings: &Settings,
    job: &Job,
    staged: &Staged,
    scratch: &Scratch,
    forest: &Forest,
    tree: &Digest,
    own_group: bool,
) -> Result<Blueprint, Failure> {
    let root = &staged.root;
    let mut mounts = Vec::new();
    if settings.host_toolchain {
        let lower = match root {
            Root::Directory(path) | Root::Overlay { lower: path, .. } => path,
        };
        mounts.extend(toolchain::mounts(forest, *tree, lower));
    }
    for mount in &settings.bind_mounts {
        if mount.content.as_ref().is_some_and(|content| !job.platform.inject.contains(content)) {
            continue;
        }
        let path = PathBuf::from(&mount.host);
        let metadata =
            std::fs::metadata(&path).map_err(Failure::file("show the sandbox", &path))?;
        mounts.push(Mount {
            host: mount.host.clone(),
            at: mount.at.clone(),
            directory: metadata.is_dir(),
            read_only: mount.read_only,
            over: None,
        });
    }
    if let Some(at) = &job.platform.socket {
        mounts.push(Mount {
            host: socket(scratch).to_string_lossy().into_owned(),
            at: at.clone(),
            directory: false,
            read_only: false,
            over: None,
        });
    }
    // A directory that nothing is opened in afterwards, for the moment of the change.
    let pivot_at = match root {
        Root::Directory(path) => path.clone(),
        Root::Overlay { upper, .. } => upper.clone(),
    };
    let platform = &job.platform;
    Ok(Blueprint {
        root: root.clone(),
        subtrees: staged.subtrees.clone(),
        pivot_at,
        outer: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
        inner: (platform.uid, platform.gid),
        own_group,
        network: platform.network,
        bits32: platform.bits32,
        keep_tmp: settings.keep_tmp || has_tmp(forest, tree, job),
        directories: job.outputs.parents(),
        working_directory: job.working_directory.clone(),
        mounts,
        exec: exec(job).map_err(SandboxError::from)?,
    })
}

/// Whether inputs or the working directory are below `/tmp`: a new one would hide them. That
/// happens to whoever builds there with whole paths.
fn has_tmp(forest: &Forest, tree: &Digest, job: &Job) -> bool {
    let inside = |path: &TreePath| path.names().first().is_some_and(|name| &**name == "tmp");
    let tmp = forest.get(tree).and_then(|root| root.child("tmp"));
    let filled = tmp.and_then(|tmp| forest.get(&tmp)).is_some_and(|tmp| !tmp.is_empty());
    filled || inside(&job.working_directory)
}

fn exec(job: &Job) -> Result<Exec, std::ffi::NulError> {
    let texts = |list: &[String]| {
        list.iter().map(|text| CString::new(text.as_str())).collect::<Result<Vec<_>, _>>()
    };
    let variables: Vec<String> =
        job.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let capabilities = job.platform.capabilities;
    Ok(Exec {
        candidates: texts(&job.candidates())?,
        arguments: texts(&job.arguments)?,
        environment: texts(&variables)?,
        capabilities,
        filter: Program::filter(capabilities),
    })
}

#[cfg(test)]
mod random;
