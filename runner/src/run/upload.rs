//! Uploading outputs while they are still being read.

use std::collections::HashSet;

use forerunner_merkle::Digest;
use forerunner_reapi::Endpoint;
use tokio::sync::{mpsc, oneshot};

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

/// A thread that is to read outputs, and waits.
///
/// It is started before the command: afterwards the user may have all the processes they are
/// allowed, because of something else that runs.
pub(super) struct Reader(std::sync::mpsc::Sender<Box<dyn FnOnce() + Send>>);

impl Reader {
    /// Starts it. Dropped, it ends.
    ///
    /// # Errors
    /// If there are too many processes already.
    pub(super) fn start() -> Result<Self, Failure> {
        let (sender, receiver) = std::sync::mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let work = move || {
            if let Ok(work) = receiver.recv() {
                work();
            }
        };
        let thread = std::thread::Builder::new().name("outputs".to_owned()).spawn(work);
        thread.map(|_| Self(sender)).map_err(|error| Failure::Thread { error })
    }
}

/// Runs `capture` on the thread of `reader` and uploads what it finds, at most two batches behind.
/// Answers also whether some of it may have been at the server without us.
///
/// # Errors
/// Of the upload first, for it ends the capture.
pub(super) async fn upload(
    endpoint: &Endpoint,
    reader: Reader,
    capture: impl FnOnce(&mut Sink<'_>) -> Result<Captured, CaptureError> + Send + 'static,
) -> Result<(Captured, bool), Failure> {
    let (sender, mut receiver) = mpsc::channel::<Batch>(1);
    let (tell, captured) = oneshot::channel();
    // If it is gone, so is `tell`.
    let _ = reader.0.send(Box::new(move || {
        let _ = tell.send(capture(&mut |batch| sender.blocking_send(batch).is_ok()));
    }));
    let mut sent = Sent::default();
    while let Some(batch) = receiver.recv().await {
        let Batch { blobs, files, .. } = batch;
        let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
        sent.note(&digests, &endpoint.upload_missing(blobs).await?);
        drop(files);
    }
    match captured.await {
        Ok(captured) => Ok((captured?, sent.by_others)),
        Err(_) => {
            let why = "the thread that reads them ended".to_owned();
            Err(Failure::Malformed { what: "the outputs".to_owned(), why })
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
