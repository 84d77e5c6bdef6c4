//! Each step of a life, one container after another, the sides in turn.

use std::time::Instant;

use palisade_integration::Failure;
use palisade_integration::events::Recorder;
use tonic::Code;

use crate::life::Hand;
use crate::options::Plan;
use crate::raw::{Place, Record};
use crate::side::{Side, in_turn};
use crate::spec;
use crate::world::World;

/// A call that comes to nothing, in the raw data, and of whom it is.
pub(crate) const CALL: &str = "call_ms";
pub(crate) const CLIENT: &str = "client";
/// Calls of an exec: made, started, awaited, deleted.
pub(crate) const CALLS_OF_EXEC: f64 = 4.0;

/// Names of the steps in the raw data.
pub(crate) const NAMES: [&str; 5] = ["create_ms", "start_ms", "exec_ms", "exit_ms", "delete_ms"];

pub(crate) fn measure(world: &World<'_>, plan: &Plan, rounds: u32, record: &mut Record) -> Result<(), Failure> {
    let hand = Hand::of(world)?;
    let events = Recorder::start(world.containerd)?;
    for round in 0..=rounds {
        call(&hand, record, round)?;
        for side in in_turn(&plan.sides, round) {
            world.turn(side)?;
            one(world, &hand, side, &events, record, Place { side: side.name(), scale: 1, round })?;
        }
        record.flush()?;
    }
    Ok(())
}

/// A call of containerd that comes to nothing: what the client itself and its connection take.
fn call(hand: &Hand<'_>, record: &mut Record, round: u32) -> Result<(), Failure> {
    let since = Instant::now();
    let answer = hand.tasks.pids("none");
    let time = since.elapsed();
    match answer {
        Err(failure) if failure.refusal().is_some_and(|(code, _)| code == Code::NotFound) => {}
        other => return Err(Failure::unreadable("a call", &format!("{other:?}"))),
    }
    record.time(Place { side: CLIENT, scale: 1, round }, CALL, time)
}

/// One life, whose times are recorded.
pub(crate) fn one(
    world: &World<'_>,
    hand: &Hand<'_>,
    side: Side,
    events: &Recorder,
    record: &mut Record,
    place: Place<'_>,
) -> Result<(), Failure> {
    let process = spec::process(&world.spec, &["/bin/true"]);
    let prepared = hand.prepare(side, &world.spec, &["/probe", "sleep"])?;
    let steps = hand.steps(&prepared, &process, events)?;
    hand.remove(&prepared)?;
    let times = [steps.create, steps.start, steps.exec, steps.exit, steps.delete];
    NAMES.iter().zip(times).try_for_each(|(name, time)| record.time(place, name, time))
}
