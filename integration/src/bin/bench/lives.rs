//! Whole lives of containers that run `true`, one and many at once, with the CPU time that they take, and the kernel's work alone beside them.

use palisade_integration::Failure;

use crate::bare;
use crate::cpu::Cpu;
use crate::life::{Hand, Prepared};
use crate::options::Plan;
use crate::raw::{Place, Record};
use crate::side::{Side, in_turn};
use crate::together;
use crate::world::World;

/// Names in the raw data: of one life, until all are over, CPU time a life of all but containerd, and of containerd.
pub(crate) const WHOLE: &str = "whole_ms";
pub(crate) const ALL: &str = "all_ms";
pub(crate) const CPU: &str = "cpu_ms";
pub(crate) const CONTAINERD_CPU: &str = "containerd_cpu_ms";

/// Lives of a round at least, of each side.
const FEWEST: u32 = 4;

pub(crate) fn measure(world: &World<'_>, plan: &Plan, rounds: u32, record: &mut Record) -> Result<(), Failure> {
    let cpu = Cpu::of(world.containerd)?;
    let hands = Hand::as_many(world, plan)?;
    // `None` is the kernel's work alone.
    let contenders: Vec<Option<Side>> = plan.sides.iter().copied().map(Some).chain([None]).collect();
    for round in 0..=rounds {
        for &scale in &plan.at_once {
            let Some(hands) = hands.get(..usize::try_from(scale).unwrap_or(0)) else { continue };
            for repeat in 0..FEWEST.div_ceil(scale) {
                for contender in in_turn(&contenders, round + repeat) {
                    let place = |side| Place { side, scale, round };
                    match contender {
                        Some(side) => batch(world, hands, side, &cpu, record, place(side.name()))?,
                        None => bare::batch(world, hands, record, place(bare::NAME))?,
                    }
                }
            }
        }
        record.flush()?;
    }
    Ok(())
}

fn batch(
    world: &World<'_>,
    hands: &[Hand<'_>],
    side: Side,
    cpu: &Cpu,
    record: &mut Record,
    place: Place<'_>,
) -> Result<(), Failure> {
    world.turn(side)?;
    let prepare = |hand| Ok((hand, Hand::prepare(hand, side, &world.spec, &["/bin/true"])?));
    let prepared = hands.iter().map(prepare).collect::<Result<Vec<(&Hand<'_>, Prepared)>, Failure>>()?;
    let before = cpu.at_rest()?;
    let (lives, all) = together::all(&prepared, |(hand, prepared)| hand.whole(prepared))?;
    let after = cpu.at_rest()?;
    prepared.iter().try_for_each(|(hand, prepared)| hand.remove(prepared))?;
    lives.iter().try_for_each(|life| record.time(place, WHOLE, *life))?;
    record.time(place, ALL, all)?;
    let containerd = after.containerd.saturating_sub(before.containerd);
    let others = after.all.saturating_sub(before.all).saturating_sub(containerd);
    record.time(place, CPU, others / place.scale)?;
    record.time(place, CONTAINERD_CPU, containerd / place.scale)
}
