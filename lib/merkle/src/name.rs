//! Names and paths that cannot lead anywhere else.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

/// The name of an entry in a directory: never empty, `.` or `..`, without `/` and NUL.
///
/// The protocol requires UTF-8 (its names are protobuf strings).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why something is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// An entry without a name.
    #[error("a name is empty")]
    Empty,
    /// `.` or `..`.
    #[error("`{0}` is not a name but a direction")]
    Dots(String),
    /// Contains `/` or NUL.
    #[error("the name `{0}` contains `/` or NUL")]
    Character(String),
    /// Not UTF-8.
    #[error("the name `{0}` is not UTF-8, which the Remote Execution API requires")]
    Encoding(String),
    /// A path that begins with `/`, or leads above its root.
    #[error("the path `{0}` leads outside its root")]
    Outside(String),
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// If it is no name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        Self::check(name)?;
        Ok(Self(name.into()))
    }

    /// Checks a name without making one.
    ///
    /// # Errors
    /// If it is no name.
    pub fn check(name: &str) -> Result<(), NameError> {
        match name {
            "" => Err(NameError::Empty),
            "." | ".." => Err(NameError::Dots(name.to_owned())),
            _ if name.bytes().any(|byte| byte == b'/' || byte == 0) => {
                Err(NameError::Character(name.escape_debug().to_string()))
            }
            _ => Ok(()),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::check(&name)?;
        Ok(Self(name.into_boxed_str()))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A path within a tree: names, joined by `/`; empty for the root.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<Name>);

impl TreePath {
    /// The root of a tree.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses a relative path. Empty components and `.` are left out; `..` takes the name before
    /// it away, as it does where no symlink is involved.
    ///
    /// # Errors
    /// If it is absolute, leads above the root, or holds something that is no name.
    pub fn parse(path: &str) -> Result<Self, NameError> {
        if path.starts_with('/') {
            return Err(NameError::Outside(path.to_owned()));
        }
        Self::root().join(path)
    }

    /// As [`Self::parse`], but `path` starts at `self`, and an absolute one at the root.
    ///
    /// # Errors
    /// If it leads above the root or holds something that is no name.
    pub fn join(&self, path: &str) -> Result<Self, NameError> {
        let mut names = if path.starts_with('/') { Vec::new() } else { self.0.clone() };
        for component in path.split('/') {
            match component {
                "" | "." => {}
                ".." => {
                    names.pop().ok_or_else(|| NameError::Outside(path.to_owned()))?;
                }
                name => names.push(Name::new(name)?),
            }
        }
        Ok(Self(names))
    }

    /// The path with one more name.
    #[must_use]
    pub fn child(&self, name: Name) -> Self {
        let mut names = self.0.clone();
        names.push(name);
        Self(names)
    }

    /// The names from the root down.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// Whether this is the root itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory above, and the last name; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, &Name)> {
        let (last, above) = self.0.split_last()?;
        Some((Self(above.to_vec()), last))
    }
}

impl From<Vec<Name>> for TreePath {
    fn from(names: Vec<Name>) -> Self {
        Self(names)
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", ".", "..", "a/b", "/", "a\0b"] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "...", " ", "-", "ä", "a\nb"] {
            assert_eq!(Name::new(good).expect("a name").as_str(), good);
        }
    }

    #[test]
    fn paths_stay_inside() {
        let parse = |path| TreePath::parse(path).map(|path| path.to_string());
        assert_eq!(parse("a//b/./c/"), Ok("a/b/c".to_owned()));
        assert_eq!(parse("a/../b"), Ok("b".to_owned()));
        assert_eq!(parse(""), Ok(String::new()));
        for bad in ["/a", "..", "a/../../b"] {
            assert_eq!(parse(bad), Err(NameError::Outside(bad.to_owned())));
        }
        let base = TreePath::parse("buildstream/project/element").expect("a path");
        let joined = base.join("../../../buildstream-install").expect("inside");
        assert_eq!(joined.to_string(), "buildstream-install");
        assert_eq!(base.join("/usr").expect("inside").to_string(), "usr");
    }
}
