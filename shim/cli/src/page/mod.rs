//! `palisade report`: one page of HTML about a node or an audit log, to be looked at in a browser and passed on.
//!
//! All that it shows is in the page itself: it loads nothing and runs nothing, and says so to the browser (a content security policy).
//! What workloads chose is text there, never markup.

mod html;
mod plot;
mod summary;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use palisade_policy::Day;

use crate::Verdict;
use crate::arguments::ReportArguments;
use crate::containers;
use crate::error::CliError;
use crate::log::LogReader;
use crate::policy;
use html::Page;
use summary::Summary;

/// An exemption that ends within this is near its end.
const NEAR: Duration = Duration::from_secs(30 * 24 * 3600);

pub(crate) fn run(arguments: &ReportArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let mut reader = LogReader::of(&arguments.log)?;
    let mut summary = Summary::default();
    reader.read(|line| summary.take(line))?;
    let containers = if arguments.no_containers { None } else { Some(containers::look(&arguments.places(), "")?) };
    if !arguments.no_containers {
        // This node's policy; one that is wrong is told of by other commands, and by the records.
        let policy = policy::load(&arguments.log.policy).ok();
        policy.iter().flat_map(|policy| policy.policy().exemptions()).for_each(|exemption| summary.know(&exemption));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let page = Page {
        log: reader.log(),
        summary: &summary,
        containers: containers.as_deref(),
        today: Day::of_unix_seconds(now.as_secs()),
        near: Day::of_unix_seconds((now + NEAR).as_secs()),
    };
    out.extend_from_slice(page.to_string().as_bytes());
    Ok(Verdict::Fine)
}
