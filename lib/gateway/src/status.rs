//! Statuses as messages.

use forerunner_proto::rpc;
use tonic::Status;

/// A status as a message, for the answer about one of several things.
pub(crate) fn to_rpc(status: &Status) -> rpc::Status {
    rpc::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    }
}
