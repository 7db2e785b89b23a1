//! One self-contained page: what priming did, when, and what came of it.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use forerunner_merkle::Digest;
use serde::Deserialize;

use crate::graph::Graph;

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
}

/// Makes the page. `asked` are the actions that each element's build asked for afterwards, by the
/// element's name; an element without them was not built since.
#[must_use]
pub fn html(graph: &Graph, trace: &Trace, asked: &BTreeMap<String, Vec<Digest>>) -> String {
    let rows = rows(graph, trace, asked);
    let mut page = String::from(HEAD);
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

/// Executions as bars, in as many lanes as were under way at once.
fn timeline(page: &mut String, trace: &Trace) {
    let mut events: Vec<&TraceEvent> =
        trace.events.iter().filter(|event| matches!(&*event.cat, "execution" | "try")).collect();
    events.sort_by_key(|event| event.ts);
    let Some(end) = events.iter().map(|event| event.ts + event.dur).max() else {
        page.push_str("<p>Nothing was executed.</p>\n");
        return;
    };
    let mut lanes: Vec<u64> = Vec::new();
    let mut bars = String::new();
    let scale = 1000.0 / end.max(1) as f64;
    for event in events {
        let lane = lanes.iter().position(|free| *free <= event.ts).unwrap_or(lanes.len());
        if lane == lanes.len() {
            lanes.push(0);
        }
        lanes[lane] = event.ts + event.dur;
        let (x, width) = (event.ts as f64 * scale, (event.dur as f64 * scale).max(1.0));
        let _ = writeln!(
            bars,
            "<rect x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"14\" fill=\"{}\" opacity=\"{}\"><title>{}: {} ({})</title></rect>",
            lane * 18,
            hue(&event.args.element),
            if event.cat == "try" { 0.4 } else { 1.0 },
            escape(&event.args.element),
            escape(&event.name),
            escape(&event.args.what),
        );
    }
    let height = lanes.len() * 18;
    let _ = writeln!(
        page,
        "<svg id=\"timeline\" viewBox=\"0 0 1000 {height}\" width=\"1000\">\n{bars}</svg>\n<p class=\"axis\">0 to {:.1} s; a colour for each element, pale: tries that showed which file is new</p>",
        end as f64 / 1e6
    );
}

/// The graph, dependencies to the left, coloured by hit rate.
fn elements(page: &mut String, graph: &Graph, rows: &BTreeMap<String, Row>) {
    let count = graph.elements().len();
    let mut layer = vec![0_usize; count];
    for (index, element) in graph.elements().iter().enumerate() {
        layer[index] = element.depends.iter().map(|below| layer[*below] + 1).max().unwrap_or(0);
    }
    let mut used: BTreeMap<usize, usize> = BTreeMap::new();
    let mut places = Vec::with_capacity(count);
    for at in &layer {
        let row = used.entry(*at).or_default();
        places.push((20 + at * 220, 20 + *row * 44));
        *row += 1;
    }
    let width = 240 + layer.iter().max().copied().unwrap_or(0) * 220;
    let height = 30 + used.values().max().copied().unwrap_or(0) * 44;
    let _ = writeln!(page, "<svg id=\"graph\" viewBox=\"0 0 {width} {height}\" width=\"{width}\">");
    for (index, element) in graph.elements().iter().enumerate() {
        let (x, y) = places[index];
        for below in &element.depends {
            let (from_x, from_y) = places[*below];
            let _ = writeln!(
                page,
                "<line x1=\"{}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\"/>",
                from_x + 180,
                from_y + 14,
                y + 14
            );
        }
    }
    for (index, element) in graph.elements().iter().enumerate() {
        let (x, y) = places[index];
        let rate = rows.get(&element.name).and_then(Row::rate);
        // From red to green; grey where nothing was asked for.
        let fill = rate
            .map_or_else(|| "#ddd".to_owned(), |rate| format!("hsl({:.0} 70% 75%)", 120.0 * rate));
        let shown = rate.map_or_else(String::new, |rate| format!(" {:.0} %", 100.0 * rate));
        let short = element.name.rsplit('/').next().unwrap_or(&element.name);
        let _ = writeln!(
            page,
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"180\" height=\"28\" rx=\"4\" fill=\"{fill}\"/><text x=\"{}\" y=\"{}\">{}{shown}</text></g>",
            escape(&element.name),
            x + 8,
            y + 19,
            escape(short)
        );
    }
    page.push_str("</svg>\n");
}

fn table(page: &mut String, rows: &BTreeMap<String, Row>) {
    page.push_str("<table><tr><th>element<th>executed early<th>were ready<th>tries<th>skipped<th>asked for<th>hits<th>wasted</tr>\n");
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
    page.push_str("</table>\n");
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

fn list<'a>(page: &mut String, heading: &str, events: impl Iterator<Item = &'a TraceEvent>) {
    let mut items = String::new();
    for event in events {
        let element = escape(&event.args.element);
        let (name, what) = (escape(&event.name), escape(&event.args.what));
        let _ = writeln!(items, "<li>{element}: {name}: {what}</li>");
    }
    if !items.is_empty() {
        let _ = writeln!(page, "<h2>{heading}</h2>\n<ul>\n{items}</ul>");
    }
}

/// A colour for a name, always the same.
fn hue(name: &str) -> String {
    let sum = name.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("hsl({} 60% 60%)", sum % 360)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>speculate</title><style>
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1040px; color: #222; }
svg { max-width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; }
svg line { stroke: #999; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.sum { font-size: 1.2em; }
.axis { color: #777; margin: 0; }
</style></head><body>
<h1>What was executed before it was asked for</h1>
";

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
