//! What an execution can come to.

use forerunner_proto::longrunning::{Operation, operation};
use forerunner_proto::{Any, Message, reapi, rpc};

/// An operation that is still under way.
pub(crate) fn under_way(name: &str) -> Operation {
    Operation { name: name.to_owned(), ..Operation::default() }
}

/// An operation that is over, with this exit status.
pub(crate) fn over(name: &str, exit_code: i32) -> Operation {
    let result = reapi::ActionResult { exit_code, ..Default::default() };
    let response = reapi::ExecuteResponse { result: Some(result), ..Default::default() };
    let value = response.encode_to_vec();
    let any = Any { type_url: "type.googleapis.com/x".to_owned(), value };
    Operation {
        name: name.to_owned(),
        done: true,
        result: Some(operation::Result::Response(any)),
        ..Operation::default()
    }
}

/// An operation that failed.
pub(crate) fn failed(name: &str, message: &str) -> Operation {
    let status = rpc::Status { code: 13, message: message.to_owned(), details: Vec::new() };
    Operation {
        name: name.to_owned(),
        done: true,
        result: Some(operation::Result::Error(status)),
        ..Operation::default()
    }
}
