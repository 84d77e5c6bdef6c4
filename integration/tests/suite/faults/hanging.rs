//! A runtime that hangs: it is killed at the deadline that the policy gives, the caller is told so, and what was begun is removed.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::cri;
use palisade_integration::events::{Life, Recorder, What};
use palisade_integration::{Failure, poll};

use super::engine::{Engine, Moment};
use super::fault;
use super::victim::{SLEEP, Victim, lives};
use crate::support::{Check, World};

/// The policy's `[runtime]` table.
const SETTINGS: &str = "deadline = 2\n";
/// Longest time for a call that fails and what is undone after it.
const LIMIT: Duration = Duration::from_secs(15);

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    let mut trials = Vec::new();
    for moment in [Moment::Before, Moment::After] {
        for (verb, test) in [("create", create as fn(&World, Moment) -> Check), ("start", start), ("exec", exec)] {
            let name = format!("the runtime hangs {} its {verb}", moment.word());
            trials.push(fault(world, &name, move |world| test(world, moment)));
        }
    }
    trials.push(fault(world, "a container is removed though the runtime hangs for good", for_good));
    trials.push(fault(world, "a pod is removed though the runtime hangs for good", pod));
    trials
}

/// Fails unless the answer is that the deadline has passed.
fn expect_deadline<T: std::fmt::Debug>(answer: Result<T, Failure>, verb: &str, since: Instant) -> Check {
    let Err(failure) = answer else { return Err(format!("{verb}: {answer:?}").into()) };
    let (code, message) = failure.refusal().ok_or_else(|| format!("{verb}: {failure}"))?;
    expect_eq!(code, tonic::Code::DeadlineExceeded, "code of {message:?}");
    let told = format!("OCI runtime {verb} did not end within 2 s ([runtime] deadline) and was killed");
    expect!(message.contains(&told), "{message:?}");
    expect!(since.elapsed() < LIMIT, "{verb} took {:?}", since.elapsed());
    Ok(())
}

/// Fails unless the runtime that was killed ends.
fn ends(runtime: u32) -> Check {
    poll::eventually(
        "the end of the runtime",
        5,
        || if lives(runtime) { Err("it lives on".to_owned()) } else { Ok(()) },
    )?;
    Ok(())
}

fn create(world: &World, moment: Moment) -> Check {
    let mut engine = Engine::install(world, SETTINGS)?;
    let victim = Victim::make(world, SLEEP)?;
    engine.arm("create", moment)?;
    let since = Instant::now();
    expect_deadline(victim.create(), "create", since)?;
    ends(engine.reached()?)?;
    // The id is free again: what was begun is gone.
    victim.remove()?;
    let again = Victim::make(world, SLEEP)?;
    again.create()?;
    again.remove()
}

fn start(world: &World, moment: Moment) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let mut engine = Engine::install(world, SETTINGS)?;
    let victim = Victim::make(world, SLEEP)?;
    let init = victim.create()?;
    engine.arm("start", moment)?;
    let since = Instant::now();
    expect_deadline(victim.tasks.start(&victim.id, ""), "start", since)?;
    ends(engine.reached()?)?;
    let id = victim.id.clone();
    victim.remove()?;
    expect!(!lives(init), "init lives on");
    recorder.whole_life(&id, 20, &Life::default())?;
    Ok(())
}

fn exec(world: &World, moment: Moment) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let mut engine = Engine::install(world, SETTINGS)?;
    let victim = Victim::running(world)?;
    victim.tasks.exec(&victim.id, "hangs", &bundle_spec::process(SLEEP))?;
    engine.arm("exec", moment)?;
    let since = Instant::now();
    expect_deadline(victim.tasks.start(&victim.id, "hangs"), "exec", since)?;
    ends(engine.reached()?)?;
    poll::eventually("init alone in its container", 20, || {
        let pids = victim.tasks.pids(&victim.id).map_err(|failure| failure.to_string())?;
        if pids.len() == 1 { Ok(()) } else { Err(format!("{pids:?}")) }
    })?;
    // The container goes on, and the next exec runs.
    expect_eq!(victim.exec("next", &["sh", "-c", "exit 6"])?, 6, "exit status of the next exec");
    victim.tasks.delete_exec(&victim.id, "hangs")?;
    victim.kill()?;
    let id = victim.id.clone();
    victim.remove()?;
    recorder.whole_life(&id, 20, &Life { started: true, execs: 1, ..Life::default() })?;
    Ok(())
}

fn for_good(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let engine = Engine::install(world, SETTINGS)?;
    let victim = Victim::running(world)?;
    victim.tasks.exec(&victim.id, "stays", &bundle_spec::process(SLEEP))?;
    victim.tasks.start(&victim.id, "stays")?;
    engine.hang()?;
    let id = victim.id.clone();
    victim.kill()?;
    let since = Instant::now();
    victim.remove()?;
    expect!(since.elapsed() < LIMIT, "the removal took {:?}", since.elapsed());
    recorder.whole_life(&id, 20, &Life { started: true, execs: 1, ..Life::default() })?;
    Ok(())
}

fn pod(world: &World) -> Check {
    let recorder = Recorder::of_namespace(&world.containerd, "k8s.io")?;
    let engine = Engine::install(world, SETTINGS)?;
    let cri = world.cri()?;
    let pod = cri.run_pod(Runtime::Palisade, cri.pod_config())?;
    let container = cri.start(&pod, cri::sleeper())?;
    engine.hang()?;
    let refused = cri.exec(&container, &["true"]);
    expect!(format!("{refused:?}").contains("[runtime] deadline"), "an exec: {refused:?}");
    let id = pod.id.clone();
    pod.remove()?;
    for id in [id, container] {
        recorder.until(&id, 20, |events| events.last().is_some_and(|event| event.what == What::Delete))?;
    }
    Ok(())
}
