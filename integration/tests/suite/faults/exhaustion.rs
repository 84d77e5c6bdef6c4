//! A shim that gets no descriptors, no processes or no memory: requests are refused, nothing of them stays, and the container goes on.

use std::fs;
use std::time::Duration;

use containerd_shim_protos::api::StateRequest;
use libtest_mimic::{Failed, Trial};
use palisade_integration::events::{Life, Recorder, What};
use palisade_integration::shim_client::{ShimClient, context};
use palisade_integration::{Failure, poll};

use super::confined::{
    Confinement, descriptors, limit_descriptors, lowest_free, restore_descriptors, settled_descriptors,
};
use super::fault;
use super::victim::{Victim, parent};
use crate::support::{Check, World};

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        fault(world, "the shim has no descriptor left", no_descriptors),
        fault(world, "the shim has no descriptor left for a new connection", no_connection),
        fault(world, "the shim may start no process and no thread", no_processes),
        fault(world, "the shim and its runtimes are short of memory", no_memory),
    ]
}

fn shim_of(victim: &Victim<'_>) -> Result<u32, Failed> {
    parent(*victim.tasks.pids(&victim.id)?.first().ok_or("no init process")?)
}

/// An answer that is a success, or a refusal that says something.
fn clear<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failed> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Rpc { message, .. }) if !message.trim().is_empty() => Ok(None),
        Err(other) => Err(format!("no clear answer: {other}").into()),
    }
}

/// Each limit stops the work at another of its steps.
fn no_descriptors(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::running(world)?;
    let shim = shim_of(&victim)?;
    let (mut refused, mut done) = (0, 0);
    for room in 0..14 {
        let open = settled_descriptors(shim)?;
        let before = limit_descriptors(shim, open + room)?;
        let answer = clear(exec_to_end(&victim, &format!("e{room}")));
        restore_descriptors(shim, before)?;
        match answer? {
            Some(status) => {
                expect_eq!(status, 5, "exit status with room for {room}");
                done += 1;
            }
            None => {
                refused += 1;
                forget(&victim, &format!("e{room}"))?;
            }
        }
        poll::eventually("the descriptors that were open before", 20, || {
            let now = descriptors(shim).map_err(|_| "the shim is gone".to_owned())?;
            if now <= open { Ok(()) } else { Err(format!("{now} descriptors, and {open} before")) }
        })?;
    }
    expect!(refused > 0 && done > 0, "{refused} refused and {done} done: no limit was hit, or all of them");
    finish(&recorder, victim)
}

fn exec_to_end(victim: &Victim<'_>, exec: &str) -> Result<u32, Failure> {
    victim.exec(exec, &["sh", "-c", "exit 5"])
}

/// An exec that was added, though it could not be started, is deleted like any other.
fn forget(victim: &Victim<'_>, exec: &str) -> Check {
    match victim.tasks.delete_exec(&victim.id, exec) {
        Ok(_) => Ok(()),
        // It was not even added.
        Err(failure) if failure.refusal().is_some_and(|(code, _)| code == tonic::Code::NotFound) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// The container has taken no harm: it runs an exec, ends, and its events are whole.
fn finish(recorder: &Recorder, victim: Victim<'_>) -> Check {
    expect_eq!(exec_to_end(&victim, "last")?, 5, "exit status of the last exec");
    expect_eq!(victim.tasks.pids(&victim.id)?.len(), 1, "processes of the container");
    victim.kill()?;
    let id = victim.id.clone();
    victim.remove()?;
    let is_start = |what| what == What::ExecStarted;
    let events = recorder.until(&id, 20, |events| events.last().is_some_and(|event| event.what == What::Delete))?;
    let execs = events.iter().filter(|event| is_start(event.what)).count();
    recorder.whole_life(&id, 20, &Life { started: true, execs, ..Life::default() })?;
    Ok(())
}

fn no_connection(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::running(world)?;
    let shim = shim_of(&victim)?;
    settled_descriptors(shim)?;
    let before = limit_descriptors(shim, lowest_free(shim)?)?;
    let spent = cpu_ticks(shim)?;
    // The kernel takes the connection; the shim can't yet, and must neither end nor spin.
    let client = ShimClient::of(&world.containerd, &victim.id)?;
    let request = StateRequest { id: victim.id.clone(), ..StateRequest::default() };
    let impatient = containerd_shim_protos::ttrpc::context::with_duration(Duration::from_secs(1));
    let answer = client.with(async |task| task.state(impatient, &request).await);
    expect!(answer.is_err(), "a connection was accepted without a descriptor");
    let spent = cpu_ticks(shim)? - spent;
    expect!(spent < 50, "{spent} hundredths of a second of CPU time in one second");
    restore_descriptors(shim, before)?;
    client.ask("State", async |task| task.state(context(), &request).await)?;
    finish(&recorder, victim)
}

/// User and system time in hundredths of a second: fields 14 and 15 of `/proc/<pid>/stat`.
fn cpu_ticks(pid: u32) -> Result<u64, Failed> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("no fields")?;
    let times = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    Ok(times.sum::<Result<u64, _>>()?)
}

fn no_processes(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::running(world)?;
    let shim = shim_of(&victim)?;
    let confinement = Confinement::make("pids")?;
    confinement.take(shim)?;
    let threads = confinement.number("pids.current", "pids.current")?;
    confinement.limit("pids.max", "pids.max", &threads.to_string())?;
    let Err(failure) = exec_to_end(&victim, "none") else {
        return Err("a process was started beyond the limit".into());
    };
    let (_, message) = failure.refusal().ok_or_else(|| failure.to_string())?;
    expect!(message.contains("start the OCI runtime for exec"), "{message:?}");
    // Init can be ended; what its removal needs is refused until there is room again.
    expect_eq!(victim.tasks.delete_exec(&victim.id, "none")?, 255, "exit status of an exec that never ran");
    victim.kill()?;
    let Err(failure) = victim.tasks.delete(&victim.id) else { return Err("the container was deleted".into()) };
    expect!(failure.refusal().is_some_and(|(_, message)| message.contains("temporarily unavailable")), "{failure}");
    confinement.limit("pids.max", "pids.max", "max")?;
    let id = victim.id.clone();
    victim.remove()?;
    recorder.whole_life(&id, 20, &Life { started: true, ..Life::default() })?;
    confinement.remove()
}

/// So little that the kernel takes back what it can, such as the pages of the binary, again and again.
fn no_memory(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::running(world)?;
    let shim = shim_of(&victim)?;
    let confinement = Confinement::make("memory")?;
    confinement.take(shim)?;
    let (mut refused, mut done) = (0, 0);
    for mebibytes in [8_u64, 12, 16, 32] {
        // What cannot be taken back keeps the kernel from a limit below it.
        if confinement.limit("memory.limit_in_bytes", "memory.max", &(mebibytes << 20).to_string()).is_err() {
            continue;
        }
        let name = format!("e{mebibytes}");
        match clear(exec_to_end(&victim, &name))? {
            Some(_) => done += 1,
            None => {
                refused += 1;
                forget(&victim, &name)?;
            }
        }
        if !super::victim::lives(shim) {
            return Err(format!("the shim was killed at {mebibytes} MiB").into());
        }
    }
    expect!(done > 0, "{refused} refused and none done");
    finish(&recorder, victim)?;
    confinement.remove()
}
