//! `palisade audit`.

use std::io::Write as _;

use palisade::audit::verify;

use crate::Verdict;
use crate::arguments::{AuditCommand, LogFile};
use crate::error::CliError;
use crate::log::path_of;
use crate::report::plain;

/// Of a line of the log.
const SCHEMA: &str = include_str!("../../../docs/audit.schema.json");

pub(crate) fn run(command: &AuditCommand, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    match command {
        AuditCommand::Verify { log, anchor } => follow(log, anchor.as_deref(), out),
        AuditCommand::Schema => {
            out.extend_from_slice(SCHEMA.as_bytes());
            Ok(Verdict::Fine)
        }
    }
}

fn follow(log: &LogFile, anchor: Option<&str>, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let path = path_of(log)?;
    let reading = verify(&path, anchor).map_err(|source| CliError::Read { path: path.clone(), source })?;
    for problem in &reading.problems {
        writeln!(out, "{}", plain(&problem.to_string()))?;
    }
    let Some(((first, last), head)) = reading.range.zip(reading.head.as_ref()) else {
        // Nothing that could be followed is nothing that was shown to be whole.
        writeln!(out, "no line of a chain in {} files; [audit] chain is off, or was", reading.files)?;
        return Ok(Verdict::Objections);
    };
    let (lines, files, unchained) = (reading.lines, reading.files, reading.unchained);
    writeln!(out, "lines {first} to {last} of the chain, {lines} in {files} files, {unchained} before it without one")?;
    writeln!(out, "sha256 of the last line: {head}")?;
    Ok(if reading.problems.is_empty() { Verdict::Fine } else { Verdict::Objections })
}
