//! One container: its processes, and the order in which their ends are reported.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use containerd_shim_protos::events::task::{TaskExit, TaskOOM};
use containerd_shim_protos::protobuf::MessageField;
use palisade_policy::Grant;

use super::error::TaskError;
use super::events::EventQueue;
use super::exit::{Exit, timestamp};
use super::host::ContainerCgroup;
use super::process::Process;
use super::reaper::Child;
use super::state::TaskState;
use crate::bundle::PrivateDir;
use crate::cgroup::CgroupError;
use crate::runtime::OciRuntime;

/// What is fixed once a container was created.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) id: String,
    pub(super) bundle: PathBuf,
    pub(super) dir: PrivateDir,
    pub(super) runtime: OciRuntime,
    pub(super) grant: Grant,
    /// As the specification has it.
    pub(super) cgroups_path: String,
    pub(super) cgroup: Arc<dyn ContainerCgroup>,
    /// Its processes outlive its init process unless they are killed.
    pub(super) shares_pid_namespace: bool,
}

/// A container that the shim holds.
pub(super) struct Container {
    created: Created,
    init: Arc<Process>,
    events: EventQueue,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    execs: BTreeMap<String, Arc<Process>>,
    /// Execs that are being started or run.
    running: usize,
    /// Init's end, held back while execs run: containerd takes init's exit for the container's.
    init_exit: Option<Exit>,
}

impl Container {
    pub(super) fn new(created: Created, init: Arc<Process>, events: EventQueue) -> Arc<Self> {
        Arc::new(Self { created, init, events, tally: Mutex::default() })
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn created(&self) -> &Created {
        &self.created
    }

    pub(super) fn init(&self) -> &Arc<Process> {
        &self.init
    }

    /// Init for an empty exec id.
    pub(super) fn process(&self, exec_id: &str) -> Result<Arc<Process>, TaskError> {
        if exec_id.is_empty() {
            return Ok(Arc::clone(&self.init));
        }
        self.tally()
            .execs
            .get(exec_id)
            .cloned()
            .ok_or_else(|| TaskError::NoProcess { id: self.created.id.clone(), exec: exec_id.into() })
    }

    pub(super) fn add_exec(&self, process: Arc<Process>) -> Result<(), TaskError> {
        let mut tally = self.tally();
        if tally.execs.contains_key(process.exec_id()) {
            return Err(TaskError::Exists(process.exec_id().into()));
        }
        tally.execs.insert(process.exec_id().to_owned(), process);
        Ok(())
    }

    pub(super) fn remove_exec(&self, exec_id: &str) {
        self.tally().execs.remove(exec_id);
    }

    /// Execs with a pid, for `Pids`.
    pub(super) fn exec_ids_by_pid(&self) -> BTreeMap<u32, String> {
        let tally = self.tally();
        let running = tally.execs.values().filter(|process| process.state() == TaskState::Running);
        running.map(|process| (process.pid(), process.exec_id().to_owned())).collect()
    }

    /// An exec is about to be started: init's exit waits for it from now on. Refused once init has ended.
    pub(super) fn begin_exec(&self) -> Result<(), TaskError> {
        let mut tally = self.tally();
        if tally.init_exit.is_some() || self.init.exit().is_some() {
            return Ok(TaskState::Stopped.may_start_exec()?);
        }
        tally.running += 1;
        Ok(())
    }

    /// The exec didn't come to be.
    pub(super) fn abandon_exec(&self) {
        self.exec_ended();
    }

    fn exec_ended(&self) {
        let mut tally = self.tally();
        tally.running = tally.running.saturating_sub(1);
        let held = if tally.running == 0 { tally.init_exit.take() } else { None };
        drop(tally);
        if let Some(exit) = held {
            self.publish(&self.init, exit);
        }
    }

    /// Waits for the end of a process and reports it, in order, once no verb of that process is under way.
    pub(super) fn watch(self: &Arc<Self>, process: Arc<Process>, child: Child) {
        let container = Arc::clone(self);
        tokio::spawn(async move {
            let exit = child.exit().await;
            let order = process.in_order().await;
            if process.exec_id().is_empty() {
                container.init_ended(exit).await;
            } else {
                container.publish(&process, exit);
                container.exec_ended();
            }
            drop(order);
        });
    }

    async fn init_ended(&self, exit: Exit) {
        if self.created.shares_pid_namespace
            && let Err(error) = self.created.cgroup.kill_all().await
        {
            crate::warn!("processes of {}: {}", self.created.id, crate::log::chain(&error));
        }
        self.report_oom();
        let mut tally = self.tally();
        if tally.running > 0 {
            tally.init_exit = Some(exit);
            return;
        }
        drop(tally);
        self.publish(&self.init, exit);
    }

    /// Publishes OOM kills that were not yet: the exit that follows would otherwise read as an error.
    fn report_oom(&self) {
        match self.created.cgroup.untold_oom_kills() {
            Ok(0) => {}
            Ok(_) => self.publish_oom(),
            Err(error) => self.oom_unknown(&error),
        }
    }

    /// Publishes OOM kills as they happen: the victim need not be init.
    pub(super) fn watch_oom(self: &Arc<Self>) {
        let cgroup = Arc::clone(&self.created.cgroup);
        let container = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let kills = cgroup.next_oom_kills().await;
                let Some(container) = container.upgrade() else { return };
                match kills {
                    Ok(Some(_)) => container.publish_oom(),
                    Ok(None) => return,
                    Err(error) => return container.oom_unknown(&error),
                }
            }
        });
    }

    fn publish_oom(&self) {
        self.events.send(&TaskOOM { container_id: self.created.id.clone(), ..TaskOOM::default() });
    }

    fn oom_unknown(&self, error: &CgroupError) {
        crate::warn!("OOM kills of {}: {}", self.created.id, crate::log::chain(error));
    }

    fn publish(&self, process: &Process, exit: Exit) {
        self.events.send(&TaskExit {
            container_id: self.created.id.clone(),
            id: if process.exec_id().is_empty() { self.created.id.clone() } else { process.exec_id().to_owned() },
            pid: process.pid(),
            exit_status: exit.status(),
            exited_at: MessageField::some(timestamp(exit.at())),
            ..TaskExit::default()
        });
        process.exited(exit);
    }
}
