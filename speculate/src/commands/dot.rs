//! Recorded actions as a graph for Graphviz.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use forerunner_merkle::Digest;
use speculate::view::{ActionView, OriginView};

/// Longer labels are cut: nobody reads a box with a whole command line in it.
const LABEL_CHARACTERS: usize = 160;

/// Actions as boxes, one cluster per element, and sources as text; an arrow leads from what makes a file, or
/// from where it lies, to who takes it.
pub(crate) fn dot(elements: &[(String, Vec<ActionView>)]) -> String {
    let mut graph = Graph::default();
    for (number, (name, actions)) in elements.iter().enumerate() {
        let label = label(name);
        graph.line(&format!("  subgraph cluster_{number} {{\n    label={label};"));
        for action in actions {
            graph.action(action);
        }
        graph.line("  }");
    }
    for action in elements.iter().flat_map(|(_, actions)| actions) {
        for origin in action.inputs.iter().filter_map(|input| input.origins.first()) {
            graph.arrow(origin, &action.digest);
        }
    }
    format!("digraph actions {{\n  rankdir=LR;\n  node [shape=box];\n{}}}\n", graph.text)
}

#[derive(Default)]
struct Graph {
    text: String,
    /// What stands for an action, and for everything else that was named.
    actions: HashMap<Digest, String>,
    others: HashMap<String, String>,
    arrows: HashSet<(String, String)>,
}

impl Graph {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// An action that several elements used stands in the first of them.
    fn action(&mut self, action: &ActionView) {
        if self.actions.contains_key(&action.digest) {
            return;
        }
        let id = format!("a{}", self.actions.len());
        // Of one that is gone nothing but the digest is known.
        let title = if action.known { action.title.clone() } else { action.digest.hex() };
        let style = if action.known { "" } else { ", style=dashed" };
        self.line(&format!("    {id} [label={}{style}];", label(&title)));
        self.actions.insert(action.digest, id);
    }

    fn arrow(&mut self, origin: &OriginView, taker: &Digest) {
        let producer = origin.action.and_then(|action| self.actions.get(&action)).cloned();
        let from = producer.unwrap_or_else(|| self.other(origin));
        let Some(to) = self.actions.get(taker).cloned() else { return };
        if self.arrows.insert((from.clone(), to.clone())) {
            self.line(&format!("  {from} -> {to};"));
        }
    }

    /// A file of a source or artifact tree, or one that an action of an element makes that is not shown.
    fn other(&mut self, origin: &OriginView) -> String {
        let name = format!("{}:{}", origin.element, origin.path);
        if let Some(id) = self.others.get(&name) {
            return id.clone();
        }
        let id = format!("f{}", self.others.len());
        self.line(&format!("  {id} [label={}, shape=plaintext];", label(&name)));
        self.others.insert(name, id.clone());
        id
    }
}

/// A label that shows `text` as it is: Graphviz reads escapes and HTML entities in labels.
fn label(text: &str) -> String {
    let mut quoted = String::from("\"");
    for (number, letter) in text.chars().enumerate() {
        if number == LABEL_CHARACTERS {
            quoted.push('…');
            break;
        }
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '&' => quoted.push_str("&amp;"),
            letter if letter.is_control() => {
                let _ = write!(quoted, "\\{}", letter.escape_default());
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
