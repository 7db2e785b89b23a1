//! Content of a server on the same machine, read where it keeps it.
//!
//! buildbox-casd says where that is (LocalCAS, GetLocalServerDetails), which can be noted for the
//! processes to come. What cannot be seen or read from here, or is not what it should be, comes
//! through the socket like that of any server.
//!
//! Reading there is no use that casd sees; the lookup of the result before it is: casd counts
//! GetActionResult as a use of everything that the result names.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Take, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use forerunner_merkle::{Digest, DigestFunction};
use forerunner_proto::buildgrid::{GetLocalServerDetailsRequest, LocalServerDetails};

use crate::remote::{RemoteEndpoint, SMALL_BATCH_BYTES};
use crate::stream::PIECE_BYTES;
use crate::unary::Method;
use crate::{Error, WholeFile};

const GET_LOCAL_SERVER_DETAILS: Method =
    Method("/build.buildgrid.LocalContentAddressableStorage/GetLocalServerDetails");

/// What is noted of a server that keeps nothing which can be seen from here.
const NOWHERE: &str = "-";

/// What is copied at once, and how much of it may be ahead of what is hashed. More of it leaves
/// both threads on one processor: the one that copies never has to wait.
const COPIED_BYTES: usize = 128 * 1024;
const COPIES_AHEAD: usize = 3;

impl RemoteEndpoint {
    /// Copies those of `files` that the server keeps within reach; answers with their paths.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) async fn take_nearby<'a>(
        &self,
        files: &'a [(Digest, PathBuf, bool)],
    ) -> Result<HashSet<&'a Path>, Error> {
        let mut taken = HashSet::new();
        if !self.cas.connection.url.starts_with("unix:") {
            return Ok(taken);
        }
        let note = self.note();
        let noted = note.as_deref().and_then(read_note);
        if let Some(Some(objects)) = &noted {
            self.copy(objects, files, &mut taken)?;
        }
        // What was noted may be out of date. To ask costs as much as to fetch what is small.
        let left = files.iter().filter(|(_, path, _)| !taken.contains(path.as_path()));
        let unknown = note.is_some() && noted.is_none();
        if unknown || left.map(|(digest, ..)| digest.size()).sum::<u64>() > SMALL_BATCH_BYTES {
            let objects = self.objects().await;
            if noted.as_ref() != Some(&objects)
                && let Some(note) = note
            {
                write_note(&note, objects.as_deref());
            }
            if let Some(objects) = objects {
                self.copy(&objects, files, &mut taken)?;
            }
        }
        Ok(taken)
    }

    /// The directory of the server's blobs, if it has one that is there for us.
    async fn objects(&self) -> Option<PathBuf> {
        let request = GetLocalServerDetailsRequest { instance_name: self.cas.instance() };
        let asked = self.cas.ask::<LocalServerDetails>(GET_LOCAL_SERVER_DETAILS, &request);
        let details = asked.await.ok()?;
        let objects = Path::new(&details.storage_root).join("objects");
        (objects.is_absolute() && objects.is_dir()).then_some(objects)
    }

    fn copy<'a>(
        &self,
        objects: &Path,
        files: &'a [(Digest, PathBuf, bool)],
        taken: &mut HashSet<&'a Path>,
    ) -> Result<(), Error> {
        for (digest, path, executable) in files {
            if taken.contains(path.as_path()) {
                continue;
            }
            if let Some(from) = object(objects, digest) {
                let copied = WholeFile::beside(path, *executable).and_then(|mut file| {
                    let right = self.copy_object(from, digest, &mut file)?;
                    if right { file.appear().map(|()| true) } else { Ok(false) }
                });
                if copied.map_err(|error| Error::file(path, error))? {
                    taken.insert(path);
                }
            }
        }
        Ok(())
    }

    /// Answers whether that was the blob. If not, `to` has to be made anew.
    fn copy_object(&self, from: File, digest: &Digest, to: &mut WholeFile) -> io::Result<bool> {
        if digest.size() > PIECE_BYTES as u64 {
            let from = from.take(digest.size() + 1);
            return Ok(copy_and_hash(from, to, self.function).is_ok_and(|copy| copy == *digest));
        }
        // One byte more tells a file that grew.
        let limit = digest.size() + 1;
        let mut content = Vec::with_capacity(usize::try_from(limit).unwrap_or(0));
        let read = from.take(limit).read_to_end(&mut content);
        if read.is_err() || self.function.digest(&content) != *digest {
            return Ok(false);
        }
        to.write_all(&content).map(|()| true)
    }

    /// The file for what is known of this server.
    fn note(&self) -> Option<PathBuf> {
        let url = self.function.digest(self.cas.connection.url.as_bytes());
        Some(self.notes.as_ref()?.join(&url.hex()[..32]))
    }
}

/// Copies a file; answers with the digest of what was written. To find that takes longer than to
/// copy, so another thread does it, from the same memory.
fn copy_and_hash(
    mut from: Take<File>,
    to: &mut WholeFile,
    function: DigestFunction,
) -> io::Result<Digest> {
    let (tell, told) = mpsc::sync_channel::<Arc<Vec<u8>>>(COPIES_AHEAD);
    let (give_back, spare) = mpsc::sync_channel(COPIES_AHEAD);
    for _ in 0..COPIES_AHEAD {
        let _ = give_back.send(Arc::new(Vec::with_capacity(COPIED_BYTES)));
    }
    std::thread::scope(|scope| {
        let hashing = std::thread::Builder::new().spawn_scoped(scope, move || {
            let mut hasher = function.hasher();
            for piece in told {
                hasher.update(&piece);
                let _ = give_back.send(piece);
            }
            hasher.finish()
        })?;
        while let Ok(mut piece) = spare.recv() {
            let bytes = Arc::make_mut(&mut piece);
            bytes.clear();
            if from.by_ref().take(COPIED_BYTES as u64).read_to_end(bytes)? == 0 {
                break;
            }
            let _ = tell.send(Arc::clone(&piece));
            to.write_all(&piece)?;
        }
        drop(tell);
        hashing.join().map_err(|_| io::Error::other("the thread ended"))
    })
}

/// The file of a blob, if there is one of its size.
fn object(objects: &Path, digest: &Digest) -> Option<File> {
    let hex = digest.hex();
    let path = objects.join(&hex[..2]).join(&hex[2..]);
    // Opening something else might wait for ever.
    let fits = path.metadata().is_ok_and(|it| it.is_file() && it.len() == digest.size());
    fits.then(|| File::open(path).ok()).flatten()
}

/// `None` if nothing is noted; else where the server's blobs are, if within reach.
fn read_note(note: &Path) -> Option<Option<PathBuf>> {
    let text = std::fs::read_to_string(note).ok()?;
    match text.strip_suffix('\n')? {
        NOWHERE => Some(None),
        objects => Some(Some(PathBuf::from(objects)).filter(|it| it.is_absolute())),
    }
}

/// What cannot be noted is asked for again.
fn write_note(note: &Path, objects: Option<&Path>) {
    let text = match objects.map(Path::to_str) {
        None => NOWHERE,
        Some(Some(text)) => text,
        Some(None) => return,
    };
    let _ = WholeFile::beside(note, false).and_then(|mut file| {
        writeln!(file, "{text}")?;
        file.appear()
    });
}
