//! Faults, tried for real: each leaves a clear error, a container that can be removed, and nothing else.
//!
//! They run alone, so that after each of them everything on the machine can be counted: what is there then and was not there
//! before is what the fault has left.

mod attested;
mod audit;
mod bundle;
mod calls;
mod confined;
mod containerd;
mod disk;
mod engine;
mod exhaustion;
mod hanging;
mod order;
mod protocol;
mod shim_death;
mod soak;
mod victim;

use libtest_mimic::{Failed, Trial};
use palisade_integration::Leftovers;
use palisade_integration::policy::PolicyFile;

use crate::support::{Check, World};

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let families = [
        containerd::trials,
        shim_death::trials,
        order::trials,
        hanging::trials,
        exhaustion::trials,
        disk::trials,
        audit::trials,
        bundle::trials,
        protocol::trials,
        attested::trials,
        calls::trials,
        soak::trials,
    ];
    families.into_iter().flat_map(|family| family(world)).collect()
}

/// A trial after which nothing may be left that was not there before. It may put another policy file in force.
fn fault(world: &'static World, name: &str, test: impl FnOnce(&World) -> Check + Send + 'static) -> Trial {
    Trial::test(format!("fault: {name}"), move || {
        let before = Leftovers::count(&world.containerd)?;
        let outcome = test(world);
        PolicyFile::defaults().write(world.containerd.layout())?;
        let settled = Leftovers::settle(&before, &world.containerd);
        match (outcome, settled) {
            (outcome, Ok(())) => outcome,
            (Ok(()), Err(left)) => Err(left.into()),
            (Err(failed), Err(left)) => {
                Err(Failed::from(format!("{}; and {left}", failed.message().unwrap_or_default())))
            }
        }
    })
}
