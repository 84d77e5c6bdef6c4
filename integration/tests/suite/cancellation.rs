//! A caller that goes away in the middle of a verb: the verb goes on to its end, and nothing is lost.

use std::time::Duration;

use libtest_mimic::Trial;
use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;

use crate::support::{Check, World, trial};

/// From less than any start of an exec takes to more than most do.
const PATIENCE_MS: [u64; 6] = [1, 3, 6, 10, 20, 40];

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    vec![trial(world, "task: a start whose caller goes away keeps the container's exit", exit_is_reported)]
}

fn exit_is_reported(world: &World) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    let process = bundle_spec::process(&["/probe", "sleep"]);
    let mut cut_short = 0;
    for (turn, patience) in PATIENCE_MS.into_iter().enumerate() {
        let exec = format!("impatient{turn}");
        tasks.exec(container.id(), &exec, &process)?;
        if !tasks.start_impatiently(container.id(), &exec, Duration::from_millis(patience))? {
            cut_short += 1;
        }
    }
    expect!(cut_short > 0, "no caller went away, so this shows nothing");
    tasks.kill(container.id(), "", 9)?;
    // Init's exit waits for every exec that runs: one that was lost on the way would keep it back for good.
    expect_eq!(tasks.wait(container.id(), "")?, 137, "exit status");
    Ok(container.remove()?)
}
