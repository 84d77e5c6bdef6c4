//! A bundle that somebody removes, in whole or in part, under its container.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use palisade_integration::events::{Life, Recorder};

use super::fault;
use super::victim::{SLEEP, Victim, lives};
use crate::support::{Check, World};

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    const PARTS: [&str; 4] = ["palisade", "palisade/runtime", "palisade/container.json", "palisade/config.json"];
    let mut trials: Vec<Trial> = PARTS
        .iter()
        .map(|part| fault(world, &format!("{part} of the bundle vanishes"), move |world| vanishes(world, part)))
        .collect();
    trials.push(fault(world, "the whole bundle is moved away", moved_away));
    trials
}

fn remove(path: &Path) -> Check {
    if path.is_dir() {
        fs::remove_dir_all(path)?;
    } else {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn vanishes(world: &World, part: &str) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    for started in [false, true] {
        let victim = Victim::make(world, SLEEP)?;
        let init = victim.create()?;
        if started {
            victim.tasks.start(&victim.id, "")?;
        }
        remove(&victim.bundle().join(part))?;
        let id = victim.id.clone();
        if started {
            // Whether it can still be done depends on the part; it is answered.
            if let Err(failure) = victim.exec("e", &["true"]) {
                expect!(failure.refusal().is_some_and(|(_, message)| !message.is_empty()), "{failure}");
            }
        }
        victim.remove()?;
        expect!(!lives(init), "init lives on");
        let events = recorder.until(&id, 20, |events| {
            events.last().is_some_and(|event| event.what == palisade_integration::events::What::Delete)
        })?;
        let execs = events.iter().filter(|event| event.what == palisade_integration::events::What::ExecStarted).count();
        recorder.whole_life(&id, 20, &Life { started, execs, ..Life::default() })?;
    }
    Ok(())
}

fn moved_away(world: &World) -> Check {
    let victim = Victim::running(world)?;
    let elsewhere = victim.bundle().with_file_name("elsewhere");
    fs::rename(victim.bundle(), &elsewhere)?;
    let moved = elsewhere.exists();
    victim.kill()?;
    let removed = victim.remove();
    // The root file system was mounted below it.
    nix::mount::umount2(&elsewhere.join("rootfs"), nix::mount::MntFlags::MNT_DETACH).ok();
    fs::remove_dir_all(&elsewhere)?;
    expect!(moved, "the bundle was not moved");
    removed
}
