//! Containers outlive containerd; and what a dead shim leaves is cleaned up. These tests run alone.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::{Run, unique};
use palisade_integration::tasks::CreateOptions;
use palisade_integration::{bundle_spec, cri, poll};

use crate::support::{Check, World, trial_under};

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let both = [Runtime::Runc, Runtime::Palisade];
    let restart = both
        .map(|runtime| trial_under(world, runtime, "a container outlives a restart of containerd", outlives_restart));
    let pod =
        both.map(|runtime| trial_under(world, runtime, "a pod outlives a restart of containerd", pod_outlives_restart));
    // Not for runc: its shim leaves the socket, which the count of leftovers would find.
    let shim = [Runtime::Palisade]
        .map(|runtime| trial_under(world, runtime, "the death of a shim ends its container", death_of_shim));
    restart.into_iter().chain(pod).chain(shim).collect()
}

fn outlives_restart(world: &World, runtime: Runtime) -> Check {
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    let pid = container.pid()?;
    world.containerd.restart()?;
    expect_eq!(container.status()?, "RUNNING", "after the restart");
    expect_eq!(container.pid()?, pid, "process id");
    expect_eq!(container.exec(&[], &["echo", "here"])?.success()?, "here\n", "exec");
    let tasks = world.tasks()?;
    tasks.kill(container.id(), "", 9)?;
    expect_eq!(tasks.wait(container.id(), "")?, 137, "exit status");
    Ok(container.remove()?)
}

fn pod_outlives_restart(world: &World, runtime: Runtime) -> Check {
    let before = world.cri()?;
    let pod = before.run_pod(runtime, before.pod_config())?;
    let container = before.start(&pod, cri::sleeper())?;
    world.containerd.restart()?;
    let after = world.cri()?;
    let pod = pod.under(&after);
    expect_eq!(after.exec(&container, &["echo", "here"])?.stdout, "here\n", "exec");
    after.stop(&container, 1)?;
    expect_eq!(after.status(&container)?.0.state(), k8s_cri::v1::ContainerState::ContainerExited, "state");
    Ok(pod.remove()?)
}

fn death_of_shim(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let id = unique("orphan");
    let spec = bundle_spec::spec(world.containerd.tag(), &id, &["/probe", "sleep"]);
    let mounts = tasks.make_container(&id, &world.containerd.runtime_name(runtime), &spec)?;
    let init = tasks.create(&id, mounts, CreateOptions::default())?;
    tasks.start(&id, "")?;
    let shim = parent(init)?;
    let words = fs::read_to_string(format!("/proc/{shim}/cmdline"))?;
    expect!(words.contains("containerd-shim-palisade"), "the parent of init is {words:?}");
    kill(Pid::from_raw(shim), Signal::SIGKILL)?;
    poll::eventually("the end of init", 20, || {
        // A zombie, for whoever is the subreaper now, is an end as well.
        let state = fs::read_to_string(format!("/proc/{init}/stat")).unwrap_or_default();
        if !Path::new(&format!("/proc/{init}")).exists() || state.contains(") Z ") { Ok(()) } else { Err(state) }
    })?;
    let bundle = world.containerd.layout().bundles().join(world.containerd.tag()).join(&id);
    poll::eventually("the end of the bundle", 20, || {
        if bundle.exists() { Err(bundle.display().to_string()) } else { Ok(()) }
    })?;
    Ok(tasks.remove_container(&id)?)
}

fn parent(pid: u32) -> Result<i32, Failed> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).ok_or("no PPid")?;
    Ok(line.trim().parse()?)
}
