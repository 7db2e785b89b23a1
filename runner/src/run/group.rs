//! The control group of an action.

use std::path::Path;

use forerunner_proto::ours::SandboxUsage;

use crate::bounds::Bounds;
use crate::cgroup::{Group, GroupError, delegated};

/// Makes one below `folder`, or where one was delegated to us.
///
/// # Errors
/// If there is none although it was asked for, by name or by limits.
pub(super) fn make(folder: Option<&Path>, bounds: &Bounds) -> Result<Option<Group>, GroupError> {
    let made = match folder {
        Some(folder) => return Group::make(folder, bounds).map(Some),
        None => delegated().map_err(GroupError::from),
    }
    .and_then(|folder| Group::make(&folder, bounds));
    match made {
        Ok(group) => Ok(Some(group)),
        Err(error) if bounds.any() => Err(error),
        Err(error) => {
            tracing::info!("{error}");
            Ok(None)
        }
    }
}

/// What the action used; removes the group.
pub(super) fn end(group: Group, bounds: &Bounds) -> SandboxUsage {
    let used = group.usage();
    if used.oom_kills > 0
        && let Some(limit) = bounds.memory_bytes
    {
        tracing::warn!(
            "the command reached its memory limit of {limit} bytes: {} of its processes were killed",
            used.oom_kills
        );
    }
    used
}
