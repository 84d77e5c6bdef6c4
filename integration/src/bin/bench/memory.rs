//! What a shim takes of the machine: five with a container each, and one with several containers of a pod.

use std::thread;
use std::time::Duration;

use palisade_integration::Failure;
use palisade_integration::ctr::unique;
use palisade_integration::footprint::Footprint;
use serde_json::Value;

use crate::cpu::Cpu;
use crate::life::{Hand, Prepared};
use crate::options::Plan;
use crate::raw::{Place, Record};
use crate::side::{Side, in_turn};
use crate::world::World;

/// Shims side by side.
pub(crate) const SHIMS: u32 = 5;
/// Containers in one pod.
pub(crate) const PODS: [u32; 3] = [1, 3, 10];

/// What the raw data's names begin with: of each of some shims, and of a pod's one shim, right after the last verb and a while later.
pub(crate) const EACH: &str = "each_";
pub(crate) const POD: &str = "pod_";
pub(crate) const EACH_AT_REST: &str = "each_at_rest_";
pub(crate) const POD_AT_REST: &str = "pod_at_rest_";
/// The while: longer than it takes palisade's shim to give back what it does not need; nothing is asked of any shim meanwhile.
const WHILE: Duration = Duration::from_secs(5);
/// The rounds in which a while is waited for: it is the same each time, and long.
const RESTING_ROUNDS: std::ops::RangeInclusive<u32> = 1..=3;
/// What they end with, and what it is of a footprint.
pub(crate) const KINDS: [Kind; 5] = [
    ("pss_kib", |shim| shim.pss),
    ("rss_kib", |shim| shim.rss),
    ("anonymous_kib", |shim| shim.anonymous),
    ("descriptors", |shim| shim.descriptors),
    ("threads", |shim| shim.threads),
];

pub(crate) type Kind = (&'static str, fn(&Footprint) -> u64);

pub(crate) fn measure(world: &World<'_>, plan: &Plan, rounds: u32, record: &mut Record) -> Result<(), Failure> {
    let hand = Hand::of(world)?;
    let shims = Cpu::of(world.containerd)?;
    for round in 0..=rounds {
        for side in in_turn(&plan.sides, round) {
            world.turn(side)?;
            let place = |scale| Place { side: side.name(), scale, round };
            // What they share with those that still end would be counted in parts.
            shims.at_rest()?;
            let rests = RESTING_ROUNDS.contains(&round);
            for (names, shim) in [EACH, EACH_AT_REST].iter().zip(side_by_side(world, &hand, side, rests)?) {
                shim.iter().try_for_each(|shim| keep(record, place(SHIMS), names, shim))?;
            }
            for containers in PODS {
                shims.at_rest()?;
                for (names, shim) in [POD, POD_AT_REST].iter().zip(pod(world, &hand, side, containers, rests)?) {
                    keep(record, place(containers), names, &shim)?;
                }
            }
        }
        record.flush()?;
    }
    Ok(())
}

pub(crate) fn keep(record: &mut Record, place: Place<'_>, of: &str, shim: &Footprint) -> Result<(), Failure> {
    #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
    KINDS.iter().try_for_each(|(name, kind)| record.add(place, &format!("{of}{name}"), kind(shim) as f64))
}

/// No other side's shim runs meanwhile: two of palisade's sides are the same file.
fn side_by_side(world: &World<'_>, hand: &Hand<'_>, side: Side, rests: bool) -> Result<Vec<Vec<Footprint>>, Failure> {
    let running = (0..SHIMS).map(|_| run(hand, side, &world.spec)).collect::<Result<Vec<_>, _>>()?;
    let shims = now_and_at_rest(rests, || running.iter().map(|(_, init)| shim_of(*init)).collect());
    running.iter().try_for_each(|(prepared, _)| hand.end(prepared))?;
    shims
}

/// What `look` sees now, and after a while if one is waited for.
fn now_and_at_rest<T>(rests: bool, look: impl Fn() -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    let mut seen = vec![look()?];
    if rests {
        thread::sleep(WHILE);
        seen.push(look()?);
    }
    Ok(seen)
}

/// The first container is the pod's sandbox.
fn pod(
    world: &World<'_>,
    hand: &Hand<'_>,
    side: Side,
    containers: u32,
    rests: bool,
) -> Result<Vec<Footprint>, Failure> {
    let name = unique("pod");
    let mut running = Vec::new();
    let mut sandbox = None;
    for _ in 0..containers {
        let prepared = hand.prepare_in(side, &name, sandbox.as_deref(), &world.spec)?;
        let init = hand.run(&prepared)?;
        sandbox.get_or_insert_with(|| prepared.id.clone());
        running.push((prepared, init));
    }
    let shims = running.iter().map(|(_, init)| Footprint::shim_of(*init)).collect::<Result<Vec<_>, _>>()?;
    let footprint = match shims.split_first() {
        Some((shim, others)) if others.iter().all(|other| other == shim) => {
            now_and_at_rest(rests, || Footprint::of(*shim))
        }
        _ => Err(Failure::unreadable("a pod's shim", &format!("{shims:?}"))),
    };
    running.iter().rev().try_for_each(|(prepared, _)| hand.end(prepared))?;
    footprint
}

fn run(hand: &Hand<'_>, side: Side, spec: &Value) -> Result<(Prepared, u32), Failure> {
    let prepared = hand.prepare(side, spec, &["/probe", "sleep"])?;
    let init = hand.run(&prepared)?;
    Ok((prepared, init))
}

fn shim_of(init: u32) -> Result<Footprint, Failure> {
    Footprint::of(Footprint::shim_of(init)?)
}
