//! Containers made by containerd's own API, which takes any specification.

use std::path::PathBuf;

use libtest_mimic::Failed;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::unique;
use palisade_integration::streams::Streams;
use palisade_integration::tasks::{CreateOptions, Tasks};
use palisade_integration::{Failure, bundle_spec};
use serde_json::Value;

use crate::support::World;

/// A program that stays until it is ended.
pub(crate) const SLEEP: &[&str] = &["/probe", "sleep"];

/// A container of the task API, removed by force at the end.
pub(crate) struct Container {
    pub(crate) tasks: Tasks,
    pub(crate) id: String,
    pub(crate) mounts: Vec<containerd_client::types::Mount>,
}

impl Container {
    /// Makes the container and its snapshot, not yet its task.
    pub(crate) fn make(
        world: &World,
        runtime: Runtime,
        args: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> Result<Self, Failed> {
        let id = unique("bypass");
        let mut spec = bundle_spec::spec(world.containerd.tag(), &id, args);
        change(&mut spec);
        Self::of(world, runtime, id, &spec.to_string())
    }

    /// The same for a specification's text.
    pub(crate) fn of(world: &World, runtime: Runtime, id: String, spec: &str) -> Result<Self, Failed> {
        let tasks = world.tasks()?;
        let mounts = tasks.make_container_of(&id, &world.containerd.runtime_name(runtime), spec)?;
        Ok(Self { tasks, id, mounts })
    }

    /// Creates and starts the task.
    pub(crate) fn start(&self, options: CreateOptions) -> Result<u32, Failure> {
        let pid = self.tasks.create(&self.id, self.mounts.clone(), options)?;
        self.tasks.start(&self.id, "")?;
        Ok(pid)
    }

    /// The writable layer, which is as good as the image's own content.
    pub(crate) fn upper(&self) -> Result<PathBuf, Failed> {
        let upper = self.mounts.iter().flat_map(|mount| &mount.options).find_map(|one| one.strip_prefix("upperdir="));
        Ok(PathBuf::from(upper.ok_or("the snapshot has no upper directory")?))
    }
}

impl Drop for Container {
    /// Whatever of it there is; the last test of the run sees what stays.
    fn drop(&mut self) {
        if self.tasks.kill(&self.id, "", 9).is_ok() {
            self.tasks.wait(&self.id, "").ok();
        }
        self.tasks.delete(&self.id).ok();
        self.tasks.remove_container(&self.id).ok();
    }
}

/// The standard output of a container that runs to its end.
pub(crate) fn output(
    world: &World,
    runtime: Runtime,
    change: impl FnOnce(&mut Value),
    args: &[&str],
) -> Result<Result<String, Failure>, Failed> {
    let container = Container::make(world, runtime, args, change)?;
    let mut streams = Streams::make(&container.id)?;
    let options = CreateOptions { stdio: streams.uris(), ..Default::default() };
    let output = match container.start(options) {
        Err(failure) => Err(failure),
        Ok(_) => {
            container.tasks.wait(&container.id, "")?;
            container.tasks.delete(&container.id)?;
            Ok(streams.rest()?)
        }
    };
    streams.remove()?;
    Ok(output)
}
