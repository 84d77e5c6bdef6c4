//! The integration suite: what palisade does to real containers of a real containerd, with plain runc beside it as the control.
//!
//! Run by `scripts/test` as root. One process runs all phases against one containerd; each phase puts another policy file in force.
//! A prerequisite that is missing is a failure. Nothing is skipped but the known gaps of the bypass suite and what containerd 1.7 lacks
//! of CRI, which the pages of both list.

#![allow(
    clippy::indexing_slicing,
    reason = "indexing a JSON value does not panic where it is read, and where it is written it fails a test"
)]

#[macro_use]
mod support;

mod audit;
mod audited;
mod below;
mod broken;
mod budget;
mod bypass;
mod cancellation;
mod cri;
mod denials;
mod doctored;
mod exchange;
mod exec;
mod faults;
mod given;
mod images;
mod in_force;
mod installed;
mod isolation;
mod learning;
mod lifecycle;
mod limits;
mod logger;
mod metrics;
mod modelled;
mod monitored;
mod mutations;
mod per_rule;
mod phases;
mod pods;
mod probes;
mod profiles;
mod refusals;
mod restart;
mod secrets;
mod selection;
mod spec_edits;
mod synced;
mod terminal;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use palisade_integration::policy::PolicyFile;
use palisade_integration::{Assets, Containerd, Enclosure, Failure, Leftovers, cgroup, leftovers};

use support::World;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match run(arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("suite: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all phases and counts what they left; the number of failures.
fn run(mut arguments: Arguments) -> Result<u64, Failure> {
    // Containers are slow on two processors, and more of them at once only make deadlines pass.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(2));
    let assets = Assets::locate()?;
    let kept: &[&str] = if cgroup::by_systemd() { &["systemd", "dbus"] } else { &[] };
    let enclosure = Enclosure::enter_keeping(kept, &assets.busybox)?;
    let containerd = Containerd::start(&enclosure, assets, &PolicyFile::defaults())?;
    let before = Leftovers::count(&containerd)?;
    let world: &'static World = Box::leak(Box::new(World::new(containerd)));
    let (mut passed, mut failed) = (0, 0);
    for phase in phases::chosen(world)? {
        let assets = world.containerd.assets();
        println!("\nphase: {} (containerd {}, palisade {})", phase.name, assets.generation, assets.form);
        phase.policy.write(world.containerd.layout())?;
        let threads = if phase.alone { Some(1) } else { arguments.test_threads };
        let arguments = Arguments { test_threads: threads, ..arguments.clone() };
        let conclusion = libtest_mimic::run(&arguments, phase.trials);
        passed += conclusion.num_passed;
        failed += conclusion.num_failed;
    }
    println!("\nphase: the end");
    let last = libtest_mimic::run(
        &Arguments { filter: None, ..arguments },
        vec![nothing_is_left(world, before), audit::every_line(world)],
    );
    passed += last.num_passed;
    failed += last.num_failed;
    if last.has_failed() {
        leftovers::sweep(&world.containerd)?;
    }
    if let Some(bypasses) = bypass::summary() {
        println!("{bypasses}");
    }
    world.containerd.stop()?;
    leftovers::remove_parent_cgroups(world.containerd.tag())?;
    println!("\nintegration, containerd {}: {passed} passed, {failed} failed", world.containerd.assets().generation);
    Ok(failed)
}

/// The last test, whatever the command line chooses: nothing of all those containers is left.
fn nothing_is_left(world: &'static World, before: Leftovers) -> Trial {
    Trial::test("no process, mount, cgroup, interface, socket or file is left", move || {
        Leftovers::settle(&before, &world.containerd).map_err(Failed::from)
    })
}
