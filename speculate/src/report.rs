//! One self-contained page: what priming did, when, and what came of it.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use forerunner_merkle::Digest;
use serde::Deserialize;

use crate::graph::Graph;

mod layout;
mod timeline;

use layout::{BOX_HEIGHT, BOX_WIDTH, Layout, layout};
use timeline::timeline;

/// So many letters fit into a box.
const LETTERS: usize = 22;

/// A list of more is folded.
const UNFOLDED: usize = 20;

/// What became of one task, as the trace of `speculate prime` has it.
#[derive(Clone, Debug, Deserialize)]
pub struct TraceEvent {
    /// What the command is called by.
    pub name: String,
    /// `execution`, `lookup`, `unchanged` or `skip`.
    pub cat: String,
    /// When it began, in microseconds since priming began.
    pub ts: u64,
    /// How long it took, in microseconds.
    pub dur: u64,
    /// More about it.
    pub args: TraceArguments,
}

/// More about a task.
#[derive(Clone, Debug, Deserialize)]
pub struct TraceArguments {
    /// Its element.
    pub element: String,
    /// The action that the build was expected to ask for.
    pub action: Option<String>,
    /// What became of it, for people.
    pub what: String,
}

/// A trace file.
#[derive(Clone, Debug, Deserialize)]
pub struct Trace {
    /// Everything that happened.
    #[serde(rename = "traceEvents")]
    pub events: Vec<TraceEvent>,
}

/// What is shown of one element.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    executed: usize,
    ready: usize,
    tries: usize,
    skipped: usize,
    asked: usize,
    hits: usize,
    wasted: usize,
}

impl Row {
    fn rate(&self) -> Option<f64> {
        (self.asked > 0).then(|| self.hits as f64 / self.asked as f64)
    }

    fn says(&self) -> String {
        let Self { executed, ready, skipped, asked, hits, wasted, .. } = self;
        let built = match asked {
            0 => "not built since".to_owned(),
            _ => format!("{hits} of {asked} hits, {wasted} wasted"),
        };
        format!("{built}; {executed} executed early, {ready} were ready, {skipped} skipped")
    }
}

/// Makes the page. `asked` are the actions that each element's build asked for afterwards, by the
/// element's name; an element without them was not built since.
#[must_use]
pub fn html(graph: &Graph, trace: &Trace, asked: &BTreeMap<String, Vec<Digest>>) -> String {
    let rows = rows(graph, trace, asked);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>speculate</title>\n<style>\n{}</style></head><body>\n<h1>What was executed before it was asked for</h1>\n",
        include_str!("report/page.css")
    );
    summary(&mut page, &rows);
    page.push_str("<h2>When</h2>\n");
    timeline(&mut page, trace);
    page.push_str("<h2>Elements</h2>\n");
    elements(&mut page, graph, &rows);
    table(&mut page, &rows);
    wasted(&mut page, trace, asked);
    skipped(&mut page, trace);
    page.push_str("</body></html>\n");
    page
}

fn ready(event: &TraceEvent) -> Option<&str> {
    match event.cat.as_str() {
        "execution" | "lookup" | "unchanged" => event.args.action.as_deref(),
        _ => None,
    }
}

fn rows(
    graph: &Graph,
    trace: &Trace,
    asked: &BTreeMap<String, Vec<Digest>>,
) -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for element in graph.elements() {
        rows.insert(element.name.clone(), Row::default());
    }
    let all: HashSet<String> = asked.values().flatten().map(ToString::to_string).collect();
    let foreseen: HashSet<&str> = trace.events.iter().filter_map(ready).collect();
    for event in &trace.events {
        let row = rows.entry(event.args.element.clone()).or_default();
        match event.cat.as_str() {
            "execution" => {
                row.executed += 1;
                let built = asked.contains_key(&event.args.element);
                let used = event.args.action.as_ref().is_some_and(|action| all.contains(action));
                row.wasted += usize::from(built && !used);
            }
            "try" => row.tries += 1,
            "skip" => row.skipped += 1,
            _ => row.ready += 1,
        }
    }
    for (name, actions) in asked {
        let row = rows.entry(name.clone()).or_default();
        row.asked = actions.len();
        row.hits =
            actions.iter().filter(|action| foreseen.contains(action.to_string().as_str())).count();
    }
    rows
}

fn summary(page: &mut String, rows: &BTreeMap<String, Row>) {
    let sum = |field: fn(&Row) -> usize| rows.values().map(field).sum::<usize>();
    let (asked, hits) = (sum(|row| row.asked), sum(|row| row.hits));
    let rate = match asked {
        0 => "not built yet".to_owned(),
        _ => format!("{:.0} % hits", 100.0 * hits as f64 / asked as f64),
    };
    let _ = writeln!(
        page,
        "<p class=\"sum\"><b>{rate}</b> · {} executed early · {} were ready · {} tries · {} skipped · {} wasted</p>",
        sum(|row| row.executed),
        sum(|row| row.ready),
        sum(|row| row.tries),
        sum(|row| row.skipped),
        sum(|row| row.wasted),
    );
}

/// The graph, dependencies to the left, coloured by hit rate.
fn elements(page: &mut String, graph: &Graph, rows: &BTreeMap<String, Row>) {
    if graph.elements().is_empty() {
        page.push_str("<p>The graph has no elements.</p>\n");
        return;
    }
    let Layout { boxes, lines, width, height } = layout(graph);
    let _ = writeln!(
        page,
        "<div class=\"scroll\"><svg id=\"graph\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">"
    );
    let name = |element: usize| escape(&graph.elements()[element].name);
    for line in &lines {
        let mut path = String::new();
        for (number, (x, y)) in line.points.iter().enumerate() {
            let _ = match number {
                0 => write!(path, "M{x} {y}"),
                // From layer to layer in a curve, straight past a layer.
                _ if number % 2 == 1 => {
                    let (from_x, from_y) = line.points[number - 1];
                    let middle = usize::midpoint(from_x, *x);
                    write!(path, "C{middle} {from_y} {middle} {y} {x} {y}")
                }
                _ => write!(path, "L{x} {y}"),
            };
        }
        let (element, below) = line.ends;
        let (element, below) = (name(element), name(below));
        let _ = writeln!(page, "<path d=\"{path}\"><title>{element} needs {below}</title></path>");
    }
    for (element, (x, y)) in graph.elements().iter().zip(&boxes) {
        let row = rows.get(&element.name).cloned().unwrap_or_default();
        // From red to green; grey where nothing was asked for.
        let (class, style, shown) = row.rate().map_or_else(
            || ("element", String::new(), String::new()),
            |rate| {
                let style = format!(" style=\"--hue:{:.0}\"", 120.0 * rate);
                ("element built", style, format!("{:.0} %", 100.0 * rate))
            },
        );
        let letters = LETTERS - shown.chars().count();
        let _ = writeln!(
            page,
            "<g class=\"{class}\"{style}><title>{}: {}</title><rect x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"4\"/><text x=\"{}\" y=\"{}\">{}</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{shown}</text></g>",
            escape(&element.name),
            row.says(),
            x + 8,
            y + 17,
            escape(&clipped(short(&element.name), letters)),
            x + BOX_WIDTH - 8,
            y + 17,
        );
    }
    page.push_str(
        "</svg></div>\n<p class=\"note\">Dependencies are to the left; those that follow from others have \
         no line. Green: all that the build asked for were hits, red: none; grey: not built since.</p>\n",
    );
}

fn table(page: &mut String, rows: &BTreeMap<String, Row>) {
    page.push_str("<h2>In numbers</h2>\n<div class=\"scroll\"><table><tr><th>element<th>executed early<th>were ready<th>tries<th>skipped<th>asked for<th>hits<th>wasted</tr>\n");
    for (name, row) in rows {
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            escape(name),
            row.executed,
            row.ready,
            row.tries,
            row.skipped,
            row.asked,
            row.hits,
            row.wasted
        );
    }
    page.push_str("</table></div>\n");
}

fn wasted(page: &mut String, trace: &Trace, asked: &BTreeMap<String, Vec<Digest>>) {
    let all: HashSet<String> = asked.values().flatten().map(ToString::to_string).collect();
    let events = trace.events.iter().filter(|event| {
        event.cat == "execution"
            && asked.contains_key(&event.args.element)
            && !event.args.action.as_ref().is_some_and(|action| all.contains(action))
    });
    list(page, "Executed in vain", events);
}

fn skipped(page: &mut String, trace: &Trace) {
    list(page, "Skipped", trace.events.iter().filter(|event| event.cat == "skip"));
}

/// A list; a long one is folded.
fn list<'a>(page: &mut String, heading: &str, events: impl Iterator<Item = &'a TraceEvent>) {
    let mut items = String::new();
    let mut count = 0;
    for event in events {
        let element = escape(&event.args.element);
        let (name, what) = (escape(&event.name), escape(&event.args.what));
        let _ = writeln!(items, "<li>{element}: {name}: {what}</li>");
        count += 1;
    }
    let open = if count > UNFOLDED { "" } else { " open" };
    if count > 0 {
        let _ = writeln!(
            page,
            "<h2>{heading}</h2>\n<details{open}><summary>{count}</summary><ul>\n{items}</ul></details>"
        );
    }
}

/// What a name ends in: without the project and folders.
fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A name in so many letters: of a long one the begin and the end.
fn clipped(name: &str, letters: usize) -> String {
    let all: Vec<char> = name.chars().collect();
    if all.len() <= letters {
        return name.to_owned();
    }
    let end = letters / 2;
    let begin = letters.saturating_sub(end + 1);
    let part = |letters: &[char]| letters.iter().collect::<String>();
    format!("{}…{}", part(&all[..begin]), part(&all[all.len() - end..]))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Element;
    use forerunner_merkle::DigestFunction;

    #[test]
    fn the_page_says_what_was_wasted() {
        let digest = |text: &str| DigestFunction::Sha256.digest(text.as_bytes());
        let event = |cat: &str, action: &str| {
            format!(
                r#"{{"name": "cc <a.o>", "cat": "{cat}", "ph": "X", "ts": 5, "dur": 10, "pid": 1, "tid": 1,
                "args": {{"element": "lib", "action": "{}", "what": "executed"}}}}"#,
                digest(action)
            )
        };
        let events =
            [event("execution", "used"), event("execution", "unused"), event("lookup", "x")];
        let text = format!(r#"{{"traceEvents": [{}]}}"#, events.join(","));
        let trace: Trace = serde_json::from_str(&text).expect("a trace");
        let graph = Graph::new(vec![
            Element { name: "lib".to_owned(), ..Element::default() },
            Element { name: "app".to_owned(), depends: vec![0], ..Element::default() },
        ])
        .expect("no cycle");
        let asked = BTreeMap::from([("lib".to_owned(), vec![digest("used"), digest("new")])]);
        let rows = rows(&graph, &trace, &asked);
        let expected =
            Row { executed: 2, ready: 1, asked: 2, hits: 1, wasted: 1, ..Row::default() };
        assert_eq!(rows["lib"], expected);
        let page = html(&graph, &trace, &asked);
        assert!(page.contains("50 % hits") && page.contains("Executed in vain"), "{page}");
        assert!(page.contains("cc &lt;a.o&gt;") && !page.contains("<a.o>"));
        assert!(!page.contains("http"), "it needs nothing from elsewhere");
    }
}
