//! The series as text: Prometheus' format 0.0.4, or OpenMetrics 1.0.

use std::fmt::Write as _;

use super::families::{FAMILIES, Family, Kind};
use super::series::{BUCKETS, Histogram, OfFamily, Series};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// As HTTP names it.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What a client asks for. Prometheus lists OpenMetrics first where it takes it.
    pub(super) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// All series.
    pub(super) fn text(self, series: &Series) -> String {
        let mut out = String::new();
        for family in FAMILIES {
            if let Some(of_family) = series.0.get(family.name) {
                self.family(family, of_family, &mut out);
            }
        }
        if self == Self::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }

    fn family(self, family: &Family, of_family: &OfFamily, out: &mut String) {
        let suffix = match family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let (name, kind) = match (self, family.kind) {
            (Self::OpenMetrics, Kind::Info) => (family.name.to_owned(), "info"),
            (Self::OpenMetrics, Kind::Counter) => (family.name.to_owned(), "counter"),
            (_, Kind::Counter) => (format!("{}{suffix}", family.name), "counter"),
            (_, Kind::Info | Kind::Gauge) => (format!("{}{suffix}", family.name), "gauge"),
            (_, Kind::Histogram) => (family.name.to_owned(), "histogram"),
        };
        // Writing to a text does not fail.
        writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", family.help).unwrap_or_default();
        for (labels, value) in &of_family.values {
            let labels = braces(family.labels, labels, None);
            writeln!(out, "{}{suffix}{labels} {value}", family.name).unwrap_or_default();
        }
        for (labels, histogram) in &of_family.histograms {
            buckets(family, labels, histogram, out);
        }
    }
}

fn buckets(family: &Family, labels: &[String], histogram: &Histogram, out: &mut String) {
    let name = family.name;
    let mut count = 0;
    let ends = BUCKETS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    for (end, in_bucket) in ends.zip(&histogram.counts) {
        count += in_bucket;
        let labels = braces(family.labels, labels, Some(&end));
        writeln!(out, "{name}_bucket{labels} {count}").unwrap_or_default();
    }
    let labels = braces(family.labels, labels, None);
    writeln!(out, "{name}_sum{labels} {}\n{name}_count{labels} {count}", histogram.sum).unwrap_or_default();
}

fn braces(names: &[&str], values: &[String], le: Option<&str>) -> String {
    let pairs = names.iter().copied().zip(values.iter().map(String::as_str)).chain(le.map(|end| ("le", end)));
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::super::families::{BUILD, DECISION_SECONDS, OOM_KILLS, SHIMS};
    use super::*;

    fn series() -> Series {
        let mut series = Series::default();
        series.set(BUILD, &["1.0"], 1.0);
        series.add(OOM_KILLS, &["a\"b\\c\nd"], 3.0);
        series.set(SHIMS, &[], 2.0);
        series.observe(DECISION_SECONDS, &["create"], 0.5);
        series
    }

    #[test]
    fn prometheus_text() {
        let text = Format::Prometheus.text(&series());
        for line in [
            "# TYPE palisade_build_info gauge",
            "palisade_build_info{version=\"1.0\"} 1",
            "# TYPE palisade_oom_kills_total counter",
            r#"palisade_oom_kills_total{profile="a\"b\\c\nd"} 3"#,
            "palisade_shims 2",
            "palisade_decision_duration_seconds_bucket{operation=\"create\",le=\"0.25\"} 0",
            "palisade_decision_duration_seconds_bucket{operation=\"create\",le=\"+Inf\"} 1",
            "palisade_decision_duration_seconds_sum{operation=\"create\"} 0.5",
            "palisade_decision_duration_seconds_count{operation=\"create\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!text.contains("EOF"));
    }

    #[test]
    fn open_metrics_text() {
        let text = Format::OpenMetrics.text(&series());
        for line in [
            "# TYPE palisade_build info",
            "palisade_build_info{version=\"1.0\"} 1",
            "# TYPE palisade_oom_kills counter",
            r#"palisade_oom_kills_total{profile="a\"b\\c\nd"} 3"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
        assert_eq!(Format::accepted("application/openmetrics-text;version=1.0.0,text/plain"), Format::OpenMetrics);
        assert_eq!(Format::accepted("*/*"), Format::Prometheus);
    }
}
