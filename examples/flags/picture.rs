//! A picture of a trace: a row for each worker and each thread with a name, and the arrows from wakers to the woken.

use std::collections::HashMap;
use std::fmt::Write;

use crate::file::{Slice, TraceFile};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 110.0;
const ROW: f64 = 26.0;
const TOP: f64 = 30.0;
/// More rows would be no picture.
const MOST_ROWS: usize = 16;
/// So much of the trace is shown: round the slice in its middle.
const SHOWN_NS: u64 = 3_000_000;

/// SVG, as text.
pub(crate) fn draw(trace: &TraceFile) -> String {
    let (begin_ns, end_ns) = trace.span_ns();
    let middle = trace.slices.get(trace.slices.len() / 2).map_or(begin_ns, |slice| slice.begin_ns);
    let from_ns = middle.saturating_sub(SHOWN_NS / 2).max(begin_ns);
    let to_ns = (from_ns + SHOWN_NS).min(end_ns).max(from_ns + 1);
    let mut tracks: Vec<u64> = trace.slices.iter().map(|slice| slice.track).collect();
    // Workers come first, then threads, by what stands behind their numbers.
    let name = |track| trace.track_name(track).split_once(' ').map_or("", |(_, name)| name).to_owned();
    tracks.sort_by_key(|track| (!trace.is_worker(*track), name(*track), *track));
    tracks.dedup();
    tracks.truncate(MOST_ROWS);
    let rows: HashMap<u64, f64> =
        tracks.iter().enumerate().map(|(at, track)| (*track, TOP + at as f64 * ROW)).collect();
    let height = TOP + tracks.len() as f64 * ROW + 10.0;
    let scale = (WIDTH - LEFT - 10.0) / (to_ns - from_ns) as f64;
    let x = |at_ns: u64| LEFT + (at_ns.clamp(from_ns, to_ns) - from_ns) as f64 * scale;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for step in 0..=(to_ns - from_ns) / 500_000 {
        let (line, label) = (x(from_ns + step * 500_000), step as f64 / 2.0);
        _ = writeln!(
            svg,
            "<path d=\"M{line:.1} 20V{height}\" stroke=\"#ddd\"/><text x=\"{line:.1}\" y=\"14\" fill=\"#777\">{label} ms</text>"
        );
    }
    for (track, y) in &rows {
        let name = escaped(trace.track_name(*track));
        _ = writeln!(svg, "<text x=\"4\" y=\"{:.1}\">{name}</text>", y + 15.0);
    }
    let is_shown =
        |slice: &&Slice| rows.contains_key(&slice.track) && slice.end_ns >= from_ns && slice.begin_ns <= to_ns;
    for slice in trace.slices.iter().filter(is_shown) {
        let (left, right) = (x(slice.begin_ns), x(slice.end_ns));
        let (y, width) = (rows[&slice.track], (right - left).max(0.8));
        let (name, fill) = (escaped(&slice.name), colour(slice));
        _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"20\" fill=\"{fill}\"><title>{name}</title></rect>"
        );
        if width > 6.0 * slice.name.len() as f64 {
            _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{name}</text>", left + 3.0, y + 14.0);
        }
    }
    let ends: HashMap<u64, &Slice> = trace
        .slices
        .iter()
        .filter_map(|slice| Some((slice.arrow?, slice)))
        .filter(|(_, slice)| is_shown(slice))
        .collect();
    for mark in trace.marks.iter().filter(|mark| (from_ns..=to_ns).contains(&mark.at_ns)) {
        let Some(slice) = mark.arrow.and_then(|arrow| ends.get(&arrow)) else { continue };
        let Some(y) = rows.get(&mark.track) else { continue };
        let (from, to) = (x(mark.at_ns), x(slice.begin_ns));
        let (low, high) = (y + 10.0, rows[&slice.track] + 10.0);
        _ = writeln!(
            svg,
            "<path d=\"M{from:.1} {low:.1}Q{:.1} {:.1} {to:.1} {high:.1}\" fill=\"none\" stroke=\"#c33\" stroke-width=\"0.8\"/>",
            (from + to) / 2.0,
            low.min(high) - 14.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Waits are pale, sleeping workers paler; each thread has a colour of its own.
fn colour(slice: &Slice) -> String {
    match slice.thread {
        None => "#f2f2f2".to_owned(),
        Some(_) if slice.name.starts_with("waits: ") => {
            if slice.name == "waits: sleep" { "#dfe8f5" } else { "#f6d3c4" }.to_owned()
        }
        Some(thread) => format!("hsl({} 60% 68%)", thread * 47 % 360),
    }
}
