//! Contents on their way to the endpoint, a bounded amount at a time.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use bytes::Bytes;
use forerunner_merkle::Digest;
use forerunner_reapi::Content as Upload;

use super::CaptureError;
use super::read::{Content, Place};

/// What is kept in memory at a time.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Files that are kept open at a time.
const BATCH_FILES: usize = 64;

/// Blobs to upload, and the open files that some of them are in.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Paths lead through `/proc/self/fd` to `files`.
    pub(crate) blobs: Vec<(Digest, Upload)>,
    /// Must stay open until the upload is done.
    pub(crate) files: Vec<File>,
    bytes: usize,
}

/// Takes batches; false if nobody wants them any more.
pub(crate) type Sink<'s> = dyn FnMut(Batch) -> bool + 's;

pub(super) struct Batches<'a, 's> {
    sink: &'a mut Sink<'s>,
    batch: Batch,
}

impl<'a, 's> Batches<'a, 's> {
    pub(super) fn new(sink: &'a mut Sink<'s>) -> Self {
        Self { sink, batch: Batch::default() }
    }

    pub(super) fn content(&mut self, content: Content) -> Result<(), CaptureError> {
        match content.place {
            Place::Memory(bytes) => self.bytes(content.digest, bytes),
            Place::Open(file) => {
                let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
                self.batch.blobs.push((content.digest, Upload::File(path)));
                self.batch.files.push(file);
                self.flush_if(self.batch.files.len() >= BATCH_FILES)
            }
        }
    }

    /// A file that stays where it is until the end.
    pub(super) fn file(&mut self, digest: Digest, path: PathBuf) -> Result<(), CaptureError> {
        self.batch.blobs.push((digest, Upload::File(path)));
        self.flush_if(true)
    }

    pub(super) fn bytes(&mut self, digest: Digest, bytes: Bytes) -> Result<(), CaptureError> {
        // An empty file costs something, too.
        self.batch.bytes += bytes.len() + 128;
        self.batch.blobs.push((digest, Upload::Bytes(bytes)));
        self.flush_if(self.batch.bytes >= BATCH_BYTES)
    }

    pub(super) fn finish(&mut self) -> Result<(), CaptureError> {
        self.flush_if(!self.batch.blobs.is_empty())
    }

    fn flush_if(&mut self, due: bool) -> Result<(), CaptureError> {
        if due && !(self.sink)(std::mem::take(&mut self.batch)) {
            return Err(CaptureError::Unwanted);
        }
        Ok(())
    }
}
