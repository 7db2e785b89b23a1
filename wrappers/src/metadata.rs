//! A description of each command, sent to a port of this machine for whoever collects them, as the
//! reference does.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use forerunner_merkle::Digest;
use forerunner_proto::buildbox::execution_statistics::ProcessResourceUsage;
use forerunner_proto::buildbox::{CompilerExecutionData, ExecutionStatistics, ReccData};
use forerunner_proto::reapi::{self, command::EnvironmentVariable, platform::Property};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use prost::Message as _;

use crate::command::sources::{self, InputKind};
use crate::command::{compiler, flags, response};
use crate::datagram;
use crate::paths;
use crate::session::Session;
use crate::stat_cache::{hash_file, is_executable};

/// Sends what is known of a command that ended; trouble is only a message.
pub(crate) fn send(session: &Session, command: &[String], exit_code: i32) {
    let port = &session.settings.metadata_port;
    if port.is_empty() || command.is_empty() {
        return;
    }
    let message = describe(session, command, exit_code).encode_to_vec();
    if let Err(error) =
        datagram::send(&format!("127.0.0.1:{port}"), std::iter::once(message.as_slice()))
    {
        session.log.warning(format_args!("RECC_COMPILATION_METADATA_UDP_PORT `{port}`: {error}"));
    }
}

fn describe(session: &Session, command: &[String], exit_code: i32) -> CompilerExecutionData {
    let settings = &session.settings;
    let took = session.begun.elapsed();
    let property = |name: &str, value: String| Property { name: name.to_owned(), value };
    let seconds = |took: Duration| prost_types::Duration::try_from(took).unwrap_or_default();
    let figures = &session.figures;
    CompilerExecutionData {
        command: command.first().and_then(|name| session.resolve(name)).unwrap_or_default(),
        full_command: command.join(" "),
        source_file_info: sources_of(session, command),
        environment_variables: session
            .environment
            .iter()
            .map(|(name, value)| EnvironmentVariable { name: name.clone(), value: value.clone() })
            .collect(),
        tool_name: "recc".to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: Some(reapi::Platform {
            properties: vec![
                property("ISA", std::env::consts::ARCH.replace('_', "-")),
                property("OSFamily", std::env::consts::OS.to_owned()),
            ],
        }),
        local_resource_usage: usage(),
        working_directory: session.directory.clone(),
        recc_data: Some(ReccData {
            duration_metrics: figures
                .times()
                .into_iter()
                .map(|(name, took)| (format!("recc.{name}"), seconds(took)))
                .collect(),
            counter_metrics: figures
                .counts()
                .into_iter()
                .map(|(name, count)| (format!("recc.{name}"), count as i64))
                .collect::<HashMap<_, _>>(),
            action_digest: Some(
                session.action.get().as_ref().map(Digest::to_proto).unwrap_or_default(),
            ),
        }),
        correlated_invocations_id: settings.correlated.clone(),
        timestamp: SystemTime::now().checked_sub(took).map(Into::into),
        duration: Some(seconds(took)),
        exit_code: Some(exit_code),
    }
}

/// The sources that a compiler's command names, with their digests.
fn sources_of(session: &Session, command: &[String]) -> Vec<reapi::FileNode> {
    let Some((name, arguments)) = command.split_first() else { return Vec::new() };
    let Some(known) = compiler::recognise(name, None) else { return Vec::new() };
    let is_clang = known.family == compiler::Family::Clang;
    let words = response::expand(arguments, session.directory.as_ref())
        .map_or_else(|_| arguments.to_vec(), |expanded| expanded.words);
    let mut found = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            if flags::takes_next(word, is_clang) {
                words.next();
            }
            continue;
        }
        if !sources::kind(word).is_some_and(|kind| kind != InputKind::Object) {
            continue;
        }
        let path = paths::absolute(word, &session.directory);
        let path = Path::new(&path);
        if let (Ok(digest), Ok(metadata)) =
            (hash_file(path, session.settings.function), path.metadata())
        {
            found.push(reapi::FileNode {
                name: word.clone(),
                digest: Some(digest.to_proto()),
                is_executable: is_executable(&metadata),
                ..reapi::FileNode::default()
            });
        }
    }
    found
}

/// What the processes that this one started have used.
fn usage() -> Option<ExecutionStatistics> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let time = |value: nix::sys::time::TimeVal| {
        let micros = value.num_microseconds();
        prost_types::Duration {
            seconds: micros / 1_000_000,
            nanos: (micros % 1_000_000) as i32 * 1000,
        }
    };
    Some(ExecutionStatistics {
        command_rusage: Some(ProcessResourceUsage {
            utime: Some(time(usage.user_time())),
            stime: Some(time(usage.system_time())),
            maxrss: usage.max_rss(),
            minflt: usage.minor_page_faults(),
            majflt: usage.major_page_faults(),
            inblock: usage.block_reads(),
            oublock: usage.block_writes(),
            nvcsw: usage.voluntary_context_switches(),
            nivcsw: usage.involuntary_context_switches(),
        }),
    })
}
