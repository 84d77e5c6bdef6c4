//! Many lives of containers and execs in one shim, and many pods at once: the shim takes no more at the end than at the beginning, and no
//! exit is lost or told twice.

use std::thread;
use std::time::{Duration, Instant};

use k8s_cri::v1 as cri_api;
use serde_json::Value;

use crate::containerd::{Containerd, Runtime};
use crate::ctr::unique;
use crate::events::{Life, Recorder, What, told};
use crate::footprint::Footprint;
use crate::tasks::{CreateOptions, Tasks};
use crate::{Failure, bundle_spec, cri, image, poll};

/// Longest wait for the events of one life, in seconds.
const PATIENCE: u64 = 60;
/// Threads that run pods side by side.
const HANDS: usize = 4;
/// The containerd namespace of CRI.
const CRI: &str = "k8s.io";

/// How many footprints a series has, about.
const SAMPLES: usize = 200;

/// Runs `count` short execs one after another in one container; the shim's footprints meanwhile.
///
/// # Errors
/// An exec that fails, or an event that is missing, doubled or out of order.
pub fn execs(containerd: &Containerd, runtime: Runtime, count: usize) -> Result<Vec<Footprint>, Failure> {
    let recorder = Recorder::start(containerd)?;
    let tasks = Tasks::connect(containerd)?;
    let id = unique("soak");
    let spec = bundle_spec::spec(containerd.tag(), &id, &["/probe", "sleep"]);
    let mounts = tasks.make_container(&id, &containerd.runtime_name(runtime), &spec)?;
    let shim = Footprint::shim_of(tasks.create(&id, mounts, CreateOptions::default())?)?;
    tasks.start(&id, "")?;
    let process = bundle_spec::process(&["/bin/true"]);
    let mut series = Vec::new();
    for turn in 0..count {
        exec(&tasks, &id, &format!("e{turn}"), &process)?;
        if is_sampled(turn, count) {
            series.push(at_rest(shim, &series)?);
        }
    }
    tasks.kill(&id, "", 9)?;
    tasks.wait(&id, "")?;
    tasks.delete(&id)?;
    tasks.remove_container(&id)?;
    recorder.whole_life(&id, PATIENCE, &Life { started: true, execs: count, ..Life::default() })?;
    Ok(series)
}

/// The footprint once the shim has let go of the last life: that a cgroup is gone the kernel tells a moment later. A shim that does not
/// let go is looked at as it is.
fn at_rest(shim: u32, series: &[Footprint]) -> Result<Footprint, Failure> {
    let fewest = series.iter().map(|one| one.descriptors).min();
    let rested = poll::eventually("a shim at rest", 2, || {
        let seen = Footprint::of(shim).map_err(|failure| failure.to_string())?;
        if fewest.is_none_or(|fewest| seen.descriptors <= fewest) { Ok(seen) } else { Err(format!("{seen:?}")) }
    });
    rested.or_else(|_| Footprint::of(shim))
}

fn is_sampled(turn: usize, count: usize) -> bool {
    turn.is_multiple_of(count.div_ceil(SAMPLES))
}

fn exec(tasks: &Tasks, id: &str, exec: &str, process: &Value) -> Result<(), Failure> {
    tasks.exec(id, exec, process)?;
    tasks.start(id, exec)?;
    let status = tasks.wait(id, exec)?;
    tasks.delete_exec(id, exec)?;
    if status == 0 { Ok(()) } else { Err(Failure::unreadable(exec, &format!("exit status {status}"))) }
}

/// Runs `count` containers one after another in one pod, each to its end; the footprints of the pod's shim meanwhile.
///
/// # Errors
/// A container that fails, or an event that is missing, doubled or out of order.
pub fn lifecycles(containerd: &Containerd, runtime: Runtime, count: usize) -> Result<Vec<Footprint>, Failure> {
    let recorder = Recorder::of_namespace(containerd, CRI)?;
    let cri = cri::Cri::connect(containerd)?;
    let pod = cri.run_pod(runtime, of_its_own(cri.pod_config()))?;
    let shim = Footprint::shim_of(init_of(&recorder, &pod.id)?)?;
    let mut series = Vec::new();
    for turn in 0..count {
        let id = cri.start(&pod, alone(cri::container(image::WORKLOAD, &["true"])))?;
        recorder.until(&id, PATIENCE, |events| events.iter().any(|event| matches!(event.what, What::Exit(_))))?;
        cri.await_exit(&id)?;
        cri.remove(&id)?;
        let events = recorder.whole_life(&id, PATIENCE, &Life { started: true, ..Life::default() })?;
        if !events.iter().any(|event| event.what == What::Exit(0)) {
            return Err(Failure::unreadable(&id, &told(&events)));
        }
        if is_sampled(turn, count) {
            series.push(at_rest(shim, &series)?);
        }
    }
    pod.remove()?;
    Ok(series)
}

/// As kubelet asks for a pod whose containers don't share their pid namespace.
fn namespaces() -> cri_api::NamespaceOption {
    cri_api::NamespaceOption { pid: cri_api::NamespaceMode::Container.into(), ..Default::default() }
}

fn of_its_own(mut pod: cri_api::PodSandboxConfig) -> cri_api::PodSandboxConfig {
    if let Some(security) = pod.linux.as_mut().and_then(|linux| linux.security_context.as_mut()) {
        security.namespace_options = Some(namespaces());
    }
    pod
}

fn alone(mut container: cri_api::ContainerConfig) -> cri_api::ContainerConfig {
    if let Some(security) = container.linux.as_mut().and_then(|linux| linux.security_context.as_mut()) {
        security.namespace_options = Some(namespaces());
    }
    container
}

/// The init process of a container that a recorder has seen created.
fn init_of(recorder: &Recorder, id: &str) -> Result<u32, Failure> {
    let events = recorder.until(id, PATIENCE, |events| events.iter().any(|event| event.what == What::Create))?;
    Ok(events.iter().find(|event| event.what == What::Create).map_or(0, |event| event.pid))
}

/// Pods that ran at once.
#[derive(Debug)]
pub struct Crowd {
    /// The footprint of each one's shim while all of them run.
    pub shims: Vec<Footprint>,
    /// From the first request until all run.
    pub started: Duration,
    /// From then until all are removed.
    pub removed: Duration,
}

/// Runs `count` pods of a sandbox and a container each, all at once, and removes them.
///
/// # Errors
/// A pod that fails, or an event that is missing, doubled or out of order.
pub fn pods(containerd: &Containerd, runtime: Runtime, count: usize) -> Result<Crowd, Failure> {
    let recorder = Recorder::of_namespace(containerd, CRI)?;
    let since = Instant::now();
    let ids = side_by_side(containerd, count, &|cri, _| {
        let pod = cri.run_pod(runtime, of_its_own(cri.pod_config()))?;
        let container = cri.start(&pod, alone(cri::sleeper()))?;
        // Kept: dropping a pod removes it.
        let sandbox = pod.keep();
        Ok((sandbox, container))
    })?;
    let started = since.elapsed();
    let mut shims = Vec::new();
    for (sandbox, _) in &ids {
        shims.push(Footprint::of(Footprint::shim_of(init_of(&recorder, sandbox)?)?)?);
    }
    let since = Instant::now();
    side_by_side(containerd, count, &|cri, turn| ids.get(turn).map_or(Ok(()), |(sandbox, _)| cri.remove_pod(sandbox)))?;
    let removed = since.elapsed();
    // runc's shim, which ends with its pod, was seen not to tell of the last deletion.
    let told = ids.iter().filter(|_| runtime != Runtime::Runc).flat_map(|(sandbox, container)| [sandbox, container]);
    for id in told {
        recorder.whole_life(id, PATIENCE, &Life { started: true, ..Life::default() })?;
    }
    Ok(Crowd { shims, started, removed })
}

/// Does something `count` times, a few at once, each hand with a connection of its own.
fn side_by_side<T: Send>(
    containerd: &Containerd,
    count: usize,
    work: &(impl Fn(&cri::Cri, usize) -> Result<T, Failure> + Sync),
) -> Result<Vec<T>, Failure> {
    thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS)
            .map(|hand| {
                scope.spawn(move || {
                    let cri = cri::Cri::connect(containerd)?;
                    (hand..count).step_by(HANDS).map(|turn| work(&cri, turn)).collect::<Result<Vec<T>, Failure>>()
                })
            })
            .collect();
        let mut done = Vec::new();
        for hand in hands {
            done.extend(hand.join().map_err(|_| Failure::unreadable("a thread", &"it panicked"))??);
        }
        Ok(done)
    })
}
