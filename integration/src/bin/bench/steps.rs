//! The time of each step of a container's life, as a client of containerd waits for it.

use std::fs;
use std::time::{Duration, Instant};

use palisade_integration::ctr::unique;
use palisade_integration::tasks::{CreateOptions, Tasks};
use palisade_integration::{Containerd, Failure, Runtime, bundle_spec};
use serde_json::{Value, json};

use crate::SIDES;

/// Names of the steps, in the order of [`Life`].
pub(crate) const STEPS: [&str; 5] = ["create", "start", "exec", "delete", "all four"];

/// The steps of one container: create, start, an exec of `true` to its end, delete after its end; and their sum.
pub(crate) type Life = [Duration; STEPS.len()];

/// The lives of one side.
pub(crate) struct Times {
    pub(crate) side: Runtime,
    pub(crate) lives: Vec<Life>,
}

/// What palisade makes of an ordinary spec, so that both sides run the same and palisade finds nothing to change.
pub(crate) fn hardened_spec(containerd: &Containerd, tasks: &Tasks) -> Result<Value, Failure> {
    let id = unique("hardened");
    let spec = bundle_spec::spec(containerd.tag(), &id, &["/probe", "sleep"]);
    let mounts = tasks.make_container(&id, &containerd.runtime_name(Runtime::Palisade), &spec)?;
    tasks.create(&id, mounts, CreateOptions::default())?;
    let config = containerd.layout().bundles().join(containerd.tag()).join(&id).join("palisade/config.json");
    let text = fs::read_to_string(&config)
        .map_err(|source| Failure::Io { action: format!("read {}", config.display()), source })?;
    tasks.kill(&id, "", 9)?;
    tasks.wait(&id, "")?;
    tasks.delete(&id)?;
    tasks.remove_container(&id)?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::Unreadable { what: config.display().to_string(), detail: error.to_string() })
}

/// The spec for one container: the root file system and the cgroup are its own.
pub(crate) fn spec_for(containerd: &Containerd, spec: &Value, id: &str) -> Value {
    let mut spec = spec.clone();
    let own = [("/root/path", json!("rootfs")), ("/linux/cgroupsPath", json!(format!("/{}/{id}", containerd.tag())))];
    for (pointer, value) in own {
        if let Some(place) = spec.pointer_mut(pointer) {
            *place = value;
        }
    }
    spec
}

/// One life of each side a round, the first of them in turn; the first round is not counted.
pub(crate) fn interleaved(
    containerd: &Containerd,
    tasks: &Tasks,
    spec: &Value,
    rounds: u32,
) -> Result<Vec<Times>, Failure> {
    let mut times = SIDES.map(|side| Times { side, lives: Vec::new() });
    for round in 0..=rounds {
        if round % 2 == 1 {
            times.reverse();
        }
        for side in &mut times {
            let life = live(containerd, tasks, spec, side.side)?;
            if round > 0 {
                side.lives.push(life);
            }
        }
        if round % 2 == 1 {
            times.reverse();
        }
    }
    Ok(times.into())
}

/// One container's life.
pub(crate) fn live(containerd: &Containerd, tasks: &Tasks, spec: &Value, side: Runtime) -> Result<Life, Failure> {
    let id = unique("bench");
    let mounts = tasks.make_container(&id, &containerd.runtime_name(side), &spec_for(containerd, spec, &id))?;
    let mut process = spec.get("process").cloned().unwrap_or_default();
    if let Some(args) = process.get_mut("args") {
        *args = json!(["/bin/true"]);
    }
    let create = timed(|| tasks.create(&id, mounts, CreateOptions::default()))?;
    let start = timed(|| tasks.start(&id, ""))?;
    let exec = timed(|| {
        tasks.exec(&id, "e1", &process)?;
        tasks.start(&id, "e1")?;
        tasks.wait(&id, "e1")?;
        tasks.delete_exec(&id, "e1")
    })?;
    tasks.kill(&id, "", 9)?;
    tasks.wait(&id, "")?;
    let delete = timed(|| tasks.delete(&id))?;
    tasks.remove_container(&id)?;
    Ok([create, start, exec, delete, create + start + exec + delete])
}

fn timed<T>(step: impl FnOnce() -> Result<T, Failure>) -> Result<Duration, Failure> {
    let before = Instant::now();
    step()?;
    Ok(before.elapsed())
}
