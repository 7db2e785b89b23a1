//! What an endpoint can do.

use forerunner_merkle::DigestFunction;
use forerunner_proto::{reapi, semver};

/// Most bytes that one message may carry whatever the server allows: gRPC refuses messages over
/// 4 MiB unless told otherwise, and names and framing need room as well.
pub(crate) const MESSAGE_LIMIT_BYTES: u64 = 4 * 1024 * 1024 - 128 * 1024;

/// What an endpoint can do.
#[derive(Clone, Debug, PartialEq)]
pub struct Capabilities {
    /// Whether results may be written to its action cache.
    pub update_enabled: bool,
    /// Whether it executes actions.
    pub execution_enabled: bool,
    /// Most bytes in one batch of blobs.
    pub max_batch_bytes: u64,
    /// The priority of what is executed last: the largest number in the ranges that it states, and the
    /// largest there is if it states none. (REAPI, ExecutionPolicy: small numbers first, and each
    /// server has a range of its own.)
    pub lowest_priority: i32,
    /// The digest functions it knows.
    pub functions: Vec<DigestFunction>,
    /// The answer as it came.
    pub message: reapi::ServerCapabilities,
}

impl Capabilities {
    /// Reads a server's answer.
    #[must_use]
    pub fn from_proto(message: reapi::ServerCapabilities) -> Self {
        let cache = message.cache_capabilities.clone().unwrap_or_default();
        let batch = u64::try_from(cache.max_batch_total_size_bytes).unwrap_or(0);
        Self {
            update_enabled: cache
                .action_cache_update_capabilities
                .is_some_and(|update| update.update_enabled),
            execution_enabled: message
                .execution_capabilities
                .as_ref()
                .is_some_and(|execution| execution.exec_enabled),
            // 0 means that the server sets no limit.
            max_batch_bytes: match batch {
                0 => MESSAGE_LIMIT_BYTES,
                limit => limit.min(MESSAGE_LIMIT_BYTES),
            },
            lowest_priority: lowest_priority(message.execution_capabilities.as_ref()),
            functions: cache
                .digest_functions
                .iter()
                .filter_map(|value| DigestFunction::from_proto(*value))
                .collect(),
            message,
        }
    }

    /// What we say of the embedded store.
    #[must_use]
    pub fn embedded(function: DigestFunction) -> Self {
        let functions = vec![function.to_proto() as i32];
        let version = |major, minor| semver::SemVer { major, minor, ..Default::default() };
        Self::from_proto(reapi::ServerCapabilities {
            cache_capabilities: Some(reapi::CacheCapabilities {
                digest_functions: functions.clone(),
                action_cache_update_capabilities: Some(reapi::ActionCacheUpdateCapabilities {
                    update_enabled: true,
                }),
                max_batch_total_size_bytes: MESSAGE_LIMIT_BYTES as i64,
                symlink_absolute_path_strategy:
                    reapi::symlink_absolute_path_strategy::Value::Allowed as i32,
                ..Default::default()
            }),
            execution_capabilities: Some(reapi::ExecutionCapabilities {
                digest_function: function.to_proto() as i32,
                exec_enabled: true,
                supported_node_properties: vec!["mtime".to_owned(), "unix_mode".to_owned()],
                digest_functions: functions,
                ..Default::default()
            }),
            low_api_version: Some(version(2, 0)),
            high_api_version: Some(version(2, 3)),
            ..Default::default()
        })
    }
}

fn lowest_priority(execution: Option<&reapi::ExecutionCapabilities>) -> i32 {
    let stated = execution.and_then(|it| it.execution_priority_capabilities.as_ref());
    let ranges = stated.map(|it| it.priorities.as_slice()).unwrap_or_default();
    // One that ends before it begins says nothing.
    let ends = ranges.iter().filter(|it| it.min_priority <= it.max_priority);
    ends.map(|it| it.max_priority).max().unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reapi::priority_capabilities::PriorityRange;

    #[test]
    fn the_lowest_priority_is_one_that_the_server_knows() {
        let lowest = |ranges: &[(i32, i32)]| {
            let range = |(min_priority, max_priority)| PriorityRange { min_priority, max_priority };
            let priorities = ranges.iter().copied().map(range).collect();
            let stated = reapi::PriorityCapabilities { priorities };
            let execution = reapi::ExecutionCapabilities {
                execution_priority_capabilities: Some(stated),
                ..Default::default()
            };
            lowest_priority(Some(&execution))
        };
        assert_eq!(lowest_priority(None), i32::MAX);
        assert_eq!(lowest(&[]), i32::MAX);
        assert_eq!(lowest(&[(-5, 5), (10, 20), (7, 8), (100, 50)]), 20);
        assert_eq!(lowest(&[(-9, -9)]), -9);
    }
}
