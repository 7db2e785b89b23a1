//! Paths as numbers, for memos that ask "this directory, at this path".

use std::collections::HashMap;

use forerunner_merkle::Name;

/// Numbers for paths: each path has one, the root has [`Paths::ROOT`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    children: HashMap<(u32, Name), u32>,
}

impl Paths {
    /// The number of the root.
    pub(crate) const ROOT: u32 = 0;

    /// The number of the path `name` below the path numbered `parent`.
    pub(crate) fn child(&mut self, parent: u32, name: &Name) -> u32 {
        let next = self.children.len() as u32 + 1;
        *self.children.entry((parent, name.clone())).or_insert(next)
    }
}

/// A path during a walk: the names above live in the callers' frames.
#[derive(Debug)]
pub(crate) enum Names<'a> {
    /// No name.
    Root,
    /// A name below a path.
    Below(&'a Names<'a>, &'a str),
}

impl Names<'_> {
    /// The names from the root down.
    #[must_use]
    pub(crate) fn collect(&self) -> Vec<&str> {
        let mut names = Vec::with_capacity(8);
        let mut at = self;
        while let Names::Below(above, name) = at {
            names.push(*name);
            at = above;
        }
        names.reverse();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_stable() {
        let mut paths = Paths::default();
        let name = |text: &str| Name::new(text).expect("a name");
        let a = paths.child(Paths::ROOT, &name("a"));
        let ab = paths.child(a, &name("b"));
        let b = paths.child(Paths::ROOT, &name("b"));
        assert_eq!(paths.child(Paths::ROOT, &name("a")), a);
        assert!(a != b && ab != b && ab != a && a != Paths::ROOT);
        let root = Names::Root;
        let above = Names::Below(&root, "a");
        assert_eq!(Names::Below(&above, "b").collect(), ["a", "b"]);
    }
}
