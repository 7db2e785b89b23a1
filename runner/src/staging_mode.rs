//! The ways of staging that `--staging-mode` names.

use std::str::FromStr;

/// How a server is asked to stage a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StagingMode {
    /// As it likes.
    #[default]
    Default,
    /// Through its FUSE file system.
    Fuse,
    /// Hard links or copies.
    CopyOrLink,
}

impl FromStr for StagingMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self::Default),
            "fuse" => Ok(Self::Fuse),
            "copy-or-link" => Ok(Self::CopyOrLink),
            _ => Err("expected `fuse`, `copy-or-link` or `default`".to_owned()),
        }
    }
}
