//! What callers are told: the ActionResult, the metadata, and why there is none.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forerunner_merkle::Digest;
use forerunner_proto::{Any, Message, Timestamp, buildbox, ours, reapi, rpc};

use crate::failure::Failure;
use crate::sys::Resources;

const STATISTICS_URL: &str = "type.googleapis.com/build.buildbox.ExecutionStatistics";
const USAGE_URL: &str = "type.googleapis.com/forerunner.v1.SandboxUsage";
const DIGEST_URL: &str = "type.googleapis.com/build.bazel.remote.execution.v2.Digest";

/// Now, as the protocol writes it.
pub(crate) fn timestamp() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32 }
}

/// The metadata of an execution, known piece by piece, and the file that others may read it from.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    pub(crate) message: reapi::ExecutedActionMetadata,
    file: Option<PathBuf>,
}

impl Metadata {
    /// Of an execution that begins now.
    pub(crate) fn begin(file: Option<PathBuf>) -> Self {
        let message = reapi::ExecutedActionMetadata {
            worker_start_timestamp: Some(timestamp()),
            ..Default::default()
        };
        Self { message, file }
    }

    /// Writes the file, if there is one.
    pub(crate) fn publish(&self) {
        let Some(file) = &self.file else { return };
        if let Err(error) = std::fs::write(file, self.message.encode_to_vec()) {
            tracing::warn!("cannot write the metadata to `{}`: {error}", file.display());
        }
    }

    /// Adds what the control group counted, behind the digest of the statistics.
    pub(crate) fn add_usage(&mut self, used: &ours::SandboxUsage) {
        self.message
            .auxiliary_metadata
            .push(Any { type_url: USAGE_URL.to_owned(), value: used.encode_to_vec() });
    }

    /// Adds the digest of an ExecutionStatistics message.
    pub(crate) fn add_statistics(&mut self, digest: &Digest) {
        self.message.auxiliary_metadata.push(Any {
            type_url: DIGEST_URL.to_owned(),
            value: digest.to_proto().encode_to_vec(),
        });
    }
}

/// What a command used, as a message that says what it is: so the reference stores it.
pub(crate) fn statistics(used: &Resources) -> Vec<u8> {
    let duration = |time: Duration| forerunner_proto::Duration {
        seconds: time.as_secs() as i64,
        nanos: time.subsec_nanos() as i32,
    };
    let statistics = buildbox::ExecutionStatistics {
        command_rusage: Some(buildbox::execution_statistics::ProcessResourceUsage {
            utime: Some(duration(used.user_time)),
            stime: Some(duration(used.system_time)),
            maxrss: used.peak_kib,
            minflt: used.minor_faults,
            majflt: used.major_faults,
            inblock: used.blocks_in,
            oublock: used.blocks_out,
            nvcsw: used.voluntary_switches,
            nivcsw: used.involuntary_switches,
        }),
    };
    Any { type_url: STATISTICS_URL.to_owned(), value: statistics.encode_to_vec() }.encode_to_vec()
}

/// Writes the result, if it is wanted.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_result(
    file: Option<&Path>,
    result: &reapi::ActionResult,
) -> Result<(), Failure> {
    match file {
        // In place: whoever made the file may have it open.
        Some(file) => std::fs::write(file, result.encode_to_vec())
            .map_err(Failure::file("write the result", file)),
        None => Ok(()),
    }
}

/// Writes why there is no result beside where it would be.
pub(crate) fn write_status(file: Option<&Path>, failure: &Failure) {
    let Some(file) = file else { return };
    let mut path = file.as_os_str().to_owned();
    path.push(".error-status");
    let status = rpc::Status {
        code: failure.code() as i32,
        message: failure.to_string(),
        details: Vec::new(),
    };
    if let Err(error) = std::fs::write(&path, status.encode_to_vec()) {
        tracing::error!("cannot write `{}`: {error}", Path::new(&path).display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn failures_are_told_by_code_and_status() {
        let temp = tempfile::tempdir().expect("a directory");
        let file = temp.path().join("result");
        for (failure, code, exit) in [
            (Failure::TimedOut, 4, 142),
            (Failure::Interrupted(Signal::SIGTERM), 14, 143),
            (Failure::Interrupted(Signal::SIGINT), 14, 130),
            (Failure::Sandbox(crate::sandbox::SandboxError::Killed), 13, 1),
        ] {
            write_status(Some(&file), &failure);
            let bytes = std::fs::read(temp.path().join("result.error-status")).expect("a file");
            let status = rpc::Status::decode(&bytes[..]).expect("a status");
            assert_eq!((status.code, failure.exit_status()), (code, exit));
            assert_eq!(status.message, failure.to_string());
        }
    }

    #[test]
    fn statistics_are_a_message() {
        let used = Resources {
            user_time: Duration::from_millis(1500),
            peak_kib: 77,
            ..Default::default()
        };
        let any = Any::decode(&statistics(&used)[..]).expect("a message");
        assert_eq!(any.type_url, STATISTICS_URL);
        let message = buildbox::ExecutionStatistics::decode(&any.value[..]);
        let usage = message.expect("a message").command_rusage.expect("usage");
        assert_eq!(usage.maxrss, 77);
        assert_eq!(usage.utime.expect("a time").nanos, 500_000_000);
    }
}
