//! The platform properties of an action, checked.

use forerunner_merkle::{Digest, TreePath};
use forerunner_proto::reapi;

use crate::bounds::{self, Bounds};
use crate::capability::Capabilities;
use crate::image::Image;

/// Our own property: the name under which the record of what a build used is kept.
pub(crate) const ELEMENT: &str = "forerunnerElement";

/// Our own properties for limits.
const MEMORY: &str = "forerunnerMemory";
const PROCESSES: &str = "forerunnerProcesses";
const PROCESSORS: &str = "forerunnerCpus";

/// What an action asks of its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Platform {
    /// Identity inside.
    pub(crate) uid: u32,
    /// Group inside.
    pub(crate) gid: u32,
    /// The network of the host.
    pub(crate) network: bool,
    /// A 32-bit machine.
    pub(crate) bits32: bool,
    /// Kept for the command.
    pub(crate) capabilities: Capabilities,
    /// Where a socket of the Remote Execution API is wanted.
    pub(crate) socket: Option<TreePath>,
    /// What lies under the input root.
    pub(crate) base: Option<Base>,
    /// Contents of the host that the action wants to see.
    pub(crate) inject: Vec<String>,
    /// The element that is built.
    pub(crate) element: Option<String>,
    /// What the command may use at most.
    pub(crate) bounds: Bounds,
}

/// A tree under the input root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// `chrootRootDigest`: a Directory.
    Directory(Digest),
    /// `chrootTreeDigest`: a Tree.
    Tree(Digest),
    /// `container-image`: what an asset service knows of it.
    Image(Image),
}

/// Why an action cannot be run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlatformError {
    /// A value that we do not have.
    #[error("the platform property `{name}` is `{value}`, but this runner has {have}")]
    Unsupported { name: String, value: String, have: &'static str },
    /// A value that makes no sense.
    #[error("the platform property `{name}` is `{value}`: {why}")]
    Invalid { name: String, value: String, why: String },
    /// More than one of a kind.
    #[error(
        "the platform properties `chrootRootDigest`, `chrootTreeDigest` and `container-image` \
         exclude each other, but the action has {0}"
    )]
    Exclusive(String),
}

impl Platform {
    /// Reads the properties; those that nobody knows are left alone.
    pub(crate) fn parse(message: &reapi::Platform) -> Result<Self, PlatformError> {
        let mut platform = Self::default();
        let mut bases = Vec::new();
        for reapi::platform::Property { name, value } in &message.properties {
            let invalid = |why: String| PlatformError::Invalid {
                name: name.clone(),
                value: value.clone(),
                why,
            };
            let number = || {
                value.parse().map_err(|_| invalid("not a number from 0 to 4294967294".to_owned()))
            };
            match name.as_str() {
                "OSFamily" => family(name, value)?,
                "ISA" => platform.bits32 = isa(name, value)?,
                "unixUID" => platform.uid = number()?,
                "unixGID" => platform.gid = number()?,
                "network" => platform.network = value == "on",
                "capability" => {
                    platform.capabilities.add(value).map_err(|e| invalid(e.to_string()))?;
                }
                "remoteApisSocketPath" => {
                    let path =
                        TreePath::parse(value).map_err(|error| invalid(error.to_string()))?;
                    if path.is_root() {
                        return Err(invalid("not the path of a file".to_owned()));
                    }
                    platform.socket = Some(path);
                }
                "chrootRootDigest" | "chrootTreeDigest" => {
                    let digest = value.parse().map_err(|e| invalid(format!("{e}")))?;
                    platform.base = Some(if name == "chrootRootDigest" {
                        Base::Directory(digest)
                    } else {
                        Base::Tree(digest)
                    });
                    bases.push(name.as_str());
                }
                "container-image" => {
                    platform.base = Some(Base::Image(Image::parse(value).map_err(invalid)?));
                    bases.push(name.as_str());
                }
                "inject" => platform.inject.push(value.clone()),
                MEMORY => {
                    platform.bounds.memory_bytes =
                        Some(bounds::memory_bytes(value).map_err(invalid)?);
                }
                PROCESSES => {
                    platform.bounds.processes = Some(bounds::processes(value).map_err(invalid)?);
                }
                PROCESSORS => {
                    platform.bounds.milli_cpus = Some(bounds::milli_cpus(value).map_err(invalid)?);
                }
                ELEMENT => platform.element = Some(value.clone()),
                _ => tracing::debug!("the platform property `{name}` means nothing to this runner"),
            }
        }
        // The highest number stands for "no user" in the kernel.
        if platform.uid == u32::MAX || platform.gid == u32::MAX {
            return Err(PlatformError::Invalid {
                name: "unixUID or unixGID".to_owned(),
                value: u32::MAX.to_string(),
                why: "not a number from 0 to 4294967294".to_owned(),
            });
        }
        if bases.len() > 1 {
            return Err(PlatformError::Exclusive(bases.join(", ")));
        }
        Ok(platform)
    }
}

fn family(name: &str, value: &str) -> Result<(), PlatformError> {
    if value == "linux" {
        return Ok(());
    }
    Err(PlatformError::Unsupported {
        name: name.to_owned(),
        value: value.to_owned(),
        have: "`linux`",
    })
}

fn isa(name: &str, value: &str) -> Result<bool, PlatformError> {
    match value {
        "x86-64" => Ok(false),
        "x86-32" => Ok(true),
        _ => Err(PlatformError::Unsupported {
            name: name.to_owned(),
            value: value.to_owned(),
            have: "`x86-64` and `x86-32`",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(properties: &[(&str, &str)]) -> Result<Platform, PlatformError> {
        let properties = properties
            .iter()
            .map(|(name, value)| reapi::platform::Property {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        Platform::parse(&reapi::Platform { properties })
    }

    #[test]
    fn nothing_asked_is_the_default() {
        assert_eq!(parse(&[]), Ok(Platform::default()));
        assert_eq!(parse(&[("pool", "fast")]), Ok(Platform::default()));
    }

    #[test]
    fn everything_that_we_have() {
        let digest = format!("{}/3", "a".repeat(64));
        let platform = parse(&[
            ("ISA", "x86-32"),
            ("OSFamily", "linux"),
            ("capability", "CAP_SYS_PTRACE"),
            ("chrootRootDigest", &digest),
            ("forerunnerCpus", "1.5"),
            ("forerunnerElement", "a/b.bst"),
            ("forerunnerMemory", "2G"),
            ("forerunnerProcesses", "100"),
            ("inject", "sdk"),
            ("network", "on"),
            ("remoteApisSocketPath", "run/reapi.sock"),
            ("unixGID", "7"),
            ("unixUID", "1000"),
        ])
        .expect("a platform");
        assert!(platform.bits32 && platform.network);
        assert_eq!((platform.uid, platform.gid), (1000, 7));
        assert_eq!(platform.socket.expect("a path").to_string(), "run/reapi.sock");
        assert_eq!(platform.base, Some(Base::Directory(digest.parse().expect("a digest"))));
        assert_eq!(platform.capabilities.bits(), 1 << 19);
        assert_eq!(platform.inject, ["sdk"]);
        assert_eq!(platform.element.as_deref(), Some("a/b.bst"));
        let bounds =
            Bounds { memory_bytes: Some(2 << 30), processes: Some(100), milli_cpus: Some(1500) };
        assert_eq!(platform.bounds, bounds);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in [
            ("OSFamily", "windows"),
            ("ISA", "aarch64"),
            ("unixUID", "-1"),
            ("unixUID", "4294967295"),
            ("unixGID", "x"),
            ("capability", "CAP_FLY"),
            ("remoteApisSocketPath", "/abs"),
            ("remoteApisSocketPath", ".."),
            ("remoteApisSocketPath", ""),
            ("chrootRootDigest", "nonsense"),
            ("container-image", "docker://x"),
            ("forerunnerMemory", "lots"),
            ("forerunnerProcesses", "0"),
            ("forerunnerCpus", ""),
        ] {
            assert!(parse(&[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bases_exclude_each_other() {
        let digest = format!("{}/3", "a".repeat(64));
        let image = format!("x@sha256:{}", "a".repeat(64));
        let error = parse(&[("chrootRootDigest", &digest), ("container-image", &image)])
            .expect_err("two bases")
            .to_string();
        for name in ["chrootRootDigest", "chrootTreeDigest", "container-image"] {
            assert!(error.contains(name), "{error}");
        }
    }
}
