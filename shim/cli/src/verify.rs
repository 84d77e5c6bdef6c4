//! `palisade verify`.

use std::io::Write as _;

use palisade::attest::Finding;

use crate::Verdict;
use crate::arguments::{ListFormat, VerifyArguments};
use crate::containers::{self, Container};
use crate::error::CliError;
use crate::report::{plain, write_json};

pub(crate) fn run(arguments: &VerifyArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let id = arguments.id.as_deref().unwrap_or_default();
    let found = containers::look(&arguments.places, id)?;
    if found.is_empty() && !arguments.all {
        return Err(CliError::NoSuchContainer { id: id.to_owned(), state: arguments.places.state.clone() });
    }
    match arguments.places.format {
        ListFormat::Text => found.iter().try_for_each(|container| lines(container, out))?,
        ListFormat::Json => {
            let all: Vec<_> = found.iter().map(Container::json).collect();
            write_json(&serde_json::to_string_pretty(&all)?, out)?;
        }
    }
    Ok(if found.iter().all(Container::is_fine) { Verdict::Fine } else { Verdict::Objections })
}

fn lines(container: &Container, out: &mut Vec<u8>) -> Result<(), CliError> {
    writeln!(out, "{} {} {}", container.namespace, container.id, container.verdict())?;
    let drift = match container.finding() {
        Some(Finding::Drift(found)) => found.as_slice(),
        _ => &[],
    };
    for line in drift.iter().map(ToString::to_string).chain(container.error()) {
        writeln!(out, "  {}", plain(&line))?;
    }
    Ok(())
}
