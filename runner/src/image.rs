//! Images of containers, as an asset service knows them.
//!
//! The reference fetches an image from its registry once and keeps the Tree of its merged layers
//! with the asset service, under the names that are used here. We take what is there.

use forerunner_merkle::Digest;
use forerunner_reapi::{AssetService, Tool};

use crate::failure::Failure;
use crate::settings::Settings;

const SCHEME: &str = "docker://";
const DEFAULT_REGISTRY: &str = "registry-1.docker.io";

/// In the order of the reference: a service may tell requests apart by it.
const QUALIFIERS: [(&str, &str); 3] =
    [("buildbox_oci_version", "v1"), ("platform_os", "linux"), ("platform_arch", "amd64")];

/// An image that is named by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// `REGISTRY/REPOSITORY@sha256:…`.
    name: String,
}

impl Image {
    /// Reads the value of the property: `[docker://][REGISTRY/]REPOSITORY[:TAG]@sha256:…`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, hash) = text
            .strip_prefix(SCHEME)
            .unwrap_or(text)
            .split_once('@')
            .ok_or("an image must be named by its digest (`docker://NAME@sha256:…`)")?;
        let hash = hash.strip_prefix("sha256:").unwrap_or_default();
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hash.len() != 64 || !hash.bytes().all(hex) {
            return Err("the digest after `@` is not `sha256:` and 64 digits".to_owned());
        }
        // As everywhere: only what has a dot or a port is the name of a machine.
        let (registry, repository) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => (DEFAULT_REGISTRY, name),
        };
        let repository = repository.split(':').next().unwrap_or_default();
        if repository.split('/').any(str::is_empty) {
            return Err("it names no repository".to_owned());
        }
        Ok(Self { name: format!("{registry}/{repository}@sha256:{hash}") })
    }

    /// The Tree of its files.
    ///
    /// # Errors
    /// If no asset service was named, or it does not know the image.
    pub(crate) async fn tree(&self, settings: &Settings, tool: &Tool) -> Result<Digest, Failure> {
        let failed = |why: &str| Failure::Image { image: self.name.clone(), why: why.to_owned() };
        let connection = match &settings.assets {
            Ok(Some(connection)) => connection,
            Ok(None) => return Err(failed("no asset service is named: give `--ra-remote=URL`")),
            Err(why) => return Err(failed(why)),
        };
        let service = AssetService::open(connection, settings.function, tool)?;
        let found = service.blob(&self.name, &QUALIFIERS).await?;
        found.ok_or_else(|| {
            failed(
                "the asset service does not know it, and this runner does not fetch from \
                 registries; run an action with it on a runner that does, or put its files into \
                 the content store and name them by `chrootRootDigest`",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_reference() {
        let hash = "a".repeat(64);
        for (text, name) in [
            ("docker://alpine", "registry-1.docker.io/alpine"),
            ("docker://a/b", "registry-1.docker.io/a/b"),
            ("docker://a/b/c:v1", "registry-1.docker.io/a/b/c"),
            ("docker://reg.io:5000/a/b:v1", "reg.io:5000/a/b"),
            ("reg.io/c", "reg.io/c"),
            ("localhost/c", "localhost/c"),
        ] {
            let image = Image::parse(&format!("{text}@sha256:{hash}"));
            assert_eq!(image.map(|image| image.name), Ok(format!("{name}@sha256:{hash}")));
        }
        for bad in ["x", "docker://x:latest", "x@sha256:abc", "x@md5:ff", "@", "reg.io/@", "a//b@"]
        {
            let long = bad.replace('@', &format!("@sha256:{hash}"));
            assert!(Image::parse(bad).is_err(), "{bad}");
            assert!(
                bad.starts_with("x") || bad.starts_with("docker") || Image::parse(&long).is_err()
            );
        }
    }
}
