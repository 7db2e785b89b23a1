//! The element graph: what is known of a project.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use forerunner_merkle::Digest;
use serde_json::{Map, Value, json};

/// A tree that the graph names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// The digest of its root Directory.
    Digest(Digest),
    /// A directory on disk, still to be captured.
    Path(PathBuf),
}

/// One element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its unique name.
    pub name: String,
    /// Direct build dependencies, as indices into the graph.
    pub depends: Vec<usize>,
    /// Its sources, if it has any.
    pub sources: Option<Tree>,
    /// What it installs, if that is known.
    pub artifact: Option<Tree>,
    /// Actions that its build used, in order; `None`: look up the element record.
    pub subactions: Option<Vec<Digest>>,
    /// A SpeculativeActions message; `None`: look it up beside the record.
    pub speculative: Option<Digest>,
}

/// Elements, each after those that it depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    elements: Vec<Element>,
    visible: Vec<HashSet<usize>>,
}

/// Why something is no element graph. Line numbers count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Not JSON.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Where.
        line: usize,
        /// What the JSON parser says.
        problem: String,
    },
    /// A key of the whole that is missing or unknown.
    #[error("line {line}: key `{key}` of the graph: {problem}")]
    Key {
        /// Where.
        line: usize,
        /// Which.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A bad key of an element.
    #[error("line {line}: element `{element}`, key `{key}`: {problem}")]
    Element {
        /// Where.
        line: usize,
        /// Its name, or `number N` if it has none.
        element: String,
        /// Which key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A cycle.
    #[error("the elements depend on each other in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

impl Graph {
    /// Orders elements that were parsed or made; `depends` counts in the given order.
    ///
    /// # Errors
    /// [`GraphError::Cycle`].
    pub fn new(elements: Vec<Element>) -> Result<Self, GraphError> {
        let order = order(&elements)?;
        let mut place = vec![0; elements.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new;
        }
        let mut sorted: Vec<Element> = Vec::with_capacity(elements.len());
        let mut visible: Vec<HashSet<usize>> = Vec::with_capacity(elements.len());
        for old in order {
            let mut element = elements[old].clone();
            let mut seen = HashSet::new();
            for dependency in &mut element.depends {
                *dependency = place[*dependency];
                seen.insert(*dependency);
                seen.extend(visible[*dependency].iter().copied());
            }
            sorted.push(element);
            visible.push(seen);
        }
        Ok(Self { elements: sorted, visible })
    }

    /// A graph of one element without dependencies.
    #[must_use]
    pub fn single(element: Element) -> Self {
        let element = Element { depends: Vec::new(), ..element };
        Self { elements: vec![element], visible: vec![HashSet::new()] }
    }

    /// The elements, dependencies first.
    #[must_use]
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// The elements, to be filled in; names and dependencies must stay.
    pub fn elements_mut(&mut self) -> &mut [Element] {
        &mut self.elements
    }

    /// The index of the element called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.elements.iter().position(|element| element.name == name)
    }

    /// Indices by name.
    #[must_use]
    pub fn names(&self) -> HashMap<&str, usize> {
        self.elements.iter().enumerate().map(|(index, e)| (e.name.as_str(), index)).collect()
    }

    /// Everything that `element` depends on, also through others.
    #[must_use]
    pub fn below(&self, element: usize) -> &HashSet<usize> {
        &self.visible[element]
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        let elements: Vec<Value> = self.elements.iter().map(|e| self.element_json(e)).collect();
        let mut text = serde_json::to_string_pretty(&json!({ "elements": elements }))
            .unwrap_or_else(|error| unreachable!("strings become JSON: {error}"));
        text.push('\n');
        text
    }

    fn element_json(&self, element: &Element) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), json!(element.name));
        let depends: Vec<&str> =
            element.depends.iter().map(|index| self.elements[*index].name.as_str()).collect();
        map.insert("depends".into(), json!(depends));
        for (key, tree) in [("sources", &element.sources), ("artifact", &element.artifact)] {
            let value = match tree {
                None => Value::Null,
                Some(Tree::Digest(digest)) => json!(digest.to_string()),
                Some(Tree::Path(path)) => json!({ "path": path }),
            };
            map.insert(key.into(), value);
        }
        if let Some(subactions) = &element.subactions {
            let list: Vec<String> = subactions.iter().map(ToString::to_string).collect();
            map.insert("subactions".into(), json!(list));
        }
        if let Some(digest) = &element.speculative {
            map.insert("speculative_actions".into(), json!(digest.to_string()));
        }
        Value::Object(map)
    }
}

/// Indices so that each element comes after its dependencies; otherwise as given.
fn order(elements: &[Element]) -> Result<Vec<usize>, GraphError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; elements.len()];
    let mut order = Vec::with_capacity(elements.len());
    for start in 0..elements.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // (element, number of its dependencies that were visited)
        let mut stack = vec![(start, 0)];
        marks[start] = Mark::Open;
        while let Some((at, next)) = stack.pop() {
            let Some(dependency) = elements[at].depends.get(next).copied() else {
                marks[at] = Mark::Done;
                order.push(at);
                continue;
            };
            stack.push((at, next + 1));
            match marks[dependency] {
                Mark::Done => {}
                Mark::New => {
                    marks[dependency] = Mark::Open;
                    stack.push((dependency, 0));
                }
                Mark::Open => {
                    let from = stack.iter().position(|(e, _)| *e == dependency).unwrap_or(0);
                    let mut names: Vec<String> =
                        stack[from..].iter().map(|(e, _)| elements[*e].name.clone()).collect();
                    names.push(elements[dependency].name.clone());
                    return Err(GraphError::Cycle(names));
                }
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(name: &str, depends: &[usize]) -> Element {
        Element { name: name.to_owned(), depends: depends.to_vec(), ..Element::default() }
    }

    #[test]
    fn dependencies_go_first() {
        let graph =
            Graph::new(vec![element("app", &[1, 2]), element("b", &[2]), element("a", &[])])
                .expect("no cycle");
        let names: Vec<&str> = graph.elements().iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "app"]);
        assert_eq!(graph.elements()[2].depends, [1, 0]);
        assert_eq!(graph.below(2), &HashSet::from([0, 1]));
        assert!(graph.below(0).is_empty());
    }

    #[test]
    fn a_cycle_is_named() {
        let cycle = Graph::new(vec![
            element("top", &[1]),
            element("a", &[2]),
            element("b", &[3]),
            element("c", &[1]),
        ]);
        let error = cycle.expect_err("a cycle").to_string();
        assert!(error.ends_with("a -> b -> c -> a"), "{error}");
    }
}
