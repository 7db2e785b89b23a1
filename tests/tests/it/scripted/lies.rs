//! Wrong answers, each of a kind that a client can find out.

use bytes::Bytes;
use forerunner_proto::longrunning::{Operation, operation};
use forerunner_proto::{Any, Kept, Message, reapi, rpc};

/// A way of lying. What it means depends on the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Other content, of the right length where there is one.
    Other,
    /// Less than there should be.
    Less,
    /// More than there should be.
    More,
    /// Nothing, said to be everything.
    Nothing,
    /// What makes no sense: negative sizes, digests that are none, names that lead elsewhere.
    Nonsense,
}

impl Lie {
    pub(crate) const ALL: [Self; 5] =
        [Self::Other, Self::Less, Self::More, Self::Nothing, Self::Nonsense];
}

/// What stands for a blob.
pub(crate) fn about_blob(lie: Lie, data: &Bytes) -> Option<Bytes> {
    let mut content = data.to_vec();
    match lie {
        Lie::Other => content.iter_mut().for_each(|byte| *byte ^= 0x55),
        Lie::Less => content.truncate(content.len() / 2),
        Lie::More => content.extend_from_slice(b"more"),
        Lie::Nothing => return None,
        Lie::Nonsense => content = b"nonsense".to_vec(),
    }
    Some(content.into())
}

pub(crate) fn about_size(lie: Lie, size: i64) -> i64 {
    match lie {
        // The content is another one, its length is said to be right.
        Lie::Other => size,
        Lie::Less => size / 2,
        Lie::More => size + 1,
        Lie::Nothing => 0,
        Lie::Nonsense => -17,
    }
}

pub(crate) fn about_missing(lie: Lie, asked: Vec<reapi::Digest>) -> Vec<reapi::Digest> {
    let unknown = reapi::Digest { hash: "ab".repeat(32), size_bytes: 3 };
    match lie {
        // All of it is missing, and something that nobody asked about.
        Lie::Other => vec![unknown],
        Lie::More => asked.into_iter().chain([unknown]).collect(),
        Lie::Less => asked.into_iter().step_by(2).collect(),
        Lie::Nothing => Vec::new(),
        Lie::Nonsense => vec![reapi::Digest { hash: "../../x".to_owned(), size_bytes: -1 }],
    }
}

pub(crate) fn about_updates(
    lie: Lie,
    responses: &mut Vec<reapi::batch_update_blobs_response::Response>,
) {
    match lie {
        Lie::Nothing => responses.clear(),
        Lie::Less => responses.truncate(1),
        Lie::Nonsense => {
            for response in responses {
                response.status = Some(rpc::Status { code: 4711, ..Default::default() });
            }
        }
        Lie::Other | Lie::More => {}
    }
}

pub(crate) fn about_capabilities(lie: Option<Lie>, all: &mut reapi::ServerCapabilities) {
    let Some(lie) = lie else { return };
    let Some(cache) = &mut all.cache_capabilities else { return };
    match lie {
        Lie::Other => cache.digest_functions = vec![99],
        Lie::Less => cache.max_batch_total_size_bytes = 1,
        Lie::More => cache.max_batch_total_size_bytes = i64::MAX,
        Lie::Nothing => all.cache_capabilities = None,
        Lie::Nonsense => {
            cache.max_batch_total_size_bytes = -5;
            all.high_api_version = None;
        }
    }
}

/// A result whose outputs are not there, not all there, or nowhere that they may be.
pub(crate) fn about_result(
    lie: Lie,
    result: &Kept<reapi::ActionResult>,
) -> Kept<reapi::ActionResult> {
    let mut message = result.message().unwrap_or_default();
    match lie {
        Lie::Other => {
            for file in &mut message.output_files {
                file.digest = Some(reapi::Digest { hash: "cd".repeat(32), size_bytes: 4 });
                file.contents = b"lies".to_vec();
            }
        }
        Lie::Less => message.output_files.truncate(message.output_files.len().saturating_sub(1)),
        Lie::More => {
            let mut file = message.output_files.first().cloned().unwrap_or_default();
            "../../escaped".clone_into(&mut file.path);
            message.output_files.push(file);
            let symlink = reapi::OutputSymlink {
                path: "/escaped".to_owned(),
                target: "/etc/passwd".to_owned(),
                ..Default::default()
            };
            message.output_symlinks.push(symlink);
        }
        Lie::Nothing => message = reapi::ActionResult::default(),
        Lie::Nonsense => {
            return Kept::from_bytes(Bytes::from_static(b"\x12\xff\xff\xff\x01nonsense"));
        }
    }
    Kept::new(&message)
}

/// An execution that is over, and did not do what was asked.
pub(crate) fn about_execution(lie: Lie) -> Operation {
    let done = |result| Operation {
        name: "operation".to_owned(),
        done: true,
        result: Some(result),
        ..Operation::default()
    };
    let response = |response: reapi::ExecuteResponse| {
        operation::Result::Response(Any {
            type_url: "type.googleapis.com/build.bazel.remote.execution.v2.ExecuteResponse".into(),
            value: response.encode_to_vec(),
        })
    };
    let error = rpc::Status { code: 13, message: "no worker".to_owned(), details: Vec::new() };
    match lie {
        // Done well, without a single output.
        Lie::Nothing => done(response(reapi::ExecuteResponse {
            result: Some(reapi::ActionResult::default()),
            ..Default::default()
        })),
        Lie::Less => done(response(reapi::ExecuteResponse::default())),
        Lie::More => done(operation::Result::Error(error)),
        Lie::Other => {
            done(response(reapi::ExecuteResponse { status: Some(error), ..Default::default() }))
        }
        Lie::Nonsense => done(operation::Result::Response(Any {
            type_url: "nonsense".to_owned(),
            value: b"\xff\xff\xff".to_vec(),
        })),
    }
}
