//! `--fix`: what can be mended without anything that an admin runs on a node stopping.

use std::io::Write as _;
use std::path::Path;

use super::Result;
use super::check::{Fix, Outcome};
use super::tree::{Tree, write_setting};
use crate::error::CliError;
use crate::report::plain;

/// Does it, or only says it; whether there was anything to do. Every line is what was done, or why not.
pub(super) fn fix(
    tree: &Tree,
    results: &[Result],
    dry_run: bool,
    out: &mut Vec<u8>,
) -> std::result::Result<bool, CliError> {
    let failed = results.iter().filter(|result| result.outcome() == Outcome::Fail);
    let mut any = false;
    for fix in failed.flat_map(|result| &result.found.fixes) {
        // A setting of the kernel is not one of a tree of files.
        if matches!(fix, Fix::Setting(..)) && !tree.is_live() {
            continue;
        }
        any = true;
        let command = command(fix);
        let word = match (dry_run, if dry_run { Ok(()) } else { apply(tree, fix) }) {
            (true, _) => "would run".to_owned(),
            (false, Ok(())) => "done".to_owned(),
            (false, Err(error)) => format!("failed ({error})"),
        };
        writeln!(out, "fix: {word}: {}", plain(&command))?;
    }
    if !any {
        writeln!(out, "fix: nothing that is mended without harm")?;
    }
    Ok(any)
}

fn command(fix: &Fix) -> String {
    match fix {
        Fix::TakeWriting(path) => format!("chmod go-w {path}"),
        Fix::Setting(name, value) => format!("sysctl -w {}={value}", name.replace('/', ".")),
    }
}

fn apply(tree: &Tree, fix: &Fix) -> std::io::Result<()> {
    match fix {
        Fix::TakeWriting(path) => tree.take_writing(Path::new(path)),
        Fix::Setting(name, value) => write_setting(name, value),
    }
}
