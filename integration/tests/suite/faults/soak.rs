//! The soak in short; `scripts/soak` runs it in full.

use libtest_mimic::Trial;
use palisade_integration::containerd::Runtime;
use palisade_integration::footprint::expect_flat;
use palisade_integration::soak;

use super::fault;
use crate::support::{Check, World};

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        fault(world, "soak: 200 execs in one container", execs),
        fault(world, "soak: 40 containers in one pod", lifecycles),
        fault(world, "soak: 8 pods at once", pods),
    ]
}

fn execs(world: &World) -> Check {
    Ok(expect_flat("the shim over 200 execs", &soak::execs(&world.containerd, Runtime::Palisade, 200)?)?)
}

fn lifecycles(world: &World) -> Check {
    Ok(expect_flat("the shim over 40 containers", &soak::lifecycles(&world.containerd, Runtime::Palisade, 40)?)?)
}

fn pods(world: &World) -> Check {
    let crowd = soak::pods(&world.containerd, Runtime::Palisade, 8)?;
    expect_eq!(crowd.shims.len(), 8, "shims");
    Ok(())
}
