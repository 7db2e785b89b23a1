//! Loading recorded actions and trees. Each blob is read once.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use forerunner_merkle::{Digest, Forest};
use forerunner_proto::reapi;
use forerunner_reapi::{Content, Endpoint};
use forerunner_store::scan;
use prost::Message;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::loaded::{Loaded, LoadedAction, output_files};

/// Lookups under way at once.
const LOOKUPS: usize = 16;

/// Loads the actions in `digests` that are not loaded yet, with their commands and input trees.
/// What cannot be loaded is left out: the endpoint may have forgotten it.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn actions(
    endpoint: &Endpoint,
    digests: &[Digest],
    loaded: &mut Loaded,
) -> Result<(), Error> {
    let wanted: Vec<Digest> =
        digests.iter().copied().filter(|digest| !loaded.actions.contains_key(digest)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut found: Vec<(Digest, Bytes, reapi::Action, Digest, Digest)> = Vec::new();
    for (digest, bytes) in endpoint.get_many(&wanted).await? {
        let Ok(action) = reapi::Action::decode(bytes.clone()) else { continue };
        let root = Digest::required(action.input_root_digest.as_ref());
        let command = Digest::required(action.command_digest.as_ref());
        if let (Ok(root), Ok(command)) = (root, command) {
            found.push((digest, bytes, action, root, command));
        }
    }
    let commands: HashSet<Digest> = found.iter().map(|(.., command)| *command).collect();
    let commands: Vec<Digest> = commands.into_iter().collect();
    let commands: HashMap<Digest, Arc<reapi::Command>> = endpoint
        .get_many(&commands)
        .await?
        .into_iter()
        .filter_map(|(digest, bytes)| Some((digest, Arc::new(reapi::Command::decode(bytes).ok()?))))
        .collect();
    let roots: Vec<Digest> = found.iter().map(|(.., root, _)| *root).collect();
    let complete = trees(endpoint, &mut loaded.forest, &roots).await?;
    for (digest, bytes, action, root, command) in found {
        let Some(command) = commands.get(&command) else { continue };
        if !complete && !loaded.forest.missing_below(&[root]).is_empty() {
            continue;
        }
        let command = Arc::clone(command);
        let action = LoadedAction { bytes, action, root, command, outputs: Vec::new() };
        loaded.actions.insert(digest, action);
    }
    Ok(())
}

/// Loads as many of the trees as there are; answers whether that was all of them.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn trees(
    endpoint: &Endpoint,
    forest: &mut Forest,
    roots: &[Digest],
) -> Result<bool, Error> {
    match endpoint.load(forest, roots).await {
        Ok(()) => Ok(true),
        Err(error) if lost(&error) => {
            for root in roots {
                match endpoint.load(forest, &[*root]).await {
                    Err(error) if !lost(&error) => return Err(error.into()),
                    _ => {}
                }
            }
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the error is about one tree and not about the endpoint.
fn lost(error: &forerunner_reapi::Error) -> bool {
    use forerunner_reapi::Error as E;
    matches!(error, E::MissingBlob(_) | E::WrongBlob { .. } | E::Malformed { .. })
}

/// The cached results of actions, as far as there are any.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn results(
    endpoint: &Endpoint,
    digests: &[Digest],
) -> Result<HashMap<Digest, reapi::ActionResult>, Error> {
    let mut found = HashMap::with_capacity(digests.len());
    if endpoint.store().is_some() {
        // Nothing to wait for: a task for each would only cost time.
        for digest in digests {
            if let Some(kept) = endpoint.action_result(digest, &[]).await?
                && let Ok(result) = kept.message()
            {
                found.insert(*digest, result);
            }
        }
        return Ok(found);
    }
    let mut tasks = JoinSet::new();
    let mut rest = digests.iter().copied();
    loop {
        while tasks.len() < LOOKUPS
            && let Some(digest) = rest.next()
        {
            let endpoint = endpoint.clone();
            tasks.spawn(async move { (digest, endpoint.action_result(&digest, &[]).await) });
        }
        let Some(done) = tasks.join_next().await else { return Ok(found) };
        let Ok((digest, result)) = done else { continue };
        if let Some(kept) = result?
            && let Ok(result) = kept.message()
        {
            found.insert(digest, result);
        }
    }
}

/// Fills in the outputs of loaded actions from their cached results.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn outputs(
    endpoint: &Endpoint,
    digests: &[Digest],
    loaded: &mut Loaded,
) -> Result<(), Error> {
    let results = results(endpoint, digests).await?;
    for (digest, result) in results {
        let Some(action) = loaded.actions.get(&digest) else { continue };
        let directory = action.command.working_directory.clone();
        let files = outputs_of(endpoint, &directory, &result, &mut loaded.forest).await?;
        if let Some(action) = loaded.actions.get_mut(&digest) {
            action.outputs = files;
        }
    }
    Ok(())
}

/// The files among the outputs of one result, by their path in the input root.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn outputs_of(
    endpoint: &Endpoint,
    working_directory: &str,
    result: &reapi::ActionResult,
    forest: &mut Forest,
) -> Result<Vec<(String, Digest)>, Error> {
    let mut roots: HashMap<String, Digest> = HashMap::new();
    for output in &result.output_directories {
        if let Some(root) = directory(endpoint, output, forest).await? {
            roots.insert(output.path.clone(), root);
        }
    }
    Ok(output_files(working_directory, result, forest, &|output| roots.get(&output.path).copied()))
}

async fn directory(
    endpoint: &Endpoint,
    output: &reapi::OutputDirectory,
    forest: &mut Forest,
) -> Result<Option<Digest>, Error> {
    if let Ok(root) = Digest::required(output.root_directory_digest.as_ref()) {
        return Ok(trees(endpoint, forest, &[root]).await?.then_some(root));
    }
    let Ok(tree) = Digest::required(output.tree_digest.as_ref()) else { return Ok(None) };
    match endpoint.message::<reapi::Tree>(&tree).await {
        Ok(message) => Ok(forest.insert_tree(&message).ok()),
        Err(error) if lost(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Captures a directory on disk into the endpoint; answers with its root.
///
/// # Errors
/// If it cannot be read, or the endpoint refuses.
pub async fn capture(
    endpoint: &Endpoint,
    element: &str,
    path: &Path,
    forest: &mut Forest,
) -> Result<Digest, Error> {
    let function = endpoint.function();
    let mut scanned =
        scan::directory(path, function, scan::Attributes::default()).map_err(|error| {
            Error::Capture {
                element: element.to_owned(),
                path: path.to_owned(),
                problem: error.to_string(),
            }
        })?;
    let mut blobs = Vec::with_capacity(scanned.files.len());
    for (digest, bytes) in scanned.forest.take_made() {
        // What was just made is a directory.
        let _ = forest.insert_encoded(digest, &bytes);
        blobs.push((digest, Content::Bytes(bytes)));
    }
    blobs.extend(scanned.files.into_iter().map(|(digest, path)| (digest, Content::File(path))));
    endpoint.upload(blobs).await?;
    Ok(scanned.root)
}
