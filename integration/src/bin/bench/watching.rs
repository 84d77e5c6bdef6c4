//! What a filter costs, to report the calls that it refuses, and to record those that run: palisade alone, without a filter, with one, with the report,
//! and learning.

use std::fmt::Write as _;
use std::time::Duration;

use palisade_integration::ctr::Run;
use palisade_integration::footprint::{Footprint, median};
use palisade_integration::policy::PolicyFile;
use palisade_integration::tasks::Tasks;
use palisade_integration::{Containerd, Failure, Runtime};
use palisade_probe::Flood;
use serde_json::Value;

use crate::report::{mebibytes, quantile, sorted};
use crate::steps::{Life, STEPS, live};

const OFF: &str = "[seccomp]\nreport = false\n";
const NO_FILTER: &str = "[seccomp]\nreport = false\n[profiles.restricted.rules.\"linux.seccomp\"]\naction = \"off\"\n";
const SIDES: [&str; 4] = ["no filter", "filter", "report", "learn"];
/// Within what is answered at once.
const CALLS: &str = "2000";

/// What was measured of one side.
#[derive(Default)]
struct Side {
    lives: Vec<Life>,
    /// Microseconds of a refused call, and of one that runs.
    refused: Vec<f64>,
    runs: Vec<f64>,
    shims: Vec<Footprint>,
}

/// One table, measured in turns; the first round is not counted.
pub(crate) fn markdown(containerd: &Containerd, tasks: &Tasks, spec: &Value, rounds: u32) -> Result<String, Failure> {
    let mut sides = SIDES.map(|_| Side::default());
    // A profile of the container's own makes work for containerd as well: here the policy alone asks for a filter.
    let mut unfiltered = spec.clone();
    unfiltered.pointer_mut("/linux").and_then(Value::as_object_mut).and_then(|linux| linux.remove("seccomp"));
    for round in 0..=rounds {
        // Each side comes after each other one as often: what the one before has left behind counts for all.
        let mut turns: Vec<(&str, &mut Side)> = SIDES.into_iter().zip(&mut sides).collect();
        turns.rotate_left(usize::try_from(round).unwrap_or(0) % SIDES.len());
        for (name, side) in turns {
            policy(containerd, name).write(containerd.layout())?;
            let life = live(containerd, tasks, &unfiltered, Runtime::Palisade)?;
            if round == 0 {
                continue;
            }
            side.lives.push(life);
            // Beside a life these take long.
            if round % 4 == 0 {
                calls(containerd, side)?;
            }
        }
    }
    PolicyFile::defaults().write(containerd.layout())?;
    Ok(table(&sides))
}

fn policy(containerd: &Containerd, side: &str) -> PolicyFile {
    match side {
        "no filter" => PolicyFile::of(NO_FILTER),
        "filter" => PolicyFile::of(OFF),
        "report" => PolicyFile::defaults(),
        _ => {
            let records = containerd.layout().base.join("calls");
            PolicyFile::of(&format!(
                "[seccomp]\nrecords = \"{}\"\n[profiles.restricted]\nlearn = true\n",
                records.display()
            ))
        }
    }
}

fn calls(containerd: &Containerd, side: &mut Side) -> Result<(), Failure> {
    let container = containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    side.refused.push(each(&container.exec(&[], &["/probe", "refused", "1", CALLS])?.success()?)?);
    side.runs.push(each(&container.exec(&[], &["/probe", "allowed", CALLS])?.success()?)?);
    side.shims.push(Footprint::of(Footprint::shim_of(container.pid()?)?)?);
    container.remove()
}

/// Microseconds of one call.
#[allow(clippy::cast_precision_loss, reason = "microseconds of a second are far below 2^52")]
fn each(output: &str) -> Result<f64, Failure> {
    let flood: Flood = serde_json::from_str(output)
        .map_err(|error| Failure::Unreadable { what: "a flood".to_owned(), detail: error.to_string() })?;
    let calls: u64 = flood.errnos.values().sum();
    Ok(flood.micros as f64 / calls as f64)
}

fn table(sides: &[Side]) -> String {
    let mut text = format!("\n| palisade, median | {} |\n|---|--:|--:|--:|--:|\n", SIDES.join(" | "));
    for (index, step) in STEPS.iter().enumerate() {
        let of = |side: &Side| {
            let lives = side.lives.iter().filter_map(|life| life.get(index)).map(Duration::as_secs_f64);
            format!("{:.2}", quantile(&sorted(lives.map(|seconds| seconds * 1000.0)), 0.5))
        };
        row(&mut text, &format!("{step}, ms"), sides.iter().map(of));
    }
    row(
        &mut text,
        "create beside no filter in the same round, ms",
        sides.iter().map(|side| beside(side, sides.first().unwrap_or(side))),
    );
    let middle = |values: &Vec<f64>| format!("{:.2}", quantile(&sorted(values.iter().copied()), 0.5));
    row(&mut text, "a refused call, µs", sides.iter().map(|side| middle(&side.refused)));
    row(&mut text, "getppid, which runs, µs", sides.iter().map(|side| middle(&side.runs)));
    let shim = |kind: fn(&Footprint) -> u64| {
        sides.iter().map(move |side| format!("{:.2}", mebibytes(kind(&median(&side.shims)))))
    };
    row(&mut text, "PSS of the shim, MiB", shim(|shim| shim.pss));
    row(&mut text, "anonymous, MiB", shim(|shim| shim.anonymous));
    row(&mut text, "threads", sides.iter().map(|side| median(&side.shims).threads.to_string()));
    row(&mut text, "descriptors", sides.iter().map(|side| median(&side.shims).descriptors.to_string()));
    text
}

/// The median of the differences of rounds, with its quartiles.
fn beside(side: &Side, without: &Side) -> String {
    let create = |life: &Life| life.first().map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0);
    let differences = sorted(side.lives.iter().zip(&without.lives).map(|(one, other)| create(one) - create(other)));
    let at = |place| quantile(&differences, place);
    format!("{:.2} ({:.2} to {:.2})", at(0.5), at(0.25), at(0.75))
}

fn row(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    // Writing to a String cannot fail.
    writeln!(text, "| {name} | {} |", cells.collect::<Vec<_>>().join(" | ")).ok();
}
