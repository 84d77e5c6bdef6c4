//! containerd killed and started again under running containers: nothing of theirs is lost.

use std::fs;

use containerd_shim_protos::api::{DeleteRequest, ExecProcessRequest, KillRequest, StartRequest, WaitRequest};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use palisade_integration::bundle_spec;
use palisade_integration::events::{Life, Recorder, What};
use palisade_integration::poll;
use palisade_integration::shim_client::{ShimClient, context};
use palisade_integration::streams::Streams;
use palisade_integration::tasks::CreateOptions;
use palisade_integration::{Failure, events};

use super::fault;
use super::victim::{SLEEP, Victim};
use crate::support::{Check, World};

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        fault(world, "events that come while containerd is killed are told afterwards, in order", events_while_away),
        fault(world, "a container that ends while containerd is killed is told of and removed", end_while_away),
        fault(world, "output that nobody reads outlives a killed containerd whole", output_while_away),
        fault(world, "containerd is killed five times under a running container", killed_again),
    ]
}

fn events_while_away(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::running(world)?;
    victim.tasks.exec(&victim.id, "before", &bundle_spec::process(SLEEP))?;
    victim.tasks.start(&victim.id, "before")?;
    let known = recorder.until(&victim.id, 20, |events| events.len() == 4)?;
    expect!(events::faults_in(&known, &Life { started: true, execs: 1, ..Life::default() }).len() == 3, "{known:?}");
    let log = fs::metadata(world.containerd.layout().log())?.len();
    let shim = ShimClient::of(&world.containerd, &victim.id)?;
    world.containerd.without(Signal::SIGKILL, || live_on(&shim, &victim.id))?;
    // Of what is told at once after its start no subscriber can be certain to hear; containerd's log has all of it.
    await_forwarded(world, log, &["exit", "exec-added", "exec-started", "exit"])?;
    let victim = reconnected(world, victim)?;
    let recorder = Recorder::start(&world.containerd)?;
    expect_eq!(victim.tasks.wait(&victim.id, "before")?, 137, "exit status of the exec");
    expect_eq!(victim.tasks.wait(&victim.id, "while")?, 7, "exit status of the exec started without containerd");
    expect_eq!(victim.kill()?, 137, "exit status");
    let id = victim.id.clone();
    victim.remove()?;
    let after = recorder.until(&id, 20, |events| events.len() > 1)?;
    let kinds: Vec<_> = after.iter().map(|event| event.what).collect();
    expect_eq!(kinds, [What::Exit(137), What::Delete], "events after the restart");
    Ok(())
}

/// containerd removes a container that it finds ended when it comes back.
fn end_while_away(world: &World) -> Check {
    let victim = Victim::running(world)?;
    let log = fs::metadata(world.containerd.layout().log())?.len();
    let shim = ShimClient::of(&world.containerd, &victim.id)?;
    world
        .containerd
        .without(Signal::SIGKILL, || shim.ask("Kill", async |task| kill_and_wait(task, &victim.id, "").await))?;
    drop(shim);
    await_forwarded(world, log, &["exit"])?;
    reconnected(world, victim)?.remove()
}

/// Waits until containerd has taken these first of all since its log had that length.
fn await_forwarded(world: &World, since: u64, wanted: &[&str]) -> Check {
    poll::eventually("the events of the time without containerd", 30, || {
        let told = forwarded(world, since).map_err(|failed| failed.message().unwrap_or_default().to_owned())?;
        // containerd may have been killed before it took the start that it had been answered.
        let since = told.iter().skip_while(|what| *what == "create" || *what == "start");
        if since.take(wanted.len()).eq(wanted) { Ok(()) } else { Err(format!("{told:?}")) }
    })?;
    Ok(())
}

/// A new connection, in place of one to a containerd that is gone.
fn reconnected<'a>(world: &'a World, victim: Victim<'a>) -> Result<Victim<'a>, Failed> {
    Ok(victim.under(world.tasks()?))
}

/// What the container's life goes on with while there is no containerd: an exec ends, another one comes and goes.
fn live_on(shim: &ShimClient, id: &str) -> Result<(), Failure> {
    let process = bundle_spec::process(&["sh", "-c", "exit 7"]);
    shim.ask("life without containerd", async |task| {
        kill_and_wait(task, id, "before").await?;
        let request = ExecProcessRequest {
            id: id.to_owned(),
            exec_id: "while".to_owned(),
            spec: MessageField::some(Any { value: process.to_string().into_bytes(), ..Any::default() }),
            ..ExecProcessRequest::default()
        };
        task.exec(context(), &request).await?;
        let start = StartRequest { id: id.to_owned(), exec_id: "while".to_owned(), ..StartRequest::default() };
        task.start(context(), &start).await?;
        wait(task, id, "while").await
    })
}

type Task = containerd_shim_protos::shim_async::TaskClient;
type Answer<T> = containerd_shim_protos::ttrpc::Result<T>;

async fn kill_and_wait(task: &Task, id: &str, exec: &str) -> Answer<()> {
    let kill = KillRequest { id: id.to_owned(), exec_id: exec.to_owned(), signal: 9, ..KillRequest::default() };
    task.kill(context(), &kill).await?;
    wait(task, id, exec).await
}

async fn wait(task: &Task, id: &str, exec: &str) -> Answer<()> {
    let request = WaitRequest { id: id.to_owned(), exec_id: exec.to_owned(), ..WaitRequest::default() };
    task.wait(context(), &request).await.map(drop)
}

/// The topics of this run's task events that containerd has taken from shims since its log had that length.
fn forwarded(world: &World, since: u64) -> Result<Vec<String>, Failed> {
    let log = fs::read(world.containerd.layout().log())?;
    let log = String::from_utf8_lossy(log.get(usize::try_from(since)?..).unwrap_or_default()).into_owned();
    let ours = format!("ns={}", world.containerd.tag());
    let lines = log.lines().filter(|line| line.contains("event forwarded") && line.contains(&ours));
    Ok(lines
        .filter_map(|line| line.split_once("topic=/tasks/")?.1.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

/// More than the pipes between a process and its reader hold: two of 64 KiB.
const LINES: usize = 200_000;

fn output_while_away(world: &World) -> Check {
    let victim = Victim::make(world, &["/bin/busybox", "seq", "1", &LINES.to_string()])?;
    let mut streams = Streams::make(&victim.id)?;
    victim.create_with(CreateOptions { stdio: streams.uris(), ..CreateOptions::default() })?;
    let init = victim.tasks.start(&victim.id, "")?;
    poll::eventually("a process that waits for room in its pipe", 20, || {
        let seen = fs::read_to_string(format!("/proc/{init}/wchan")).map_err(|error| error.to_string())?;
        if seen.contains("pipe_write") { Ok(()) } else { Err(seen) }
    })?;
    world.containerd.without(Signal::SIGKILL, || Ok(()))?;
    let victim = reconnected(world, victim)?;
    streams.expect(&format!("\n{LINES}\n"))?;
    expect_eq!(victim.tasks.wait(&victim.id, "")?, 0, "exit status");
    let output = streams.rest()?;
    let whole: String = (1..=LINES).map(|line| format!("{line}\n")).collect();
    expect!(output == whole, "{} of {} bytes came, or others", output.len(), whole.len());
    streams.remove()?;
    victim.remove()
}

fn killed_again(world: &World) -> Check {
    let mut victim = Victim::running(world)?;
    for turn in 0..5 {
        world.containerd.without(Signal::SIGKILL, || Ok(()))?;
        victim = reconnected(world, victim)?;
        expect_eq!(victim.exec(&format!("e{turn}"), &["true"])?, 0, "exit status of an exec");
    }
    let shim = ShimClient::of(&world.containerd, &victim.id)?;
    // Answers that went to a containerd which was killed must not have left anything that holds the container.
    let delete = DeleteRequest { id: victim.id.clone(), ..DeleteRequest::default() };
    let refused = shim.ask("Delete", async |task| task.delete(context(), &delete).await);
    expect!(refused.is_err(), "a running container was deleted");
    victim.remove()
}
