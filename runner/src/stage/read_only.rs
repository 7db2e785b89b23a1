//! Parts of a tree that a command may not write to (the node property `SubtreeReadOnly`).

use std::collections::HashMap;

use forerunner_merkle::{Digest, Forest, TreePath};
use forerunner_proto::reapi::NodeProperties;

use crate::failure::Failure;
use crate::plan::Subtree;

const PROPERTY: &str = "SubtreeReadOnly";

/// A few bytes of directories can expand without bounds; each of these is a mount, too.
const MOST_DIRECTORIES: usize = 1000;

/// Whether `properties` say so; `None` if they say nothing.
pub(super) fn wanted(properties: Option<&NodeProperties>) -> Option<bool> {
    let mut list = properties?.properties.iter();
    list.find(|property| property.name == PROPERTY).map(|property| property.value == "true")
}

/// The directories at which a tree becomes read-only or writable again, those above first.
///
/// # Errors
/// If there are more than any real tree has.
pub(super) fn subtrees(forest: &Forest, root: &Digest) -> Result<Vec<Subtree>, Failure> {
    let mut found = Vec::new();
    let mut known = HashMap::new();
    let mut visited = 0;
    let mut todo = vec![(*root, TreePath::root(), false)];
    while let Some((digest, path, above)) = todo.pop() {
        let Some(directory) = forest.get(&digest).filter(|_| says(forest, &digest, &mut known))
        else {
            continue;
        };
        visited += 1;
        let read_only = wanted(directory.properties()).unwrap_or(above);
        if read_only != above {
            found.push(Subtree { at: path.clone(), read_only });
        }
        if found.len() > MOST_DIRECTORIES || visited > 100 * MOST_DIRECTORIES {
            let why = format!("more than {MOST_DIRECTORIES} directories have `{PROPERTY}`");
            return Err(Failure::Malformed { what: format!("the tree {root}"), why });
        }
        for (name, child) in directory.directories() {
            todo.push((*child, path.child(name.clone()), read_only));
        }
    }
    found.sort_by(|a, b| a.at.names().len().cmp(&b.at.names().len()).then(a.at.cmp(&b.at)));
    Ok(found)
}

/// Whether anything at or below a directory says whether it is read-only.
fn says(forest: &Forest, digest: &Digest, known: &mut HashMap<Digest, bool>) -> bool {
    if let Some(answer) = known.get(digest) {
        return *answer;
    }
    let Some(directory) = forest.get(digest).cloned() else { return false };
    let mut answer = wanted(directory.properties()).is_some();
    for (_, child) in directory.directories() {
        answer |= says(forest, child, known);
    }
    known.insert(*digest, answer);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::{DigestFunction, Directory, Name, Node};
    use forerunner_proto::reapi::NodeProperty;

    fn directory(forest: &mut Forest, value: Option<&str>, children: &[(&str, Digest)]) -> Digest {
        let entries = children
            .iter()
            .map(|(name, child)| (Name::new(name).expect("a name"), Node::Directory(*child)));
        let properties = value.map(|value| NodeProperties {
            properties: vec![NodeProperty { name: PROPERTY.to_owned(), value: value.to_owned() }],
            ..Default::default()
        });
        let directory = Directory::from_entries(entries.collect::<Vec<_>>()).expect("a directory");
        forest.insert(directory.with_properties(properties))
    }

    #[test]
    fn where_it_changes() {
        let mut forest = Forest::new(DigestFunction::Sha256);
        let plain = directory(&mut forest, None, &[]);
        let open = directory(&mut forest, Some("false"), &[("p", plain)]);
        let closed = directory(&mut forest, Some("true"), &[("open", open), ("p", plain)]);
        let list = |forest: &Forest, root| {
            let found = subtrees(forest, root).expect("a list");
            found.iter().map(|it| format!("/{} {}", it.at, it.read_only)).collect::<Vec<_>>()
        };
        assert_eq!(list(&forest, &closed), ["/ true", "/open false"]);
        // What says nothing new is nothing.
        assert_eq!(list(&forest, &open), Vec::<String>::new());
        let root = directory(&mut forest, None, &[("a", plain), ("b", closed), ("c", open)]);
        assert_eq!(list(&forest, &root), ["/b true", "/b/open false"]);
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut forest = Forest::new(DigestFunction::Sha256);
        let mut at = directory(&mut forest, Some("true"), &[]);
        for _ in 0..40 {
            at = directory(&mut forest, None, &[("a", at), ("b", at)]);
        }
        assert!(subtrees(&forest, &at).is_err());
        let mut at = directory(&mut forest, Some("false"), &[]);
        for _ in 0..40 {
            at = directory(&mut forest, None, &[("a", at), ("b", at)]);
        }
        assert!(subtrees(&forest, &at).is_err());
    }
}
