//! The medians as bars, in SVG: in each group relative to containerd-shim-runc-v2 with runc, with a line to the 95th percentile.

mod groups;

use std::fmt::Write as _;

use groups::{Bar, Group};

use crate::conditions;
use crate::raw::Raw;

const WIDTH: f64 = 960.0;
/// Where bars begin, and where a bar as long as that of runc's shim ends.
const LEFT: f64 = 210.0;
const UNIT: f64 = 450.0;
const BAR: f64 = 13.0;
const GAP: f64 = 12.0;
const HEAD: f64 = 44.0;
/// A bar or a line ends here at the latest; its number tells the rest.
const RIGHT: f64 = WIDTH - 110.0;

/// A drawing that grows downwards.
struct Drawing {
    text: String,
    down: f64,
}

/// One panel for each run.
pub(crate) fn svg(raws: &[Raw]) -> String {
    let mut drawing = Drawing { text: String::new(), down: GAP };
    for raw in raws {
        drawing.panel(raw);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n{}</svg>\n",
        drawing.text,
        height = drawing.down,
    )
}

impl Drawing {
    fn panel(&mut self, raw: &Raw) {
        let groups = groups::of(raw);
        let title = format!(
            "containerd {}, Linux {}, cgroup {}: medians beside runc's shim with runc, lines to the 95th percentile",
            raw.condition(conditions::CONTAINERD),
            raw.condition(conditions::KERNEL),
            raw.condition(conditions::CGROUP),
        );
        self.text(10.0, self.down + 14.0, "start", "font-weight=\"bold\"", &title);
        self.legend(&groups);
        let top = self.down;
        for group in &groups {
            self.group(group);
        }
        // Where runc's shim with runc ends.
        self.line([LEFT + UNIT, top, LEFT + UNIT, self.down], "#999\" stroke-dasharray=\"3 3");
        self.down += GAP;
    }

    fn legend(&mut self, groups: &[Group]) {
        let bars = || groups.iter().flat_map(|group| &group.bars);
        let known = groups::NAMES.iter().filter_map(|name| bars().find(|bar| bar.name == *name));
        let mut left = 10.0;
        for bar in known {
            self.rectangle(left, self.down + 24.0, 12.0, bar.colour);
            self.text(left + 17.0, self.down + 34.0, "start", "", bar.name);
            left += 150.0;
        }
        self.down += HEAD;
    }

    fn group(&mut self, group: &Group) {
        let middle = self.down + BAR * groups::number(group.bars.len()) / 2.0 + 4.0;
        self.text(LEFT - 8.0, middle, "end", "", &group.name);
        for bar in &group.bars {
            self.bar(bar);
        }
        self.down += GAP;
    }

    fn bar(&mut self, bar: &Bar) {
        let end = |part: f64| (LEFT + UNIT * part).min(RIGHT);
        self.rectangle(LEFT, self.down, end(bar.median) - LEFT, bar.colour);
        let middle = self.down + BAR / 2.0 - 1.0;
        self.line([end(bar.median), middle, end(bar.p95), middle], "#333");
        self.text(end(bar.p95) + 5.0, self.down + BAR - 3.0, "start", "font-size=\"11\"", &bar.label);
        self.down += BAR;
    }

    fn rectangle(&mut self, left: f64, top: f64, width: f64, colour: &str) {
        let height = BAR - 2.0;
        self.add(format_args!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        ));
    }

    fn line(&mut self, [left, top, right, bottom]: [f64; 4], stroke: &str) {
        self.add(format_args!(
            "<line x1=\"{left:.1}\" y1=\"{top:.1}\" x2=\"{right:.1}\" y2=\"{bottom:.1}\" stroke=\"{stroke}\"/>"
        ));
    }

    fn text(&mut self, left: f64, line: f64, anchor: &str, style: &str, words: &str) {
        let words = words.replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!("<text x=\"{left:.1}\" y=\"{line:.1}\" text-anchor=\"{anchor}\" {style}>{words}</text>"));
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        writeln!(self.text, "{element}").ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# cgroup: v1 & <v2>\ncreate_ms,palisade,1,1,20\ncreate_ms,palisade,1,2,20\ncreate_ms,runc-shim+runc,1,1,80\n\
        exec_ms,palisade,1,1,5\nwhole_ms,runc-shim+runc,8,1,10\nwhole_ms,kernel,8,1,100\n";

    fn drawn() -> String {
        svg(&[Raw::read(TEXT).unwrap()])
    }

    #[test]
    fn a_bar_is_as_long_as_its_part_of_runcs() {
        let quarter = format!("width=\"{:.1}\"", UNIT / 4.0);
        assert!(drawn().contains(&quarter), "no {quarter} in {}", drawn());
        assert!(drawn().contains(">20.0 ms<"));
    }

    #[test]
    fn without_runcs_shim_there_is_nothing_to_compare_with() {
        assert!(!drawn().contains("exec"));
    }

    #[test]
    fn a_bar_that_is_too_long_ends_within_the_drawing() {
        let longest = format!("width=\"{:.1}\"", RIGHT - LEFT);
        assert!(drawn().contains(&longest) && drawn().contains("kernel alone"), "{}", drawn());
    }

    #[test]
    fn words_are_no_markup() {
        assert!(drawn().contains("v1 &amp; &lt;v2>"));
    }

    #[test]
    fn every_run_has_its_panel() {
        let raw = || Raw::read(TEXT).unwrap();
        assert_eq!(svg(&[raw(), raw()]).matches("font-weight=\"bold\"").count(), 2);
    }
}
