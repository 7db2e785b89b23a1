//! Uploading outputs while they are still being read.

use forerunner_reapi::Endpoint;
use tokio::sync::mpsc;

use crate::capture::{Batch, CaptureError, Captured, Sink};
use crate::failure::Failure;

/// Runs `capture` on a thread of its own and uploads what it finds, at most two batches behind.
///
/// # Errors
/// Of the upload first, for it ends the capture.
pub(super) async fn upload(
    endpoint: &Endpoint,
    capture: impl FnOnce(&mut Sink<'_>) -> Result<Captured, CaptureError> + Send + 'static,
) -> Result<Captured, Failure> {
    let (sender, mut receiver) = mpsc::channel::<Batch>(1);
    let capturing = tokio::task::spawn_blocking(move || {
        capture(&mut |batch| sender.blocking_send(batch).is_ok())
    });
    while let Some(batch) = receiver.recv().await {
        let Batch { blobs, files, .. } = batch;
        endpoint.upload(blobs).await?;
        drop(files);
    }
    match capturing.await {
        Ok(captured) => Ok(captured?),
        Err(error) => {
            Err(Failure::Malformed { what: "the outputs".to_owned(), why: error.to_string() })
        }
    }
}
