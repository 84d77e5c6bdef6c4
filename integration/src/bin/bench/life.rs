//! Containers' lives, as a client of containerd waits for them.

use std::time::{Duration, Instant};

use containerd_client::types::Mount;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_integration::ctr::unique;
use palisade_integration::events::Recorder;
use palisade_integration::tasks::{CreateOptions, Tasks};
use palisade_integration::{Containerd, Failure};
use serde_json::Value;

use crate::options::Plan;
use crate::side::Side;
use crate::spec;
use crate::world::World;

/// Longest wait for an event, in seconds.
const PATIENCE: u64 = 60;

/// A connection to containerd that lets containers live.
pub(crate) struct Hand<'a> {
    pub(crate) containerd: &'a Containerd,
    pub(crate) tasks: Tasks,
}

/// A container that has a snapshot and no task yet.
pub(crate) struct Prepared {
    pub(crate) id: String,
    pub(crate) mounts: Vec<Mount>,
    options: CreateOptions,
}

/// The times of one life, step by step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps {
    /// Of the shim's start and the task's Create.
    pub(crate) create: Duration,
    pub(crate) start: Duration,
    /// Of an exec of `true`: made, started, ended, deleted.
    pub(crate) exec: Duration,
    /// From the kill of init, on the host, to the event of its end at a subscriber of containerd.
    pub(crate) exit: Duration,
    pub(crate) delete: Duration,
}

impl<'a> Hand<'a> {
    pub(crate) fn of(world: &World<'a>) -> Result<Self, Failure> {
        Ok(Self { containerd: world.containerd, tasks: Tasks::connect(world.containerd)? })
    }

    /// As many as are asked to work at once.
    pub(crate) fn as_many(world: &World<'a>, plan: &Plan) -> Result<Vec<Self>, Failure> {
        let most = plan.at_once.iter().copied().max().unwrap_or(1);
        (0..most).map(|_| Self::of(world)).collect()
    }

    /// Makes a container of a side.
    pub(crate) fn prepare(&self, side: Side, spec: &Value, args: &[&str]) -> Result<Prepared, Failure> {
        let id = unique("bench");
        let spec = spec::of_container(self.containerd, spec, &id, args);
        self.make(side, id, &spec)
    }

    /// Makes a container that sleeps, of a pod: its sandbox where none is named.
    pub(crate) fn prepare_in(
        &self,
        side: Side,
        pod: &str,
        sandbox: Option<&str>,
        spec: &Value,
    ) -> Result<Prepared, Failure> {
        let id = unique("bench");
        let mut spec = spec::of_container(self.containerd, spec, &id, &["/probe", "sleep"]);
        spec::mark(&mut spec, pod, sandbox.unwrap_or(&id), sandbox.is_none());
        self.make(side, id, &spec)
    }

    fn make(&self, side: Side, id: String, spec: &Value) -> Result<Prepared, Failure> {
        let mounts = self.tasks.make_container(&id, &self.containerd.runtime_name(side.shim()), spec)?;
        Ok(Prepared { id, mounts, options: side.options(self.containerd.assets()) })
    }

    /// Creates and starts; the init's process id.
    pub(crate) fn run(&self, prepared: &Prepared) -> Result<u32, Failure> {
        let pid = self.tasks.create(&prepared.id, prepared.mounts.clone(), prepared.options.clone())?;
        self.tasks.start(&prepared.id, "")?;
        Ok(pid)
    }

    /// From Create to the answer to Delete, of a container that ends by itself.
    pub(crate) fn whole(&self, prepared: &Prepared) -> Result<Duration, Failure> {
        let since = Instant::now();
        self.run(prepared)?;
        let status = self.tasks.wait(&prepared.id, "")?;
        self.tasks.delete(&prepared.id)?;
        let time = since.elapsed();
        if status == 0 { Ok(time) } else { Err(Failure::unreadable(&prepared.id, &format!("exit status {status}"))) }
    }

    /// One life in steps, of a container that sleeps.
    pub(crate) fn steps(&self, prepared: &Prepared, process: &Value, events: &Recorder) -> Result<Steps, Failure> {
        let (id, tasks) = (prepared.id.as_str(), &self.tasks);
        let mut pid = 0;
        let create = timed(|| {
            pid = tasks.create(id, prepared.mounts.clone(), prepared.options.clone())?;
            Ok(())
        })?;
        let start = timed(|| tasks.start(id, ""))?;
        let exec = timed(|| {
            tasks.exec(id, "e1", process)?;
            tasks.start(id, "e1")?;
            tasks.wait(id, "e1")?;
            tasks.delete_exec(id, "e1")
        })?;
        let killed = Instant::now();
        end(pid)?;
        let exit = events.exited_at(id, PATIENCE)?.saturating_duration_since(killed);
        let delete = timed(|| tasks.delete(id))?;
        Ok(Steps { create, start, exec, exit, delete })
    }

    /// Ends a container that runs.
    pub(crate) fn end(&self, prepared: &Prepared) -> Result<(), Failure> {
        self.tasks.kill(&prepared.id, "", 9)?;
        self.tasks.wait(&prepared.id, "")?;
        self.tasks.delete(&prepared.id)?;
        self.remove(prepared)
    }

    /// Removes a container that has no task any more.
    pub(crate) fn remove(&self, prepared: &Prepared) -> Result<(), Failure> {
        self.tasks.remove_container(&prepared.id)
    }
}

fn end(pid: u32) -> Result<(), Failure> {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).map_err(Failure::system(&format!("kill {pid}")))
}

fn timed<T>(step: impl FnOnce() -> Result<T, Failure>) -> Result<Duration, Failure> {
    let before = Instant::now();
    step()?;
    Ok(before.elapsed())
}
