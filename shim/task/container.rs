//! One container: its processes, and the order in which their ends are reported.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use containerd_shim_protos::events::task::{TaskExit, TaskOOM};
use containerd_shim_protos::protobuf::MessageField;
use palisade_policy::Grant;
use serde::Serialize;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch};
use tokio::time::Instant;

use super::error::TaskError;
use super::events::EventQueue;
use super::exit::{Exit, timestamp};
use super::host::ContainerCgroup;
use super::limit_hits::{HitsRecorder, LimitPace};
use super::oom_pace::OomPace;
use super::process::Process;
use super::reaper::Child;
use super::state::TaskState;
use crate::attest::{Attested, Expected, TableMark};
use crate::audit::Chronicle;
use crate::bundle::PrivateDir;
use crate::cgroup::CgroupError;
use crate::runtime::{Listening, OciRuntime};
use crate::watch::Watch;

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
    /// What it is held to; see [`Created::expected`].
    pub(super) expected: Mutex<Arc<Expected>>,
    /// It was looked at, and is what was decided.
    pub(super) _attested: Attested,
    /// The mount table that it had then.
    pub(super) table: Option<TableMark>,
    /// Its processes outlive its init process unless they are killed.
    pub(super) shares_pid_namespace: bool,
    /// Where what happens to it is put on record.
    pub(super) chronicle: Chronicle,
}

/// Processes that the kernel has killed for want of memory since it was last told of.
#[derive(Serialize)]
struct OomKills {
    kills: u64,
}

/// A container that the shim holds.
pub(super) struct Container {
    created: Created,
    init: Arc<Process>,
    events: EventQueue,
    tally: Mutex<Tally>,
    /// Execs that are being started or run.
    running: watch::Sender<usize>,
    /// Held by each exec while it is started, and by a pause alone: what is frozen half-made would run into the runtime's
    /// deadline.
    starting: RwLock<()>,
    /// What its filter asks is seen to, until it is deleted.
    watch: Mutex<Option<Watch>>,
    listening: Option<Listening>,
    oom_pace: OomPace,
}

/// An exec that is being started or runs. Dropped when it has ended, or didn't come to be.
pub(super) struct RunningExec(Arc<Container>);

impl Drop for RunningExec {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running = running.saturating_sub(1));
    }
}

#[derive(Debug, Default)]
struct Tally {
    execs: BTreeMap<String, Arc<Process>>,
    /// Init has ended, whether or not that was reported.
    init_ended: bool,
}

impl Container {
    pub(super) fn new(created: Created, init: Arc<Process>, events: EventQueue, watch: Option<Watch>) -> Arc<Self> {
        let listening = watch.as_ref().map(|watch| watch.listening().clone());
        let (tally, running, starting) = (Mutex::default(), watch::Sender::new(0), RwLock::default());
        let (watch, oom_pace) = (Mutex::new(watch), OomPace::default());
        Arc::new(Self { created, init, events, tally, running, starting, watch, listening, oom_pace })
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn created(&self) -> &Created {
        &self.created
    }

    /// What the runtime of an exec is told.
    pub(super) fn listening(&self) -> Option<&Listening> {
        self.listening.as_ref()
    }

    /// Once no process is left.
    pub(super) async fn end_watch(&self) {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watch) = watch {
            watch.end().await;
        }
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

    /// Keeps the container from being paused while held.
    pub(super) async fn unpaused(&self) -> RwLockReadGuard<'_, ()> {
        self.starting.read().await
    }

    /// Waits for the execs that are being started, and keeps others from it while held.
    pub(super) async fn no_exec_starts(&self) -> RwLockWriteGuard<'_, ()> {
        self.starting.write().await
    }

    /// An exec is about to be started: init's exit waits for it from now on. Refused once init has ended.
    pub(super) fn begin_exec(self: &Arc<Self>) -> Result<RunningExec, TaskError> {
        if self.tally().init_ended {
            TaskState::Stopped.may_start_exec()?;
        }
        self.running.send_modify(|running| *running += 1);
        Ok(RunningExec(Arc::clone(self)))
    }

    /// Waits for the end of an exec and reports it, once no verb of that exec is under way.
    pub(super) fn watch_exec(self: &Arc<Self>, process: Arc<Process>, child: Child, running: RunningExec) {
        let container = Arc::clone(self);
        tokio::spawn(async move {
            let exit = child.exit().await;
            let order = process.in_order().await;
            container.report_oom();
            container.publish(&process, exit);
            drop((running, order));
        });
    }

    /// Waits for the end of init and reports it, once no exec runs and no verb of init is under way: containerd takes
    /// init's exit for the container's.
    pub(super) fn watch_init(self: &Arc<Self>, child: Child, hits: HitsRecorder) {
        let container = Arc::clone(self);
        tokio::spawn(async move {
            let exit = child.exit().await;
            container.tally().init_ended = true;
            container.kill_rest().await;
            // The sender is the container's own, so it can't be gone.
            drop(container.running.subscribe().wait_for(|running| *running == 0).await);
            let order = container.init.in_order().await;
            container.report_oom();
            container.record_oom(container.oom_pace.rest());
            hits.record(&container.created);
            container.publish(&container.init, exit);
            container.give_up_execs();
            drop(order);
        });
    }

    /// What init leaves behind lives on in a pid namespace that is not its own.
    async fn kill_rest(&self) {
        if !self.created.shares_pid_namespace {
            return;
        }
        let order = self.init.in_order().await;
        if let Err(error) = self.created.cgroup.kill_all().await {
            crate::warn!("processes of {}: {}", self.created.id, crate::log::chain(&error));
        }
        drop(order);
    }

    /// Execs that were added and not started never will be; whoever waits for them is told so.
    fn give_up_execs(&self) {
        self.tally().execs.values().for_each(|exec| exec.never_ran());
    }

    /// Publishes OOM kills that were not yet: the exit that follows would otherwise read as an error.
    fn report_oom(&self) {
        match self.created.cgroup.untold_oom_kills() {
            Ok(0) => {}
            Ok(kills) => self.publish_oom(kills),
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
                    Ok(Some(kills)) => container.publish_oom(kills),
                    Ok(None) => return,
                    Err(error) => return container.oom_unknown(&error),
                }
            }
        });
    }

    /// Puts on record that it has met a limit, while it runs. As long as it meets none nothing is read and nothing wakes.
    pub(super) fn watch_limits(self: &Arc<Self>) {
        let (container, mut here) = (Arc::downgrade(self), self.running.subscribe());
        let cgroup = Arc::clone(&self.created.cgroup);
        tokio::spawn(async move {
            let gone = async { while here.changed().await.is_ok() {} };
            tokio::select! {
                () = gone => {}
                () = tell_limits(&*cgroup, &container) => {}
            }
        });
    }

    fn publish_oom(&self, kills: u64) {
        self.record_oom(self.oom_pace.now(kills));
        self.events.send(&TaskOOM { container_id: self.created.id.clone(), ..TaskOOM::default() });
    }

    fn record_oom(&self, kills: Option<u64>) {
        if let Some(kills) = kills {
            self.created.chronicle.tell("oom", &OomKills { kills });
        }
    }

    fn oom_unknown(&self, error: &CgroupError) {
        self.unknown("OOM kills", error);
    }

    fn limits_unknown(&self, error: &CgroupError) {
        self.unknown("limits", error);
    }

    /// A cgroup that is gone with its last process, as one of systemd's is, has nothing more to tell.
    fn unknown(&self, what: &str, error: &CgroupError) {
        if !error.is_gone() {
            crate::warn!("{what} of {}: {}", self.created.id, crate::log::chain(error));
        }
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

/// Until the container has ended or its cgroup is gone.
async fn tell_limits(cgroup: &dyn ContainerCgroup, container: &Weak<Container>) {
    let mut pace = LimitPace::default();
    loop {
        cgroup.limit_met().await;
        if let Some(due) = pace.due() {
            tokio::time::sleep_until(due).await;
        }
        let Some(container) = container.upgrade() else { return };
        let hits = match cgroup.limit_hits() {
            Ok(hits) => hits,
            Err(error) => return container.limits_unknown(&error),
        };
        // What is left is told at the end.
        if container.tally().init_ended {
            return;
        }
        if let Some(news) = pace.news(Instant::now(), hits) {
            container.created.chronicle.tell("limits", &news);
        }
    }
}
