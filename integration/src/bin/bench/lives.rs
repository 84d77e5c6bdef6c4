//! Whole lives of containers that run `true`, one and many at once, with the CPU time that they take, and the kernel's work alone beside them.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use palisade_integration::Failure;

use crate::bare;
use crate::cpu::Cpu;
use crate::life::{Hand, Prepared};
use crate::options::Plan;
use crate::raw::{Place, Record};
use crate::side::{Side, in_turn};
use crate::world::World;

/// Names in the raw data: of one life, until all are over, CPU time a life of all but containerd, and of containerd.
pub(crate) const WHOLE: &str = "whole_ms";
pub(crate) const ALL: &str = "all_ms";
pub(crate) const CPU: &str = "cpu_ms";
pub(crate) const CONTAINERD_CPU: &str = "containerd_cpu_ms";

/// Lives of a round at least, of each side.
const FEWEST: u32 = 4;

/// The times of one batch.
struct Batch {
    lives: Vec<Duration>,
    all: Duration,
}

pub(crate) fn measure(world: &World<'_>, plan: &Plan, rounds: u32, record: &mut Record) -> Result<(), Failure> {
    let cpu = Cpu::of(world.containerd)?;
    let most = plan.at_once.iter().copied().max().unwrap_or(1);
    let hands = (0..most).map(|_| Hand::of(world)).collect::<Result<Vec<_>, Failure>>()?;
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
    let prepared =
        hands.iter().map(|hand| hand.prepare(side, &world.spec, &["/bin/true"])).collect::<Result<Vec<_>, _>>()?;
    let before = cpu.at_rest()?;
    let batch = at_once(hands, &prepared)?;
    let after = cpu.at_rest()?;
    hands.iter().zip(&prepared).try_for_each(|(hand, prepared)| hand.remove(prepared))?;
    batch.lives.iter().try_for_each(|life| record.time(place, WHOLE, *life))?;
    record.time(place, ALL, batch.all)?;
    let containerd = after.containerd.saturating_sub(before.containerd);
    let others = after.all.saturating_sub(before.all).saturating_sub(containerd);
    record.time(place, CPU, others / place.scale)?;
    record.time(place, CONTAINERD_CPU, containerd / place.scale)
}

fn at_once(hands: &[Hand<'_>], prepared: &[Prepared]) -> Result<Batch, Failure> {
    let together = Barrier::new(hands.len() + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = hands
            .iter()
            .zip(prepared)
            .map(|(hand, prepared)| {
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    hand.whole(prepared)
                })
            })
            .collect();
        together.wait();
        let since = Instant::now();
        let mut lives = Vec::new();
        for thread in threads {
            lives.push(thread.join().map_err(|_| Failure::unreadable("a life", &"its thread panicked"))??);
        }
        Ok(Batch { lives, all: since.elapsed() })
    })
}
