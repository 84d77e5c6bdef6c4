//! `palisade events`: the audit log for people, for machines, and for what takes Falco's alerts.

mod falco;
mod text;
mod wait;

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};

use serde_json::Value;

use crate::Verdict;
use crate::arguments::{EventsArguments, EventsFormat};
use crate::error::CliError;
use crate::log::LogReader;
use crate::refusals::is_of;
use crate::report::{at, write_json};
pub(crate) use text::{detail, whose};
use wait::LogWatch;

/// Lines that a follower begins with.
const LAST: usize = 10;

pub(crate) fn run(arguments: &EventsArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let mut reader = LogReader::of(&arguments.log)?;
    // Before the first reading, so that nothing comes between.
    let watched = |source| CliError::Read { path: reader.log().to_owned(), source };
    let watch = if arguments.follow { Some(LogWatch::of(reader.log()).map_err(watched)?) } else { None };
    let most = arguments.lines.unwrap_or(if arguments.follow { LAST } else { usize::MAX });
    let mut last = VecDeque::new();
    reader.read(|line| {
        if let Some(record) = wanted(line, arguments) {
            last.push_back(record);
            if last.len() > most {
                last.pop_front();
            }
        }
    })?;
    let shown = Shown { format: arguments.format, colour: is_coloured() };
    last.iter().try_for_each(|record| shown.write(record, out))?;
    match watch {
        Some(watch) => follow(&mut reader, &watch, arguments, &shown, out),
        None => Ok(Verdict::Fine),
    }
}

/// Until whoever reads this has gone away.
fn follow(
    reader: &mut LogReader,
    watch: &LogWatch,
    arguments: &EventsArguments,
    shown: &Shown,
    out: &mut Vec<u8>,
) -> Result<Verdict, CliError> {
    let mut stdout = io::stdout();
    loop {
        let written = stdout.write_all(out).and_then(|()| stdout.flush());
        out.clear();
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Verdict::Fine),
            written => written?,
        }
        watch.wait()?;
        let mut failed = Ok(());
        reader.read(|line| {
            if let Some(record) = wanted(line, arguments)
                && failed.is_ok()
            {
                failed = shown.write(&record, out);
            }
        })?;
        failed?;
    }
}

fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The record of a line, if it is asked for. What is no record is left to `palisade audit verify`.
fn wanted(line: &str, arguments: &EventsArguments) -> Option<Value> {
    let record: Value = serde_json::from_str(line).ok()?;
    let of_container = arguments.container.as_deref().is_none_or(|only| is_of(&record, only));
    (of_container && (!arguments.problems || is_problem(&record))).then_some(record)
}

/// Whether an admin should look at it.
fn is_problem(record: &Value) -> bool {
    match at(record, "/event").as_str().unwrap_or_default() {
        "decision" => *at(record, "/decision") == "deny",
        "attestation" => at(record, "/mismatches").as_array().is_none_or(|found| !found.is_empty()),
        "policy_load" => at(record, "/error").is_string(),
        // Part of the life of many a container.
        "limits" => false,
        _ => true,
    }
}

struct Shown {
    format: EventsFormat,
    colour: bool,
}

impl Shown {
    fn write(&self, record: &Value, out: &mut Vec<u8>) -> Result<(), CliError> {
        match self.format {
            EventsFormat::Text => Ok(writeln!(out, "{}", text::line(record, self.colour))?),
            EventsFormat::Json => write_json(&serde_json::to_string(record)?, out),
            EventsFormat::Falco => write_json(&serde_json::to_string(&falco::alert(record))?, out),
        }
    }
}
