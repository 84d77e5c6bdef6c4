//! Exec: a process added to a running container, under what the container was given.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containerd_shim_protos::api::ExecProcessRequest;
use containerd_shim_protos::events::task::{TaskExecAdded, TaskExecStarted};
use palisade_policy::ExecRequest;

use super::attestation::Look;
use super::container::Container;
use super::create::{connect, owner_of, streams};
use super::error::TaskError;
use super::host::Host;
use super::io::Stdio;
use super::process::Process;
use super::reaper::{Adoption, Child, Remembered};
use super::service::TaskService;
use super::signal::SignalNumber;
use super::state::TaskState;
use crate::attest::Stage;
use crate::bootstrap::is_identifier;
use crate::bundle::PrivateDirError;
use crate::gate::ExecTask;
use crate::ticks::Ticks;

/// Judges an exec request and keeps the hardened process for its start.
pub(super) fn add(service: &TaskService, container: &Container, request: &ExecProcessRequest) -> Result<(), TaskError> {
    if !is_identifier(&request.exec_id) {
        return Err(TaskError::Invalid { field: "exec_id", value: request.exec_id.clone() });
    }
    container.init().state().may_exec()?;
    let created = container.created();
    if !created.runtime.is_embedded() {
        // The embedded runtime starts a process where it is to be.
        service.host().expect_attach();
    }
    let hardened = service.gate().exec(ExecTask {
        namespace: service.namespace(),
        id: &created.id,
        exec_id: &request.exec_id,
        request: ExecRequest {
            process: &request.spec.value,
            terminal: request.terminal,
            stdin: &request.stdin,
            stdout: &request.stdout,
            stderr: &request.stderr,
            today: crate::gate::today(),
        },
        grant: &created.grant,
    })?;
    let stdio = Stdio {
        stdin: request.stdin.clone(),
        stdout: request.stdout.clone(),
        stderr: request.stderr.clone(),
        terminal: request.terminal,
    };
    container.add_exec(Process::new(&request.exec_id, stdio))?;
    if let Err(error) = created.dir.write_new(&process_file(&request.exec_id), hardened.as_bytes()) {
        container.remove_exec(&request.exec_id);
        return Err(error.into());
    }
    service.events().send(&TaskExecAdded {
        container_id: created.id.clone(),
        exec_id: request.exec_id.clone(),
        ..TaskExecAdded::default()
    });
    Ok(())
}

/// Starts an exec that was added.
pub(super) async fn start(
    service: &TaskService,
    container: &Arc<Container>,
    process: Arc<Process>,
) -> Result<u32, TaskError> {
    let order = process.in_order().await;
    let unpaused = container.unpaused().await;
    process.state().may_start()?;
    container.init().state().may_start_exec()?;
    let running = container.begin_exec()?;
    let adoption = service.reaper().expect_child();
    let started = run(service, container, &process, &adoption).await;
    let child = match started {
        Ok(child) => child,
        Err(error) => {
            process.never_ran();
            return Err(error);
        }
    };
    let pid = child.pid();
    process.set_state(TaskState::Running);
    service.events().send(&TaskExecStarted {
        container_id: container.created().id.clone(),
        exec_id: process.exec_id().to_owned(),
        pid,
        ..TaskExecStarted::default()
    });
    container.watch_exec(Arc::clone(&process), child, running);
    drop((unpaused, order));
    Ok(pid)
}

async fn run(
    service: &TaskService,
    container: &Container,
    process: &Process,
    adoption: &Adoption,
) -> Result<Child, TaskError> {
    let created = container.created();
    let name = process.exec_id();
    let pid_name = format!("exec-{name}.pid");
    let path = |file: String| -> PathBuf { created.dir.path().join(file) };
    let (process_path, pid_file) = (path(process_file(name)), path(pid_name.clone()));
    let socket = format!("exec-{name}.sock");
    // One of an earlier exec of that name would name somebody else by now.
    created.dir.remove(&pid_name)?;
    let owner = owner_of(&created.grant);
    let call = |child, console: Option<&Path>| {
        let call = created.runtime.exec(&created.dir, &created.id, &process_path, child, console, &pid_file);
        call.asking(container.listening())
    };
    let streams = streams(service, process.stdio(), owner, name);
    let begun = Ticks::now();
    let connected = connect(&streams, created.dir.path(), &socket, &pid_file, call).await;
    let spawned = connected.and_then(|(pid, io)| {
        let child = adoption.adopt(pid);
        // Before anything is awaited: it may end, and be waited for, while it is looked at.
        let remembered = service.reaper().remember(pid);
        process.spawned(service.host(), &child, io).map(|()| (child, remembered))
    });
    if spawned.is_err() {
        kill_untracked(service.host(), adoption, &pid_file);
    }
    let spawned = match spawned {
        Ok((child, remembered)) => {
            match attest(service, container, process, &process_path, &child, &remembered).await {
                Ok(()) => Ok(child),
                // Also where nothing could be said.
                Err(error) => {
                    let killed = process.kill();
                    created.cgroup.kill_since(begun).await.and(killed).and(Err(error))
                }
            }
        }
        Err(error) => Err(error),
    };
    // A process that runs counts for more than a file that stays.
    for file in [pid_name, process_file(name)] {
        if let Err(error) = created.dir.remove(&file) {
            crate::warn!("{}", crate::log::chain(&error));
        }
    }
    spawned
}

/// Looks at an exec as soon as its runtime has come back.
async fn attest(
    service: &TaskService,
    container: &Container,
    process: &Process,
    decided: &Path,
    child: &Child,
    remembered: &Remembered,
) -> Result<(), TaskError> {
    let created = container.created();
    let failed = |source| TaskError::System { action: "read what was decided", source };
    let decided = fs::read(decided).map_err(failed)?;
    let expected = created
        .expected()
        .of_exec(&decided, container.init().pid())
        .map_err(|error| TaskError::Attestation(error.into()))?;
    let look = Look {
        service,
        id: &created.id,
        exec_id: process.exec_id(),
        grant: &created.grant,
        stage: Stage::Begun,
        cgroup: created.cgroup.as_ref(),
        chronicle: &created.chronicle,
    };
    let expected = Arc::new(expected);
    if created.runtime.is_embedded() {
        return look.begun(child.pid(), child.last_status().clone(), &expected).await;
    }
    look.begun_behind(child, remembered, &expected).await
}

/// A runtime that succeeded where the shim then failed has left a process that nobody would wait for.
fn kill_untracked(host: &dyn Host, adoption: &Adoption, pid_file: &Path) {
    let Some(pid) = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok()) else { return };
    if adoption.adopt(pid).was_collected() {
        return;
    }
    match host.signal_target(pid).and_then(|process| process.send(SignalNumber::KILL)) {
        Ok(()) | Err(TaskError::Finished) => {}
        Err(error) => crate::warn!("kill an untracked exec: {}", crate::log::chain(&error)),
    }
}

/// Removes what an exec that was never started has left.
pub(super) fn forget(container: &Container, exec_id: &str) -> Result<(), PrivateDirError> {
    container.remove_exec(exec_id);
    container.created().dir.remove(&process_file(exec_id))
}

/// Exec ids are checked to be one path component.
fn process_file(exec_id: &str) -> String {
    format!("exec-{exec_id}.json")
}
