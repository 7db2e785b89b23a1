//! What `bst show` says of a project, as an element graph.

use std::collections::HashMap;

use forerunner_merkle::Digest;

use crate::graph::{Element, Graph, GraphError, Tree};

/// The format for `bst show --format`: fields end with US, elements with RS, which stand in no
/// name and in no YAML that BuildStream writes.
pub const SHOW_FORMAT: &str = "%{name}\u{1f}%{kind}\u{1f}%{full-key}\u{1f}%{artifact-cas-digest}\u{1f}%{build-deps}\u{1f}%{runtime-deps}\u{1f}%{vars}\u{1e}";

/// One element as `bst show` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name in the project, with the junctions that lead to it.
    pub name: String,
    /// The plugin that builds it.
    pub kind: String,
    /// The cache key.
    pub key: String,
    /// What it installs, if that is cached.
    pub artifact: Option<Digest>,
    /// Direct dependencies, for building and at run time.
    pub depends: Vec<String>,
    /// The name of its element record: where its commands run.
    pub record: String,
}

/// Why the output of `bst show` makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// Not as many fields as were asked for.
    #[error("`bst show` wrote {count} fields instead of 7 for an element: `{text}`")]
    Fields {
        /// How many.
        count: usize,
        /// The beginning of it.
        text: String,
    },
    /// A dependency that is not shown.
    #[error("`{element}` depends on `{dependency}`, which `bst show` does not show")]
    Dependency {
        /// Whose.
        element: String,
        /// Which.
        dependency: String,
    },
    /// No graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Reads the output of `bst show`.
///
/// # Errors
/// If it does not have the form of [`SHOW_FORMAT`].
pub fn parse(text: &str) -> Result<Vec<Shown>, ShowError> {
    let records = text.split('\u{1e}').map(str::trim).filter(|record| !record.is_empty());
    records.map(element).collect()
}

fn element(record: &str) -> Result<Shown, ShowError> {
    let fields: Vec<&str> = record.split('\u{1f}').collect();
    let [name, kind, key, artifact, build, run, variables] = fields[..] else {
        let text = record.chars().take(80).collect();
        return Err(ShowError::Fields { count: fields.len(), text });
    };
    let mut depends = list(build);
    for other in list(run) {
        if !depends.contains(&other) {
            depends.push(other);
        }
    }
    let variable = |name: &str| scalar(variables, name);
    let root = variable("build-root").unwrap_or_else(|| format!("/buildstream/{name}"));
    let record = match variable("command-subdir").filter(|folder| !folder.is_empty()) {
        Some(folder) => format!("{root}/{folder}"),
        None => root,
    };
    Ok(Shown {
        name: name.to_owned(),
        kind: kind.to_owned(),
        key: key.to_owned(),
        artifact: artifact.trim().parse().ok(),
        depends,
        record: record.trim_matches('/').to_owned(),
    })
}

/// The entries of a YAML list of plain words, in block or empty flow style.
fn list(text: &str) -> Vec<String> {
    let items = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
    items.map(|item| unquote(item.trim())).collect()
}

/// The value of a key in a YAML mapping of plain words.
fn scalar(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(unquote(value.trim()))
}

fn unquote(text: &str) -> String {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text).to_owned()
}

/// The directory that `bst source checkout` makes for an element.
#[must_use]
pub fn checkout_folder(name: &str) -> String {
    let name = name.rsplit(':').next().unwrap_or(name);
    let name = name.strip_suffix(".bst").unwrap_or(name);
    name.replace('/', "-")
}

/// The graph; `sources` are the source trees that are known, by the element's name in the project.
///
/// # Errors
/// If a dependency is missing or there is a cycle.
pub fn graph(shown: &[Shown], sources: &HashMap<String, Digest>) -> Result<Graph, ShowError> {
    let places: HashMap<&str, usize> =
        shown.iter().enumerate().map(|(index, one)| (one.name.as_str(), index)).collect();
    let mut elements = Vec::with_capacity(shown.len());
    for one in shown {
        let mut depends = Vec::with_capacity(one.depends.len());
        for name in &one.depends {
            let index = places.get(name.as_str()).ok_or_else(|| ShowError::Dependency {
                element: one.name.clone(),
                dependency: name.clone(),
            })?;
            depends.push(*index);
        }
        elements.push(Element {
            name: one.record.clone(),
            depends,
            sources: sources.get(&one.name).copied().map(Tree::Digest),
            artifact: one.artifact.map(Tree::Digest),
            ..Element::default()
        });
    }
    Ok(Graph::new(elements)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0";

    #[test]
    fn what_bst_shows() {
        let fields = |list: &[&str]| format!("{}\u{1e}\n", list.join("\u{1f}"));
        let text = [
            fields(&[
                "sysroot.bst",
                "import",
                "k1",
                DIGEST,
                "[]",
                "[]",
                "build-root: /buildstream/p/sysroot.bst",
            ]),
            fields(&[
                "sub/b.bst",
                "manual",
                "k2",
                "",
                "- sysroot.bst",
                "- sysroot.bst\n- other.bst",
                "prefix: /usr\nbuild-root: /buildstream/p/sub/b.bst\ncommand-subdir: \"build\"\n",
            ]),
            fields(&["other.bst", "stack", "k3", "", "[]", "- sysroot.bst", ""]),
        ]
        .concat();
        let shown = parse(&text).expect("three elements");
        assert_eq!(shown[1].record, "buildstream/p/sub/b.bst/build");
        assert_eq!(shown[1].depends, ["sysroot.bst", "other.bst"]);
        assert_eq!((shown[0].artifact.is_some(), shown[1].artifact), (true, None));
        let digest = DIGEST.parse().expect("a digest");
        let sources = HashMap::from([("sub/b.bst".to_owned(), digest)]);
        let graph = graph(&shown, &sources).expect("a graph");
        let names: Vec<&str> = graph.elements().iter().map(|e| e.name.as_str()).collect();
        assert_eq!(
            names,
            ["buildstream/p/sysroot.bst", "buildstream/other.bst", "buildstream/p/sub/b.bst/build"]
        );
        assert_eq!(graph.elements()[2].sources, Some(Tree::Digest(digest)));
        assert!(matches!(parse("a\u{1f}b"), Err(ShowError::Fields { count: 2, .. })));
    }

    #[test]
    fn folders_of_a_checkout() {
        assert_eq!(checkout_folder("sub/b.bst"), "sub-b");
        assert_eq!(checkout_folder("junction.bst:sub/b.bst"), "sub-b");
    }
}
