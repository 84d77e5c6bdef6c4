//! The order of events, and that no exit is lost or told twice, where it is hardest: processes that die at once, before their start,
//! or while another one is started.

use std::fs;
use std::thread;

use k8s_cri::v1 as cri_api;
use libtest_mimic::{Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::events::{Life, Recorder, What};
use palisade_integration::{cri, image, poll};

use super::engine::{Engine, Moment};
use super::fault;
use super::victim::{SLEEP, Victim, lives};
use crate::support::{Check, World};

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        fault(world, "containers that end at once have every event once and in order", end_at_once),
        fault(world, "execs that end at once have every event once and in order", execs_end_at_once),
        fault(world, "init is killed while execs are started", init_killed_under_execs),
        fault(world, "init is killed between create and start", killed_before_start),
        fault(world, "init is gone before its create has ended", gone_in_create),
        fault(world, "in a shared pid namespace init's end is the container's", shared_pid_namespace),
        fault(world, "in a shared pid namespace containers start whatever numbers they get", any_number),
    ]
}

fn end_at_once(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    for _ in 0..10 {
        let victim = Victim::make(world, &["true"])?;
        victim.create()?;
        victim.tasks.start(&victim.id, "")?;
        expect_eq!(victim.tasks.wait(&victim.id, "")?, 0, "exit status");
        let id = victim.id.clone();
        victim.remove()?;
        recorder.whole_life(&id, 20, &Life { started: true, ..Life::default() })?;
    }
    Ok(())
}

fn execs_end_at_once(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::running(world)?;
    for turn in 0..40 {
        expect_eq!(victim.exec(&format!("e{turn}"), &["sh", "-c", "exit 3"])?, 3, "exit status of exec {turn}");
    }
    victim.kill()?;
    let id = victim.id.clone();
    victim.remove()?;
    let events = recorder.whole_life(&id, 20, &Life { started: true, execs: 40, ..Life::default() })?;
    let threes = events.iter().filter(|event| event.what == What::Exit(3)).count();
    expect_eq!(threes, 40, "exits with the status of the execs");
    Ok(())
}

/// Each turn the exec that is under way when init dies is another one, at another step.
fn init_killed_under_execs(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    for turn in 0..8 {
        let victim = Victim::running(world)?;
        let id = victim.id.clone();
        let started = thread::scope(|scope| {
            let tasks = world.tasks()?;
            let adder = scope.spawn(move || start_execs(&tasks, &id));
            // From none to a few of them have been started by then.
            recorder.until(&victim.id, 20, |events| {
                events.iter().filter(|event| event.what == What::ExecStarted).count() >= turn
            })?;
            expect_eq!(victim.kill()?, 137, "exit status");
            adder.join().map_err(|_| Failed::from("the other caller panicked"))?
        })?;
        expect!(started >= turn, "{started} execs started, and the test saw {turn}");
        let id = victim.id.clone();
        victim.remove()?;
        recorder.whole_life(&id, 20, &Life { started: true, execs: started, ..Life::default() })?;
    }
    Ok(())
}

/// Adds and starts execs until one is refused; how many were started.
fn start_execs(tasks: &palisade_integration::tasks::Tasks, id: &str) -> Result<usize, Failed> {
    let process = bundle_spec::process(SLEEP);
    for count in 0..1000 {
        let exec = format!("e{count}");
        if tasks.exec(id, &exec, &process).and_then(|()| tasks.start(id, &exec)).is_err() {
            return Ok(count);
        }
    }
    Err("a thousand execs in a container whose init was killed".into())
}

fn killed_before_start(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::make(world, SLEEP)?;
    let init = victim.create()?;
    kill(Pid::from_raw(i32::try_from(init)?), Signal::SIGKILL)?;
    expect_eq!(victim.tasks.wait(&victim.id, "")?, 137, "exit status");
    refuses_start(&victim)?;
    let id = victim.id.clone();
    victim.remove()?;
    recorder.whole_life(&id, 20, &Life::default())?;
    Ok(())
}

fn refuses_start(victim: &Victim<'_>) -> Check {
    let Err(failure) = victim.tasks.start(&victim.id, "") else { return Err("an ended process was started".into()) };
    let (code, message) = failure.refusal().ok_or("not a refusal")?;
    expect!(message.contains("cannot start a stopped process"), "{code:?} {message:?}");
    Ok(())
}

/// The kernel may kill init for want of memory at any time; here somebody does while `create` is still under way.
fn gone_in_create(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let mut engine = Engine::install(world, "")?;
    let victim = Victim::make(world, SLEEP)?;
    engine.arm("create", Moment::After)?;
    let (id, mounts) = (victim.id.clone(), victim.mounts());
    let created = thread::scope(|scope| {
        let tasks = world.tasks()?;
        let caller =
            scope.spawn(move || tasks.create(&id, mounts, palisade_integration::tasks::CreateOptions::default()));
        let killed = engine.reached().and_then(|_| kill_init(&victim));
        engine.release();
        let created = caller.join().map_err(|_| Failed::from("the caller panicked"))?;
        killed.and(Ok(created))
    })?;
    let Err(failure) = created else { return Err("a container was made without a process".into()) };
    expect!(failure.refusal().is_some_and(|(_, message)| !message.is_empty()), "no clear error: {failure}");
    let id = victim.id.clone();
    victim.remove()?;
    expect_eq!(recorder.of(&id), [], "events of a container that was never made");
    Ok(())
}

/// Kills the init process that the runtime has noted, and waits until it was waited for.
fn kill_init(victim: &Victim<'_>) -> Check {
    let text = fs::read_to_string(victim.bundle().join("palisade/init.pid"))?;
    let pid: i32 = text.trim().parse()?;
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    poll::eventually("the end of init", 20, || {
        if fs::exists(format!("/proc/{pid}")).unwrap_or(true) { Err("there".to_owned()) } else { Ok(()) }
    })?;
    Ok(())
}

fn shared_pid_namespace(world: &World) -> Check {
    let recorder = Recorder::of_namespace(&world.containerd, "k8s.io")?;
    let cri = world.cri()?;
    let mut config = cri.pod_config();
    let shared = cri_api::NamespaceOption { pid: cri_api::NamespaceMode::Pod.into(), ..Default::default() };
    if let Some(security) = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut()) {
        security.namespace_options = Some(shared.clone());
    }
    let pod = cri.run_pod(Runtime::Palisade, config)?;
    let mut config = cri::container(
        image::WORKLOAD,
        &["sh", "-c", "sleep 1000 & while [ ! -e /tmp/end ]; do sleep 0.02; done; exit 4"],
    );
    if let Some(security) = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut()) {
        security.namespace_options = Some(shared);
    }
    let container = cri.start(&pod, config)?;
    let sleeper = cri.exec(&container, &["sh", "-c", "ps | grep 'sleep 100[0]'"])?;
    expect!(sleeper.stdout.contains("sleep 1000"), "no process beside init: {sleeper:?}");
    let tasks = pids(world, &container)?;
    cri.exec(&container, &["touch", "/tmp/end"])?;
    let events = recorder.until(&container, 20, |events| events.iter().any(|event| event.what == What::Exit(4)))?;
    expect!(events.last().is_some_and(|event| event.exec.is_empty()), "init's exit is not the last: {events:?}");
    let left: Vec<_> = tasks.iter().filter(|pid| lives(**pid)).collect();
    expect!(left.is_empty(), "{left:?} outlive init");
    pod.remove()?;
    recorder.whole_life(&container, 20, &Life { started: true, execs: 2, ..Life::default() })?;
    Ok(())
}

/// Numbers that the host has no process of: with them somebody may look for a process that is not there.
fn any_number(world: &World) -> Check {
    let cri = world.cri()?;
    let shared = cri_api::NamespaceOption { pid: cri_api::NamespaceMode::Pod.into(), ..Default::default() };
    let mut config = cri.pod_config();
    if let Some(security) = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut()) {
        security.namespace_options = Some(shared.clone());
    }
    let pod = cri.run_pod(Runtime::Palisade, config)?;
    for _ in 0..6 {
        let mut config = cri::container(image::WORKLOAD, &["sh", "-c", COUNT_UP]);
        if let Some(security) = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut()) {
            security.namespace_options = Some(shared.clone());
        }
        let container = cri.start(&pod, config)?;
        let seen = cri
            .exec(&container, &["sh", "-c", "cat /sys/fs/cgroup/pids/cgroup.procs /sys/fs/cgroup/cgroup.procs; mount"])?
            .stdout;
        // Its own cgroup, read-only: only it, and the exec with its two programs, are in there.
        let (pids, mounts): (Vec<_>, Vec<_>) = seen.lines().partition(|line| line.parse::<u32>().is_ok());
        expect!(!pids.is_empty() && pids.len() < 6, "processes of the container's cgroup: {pids:?}");
        let writable = mounts.iter().find(|line| line.contains("/sys/fs/cgroup") && line.contains("(rw"));
        expect!(writable.is_none(), "{writable:?}");
        cri.exec(&container, &["touch", "/tmp/end"])?;
        expect_eq!(cri.await_exit(&container)?.exit_code, 0, "exit code");
    }
    Ok(pod.remove()?)
}

/// Two hundred numbers of the namespace pass; then it waits until the test has looked.
const COUNT_UP: &str = "i=0; while [ $i -lt 200 ]; do /bin/busybox true & wait; i=$((i+1)); done; while [ ! -e /tmp/end ]; do sleep 0.02; done";

/// The processes of a container's cgroup.
fn pids(world: &World, id: &str) -> Result<Vec<u32>, Failed> {
    let list = world.containerd.ctr_in("k8s.io", &["task", "ps", id])?.success()?;
    Ok(list.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect())
}
