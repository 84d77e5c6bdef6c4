//! What a filter costs, to report the calls that it refuses, and to record those that run: palisade alone, without a filter, with one, with the report,
//! and learning.

use palisade_integration::ctr::Run;
use palisade_integration::footprint::Footprint;
use palisade_integration::policy::PolicyFile;
use palisade_integration::{Containerd, Failure, Runtime};
use palisade_probe::Flood;
use serde_json::Value;

use crate::life::Hand;
use crate::raw::{Place, Record};
use crate::side::{Side, in_turn};
use crate::world::World;
use crate::{memory, steps};

const OFF: &str = "[seccomp]\nreport = false\n";
const NO_FILTER: &str = "[seccomp]\nreport = false\n[profiles.restricted.rules.\"linux.seccomp\"]\naction = \"off\"\n";
/// Names in the raw data.
pub(crate) const SIDES: [&str; 4] = ["no filter", "filter", "report", "learn"];
pub(crate) const REFUSED: &str = "refused_us";
pub(crate) const RUNS: &str = "runs_us";
/// What the names of a shim's footprint begin with.
pub(crate) const SHIM: &str = "watching_";
/// Within what is answered at once.
const CALLS: &str = "2000";

pub(crate) fn measure(world: &World<'_>, rounds: u32, record: &mut Record) -> Result<(), Failure> {
    let containerd = world.containerd;
    // A profile of the container's own makes work for containerd as well: here the policy alone asks for a filter.
    let mut spec = world.spec.clone();
    spec.pointer_mut("/linux").and_then(Value::as_object_mut).and_then(|linux| linux.remove("seccomp"));
    let unfiltered = World { containerd, spec };
    let hand = Hand::of(world)?;
    for round in 0..=rounds {
        for name in in_turn(&SIDES, round) {
            policy(containerd, name).write(containerd.layout())?;
            let place = Place { side: name, scale: 1, round };
            steps::lives(&unfiltered, std::slice::from_ref(&hand), Side::Embedded, record, place)?;
            // Beside a life these take long.
            if round % 4 == 1 {
                calls(containerd, record, place)?;
            }
        }
        record.flush()?;
    }
    PolicyFile::defaults().write(containerd.layout())
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

fn calls(containerd: &Containerd, record: &mut Record, place: Place<'_>) -> Result<(), Failure> {
    let container = containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    let of = |words: &[&str]| each(&container.exec(&[], words)?.success()?);
    record.add(place, REFUSED, of(&["/probe", "refused", "1", CALLS])?)?;
    record.add(place, RUNS, of(&["/probe", "allowed", CALLS])?)?;
    let shim = Footprint::of(Footprint::shim_of(container.pid()?)?)?;
    memory::keep(record, place, SHIM, &shim)?;
    container.remove()
}

/// Microseconds of one call.
#[allow(clippy::cast_precision_loss, reason = "microseconds of a second are far below 2^52")]
fn each(output: &str) -> Result<f64, Failure> {
    let flood: Flood = serde_json::from_str(output).map_err(|error| Failure::unreadable("a flood", &error))?;
    let calls: u64 = flood.errnos.values().sum();
    Ok(flood.micros as f64 / calls as f64)
}
