//! Each step of a life, one container after another and many at once, the sides in turn.

use std::time::Instant;

use palisade_integration::Failure;
use palisade_integration::events::Recorder;
use tonic::Code;

use crate::life::{Hand, Prepared};
use crate::options::Plan;
use crate::raw::{Place, Record};
use crate::side::{Side, in_turn};
use crate::world::World;
use crate::{spec, together};

/// A call that comes to nothing, in the raw data, and of whom it is.
pub(crate) const CALL: &str = "call_ms";
pub(crate) const CLIENT: &str = "client";
/// Calls of an exec: made, started, awaited, deleted.
pub(crate) const CALLS_OF_EXEC: f64 = 4.0;

/// Names of the steps in the raw data.
pub(crate) const NAMES: [&str; 5] = ["create_ms", "start_ms", "exec_ms", "exit_ms", "delete_ms"];

pub(crate) fn measure(world: &World<'_>, plan: &Plan, rounds: u32, record: &mut Record) -> Result<(), Failure> {
    let hands = Hand::as_many(world, plan)?;
    for round in 0..=rounds {
        hands.first().map_or(Ok(()), |hand| call(hand, record, round))?;
        for &scale in plan.at_once.iter().filter(|scale| together::is_due(**scale, round)) {
            let hands = hands.get(..usize::try_from(scale).unwrap_or(0)).unwrap_or_default();
            for side in in_turn(&plan.sides, round) {
                world.turn(side)?;
                lives(world, hands, side, record, Place { side: side.name(), scale, round })?;
            }
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

/// A life for each hand, whose times are recorded.
pub(crate) fn lives(
    world: &World<'_>,
    hands: &[Hand<'_>],
    side: Side,
    record: &mut Record,
    place: Place<'_>,
) -> Result<(), Failure> {
    let process = spec::process(&world.spec, &["/bin/true"]);
    let prepare = |hand| Ok((hand, Hand::prepare(hand, side, &world.spec, &["/probe", "sleep"])?));
    let prepared = hands.iter().map(prepare).collect::<Result<Vec<(&Hand<'_>, Prepared)>, Failure>>()?;
    // One of its own: to search a long run's events would take time from what is measured.
    let events = Recorder::start(world.containerd)?;
    let (lives, _) = together::all(&prepared, |(hand, prepared)| hand.steps(prepared, &process, &events))?;
    prepared.iter().try_for_each(|(hand, prepared)| hand.remove(prepared))?;
    for life in lives {
        let times = [life.create, life.start, life.exec, life.exit, life.delete];
        NAMES.iter().zip(times).try_for_each(|(name, time)| record.time(place, name, time))?;
    }
    Ok(())
}
