//! Every value that was seen, as text: the conditions of the run as comments, then a table with commas.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use palisade_integration::Failure;

const HEAD: &str = "what,side,scale,round,value";

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// What was measured; the name ends with the unit.
    pub(crate) what: String,
    /// Of whom.
    pub(crate) side: String,
    /// Of how many at once, or in one pod.
    pub(crate) scale: u32,
    /// In which round, from 1.
    pub(crate) round: u32,
    pub(crate) value: f64,
}

/// What the next values belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) side: &'a str,
    pub(crate) scale: u32,
    pub(crate) round: u32,
}

/// Where values are written as they come, so that a run that is cut short has what it saw.
pub(crate) struct Record(BufWriter<Box<dyn Write>>);

impl Record {
    /// Into a file, or to standard output.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let out: Box<dyn Write> = match path {
            None => Box::new(io::stdout()),
            Some(path) => Box::new(File::create(path).map_err(Failure::io("make", path))?),
        };
        Ok(Self(BufWriter::new(out)))
    }

    /// Begins with what the values were measured on.
    pub(crate) fn head(&mut self, conditions: &[(&str, String)]) -> Result<(), Failure> {
        for (name, value) in conditions {
            self.line(&format!("# {name}: {}", value.replace('\n', " ")))?;
        }
        self.line(HEAD)
    }

    /// A value of the round; the first one, round 0, warms up and is not kept.
    pub(crate) fn add(&mut self, place: Place<'_>, what: &str, value: f64) -> Result<(), Failure> {
        if place.round == 0 {
            return Ok(());
        }
        // A tenth of a microsecond is finer than what any clock here can tell.
        let value = (value * 10_000.0).round() / 10_000.0;
        self.line(&format!("{what},{},{},{},{value}", place.side, place.scale, place.round))
    }

    /// A time, in milliseconds.
    pub(crate) fn time(&mut self, place: Place<'_>, what: &str, time: Duration) -> Result<(), Failure> {
        self.add(place, what, time.as_secs_f64() * 1000.0)
    }

    /// After a round, so that what is written is whole.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(unwritten)
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.0, "{line}").map_err(unwritten)
    }
}

fn unwritten(source: io::Error) -> Failure {
    Failure::Io { action: "write the raw data".to_owned(), source }
}

/// What one run has recorded.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Raw {
    pub(crate) conditions: Vec<(String, String)>,
    samples: Vec<Sample>,
}

impl Raw {
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        let mut raw = Self::default();
        for line in text.lines().filter(|line| !line.is_empty() && *line != HEAD) {
            match line.strip_prefix("# ") {
                Some(condition) => {
                    let (name, value) = condition.split_once(": ").unwrap_or((condition, ""));
                    raw.conditions.push((name.to_owned(), value.to_owned()));
                }
                None => raw.samples.push(
                    sample(line).ok_or_else(|| Failure::unreadable("the raw data", &format!("the line {line}")))?,
                ),
            }
        }
        Ok(raw)
    }

    /// One of the conditions; empty where there is none of the name.
    pub(crate) fn condition(&self, name: &str) -> &str {
        self.conditions.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The values of one cell.
    pub(crate) fn values(&self, what: &str, side: &str, scale: u32) -> Vec<f64> {
        self.of(what).filter(|sample| sample.side == side && sample.scale == scale).map(|sample| sample.value).collect()
    }

    /// The values of one cell by round.
    pub(crate) fn by_round(&self, what: &str, side: &str) -> Vec<(u32, f64)> {
        self.of(what).filter(|sample| sample.side == side).map(|sample| (sample.round, sample.value)).collect()
    }

    /// The scales that something was measured at, in order.
    pub(crate) fn scales(&self, what: &str) -> Vec<u32> {
        let mut scales: Vec<u32> = self.of(what).map(|sample| sample.scale).collect();
        scales.sort_unstable();
        scales.dedup();
        scales
    }

    pub(crate) fn has(&self, what: &str, side: &str) -> bool {
        self.of(what).any(|sample| sample.side == side)
    }

    fn of(&self, what: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.what == what)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let [what, side, scale, round, value] = <[&str; 5]>::try_from(line.split(',').collect::<Vec<_>>()).ok()?;
    Some(Sample {
        what: what.to_owned(),
        side: side.to_owned(),
        scale: scale.parse().ok()?,
        round: round.parse().ok()?,
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let path = std::env::temp_dir().join(format!("palisade-raw-{}", std::process::id()));
        let mut record = Record::open(Some(&path)).unwrap();
        record.head(&[("kernel", "6.18: new".to_owned())]).unwrap();
        let place = |round| Place { side: "palisade+runc", scale: 8, round };
        record.add(place(0), "whole_ms", 9.0).unwrap();
        record.add(place(1), "whole_ms", 1.25).unwrap();
        record.time(place(2), "whole_ms", Duration::from_micros(2500)).unwrap();
        record.flush().unwrap();
        let raw = Raw::read(&std::fs::read_to_string(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(raw.condition("kernel"), "6.18: new");
        assert_eq!(raw.values("whole_ms", "palisade+runc", 8), [1.25, 2.5]);
        assert_eq!(raw.by_round("whole_ms", "palisade+runc"), [(1, 1.25), (2, 2.5)]);
        assert_eq!(raw.scales("whole_ms"), [8]);
        assert!(
            raw.values("whole_ms", "palisade", 8).is_empty() && raw.values("whole_ms", "palisade+runc", 1).is_empty()
        );
    }

    #[test]
    fn a_broken_line_is_told() {
        for line in ["whole_ms,palisade,1,1", "whole_ms,palisade,1,1,x", "a,b,1,1,2,3"] {
            assert!(Raw::read(&format!("{HEAD}\n{line}\n")).is_err(), "{line}");
        }
    }
}
