//! Output trees in the cache of a casd that has another server behind it.
//!
//! What was uploaded through it is there. Of what the other server had before it says that it is
//! not missing.

use forerunner_merkle::Digest;
use forerunner_proto::buildgrid::FetchTreeRequest;
use forerunner_proto::reapi::OutputDirectory;
use forerunner_reapi::Endpoint;
use tonic::Code;

/// Makes sure that the trees are in the server's own cache, some of which others sent: BuildStream
/// reads directories in the cache as files, and what was primed there is new to it. Without a
/// server behind, casd only looks; others do not have this service. Nothing of this can make a
/// build fail.
pub(super) async fn settle(endpoint: &Endpoint, directories: &[OutputDirectory]) {
    let (Some(mut client), Some(remote)) = (endpoint.local_cas(), &endpoint.config().remote) else {
        return;
    };
    let roots = directories.iter().filter_map(|one| one.root_directory_digest.as_ref());
    for root in roots.filter_map(|root| Digest::from_proto(root).ok()) {
        let request = FetchTreeRequest {
            instance_name: remote.cas.instance.clone(),
            root_digest: Some(root.to_proto()),
            fetch_file_blobs: true,
        };
        match client.fetch_tree(request).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::Unimplemented => return,
            Err(status) => tracing::warn!("FetchTree of the output {root}: {}", status.message()),
        }
    }
}
