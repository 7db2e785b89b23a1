//! Uploading outputs while they are still being read.

use std::collections::HashSet;

use forerunner_merkle::Digest;
use forerunner_reapi::Endpoint;
use tokio::sync::mpsc;

use crate::capture::{Batch, CaptureError, Captured, Sink};
use crate::failure::Failure;

/// Of so many blobs at most it is remembered that we sent them: some megabytes.
const REMEMBERED: usize = 20_000;

/// Where what is uploaded comes from.
#[derive(Default)]
struct Sent {
    by_us: HashSet<Digest>,
    /// The server has some of it from others, or that is not known.
    by_others: bool,
}

impl Sent {
    /// A batch of which these were there.
    fn note(&mut self, batch: &[Digest], there: &[Digest]) {
        self.by_others |= there.iter().any(|digest| !self.by_us.contains(digest));
        self.by_others |= self.by_us.len() + batch.len() > REMEMBERED;
        if !self.by_others {
            self.by_us.extend(batch);
        }
    }
}

/// Runs `capture` on a thread of its own and uploads what it finds, at most two batches behind.
/// Answers also whether some of it may have been at the server without us.
///
/// # Errors
/// Of the upload first, for it ends the capture.
pub(super) async fn upload(
    endpoint: &Endpoint,
    capture: impl FnOnce(&mut Sink<'_>) -> Result<Captured, CaptureError> + Send + 'static,
) -> Result<(Captured, bool), Failure> {
    let (sender, mut receiver) = mpsc::channel::<Batch>(1);
    let capturing = tokio::task::spawn_blocking(move || {
        capture(&mut |batch| sender.blocking_send(batch).is_ok())
    });
    let mut sent = Sent::default();
    while let Some(batch) = receiver.recv().await {
        let Batch { blobs, files, .. } = batch;
        let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
        sent.note(&digests, &endpoint.upload_missing(blobs).await?);
        drop(files);
    }
    match capturing.await {
        Ok(captured) => Ok((captured?, sent.by_others)),
        Err(error) => {
            Err(Failure::Malformed { what: "the outputs".to_owned(), why: error.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use forerunner_merkle::DigestFunction;

    use super::*;

    #[test]
    fn what_others_sent_is_noticed() {
        let digests: Vec<Digest> =
            (0..4_u8).map(|number| DigestFunction::Sha256.digest(&[number])).collect();
        let mut sent = Sent::default();
        sent.note(&digests[..2], &[]);
        // There, but from us.
        sent.note(&digests[1..3], &digests[1..2]);
        assert!(!sent.by_others);
        sent.note(&digests[3..], &digests[3..]);
        assert!(sent.by_others);
    }

    #[test]
    fn no_more_is_remembered_than_fits() {
        let mut sent = Sent::default();
        for number in 0..REMEMBERED {
            sent.note(&[DigestFunction::Sha256.digest(&number.to_le_bytes())], &[]);
        }
        assert!(!sent.by_others);
        sent.note(&[DigestFunction::Sha256.digest(b"one more")], &[]);
        assert!(sent.by_others && sent.by_us.len() == REMEMBERED);
    }
}
