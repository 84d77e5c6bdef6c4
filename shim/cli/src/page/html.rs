//! The page.

use std::fmt;
use std::path::Path;

use palisade_policy::Day;

use super::plot;
use super::summary::Summary;
use crate::containers::Container;
use crate::report::plain;

/// Bars of a plot.
const MOST: usize = 12;
/// Of an id.
const SHORT: usize = 12;

const STYLE: &str = include_str!("style.css");

/// What the page is about.
pub(super) struct Page<'a> {
    pub(super) log: &'a Path,
    pub(super) summary: &'a Summary,
    /// Those that run, if the page is about a node.
    pub(super) containers: Option<&'a [Container]>,
    pub(super) today: Day,
    /// An exemption that ends before that is near its end.
    pub(super) near: Day,
}

/// A text as it stands in markup, without what steers a terminal or turns the text beside it.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<&str> = self.summary.nodes.iter().map(String::as_str).collect();
        let title = escape(&format!(
            "palisade: {}",
            if nodes.is_empty() { "nothing on record".to_owned() } else { nodes.join(", ") }
        ));
        write!(
            f,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\
             <body><header><h1>{title}</h1><p>{}</p></header><main>",
            self.range()
        )?;
        self.tiles(f)?;
        section(f, "Decisions by the hour", &self.over_time())?;
        write!(f, "<div class=\"columns\">")?;
        let summary = self.summary;
        for (heading, counts, class) in [
            ("What was refused, by rule", &summary.refused_by, "refused"),
            ("What was changed most, by rule", &summary.changed_by, "changed"),
            ("System calls refused", &summary.calls, "refused"),
            ("Decisions by profile", &summary.profiles, "allowed"),
        ] {
            section(f, heading, &or_none(&plot::bars(&counts.largest(MOST), class), counts.total() == 0))?;
        }
        write!(f, "</div>")?;
        if let Some(containers) = self.containers {
            section(f, "Containers", &running(containers))?;
        }
        section(f, "Exemptions", &self.exemptions())?;
        section(f, "What to look at: the last ones", &self.problems())?;
        section(f, "Policies", &self.policies())?;
        writeln!(f, "</main><footer>palisade {}</footer></body></html>", env!("CARGO_PKG_VERSION"))
    }
}

fn section(f: &mut fmt::Formatter<'_>, heading: &str, content: &str) -> fmt::Result {
    write!(f, "<section><h2>{heading}</h2>{content}</section>")
}

fn or_none(content: &str, is_none: bool) -> String {
    if is_none { "<p class=\"none\">none</p>".to_owned() } else { content.to_owned() }
}

/// A table, or that there is nothing to show. The cells are markup.
fn table(head: &[&str], rows: &[String]) -> String {
    let head: String = head.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    or_none(&format!("<table><thead><tr>{head}</tr></thead><tbody>{}</tbody></table>", rows.concat()), rows.is_empty())
}

fn cells(texts: &[&str]) -> String {
    let cells: String = texts.iter().map(|text| format!("<td>{}</td>", escape(text))).collect();
    format!("<tr>{cells}</tr>")
}

/// A time as in the log, to the second.
fn short(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

fn running(containers: &[Container]) -> String {
    let row = |container: &Container| {
        let grant = container.verified.as_ref().ok().map(|verified| &verified.grant);
        let pod = grant.map(|grant| {
            let identity = grant.identity();
            let names = [&identity.pod_namespace, &identity.pod_name, &identity.container_name];
            names.into_iter().filter(|name| !name.is_empty()).cloned().collect::<Vec<_>>().join("/")
        });
        let image = grant.map(|grant| grant.identity().image_name.clone()).unwrap_or_default();
        let id = container.id.get(..SHORT).unwrap_or(&container.id);
        let profile = grant.map(|grant| grant.profile().to_owned()).unwrap_or_default();
        cells(&[id, &pod.unwrap_or_default(), &image, &profile, container.verdict()])
    };
    let rows: Vec<String> = containers.iter().map(row).collect();
    table(&["container", "pod", "image", "profile", "is what was decided"], &rows)
}

impl Page<'_> {
    fn range(&self) -> String {
        let log = escape(&self.log.display().to_string());
        match &self.summary.range {
            Some((first, last)) => {
                let (first, last) = (escape(&short(first)), escape(&short(last)));
                format!("{} records of {log}, {first} to {last} UTC", self.summary.lines)
            }
            None => format!("no record in {log}"),
        }
    }

    fn tiles(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.summary;
        write!(f, "<div class=\"tiles\">")?;
        for (name, value, class) in [
            ("decisions", summary.decisions.total(), ""),
            ("refused", summary.decisions.of("deny"), "refused"),
            ("changed", summary.decisions.of("mutate"), "changed"),
            ("processes not as decided", summary.mismatched, "refused"),
            ("system calls refused", summary.calls.total(), ""),
            ("OOM kills", summary.oom_kills, ""),
        ] {
            let class = if value == 0 { "" } else { class };
            write!(f, "<div class=\"tile {class}\"><b>{value}</b><span>{name}</span></div>")?;
        }
        write!(f, "</div>")
    }

    fn over_time(&self) -> String {
        let legend = "<p class=\"legend\"><i class=\"allowed\"></i>allowed <i class=\"changed\"></i>changed <i class=\"refused\"></i>refused</p>";
        let plot = format!("{}{legend}", plot::hours(&self.summary.hours));
        or_none(&plot, self.summary.hours.is_empty())
    }

    fn exemptions(&self) -> String {
        let mut all: Vec<_> = self.summary.exemptions.iter().collect();
        all.sort_by(|(_, a), (_, b)| a.expires.cmp(&b.expires));
        let row = |((entry, rule), exemption): &(&(String, String), &super::summary::Exemption)| {
            let end = match Day::from_iso(&exemption.expires) {
                Some(day) if day <= self.today => "<td class=\"refused\">has ended</td>",
                Some(day) if day < self.near => "<td class=\"changed\">ends within 30 days</td>",
                _ => "<td></td>",
            };
            let row = cells(&[&exemption.expires, rule, entry, &exemption.reason, &exemption.uses.to_string()]);
            row.replace("</tr>", &format!("{end}</tr>"))
        };
        let rows: Vec<String> = all.iter().map(row).collect();
        table(&["until", "rule", "entry", "reason", "uses", ""], &rows)
    }

    fn problems(&self) -> String {
        let told = self.summary.problems.iter().rev();
        let rows: Vec<String> = told.map(|one| cells(&[&short(&one.time), &one.whose, &one.what])).collect();
        table(&["time (UTC)", "whose", "what"], &rows)
    }

    fn policies(&self) -> String {
        let all = self.summary.policies.iter();
        let rows: Vec<String> =
            all.map(|(sha256, (first, last))| cells(&[sha256, &short(first), &short(last)])).collect();
        table(&["sha256", "first (UTC)", "last"], &rows)
    }
}
