//! Reading an element graph, strictly: every complaint names the line, the element and the key.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use forerunner_merkle::Digest;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::graph::{Element, Graph, GraphError, Tree};

/// The keys of an element.
const KEYS: [&str; 6] =
    ["name", "depends", "sources", "artifact", "subactions", "speculative_actions"];

/// An object as it stands in the text, so that a key that stands twice is seen.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl Graph {
    /// Parses the JSON form.
    ///
    /// # Errors
    /// If it is no JSON, if a key is missing, unknown, double or has a bad value, if a dependency
    /// is unknown, or if there is a cycle.
    pub fn parse(text: &str) -> Result<Self, GraphError> {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let parser = Parser { text, breaks: breaks.map(|(at, _)| at).collect() };
        let top: Object<'_> = serde_json::from_str(text).map_err(|error| parser.syntax(&error))?;
        let mut list: Option<Vec<&RawValue>> = None;
        for (key, value) in &top.0 {
            let bad = |problem: String| GraphError::Key {
                line: parser.line(value),
                key: key.clone(),
                problem,
            };
            if key != "elements" {
                return Err(bad("unknown key, only `elements` stands here".to_owned()));
            }
            if list.is_some() {
                return Err(bad("stands twice".to_owned()));
            }
            let values = serde_json::from_str(value.get());
            list = Some(values.map_err(|_| bad("is not a list of elements".to_owned()))?);
        }
        let list = list.ok_or_else(|| GraphError::Key {
            line: 1,
            key: "elements".to_owned(),
            problem: "is missing".to_owned(),
        })?;
        let mut raw = Vec::with_capacity(list.len());
        for (index, value) in list.into_iter().enumerate() {
            raw.push(parser.element(index, value)?);
        }
        link(raw)
    }
}

/// An element whose dependencies are still names.
struct RawElement {
    element: Element,
    depends: Vec<String>,
    line: usize,
    depends_line: usize,
}

fn link(raw: Vec<RawElement>) -> Result<Graph, GraphError> {
    let mut names: HashMap<String, usize> = HashMap::new();
    for (index, item) in raw.iter().enumerate() {
        if names.insert(item.element.name.clone(), index).is_some() {
            return Err(GraphError::Element {
                line: item.line,
                element: item.element.name.clone(),
                key: "name".to_owned(),
                problem: "two elements have this name".to_owned(),
            });
        }
    }
    let mut elements = Vec::with_capacity(raw.len());
    for item in raw {
        let mut element = item.element;
        for name in item.depends {
            let index = names.get(&name).ok_or_else(|| GraphError::Element {
                line: item.depends_line,
                element: element.name.clone(),
                key: "depends".to_owned(),
                problem: format!("there is no element `{name}`"),
            })?;
            if !element.depends.contains(index) {
                element.depends.push(*index);
            }
        }
        elements.push(element);
    }
    Graph::new(elements)
}

struct Parser<'a> {
    text: &'a str,
    /// Where lines end: a graph of many elements has many, and each key asks for its own.
    breaks: Vec<usize>,
}

impl Parser<'_> {
    /// The line on which `value`, a part of the text, begins.
    fn line(&self, value: &RawValue) -> usize {
        let offset = (value.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        1 + self.breaks.partition_point(|at| *at < offset)
    }

    fn syntax(&self, error: &serde_json::Error) -> GraphError {
        let full = error.to_string();
        let problem = full.split(" at line ").next().unwrap_or(&full).to_owned();
        GraphError::Syntax { line: error.line().max(1), problem }
    }

    fn element(&self, index: usize, value: &RawValue) -> Result<RawElement, GraphError> {
        let start = self.line(value);
        let nameless = format!("number {}", index + 1);
        let object: Object<'_> =
            serde_json::from_str(value.get()).map_err(|_| GraphError::Key {
                line: start,
                key: "elements".to_owned(),
                problem: format!("entry {nameless} is not an object"),
            })?;
        let mut raw = RawElement {
            element: Element::default(),
            depends: Vec::new(),
            line: start,
            depends_line: start,
        };
        // The name first, so that every other complaint has it.
        let name = object.0.iter().find(|(key, _)| key == "name");
        let shown = name
            .and_then(|(_, value)| serde_json::from_str::<String>(value.get()).ok())
            .unwrap_or(nameless);
        let bad = |line: usize, key: &str, problem: &str| GraphError::Element {
            line,
            element: shown.clone(),
            key: key.to_owned(),
            problem: problem.to_owned(),
        };
        if name.is_none() {
            return Err(bad(start, "name", "is missing"));
        }
        for (position, (key, value)) in object.0.iter().enumerate() {
            let line = self.line(value);
            if object.0[..position].iter().any(|(other, _)| other == key) {
                return Err(bad(line, key, "stands twice"));
            }
            let text = value.get();
            match key.as_str() {
                "name" => raw.element.name = name_of(text).map_err(|p| bad(line, key, p))?,
                "depends" => {
                    raw.depends_line = line;
                    raw.depends = serde_json::from_str(text)
                        .map_err(|_| bad(line, key, "is not a list of names"))?;
                }
                "sources" => raw.element.sources = tree(text).map_err(|p| bad(line, key, &p))?,
                "artifact" => raw.element.artifact = tree(text).map_err(|p| bad(line, key, &p))?,
                "subactions" => {
                    raw.element.subactions = digests(text).map_err(|p| bad(line, key, &p))?;
                }
                "speculative_actions" => {
                    raw.element.speculative = digest(text).map_err(|p| bad(line, key, &p))?;
                }
                _ => {
                    let problem = format!("unknown key, known are {}", KEYS.join(", "));
                    return Err(bad(line, key, &problem));
                }
            }
        }
        Ok(raw)
    }
}

fn name_of(text: &str) -> Result<String, &'static str> {
    let name: String = serde_json::from_str(text).map_err(|_| "is not a string")?;
    match name.as_str() {
        "" => Err("is empty"),
        _ if name.contains('\0') => Err("contains NUL"),
        _ => Ok(name),
    }
}

fn digest(text: &str) -> Result<Option<Digest>, String> {
    let value: Option<String> = serde_json::from_str(text)
        .map_err(|_| "is not a digest of the form `hash/size`".to_owned())?;
    value.map(|text| text.parse::<Digest>().map_err(|error| error.to_string())).transpose()
}

fn digests(text: &str) -> Result<Option<Vec<Digest>>, String> {
    let value: Option<Vec<String>> =
        serde_json::from_str(text).map_err(|_| "is not a list of digests".to_owned())?;
    let Some(list) = value else { return Ok(None) };
    let parse = |text: &String| text.parse::<Digest>().map_err(|error| error.to_string());
    list.iter().map(parse).collect::<Result<Vec<Digest>, String>>().map(Some)
}

fn tree(text: &str) -> Result<Option<Tree>, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Path(PathForm),
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct PathForm {
        path: PathBuf,
    }
    let form: Option<Form> = serde_json::from_str(text)
        .map_err(|_| "is neither `hash/size` nor {\"path\": \"dir\"} nor null".to_owned())?;
    Ok(match form {
        None => None,
        Some(Form::Text(text)) => {
            Some(Tree::Digest(text.parse::<Digest>().map_err(|error| error.to_string())?))
        }
        Some(Form::Path(form)) => Some(Tree::Path(form.path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0";

    fn complaint(text: &str) -> String {
        Graph::parse(text).expect_err("a bad graph").to_string()
    }

    #[test]
    fn everything_is_read_and_written() {
        let text = format!(
            r#"{{ "elements": [
              {{ "name": "b", "depends": ["a"], "sources": {{"path": "src"}}, "artifact": null,
                 "subactions": ["{EMPTY}"], "speculative_actions": "{EMPTY}" }},
              {{ "name": "a", "sources": "{EMPTY}" }} ] }}"#
        );
        let graph = Graph::parse(&text).expect("a graph");
        assert_eq!(graph.elements()[0].name, "a");
        assert_eq!(graph.elements()[1].depends, [0]);
        assert_eq!(graph.elements()[1].sources, Some(Tree::Path("src".into())));
        assert_eq!(graph.elements()[1].subactions.as_ref().map(Vec::len), Some(1));
        assert_eq!(Graph::parse(&graph.to_json()).expect("again"), graph);
    }

    #[test]
    fn complaints_name_line_element_and_key() {
        let cases = [
            ("{\n\"elements\": [\n", "line 3: EOF while parsing"),
            ("{}", "line 1: key `elements` of the graph: is missing"),
            ("{\"x\": 1}", "line 1: key `x` of the graph: unknown key"),
            ("{\"elements\": 3}", "key `elements` of the graph: is not a list"),
            ("{\"elements\": [\n3]}", "line 2: key `elements` of the graph: entry number 1"),
            ("{\"elements\": [{}]}", "line 1: element `number 1`, key `name`: is missing"),
            ("{\"elements\": [{\"name\": 3}]}", "element `number 1`, key `name`: is not a string"),
            (
                "{\"elements\": [{\"name\": \"a\",\n\"colour\": 1}]}",
                "line 2: element `a`, key `colour`: unknown key",
            ),
            (
                "{\"elements\": [{\"sources\":\n\"zz/3\", \"name\": \"a\"}]}",
                "line 2: element `a`, key `sources`: `zz` is not a hash",
            ),
            (
                "{\"elements\": [{\"name\": \"a\", \"artifact\": {\"dir\": \"x\"}}]}",
                "element `a`, key `artifact`: is neither",
            ),
            (
                "{\"elements\": [{\"name\": \"a\", \"depends\": [\"b\"]}]}",
                "element `a`, key `depends`: there is no element `b`",
            ),
            ("{\"elements\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}", "two elements"),
            ("{\"elements\": [{\"name\": \"a\", \"name\": \"a\"}]}", "stands twice"),
            ("{\"elements\": [{\"name\": \"a\", \"depends\": [\"a\"]}]}", "a -> a"),
        ];
        for (text, expected) in cases {
            let got = complaint(text);
            assert!(got.contains(expected), "{text}: {got}");
        }
    }
}
