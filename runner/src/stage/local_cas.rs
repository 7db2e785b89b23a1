//! Letting the server on this machine stage the tree (LocalCAS, StageTree).

use forerunner_merkle::Digest;
use forerunner_proto::buildgrid::stage_tree_request::{Credentials, StagingMode as Wire};
use forerunner_proto::buildgrid::{StageTreeRequest, StageTreeResponse};
use forerunner_reapi::{Endpoint, Error};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::failure::Failure;
use crate::staging_mode::StagingMode;

/// Keeps a staged tree in place; the server takes it away when this is dropped.
pub(super) struct Lease {
    requests: mpsc::Sender<StageTreeRequest>,
    responses: Streaming<StageTreeResponse>,
}

impl Lease {
    /// Gives the tree back and waits until it is gone.
    pub(super) async fn end(self) {
        let Self { requests, mut responses } = self;
        drop(requests);
        while let Ok(Some(_)) = responses.message().await {}
    }
}

/// Asks for the tree `root` at `path` (empty: wherever the server likes). `None` if the server
/// does not have this service.
pub(super) async fn stage(
    endpoint: &Endpoint,
    root: &Digest,
    mode: StagingMode,
    path: String,
) -> Result<Option<(String, Lease)>, Failure> {
    let Some(mut client) = endpoint.local_cas() else { return Ok(None) };
    let failed = |status: tonic::Status| {
        Failure::from(Error::Call {
            endpoint: endpoint.describe(),
            call: "StageTree",
            status: Box::new(status),
        })
    };
    let (requests, receiver) = mpsc::channel(1);
    let request = StageTreeRequest {
        instance_name: instance(endpoint),
        root_digest: Some(root.to_proto()),
        path,
        access_credentials: Some(Credentials {
            uid: i64::from(nix::unistd::geteuid().as_raw()),
            gid: i64::from(nix::unistd::getegid().as_raw()),
        }),
        staging_mode: match mode {
            StagingMode::Default => Wire::Default,
            StagingMode::Fuse => Wire::Fuse,
            StagingMode::CopyOrLink => Wire::CopyOrLink,
        } as i32,
        ..Default::default()
    };
    // The receiver is at hand, so this does not wait.
    let _ = requests.send(request).await;
    let mut responses = match client.stage_tree(ReceiverStream::new(receiver)).await {
        Ok(response) => response.into_inner(),
        Err(status) if status.code() == Code::Unimplemented => return Ok(None),
        Err(status) => return Err(failed(status)),
    };
    match responses.message().await {
        Ok(Some(response)) if response.path.starts_with('/') => {
            let lease = Lease { requests, responses };
            Ok(Some((response.path, lease)))
        }
        Ok(_) => Err(failed(tonic::Status::internal("it did not say where the tree is"))),
        Err(status) if status.code() == Code::Unimplemented => Ok(None),
        Err(status) => Err(failed(status)),
    }
}

fn instance(endpoint: &Endpoint) -> String {
    let remote = endpoint.config().remote.as_ref();
    remote.map(|remote| remote.cas.instance.clone()).unwrap_or_default()
}
