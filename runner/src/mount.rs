//! Parts of the host that are mounted into the sandbox.

use std::str::FromStr;

use forerunner_merkle::TreePath;

/// A part of the host that the sandbox shall see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindMount {
    /// Only for actions that ask for this.
    pub(crate) content: Option<String>,
    /// Absolute path on the host.
    pub(crate) host: String,
    /// Path in the sandbox.
    pub(crate) at: TreePath,
    /// Whether nothing can be written through it.
    pub(crate) read_only: bool,
}

impl FromStr for BindMount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, at) = text.split_once(':').ok_or_else(|| "expected `HOST:PATH`".to_owned())?;
        Self::new(None, host, at, false)
    }
}

impl BindMount {
    /// Parses `[CONTENT:]HOST:PATH`.
    pub(crate) fn parse_read_only(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            [host, at] => Self::new(None, host, at, true),
            [content, host, at] => Self::new(Some(content.to_owned()), host, at, true),
            _ => Err("expected `[CONTENT:]HOST:PATH`".to_owned()),
        }
    }

    fn new(content: Option<String>, host: &str, at: &str, read_only: bool) -> Result<Self, String> {
        if !host.starts_with('/') || host.contains('\0') {
            return Err(format!("the path on the host, `{host}`, is not absolute"));
        }
        let at = TreePath::root().join(at).map_err(|error| error.to_string())?;
        if at.is_root() {
            return Err("the root of the sandbox cannot be replaced".to_owned());
        }
        Ok(Self { content, host: host.to_owned(), at, read_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let plain: BindMount = "/a/b:/c/d".parse().expect("a mount");
        assert_eq!((plain.host.as_str(), plain.at.to_string().as_str()), ("/a/b", "c/d"));
        assert!(!plain.read_only);
        let content = BindMount::parse_read_only("sdk:/a:/c").expect("a mount");
        assert_eq!(content.content.as_deref(), Some("sdk"));
        assert!(content.read_only);
        for bad in ["", "/a", "a:/b", "/a:/", "/a:/../b", "/a:.."] {
            assert!(bad.parse::<BindMount>().is_err(), "{bad}");
        }
        assert!(BindMount::parse_read_only("a:/b:/c:/d").is_err());
    }
}
