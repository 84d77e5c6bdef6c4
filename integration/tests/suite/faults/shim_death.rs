//! The shim killed with SIGKILL at every step: containerd cleans up, and what the runtime was at comes to nothing.

use std::thread;

use containerd_client::types::Mount;
use libtest_mimic::Trial;
use palisade_integration::Failure;
use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::cri;
use palisade_integration::events::{Event, Recorder, What, told};
use palisade_integration::poll;
use palisade_integration::tasks::CreateOptions;

use super::engine::{Engine, Moment};
use super::fault;
use super::victim::{SLEEP, Victim, kill_shim, lives, parent};
use crate::support::{Check, World};

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    let mut trials = Vec::new();
    for verb in ["create", "start", "exec", "delete"] {
        for moment in [Moment::Before, Moment::After] {
            let name = format!("the shim is killed {} the runtime's {verb}", moment.word());
            trials.push(fault(world, &name, move |world| killed_at(world, verb, moment)));
        }
    }
    trials.push(fault(world, "the shim of a pod with containers and execs is killed", pod));
    trials
}

fn killed_at(world: &World, verb: &'static str, moment: Moment) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let mut engine = Engine::install(world, "")?;
    let victim = Victim::make(world, SLEEP)?;
    lead_to(&victim, verb)?;
    engine.arm(verb, moment)?;
    let (id, mounts) = (victim.id.clone(), victim.mounts());
    let answer = thread::scope(|scope| {
        // A connection of its own: the call hangs until the shim is gone.
        let tasks = world.tasks()?;
        let caller = scope.spawn(move || call(&tasks, verb, &id, mounts));
        let died = engine.reached().and_then(|runtime| {
            kill_shim(parent(runtime)?)?;
            victim.cleaned_up()?;
            // Nobody holds it to its deadline any more, and what it goes on with nobody would clean up.
            expect!(!lives(runtime), "the runtime's call lives on");
            Ok(())
        });
        engine.release();
        let answer = caller.join().map_err(|_| "the caller panicked");
        died.and(Ok(answer?))
    })?;
    let Err(failure) = answer else { return Err(format!("{verb} succeeded without a shim").into()) };
    expect!(failure.refusal().is_some_and(|(_, message)| !message.is_empty()), "no clear error: {failure}");
    expect_eq!(told_of_end(&recorder, &victim.id, verb)?, Ok(()), "events");
    victim.remove()
}

/// Brings a container to the state in which the verb is called.
fn lead_to(victim: &Victim<'_>, verb: &str) -> Check {
    if verb == "create" {
        return Ok(());
    }
    victim.create()?;
    if verb == "start" {
        return Ok(());
    }
    victim.tasks.start(&victim.id, "")?;
    match verb {
        "exec" => victim.tasks.exec(&victim.id, "e", &bundle_spec::process(SLEEP))?,
        _ => drop(victim.kill()?),
    }
    Ok(())
}

fn call(tasks: &palisade_integration::tasks::Tasks, verb: &str, id: &str, mounts: Vec<Mount>) -> Result<(), Failure> {
    match verb {
        "create" => tasks.create(id, mounts, CreateOptions::default()).map(drop),
        "start" => tasks.start(id, "").map(drop),
        "exec" => tasks.start(id, "e").map(drop),
        _ => tasks.delete(id).map(drop),
    }
}

/// containerd tells of the end of a task that it knew; of one whose create never ended there is nothing to tell.
fn told_of_end(recorder: &Recorder, id: &str, verb: &str) -> Result<Result<(), String>, Failure> {
    let is_end = |event: &Event| matches!(event.what, What::Exit(_));
    let events = match verb {
        "create" => recorder.of(id),
        _ => recorder.until(id, 20, |events| events.last().is_some_and(|event| event.what == What::Delete))?,
    };
    let started = events.first().is_none_or(|event| event.what == What::Create);
    let ended = verb == "create" || events.iter().any(is_end);
    Ok(if started && ended { Ok(()) } else { Err(told(&events)) })
}

fn pod(world: &World) -> Check {
    let cri = world.cri()?;
    let pod = cri.run_pod(Runtime::Palisade, cri.pod_config())?;
    let containers = [cri.start(&pod, cri::sleeper())?, cri.start(&pod, cri::sleeper())?];
    let init = pids_of(world, &containers)?;
    let [first, _] = &containers;
    cri.exec(first, &["true"])?;
    let shim = parent(*init.first().ok_or("no init process")?)?;
    kill_shim(shim)?;
    poll::eventually("the end of the pod's processes", 20, || {
        let left: Vec<_> = init.iter().filter(|pid| lives(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })?;
    for container in &containers {
        cri.await_exit(container)?;
    }
    // As kubelet does, which asks again: for a moment containerd still has the connection of the shim that is gone.
    let id = pod.keep();
    poll::eventually("the removal of the pod", 30, || cri.remove_pod(&id).map_err(|failure| failure.to_string()))?;
    Ok(())
}

fn pids_of(world: &World, ids: &[String]) -> Result<Vec<u32>, libtest_mimic::Failed> {
    let list = world.containerd.ctr_in("k8s.io", &["task", "ls"])?.success()?;
    let pid =
        |id: &String| list.lines().find(|line| line.starts_with(id.as_str()))?.split_whitespace().nth(1)?.parse().ok();
    Ok(ids.iter().filter_map(pid).collect())
}
