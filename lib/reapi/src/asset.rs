//! An asset service (build.bazel.remote.asset.v1): which content goes by a name.

use forerunner_merkle::{Digest, DigestFunction};
use forerunner_proto::asset::{FetchBlobRequest, FetchBlobResponse, Qualifier};
use tonic::{Code, Status};

use crate::server::Server;
use crate::unary::Method;
use crate::{Connection, Error, Tool};

const FETCH_BLOB: Method = Method("/build.bazel.remote.asset.v1.Fetch/FetchBlob");

/// A service that is asked for names.
#[derive(Clone, Debug)]
pub struct AssetService {
    server: Server,
    function: DigestFunction,
}

impl AssetService {
    /// Does not connect; the first call does. Must be called within a runtime.
    ///
    /// # Errors
    /// If the address makes no sense.
    pub fn open(
        connection: &Connection,
        function: DigestFunction,
        tool: &Tool,
    ) -> Result<Self, Error> {
        Ok(Self { server: Server::new(connection, tool)?, function })
    }

    /// The blob that goes by `uri` with `qualifiers`; `None` if the service knows none.
    ///
    /// # Errors
    /// If the service does not answer, or not with a digest.
    pub async fn blob(
        &self,
        uri: &str,
        qualifiers: &[(&str, &str)],
    ) -> Result<Option<Digest>, Error> {
        let qualifier = |(name, value): &(&str, &str)| Qualifier {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        let request = FetchBlobRequest {
            instance_name: self.server.instance(),
            uris: vec![uri.to_owned()],
            qualifiers: qualifiers.iter().map(qualifier).collect(),
            digest_function: self.function.to_proto() as i32,
            ..Default::default()
        };
        let asked = self.server.ask::<FetchBlobResponse>(FETCH_BLOB, &request);
        let answer = match asked.await {
            Err(error) if error.code() == Code::NotFound => return Ok(None),
            other => other?,
        };
        match answer.status.filter(|status| status.code != Code::Ok as i32) {
            None => Ok(Some(Digest::required(answer.blob_digest.as_ref())?)),
            Some(status) if status.code == Code::NotFound as i32 => Ok(None),
            Some(status) => {
                let status = Status::new(Code::from(status.code), status.message);
                Err(self.server.error(FETCH_BLOB.name(), status))
            }
        }
    }
}
