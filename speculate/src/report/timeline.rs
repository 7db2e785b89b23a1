//! Executions as bars over time, in as many lanes as were under way at once.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Trace, TraceEvent, escape};

/// The width of the whole.
const WIDTH: usize = 1060;
/// From one lane to the next.
const LANE: usize = 18;
/// The marks of time above the lanes.
const AXIS: usize = 20;
/// So many elements are named below; more would explain nothing.
const NAMED: usize = 12;

/// Writes the bars of everything that was executed.
pub(super) fn timeline(page: &mut String, trace: &Trace) {
    let mut events: Vec<&TraceEvent> =
        trace.events.iter().filter(|event| matches!(&*event.cat, "execution" | "try")).collect();
    events.sort_by_key(|event| event.ts);
    let Some(end) = events.iter().map(|event| event.ts.saturating_add(event.dur)).max() else {
        page.push_str("<p>Nothing was executed.</p>\n");
        return;
    };
    let end = end.max(1);
    let names: BTreeSet<&str> = events.iter().map(|event| event.args.element.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let hue = |name: &str| {
        // By the golden angle, so that neighbours are far apart; blue for the first.
        let index = names.iter().position(|other| *other == name).unwrap_or_default();
        (210 + index * 137) % 360
    };
    let scale = WIDTH as f64 / end as f64;
    let mut lanes: Vec<u64> = Vec::new();
    let mut bars = String::new();
    for event in events {
        let lane = lanes.iter().position(|free| *free <= event.ts).unwrap_or(lanes.len());
        if lane == lanes.len() {
            lanes.push(0);
        }
        lanes[lane] = event.ts.saturating_add(event.dur);
        let (x, width) = (event.ts as f64 * scale, (event.dur as f64 * scale).max(1.0));
        let class = if event.cat == "try" { "bar try" } else { "bar" };
        let _ = writeln!(
            bars,
            "<rect class=\"{class}\" style=\"--hue:{}\" x=\"{:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"14\"><title>{}: {} ({})</title></rect>",
            hue(&event.args.element),
            x.min(WIDTH as f64 - 1.0),
            AXIS + lane * LANE,
            escape(&event.args.element),
            escape(&event.name),
            escape(&event.args.what),
        );
    }
    let height = AXIS + lanes.len() * LANE;
    let _ = writeln!(
        page,
        "<div class=\"scroll\"><svg id=\"timeline\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">"
    );
    axis(page, end, scale, height);
    let _ = writeln!(page, "{bars}</svg></div>");
    page.push_str("<p class=\"note\">A colour for each element; pale are tries that showed which file is new.");
    for name in names.iter().take(NAMED) {
        let _ = write!(
            page,
            " <span class=\"key\" style=\"--hue:{}\"></span>{}",
            hue(name),
            escape(super::short(name))
        );
    }
    if names.len() > NAMED {
        let _ = write!(page, " and {} more", names.len() - NAMED);
    }
    page.push_str("</p>\n");
}

/// Marks at round numbers of seconds, about eight of them.
fn axis(page: &mut String, end_micros: u64, scale: f64, height: usize) {
    let seconds = end_micros as f64 / 1e6;
    let wanted = seconds / 8.0;
    let power = 10_f64.powf(wanted.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|one| one * power);
    let step = step.into_iter().find(|step| *step >= wanted).unwrap_or(wanted);
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    page.push_str("<g class=\"axis\">\n");
    let mut mark = 0.0;
    while mark <= seconds {
        let x = mark * 1e6 * scale;
        // The last one would be cut off.
        let anchor = if x > WIDTH as f64 - 40.0 { "end" } else { "start" };
        let at = if anchor == "end" { x - 3.0 } else { x + 3.0 };
        let _ = writeln!(
            page,
            "<line x1=\"{x:.1}\" y1=\"0\" x2=\"{x:.1}\" y2=\"{height}\"/><text x=\"{at:.1}\" y=\"12\" text-anchor=\"{anchor}\">{mark:.digits$} s</text>"
        );
        mark += step;
    }
    page.push_str("</g>\n");
}
