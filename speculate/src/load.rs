//! Loading recorded actions and trees. Each blob is read once.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use forerunner_merkle::{Digest, Forest};
use forerunner_proto::reapi;
use forerunner_reapi::{Content, Endpoint};
use forerunner_store::{StoreError, scan};
use prost::Message;
use rayon::prelude::*;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::loaded::{Loaded, LoadedAction, output_files};
use crate::local;
use crate::plan::Plan;
use crate::text::Text;

/// What is longer is not looked through for include directives.
const TEXT_BYTES: u64 = 4 << 20;

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
    let found = parsed(endpoint, &wanted, |digest, bytes| {
        let action = reapi::Action::decode(bytes.clone()).ok()?;
        let root = Digest::required(action.input_root_digest.as_ref()).ok()?;
        let command = Digest::required(action.command_digest.as_ref()).ok()?;
        Some((digest, bytes, action, root, command))
    });
    let found: Vec<(Digest, Bytes, reapi::Action, Digest, Digest)> = found.await?;
    let commands: HashSet<Digest> = found.iter().map(|(.., command)| *command).collect();
    let commands: Vec<Digest> = commands.into_iter().collect();
    let commands = parsed(endpoint, &commands, |digest, bytes| {
        Some((digest, Arc::new(reapi::Command::decode(bytes).ok()?)))
    });
    let commands: HashMap<Digest, Arc<reapi::Command>> = commands.await?.into_iter().collect();
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

/// Loads the texts that tasks of a plan wait for; answers whether there were any.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn texts(endpoint: &Endpoint, plan: &mut Plan<'_>) -> Result<bool, Error> {
    let wanted = plan.wanted();
    if wanted.is_empty() {
        return Ok(false);
    }
    let texts: Vec<Digest> =
        wanted.iter().copied().filter(|digest| digest.size() <= TEXT_BYTES).collect();
    let found = parsed(endpoint, &texts, |digest, bytes| Some((digest, Text::scan(&bytes))));
    plan.learn(&wanted, found.await?);
    Ok(true)
}

/// What a question was answered: the text of its only output. `None` if it failed or is not there.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn answer(
    endpoint: &Endpoint,
    result: &reapi::ActionResult,
) -> Result<Option<String>, Error> {
    let [file] = &result.output_files[..] else { return Ok(None) };
    let Ok(digest) = Digest::required(file.digest.as_ref()) else { return Ok(None) };
    if result.exit_code != 0 || digest.size() > TEXT_BYTES {
        return Ok(None);
    }
    let bytes = endpoint.get_many(&[digest]).await?.remove(&digest);
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// What `parse` makes of those of `digests` that are there.
async fn parsed<T: Send>(
    endpoint: &Endpoint,
    digests: &[Digest],
    parse: impl Fn(Digest, Bytes) -> Option<T> + Sync,
) -> Result<Vec<T>, Error> {
    if let Some(store) = endpoint.store() {
        let found = local::blobs(store, digests, |digest, bytes| parse(digest, bytes.into()));
        return found.map_err(from_store);
    }
    let found = endpoint.get_many(digests).await?;
    Ok(found.into_iter().filter_map(|(digest, bytes)| parse(digest, bytes)).collect())
}

fn from_store(error: StoreError) -> Error {
    Error::Endpoint(error.into())
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
    if let Some(store) = endpoint.store() {
        return local::trees(store, forest, roots).map_err(from_store);
    }
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
    if let Some(store) = endpoint.store() {
        let read = |digest: &Digest| {
            let bytes = store.action_result(digest)?;
            Ok(bytes.and_then(|bytes| Some((*digest, reapi::ActionResult::decode(&*bytes).ok()?))))
        };
        let found: Result<Vec<Option<_>>, StoreError> = digests.par_iter().map(read).collect();
        return Ok(found.map_err(from_store)?.into_iter().flatten().collect());
    }
    let mut found = HashMap::with_capacity(digests.len());
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
