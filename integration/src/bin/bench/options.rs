//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt as _};

use crate::measure::Measure;
use crate::side::Side;

pub(crate) const USAGE: &str =
    "usage: bench measure [--rounds N] [--sides A,B] [--measures A,B] [--at-once N,M] [--raw FILE]
       bench report [--plot FILE.svg] [--page FILE.md] FILE...
measure writes what it sees to FILE (default: standard output), report makes tables of such files, and puts
them between the marks of a page.
sides: palisade, palisade+runc, palisade+crun, runc-shim+runc, runc-shim+crun
measures: steps, start, lives, memory, watching";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Measure(Plan),
    Report(Presentation),
}

/// How much is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Rounds that count; one more comes first and does not.
    pub(crate) rounds: u32,
    pub(crate) sides: Vec<Side>,
    pub(crate) measures: Vec<Measure>,
    /// How many lives at once, in turn.
    pub(crate) at_once: Vec<u32>,
    /// Where the raw data go; standard output if `None`.
    pub(crate) raw: Option<PathBuf>,
}

/// What is shown of which files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Presentation {
    pub(crate) raw: Vec<PathBuf>,
    pub(crate) plot: Option<PathBuf>,
    /// A page that holds the tables between marks.
    pub(crate) page: Option<PathBuf>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            rounds: 40,
            sides: Side::ALL.to_vec(),
            measures: Measure::ALL.to_vec(),
            at_once: vec![1, 2, 8, 32],
            raw: None,
        }
    }
}

pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Order, lexopt::Error> {
    let mut parser = Parser::from_args(words);
    match parser.next()? {
        Some(Arg::Value(word)) if word == "measure" => plan(&mut parser).map(Order::Measure),
        Some(Arg::Value(word)) if word == "report" => presentation(&mut parser).map(Order::Report),
        Some(other) => Err(other.unexpected()),
        None => Err("measure or report?".into()),
    }
}

fn plan(parser: &mut Parser) -> Result<Plan, lexopt::Error> {
    let mut plan = Plan::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("rounds") => plan.rounds = positive(&parser.value()?.string()?)?,
            Arg::Long("sides") => plan.sides = each(&parser.value()?.string()?, Side::named)?,
            Arg::Long("measures") => plan.measures = each(&parser.value()?.string()?, Measure::named)?,
            Arg::Long("at-once") => plan.at_once = each(&parser.value()?.string()?, |word| positive(word).ok())?,
            Arg::Long("raw") => plan.raw = Some(parser.value()?.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(plan)
}

fn presentation(parser: &mut Parser) -> Result<Presentation, lexopt::Error> {
    let mut presentation = Presentation::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("plot") => presentation.plot = Some(parser.value()?.into()),
            Arg::Long("page") => presentation.page = Some(parser.value()?.into()),
            Arg::Value(file) => presentation.raw.push(file.into()),
            other => return Err(other.unexpected()),
        }
    }
    if presentation.raw.is_empty() { Err("a report of which file?".into()) } else { Ok(presentation) }
}

fn positive(word: &str) -> Result<u32, lexopt::Error> {
    match word.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{word} is no number above 0").into()),
    }
}

/// Words with commas between them.
fn each<T>(list: &str, named: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, lexopt::Error> {
    list.split(',').map(|word| named(word).ok_or_else(|| format!("there is no {word}").into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Order, lexopt::Error> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_part_can_be_asked_for() {
        let Ok(Order::Measure(plan)) =
            parsed("measure --rounds 3 --sides palisade,runc-shim+crun --measures steps --at-once 2,8 --raw a.csv")
        else {
            panic!("not understood")
        };
        let expected = Plan {
            rounds: 3,
            sides: vec![Side::Embedded, Side::Crun],
            measures: vec![Measure::Steps],
            at_once: vec![2, 8],
            raw: Some("a.csv".into()),
        };
        assert_eq!(plan, expected);
        assert_eq!(parsed("measure").unwrap(), Order::Measure(Plan::default()));
    }

    #[test]
    fn a_report_names_its_files() {
        let Ok(Order::Report(report)) = parsed("report a.csv b.csv --plot c.svg --page d.md") else {
            panic!("not understood")
        };
        assert_eq!(report.raw, [PathBuf::from("a.csv"), PathBuf::from("b.csv")]);
        assert_eq!((report.plot, report.page), (Some("c.svg".into()), Some("d.md".into())));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let lines = [
            "",
            "40",
            "measure --rounds 0",
            "measure --rounds x",
            "measure --sides kata",
            "measure --measures life",
            "measure --at-once 0",
            "measure a.csv",
            "report",
        ];
        for line in lines {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
