//! Running a recorded action again, and comparing what it makes.

use std::collections::BTreeMap;

use forerunner_merkle::{Digest, Forest};
use forerunner_proto::reapi;
use forerunner_reapi::{Content, Endpoint, ExecuteOptions};
use prost::Message;

use crate::error::Error;
use crate::load;
use crate::loaded::LoadedAction;

/// What came of running an action again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same outputs.
    Same,
    /// The first output, by path, that differs.
    Differs(String),
    /// There was nothing to compare with, or it could not be run.
    Unknown(String),
}

impl Verdict {
    /// A stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs(_) => "differs",
            Self::Unknown(_) => "unknown",
        }
    }

    /// What there is to say, with a leading `: `; empty if that is nothing.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Same => String::new(),
            Self::Differs(path) => format!(": output `{path}`"),
            Self::Unknown(reason) => format!(": {reason}"),
        }
    }
}

/// Runs `action` again, as one that may not be cached: the cached result stays what it is.
///
/// # Errors
/// If the endpoint does not answer.
pub async fn again(
    endpoint: &Endpoint,
    action: &Digest,
    loaded: &LoadedAction,
) -> Result<Verdict, Error> {
    let Some(before) = endpoint.action_result(action, &[]).await? else {
        return Ok(Verdict::Unknown("its result is not cached any more".to_owned()));
    };
    let Ok(before) = before.message() else {
        return Ok(Verdict::Unknown("its cached result is malformed".to_owned()));
    };
    let copy = reapi::Action { do_not_cache: true, ..loaded.action.clone() };
    let bytes = copy.encode_to_vec();
    let digest = endpoint.function().digest(&bytes);
    endpoint.upload(vec![(digest, Content::Bytes(bytes.into()))]).await?;
    let priority = endpoint.capabilities().await?.lowest_priority;
    let options = ExecuteOptions { skip_cache_lookup: true, priority };
    let response = match endpoint.execute(&digest, &options) {
        Ok(execution) => execution.finish().await,
        Err(error) => Err(error),
    };
    let response = match response.map(|kept| kept.message()) {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Ok(Verdict::Unknown(error.to_string())),
        Err(error) => return Ok(Verdict::Unknown(error.to_string())),
    };
    if let Some(status) = response.status.filter(|status| status.code != 0) {
        return Ok(Verdict::Unknown(status.message));
    }
    let Some(after) = response.result else {
        return Ok(Verdict::Unknown("there was no result".to_owned()));
    };
    if before.exit_code != after.exit_code {
        let change = format!("exit code ({} before, {} now)", before.exit_code, after.exit_code);
        return Ok(Verdict::Differs(change));
    }
    let directory = &loaded.command.working_directory;
    let mut forest = Forest::new(endpoint.function());
    let before = load::outputs_of(endpoint, directory, &before, &mut forest).await?;
    let after = load::outputs_of(endpoint, directory, &after, &mut forest).await?;
    Ok(first_difference(before, after).map_or(Verdict::Same, Verdict::Differs))
}

fn first_difference(before: Vec<(String, Digest)>, after: Vec<(String, Digest)>) -> Option<String> {
    let before: BTreeMap<String, Digest> = before.into_iter().collect();
    let after: BTreeMap<String, Digest> = after.into_iter().collect();
    let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.into_iter().find(|path| before.get(*path) != after.get(*path)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::DigestFunction;

    #[test]
    fn the_first_difference_is_named() {
        let file = |path: &str, content: &str| {
            (path.to_owned(), DigestFunction::Sha256.digest(content.as_bytes()))
        };
        let before = vec![file("b", "1"), file("a", "1")];
        assert_eq!(first_difference(before.clone(), vec![file("a", "1"), file("b", "1")]), None);
        let after = vec![file("a", "1"), file("b", "2")];
        assert_eq!(first_difference(before.clone(), after), Some("b".to_owned()));
        assert_eq!(first_difference(before, vec![file("a", "1")]), Some("b".to_owned()));
    }
}
