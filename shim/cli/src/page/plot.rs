//! Plots as SVG.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::html::escape;
use super::summary::Hour;

/// Size of the plot over time, in the units of its view box.
const WIDTH: u64 = 960;
const HEIGHT: u64 = 160;
/// Hours that are shown, the last ones.
const HOURS: usize = 7 * 24;

/// Bars of counts, the longest one as wide as there is room.
pub(super) fn bars(counts: &[(&str, u64)], class: &str) -> String {
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or_default().max(1);
    let mut out = String::from("<table class=\"bars\">");
    for (name, count) in counts {
        let width = (count * 100).div_ceil(most);
        let name = escape(name);
        write!(
            out,
            "<tr><th scope=\"row\">{name}</th><td class=\"bar\"><svg width=\"100%\" height=\"14\" aria-hidden=\"true\">\
             <rect class=\"{class}\" width=\"{width}%\" height=\"14\" rx=\"2\"/></svg></td><td class=\"number\">{count}</td></tr>"
        )
        .unwrap_or_default();
    }
    out.push_str("</table>");
    out
}

/// Decisions by the hour, one column for each hour that has some.
pub(super) fn hours(hours: &BTreeMap<String, Hour>) -> String {
    let shown: Vec<(&String, &Hour)> = hours.iter().rev().take(HOURS).collect();
    let total = |hour: &Hour| hour.allowed + hour.changed + hour.refused;
    let most = shown.iter().map(|(_, hour)| total(hour)).max().unwrap_or_default().max(1);
    let step = WIDTH / (shown.len() as u64).max(24);
    let mut out = format!(
        "<svg class=\"hours\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"decisions by the hour\">"
    );
    for (column, (name, hour)) in shown.iter().rev().enumerate() {
        let x = column as u64 * step;
        let mut y = HEIGHT;
        let parts = [("allowed", hour.allowed), ("changed", hour.changed), ("refused", hour.refused)];
        for (class, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
            // What there is at all is seen.
            let height = (count * HEIGHT / most).max(1);
            y = y.saturating_sub(height);
            let width = step.saturating_sub(1).max(1);
            write!(out, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\">")
                .unwrap_or_default();
            write!(out, "<title>{}:00 {count} {class}</title></rect>", escape(&name.replace('T', " ")))
                .unwrap_or_default();
        }
    }
    out.push_str("</svg>");
    let ends = shown.last().zip(shown.first()).map(|((first, _), (last, _))| {
        let of = |name: &str| escape(&format!("{}:00", name.replace('T', " ")));
        format!(
            "<p class=\"ends\"><span>{}</span><span>at most {most} an hour</span><span>{}</span></p>",
            of(first),
            of(last)
        )
    });
    out + &ends.unwrap_or_default()
}
