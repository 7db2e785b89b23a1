//! Content of a server on the same machine, read where it keeps it.
//!
//! buildbox-casd says where that is (LocalCAS, GetLocalServerDetails). What cannot be seen or read
//! from here, or is not what it should be, comes through the socket like that of any server.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use forerunner_merkle::Digest;
use forerunner_proto::buildgrid::GetLocalServerDetailsRequest;
use forerunner_proto::buildgrid::local_content_addressable_storage_client::LocalContentAddressableStorageClient;

use crate::remote::RemoteEndpoint;
use crate::stream::PIECE_BYTES;

impl RemoteEndpoint {
    /// The directory of the server's blobs, if it may be on this machine and has one.
    pub(crate) async fn objects(&self) -> Option<PathBuf> {
        if !self.cas.connection.url.starts_with("unix:") {
            return None;
        }
        let request =
            self.cas.request(GetLocalServerDetailsRequest { instance_name: self.cas.instance() });
        let mut client = LocalContentAddressableStorageClient::new(self.cas.channel());
        let asked = client.get_local_server_details(request);
        let details = self.cas.within_timeout(asked).await.ok()?.into_inner();
        let objects = PathBuf::from(details.storage_root).join("objects");
        objects.is_dir().then_some(objects)
    }

    /// Copies a blob from there; answers whether that was it. If not, `to` has to be made anew.
    ///
    /// # Errors
    /// If `to` cannot be written.
    pub(crate) fn copy_object(
        &self,
        objects: &Path,
        digest: &Digest,
        to: &mut std::fs::File,
    ) -> std::io::Result<bool> {
        let hex = digest.hex();
        let path = objects.join(&hex[..2]).join(&hex[2..]);
        // Opening something else might wait for ever.
        let fits = path.metadata().is_ok_and(|it| it.is_file() && it.len() == digest.size());
        let Some(mut from) = fits.then(|| std::fs::File::open(path).ok()).flatten() else {
            return Ok(false);
        };
        let mut hasher = self.function.hasher();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match from.read(&mut piece) {
                Ok(0) => return Ok(hasher.finish() == *digest),
                Ok(count) => {
                    hasher.update(&piece[..count]);
                    to.write_all(&piece[..count])?;
                }
                Err(_) => return Ok(false),
            }
        }
    }
}
