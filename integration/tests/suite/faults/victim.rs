//! The container that a fault happens to.

use std::fs;
use std::path::PathBuf;

use containerd_client::types::Mount;
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::unique;
use palisade_integration::tasks::{CreateOptions, Tasks};
use palisade_integration::{Failure, bundle_spec, poll};
use serde_json::Value;

use crate::support::{Check, World};

/// A program that stays until it is ended.
pub(super) const SLEEP: &[&str] = &["/probe", "sleep"];

/// A container of the task API, in any state.
pub(super) struct Victim<'a> {
    world: &'a World,
    pub(super) tasks: Tasks,
    pub(super) id: String,
    mounts: Vec<Mount>,
    removed: bool,
}

impl<'a> Victim<'a> {
    /// A container and its snapshot, not yet its task.
    pub(super) fn make(world: &'a World, args: &[&str]) -> Result<Self, Failed> {
        Self::changed(world, args, |_| {})
    }

    /// The same with something else in its specification.
    pub(super) fn changed(world: &'a World, args: &[&str], change: impl FnOnce(&mut Value)) -> Result<Self, Failed> {
        let (tasks, id) = (world.tasks()?, unique("victim"));
        let mut spec = bundle_spec::spec(world.containerd.tag(), &id, args);
        change(&mut spec);
        let mounts = tasks.make_container(&id, &world.containerd.runtime_name(Runtime::Palisade), &spec)?;
        Ok(Self { world, tasks, id, mounts, removed: false })
    }

    /// One that runs until it is ended.
    pub(super) fn running(world: &'a World) -> Result<Self, Failed> {
        let victim = Self::make(world, SLEEP)?;
        victim.create()?;
        victim.tasks.start(&victim.id, "")?;
        Ok(victim)
    }

    /// Creates the task; init's pid.
    pub(super) fn create(&self) -> Result<u32, Failure> {
        self.create_with(CreateOptions::default())
    }

    pub(super) fn create_with(&self, options: CreateOptions) -> Result<u32, Failure> {
        self.tasks.create(&self.id, self.mounts.clone(), options)
    }

    /// The snapshot's mounts, for somebody else to create the task with.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        self.mounts.clone()
    }

    /// The same container through another connection, as after a restart of containerd.
    pub(super) fn under(mut self, tasks: Tasks) -> Self {
        self.tasks = tasks;
        self
    }

    /// Where containerd keeps its bundle.
    pub(super) fn bundle(&self) -> PathBuf {
        self.world.containerd.layout().bundles().join(self.world.containerd.tag()).join(&self.id)
    }

    /// Runs a short exec to its end; its exit status.
    pub(super) fn exec(&self, exec: &str, args: &[&str]) -> Result<u32, Failure> {
        self.tasks.exec(&self.id, exec, &bundle_spec::process(args))?;
        self.tasks.start(&self.id, exec)?;
        let status = self.tasks.wait(&self.id, exec)?;
        self.tasks.delete_exec(&self.id, exec)?;
        Ok(status)
    }

    /// Ends it with SIGKILL and waits for that.
    pub(super) fn kill(&self) -> Result<u32, Failure> {
        self.tasks.kill(&self.id, "", 9)?;
        self.tasks.wait(&self.id, "")
    }

    /// Waits until containerd has cleaned up after a shim that is gone.
    pub(super) fn cleaned_up(&self) -> Check {
        let bundle = self.bundle();
        poll::eventually("containerd's cleaning up", 30, || {
            if bundle.exists() { Err(format!("{} is there", bundle.display())) } else { Ok(()) }
        })?;
        Ok(())
    }

    /// Removes it, as an admin would whatever state it is in.
    ///
    /// A task that containerd does not know any more is as good as removed.
    pub(super) fn remove(mut self) -> Check {
        self.removed = true;
        self.remove_all()?;
        Ok(())
    }

    fn remove_all(&self) -> Result<(), Failure> {
        if self.tasks.kill(&self.id, "", 9).is_ok() {
            self.tasks.wait(&self.id, "").ok();
        }
        match self.tasks.delete(&self.id) {
            Ok(_) => {}
            Err(failure) if failure.refusal().is_some_and(|(code, _)| code == tonic::Code::NotFound) => {}
            Err(failure) => return Err(failure),
        }
        self.tasks.remove_container(&self.id)
    }
}

impl Drop for Victim<'_> {
    /// For a test that failed; the count that follows says what stays.
    fn drop(&mut self) {
        if !self.removed {
            self.remove_all().ok();
        }
    }
}

/// The parent of a process: of an init process and of a runtime it is the shim.
pub(super) fn parent(pid: u32) -> Result<u32, Failed> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).ok_or("no PPid")?;
    Ok(line.trim().parse()?)
}

/// Kills a shim, which must be one.
pub(super) fn kill_shim(pid: u32) -> Check {
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    expect!(words.contains("containerd-shim-palisade"), "{pid} is no shim but {words:?}");
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
    Ok(())
}

/// Whether a process runs; a zombie does not.
pub(super) fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
