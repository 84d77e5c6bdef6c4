//! A machine in memory: an OCI runtime that is told when to answer, processes that die when they are told to, and a
//! reaper that hands over exits when it is told to.
//!
//! It acts on the command line that a real runtime would get, so what is tested is the whole hand-off but its execve.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use palisade::attest::{Expected, Seen, Stage};
use palisade::cgroup::{CgroupError, LimitDifference, LimitHits};
use palisade::runtime::{Call, ChildStdio, RuntimeError};
use palisade::task::mount::RootfsMount;
use palisade::task::{ContainerCgroup, Exit, Host, Reaper, SignalNumber, SignalTarget, TaskError};
use palisade::ticks::Ticks;
use tokio::sync::{Notify, oneshot};

/// Above every pid that a kernel gives out, so no test can hit a real process.
const FIRST_PID: u32 = 5_000_000;
/// Status of a process that was killed.
pub(crate) const KILLED: u32 = 137;

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Alive,
    /// It has ended with this status, and nobody has waited for it.
    Zombie(u32),
    Reaped(u32),
}

/// A process that a runtime has left behind.
#[derive(Debug, Clone)]
pub(crate) struct Proc {
    pub(crate) container: String,
    /// Empty for init.
    pub(crate) exec: String,
    pub(crate) life: Life,
    pub(crate) signals: Vec<i32>,
}

/// A call that waits for its answer.
#[derive(Debug)]
struct Held {
    name: String,
    /// The process that it has left behind, if it is to be taken back when the call fails.
    left: Option<(u32, PathBuf)>,
    answer: oneshot::Sender<Outcome>,
}

/// What comes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    /// The runtime has taken back what it had made.
    Failure,
    /// The runtime was killed at its deadline and has taken back nothing.
    Deadline,
}

/// What goes otherwise than it mostly does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Oddity {
    /// Execs live on when init has died, as in a shared pid namespace.
    ExecsOutliveInit,
    /// The kernel counts an OOM kill and gives no notice yet.
    OomNoticeIsLate,
    /// Killed processes take their time to end.
    KilledEndLate,
    /// The cgroup is gone, as one of systemd's is when its last process has ended.
    CgroupIsGone,
    /// Between its listing and its opening, each process ends and its pid is given to a stranger.
    PidsAreReused,
    /// The runtime's call panics.
    CallsPanic,
    /// Processes have a capability in their bounding set that was not decided.
    TooMuch,
    /// They are once their program has begun.
    TooMuchOnceBegun,
    /// The kernel has refused it three tasks.
    TasksAreRefused,
    /// The runtime says that it has updated limits, and they are as they were.
    UpdatesAreLost,
}

#[derive(Debug, Default)]
struct World {
    reaper: Reaper,
    /// Calls wait for [`StandIn::answer`] and zombies for [`StandIn::reap`]; otherwise nothing waits.
    holding: bool,
    oddities: BTreeSet<Oddity>,
    /// Containers whose cgroup is frozen.
    frozen: BTreeSet<String>,
    /// What was killed while it was frozen: under cgroup v1 it dies when it is thawed.
    doomed: BTreeMap<u32, u32>,
    processes: BTreeMap<u32, Proc>,
    /// Init processes whose program runs.
    started: BTreeSet<u32>,
    held: Vec<Held>,
    arrivals: Arc<Notify>,
    calls: Vec<String>,
    streams: BTreeMap<u32, ChildStdio>,
    consoles: BTreeMap<u32, PathBuf>,
    /// By container: kills by the OOM killer that nobody was told of.
    oom_kills: BTreeMap<String, u64>,
}

impl World {
    fn init_of(&self, container: &str) -> Option<u32> {
        let newest = self.processes.iter().rev().find(|(_, proc)| proc.container == container && proc.exec.is_empty());
        newest.map(|(pid, _)| *pid)
    }

    fn is_alive(&self, pid: u32) -> bool {
        self.processes.get(&pid).is_some_and(|proc| proc.life == Life::Alive)
    }

    fn alive_in(&self, container: &str) -> Vec<u32> {
        let alive = self.processes.iter().filter(|(_, proc)| proc.container == container && proc.life == Life::Alive);
        alive.map(|(pid, _)| *pid).collect()
    }

    fn fork(&mut self, container: &str, exec: &str) -> u32 {
        let pid = FIRST_PID + u32::try_from(self.processes.len()).unwrap();
        let proc = Proc { container: container.into(), exec: exec.into(), life: Life::Alive, signals: Vec::new() };
        self.processes.insert(pid, proc);
        pid
    }

    /// The answer to a call, which is there at once unless calls are held.
    fn arrive(&mut self, name: String, left: Option<(u32, PathBuf)>) -> oneshot::Receiver<Outcome> {
        let (answer, answered) = oneshot::channel();
        self.calls.push(name.clone());
        if self.holding {
            self.held.push(Held { name, left, answer });
            self.arrivals.notify_waiters();
        } else {
            answer.send(Outcome::Success).unwrap();
        }
        answered
    }

    fn is_odd(&self, oddity: Oddity) -> bool {
        self.oddities.contains(&oddity)
    }

    fn thaw(&mut self, container: &str) {
        self.frozen.remove(container);
        for (pid, status) in std::mem::take(&mut self.doomed) {
            self.die(pid, status);
        }
    }

    /// What every kill of a whole cgroup does, frozen or not.
    fn kill_all(&mut self, container: &str) {
        self.thaw(container);
        self.alive_in(container).into_iter().for_each(|pid| self.die(pid, KILLED));
    }

    fn die(&mut self, pid: u32, status: u32) {
        let Some(proc) = self.processes.get_mut(&pid).filter(|proc| proc.life == Life::Alive) else { return };
        if self.frozen.contains(&proc.container) {
            self.doomed.insert(pid, status);
            return;
        }
        proc.life = Life::Zombie(status);
        let (container, is_init) = (proc.container.clone(), proc.exec.is_empty());
        if is_init && !self.is_odd(Oddity::ExecsOutliveInit) {
            // What the kernel does when the first process of a pid namespace ends.
            self.alive_in(&container).into_iter().for_each(|pid| self.die(pid, KILLED));
        }
        if !self.holding {
            self.reap(pid);
        }
    }

    fn reap(&mut self, pid: u32) {
        let proc = self.processes.get_mut(&pid).unwrap();
        let Life::Zombie(status) = proc.life else { panic!("{pid} is no zombie: {proc:?}") };
        proc.life = Life::Reaped(status);
        self.reaper.ended(pid, Exit::now(status));
    }
}

/// See the module.
pub(crate) struct StandIn {
    world: Arc<Mutex<World>>,
    oom: Arc<Notify>,
}

/// What a call asks for, by its command line.
struct Request {
    verb: String,
    id: String,
    pid_file: Option<PathBuf>,
    /// The exec id, by the name of the file that holds the process.
    exec: String,
    console: Option<PathBuf>,
}

impl Request {
    fn read(call: &Call) -> Self {
        let words: Vec<&OsStr> = call.arguments().collect();
        let after = |flag: &str| words.iter().position(|word| *word == flag).map(|at| PathBuf::from(words[at + 1]));
        let exec = after("--process").map_or_else(String::new, |path| {
            let name = path.file_stem().unwrap().to_str().unwrap();
            name.strip_prefix("exec-").unwrap().to_owned()
        });
        Self {
            verb: call.verb().into(),
            id: words.last().unwrap().to_str().unwrap().into(),
            pid_file: after("--pid-file"),
            exec,
            console: after("--console-socket"),
        }
    }

    fn name(&self) -> String {
        let process = if self.exec.is_empty() { String::new() } else { format!("/{}", self.exec) };
        format!("{} {}{process}", self.verb, self.id)
    }
}

impl StandIn {
    pub(crate) fn new(reaper: Reaper) -> Arc<Self> {
        let world = World { reaper, ..World::default() };
        Arc::new(Self { world: Arc::new(Mutex::new(world)), oom: Arc::default() })
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Whether calls wait for their answer from now on.
    pub(crate) fn hold(&self, holding: bool) {
        self.world().holding = holding;
    }

    /// From now on.
    pub(crate) fn be_odd(&self, oddity: Oddity) {
        self.world().oddities.insert(oddity);
    }

    /// As usual again.
    pub(crate) fn be_usual(&self) {
        self.world().oddities.clear();
    }

    pub(crate) fn is_frozen(&self, container: &str) -> bool {
        self.world().frozen.contains(container)
    }

    /// Names of the calls that wait for an answer, in the order in which they came.
    pub(crate) fn held(&self) -> Vec<String> {
        self.world().held.iter().map(|held| held.name.clone()).collect()
    }

    /// Lets a call come to its end.
    pub(crate) fn answer(&self, name: &str, outcome: Outcome) {
        let mut world = self.world();
        let at = world.held.iter().position(|held| held.name == name).unwrap();
        let held = world.held.remove(at);
        if let (Outcome::Failure, Some((pid, pid_file))) = (outcome, held.left) {
            // A runtime that fails kills what it has made, and leaves no pid file.
            fs::remove_file(pid_file).unwrap();
            world.die(pid, KILLED);
        }
        drop(world);
        held.answer.send(outcome).unwrap();
    }

    /// Every call so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.world().calls.clone()
    }

    pub(crate) fn processes(&self) -> BTreeMap<u32, Proc> {
        self.world().processes.clone()
    }

    /// The pid of the newest process of that name.
    pub(crate) fn pid(&self, container: &str, exec: &str) -> u32 {
        let world = self.world();
        let found = world.processes.iter().rev().find(|(_, proc)| proc.container == container && proc.exec == exec);
        *found.unwrap().0
    }

    /// A process ends.
    pub(crate) fn die(&self, pid: u32, status: u32) {
        self.world().die(pid, status);
    }

    /// A process that has ended is waited for.
    pub(crate) fn reap(&self, pid: u32) {
        self.world().reap(pid);
    }

    /// A process ends and is waited for.
    pub(crate) fn end(&self, pid: u32, status: u32) {
        let mut world = self.world();
        world.die(pid, status);
        if world.holding {
            world.reap(pid);
        }
    }

    /// A process ends and is waited for, and its pid is a stranger's from then on.
    pub(crate) fn reuse(&self, pid: u32) {
        self.end(pid, 1);
        let stranger =
            Proc { container: "a stranger".into(), exec: String::new(), life: Life::Alive, signals: Vec::new() };
        self.world().processes.insert(pid, stranger);
    }

    /// Waits until a call is held.
    pub(crate) async fn arrival(&self, name: &str) {
        let arrivals = Arc::clone(&self.world().arrivals);
        loop {
            let arrived = arrivals.notified();
            if self.held().iter().any(|held| held == name) {
                return;
            }
            arrived.await;
        }
    }

    /// The streams that a process was given.
    pub(crate) fn take_streams(&self, pid: u32) -> ChildStdio {
        self.world().streams.remove(&pid).unwrap()
    }

    /// Where a runtime sends the terminal of a process.
    pub(crate) fn console(&self, container: &str, exec: &str) -> PathBuf {
        let pid = self.pid(container, exec);
        self.world().consoles.get(&pid).unwrap().clone()
    }

    /// The OOM killer takes a process.
    pub(crate) fn oom_kill(&self, pid: u32) {
        let mut world = self.world();
        let container = world.processes.get(&pid).unwrap().container.clone();
        *world.oom_kills.entry(container).or_default() += 1;
        world.die(pid, KILLED);
        let silent = world.is_odd(Oddity::OomNoticeIsLate);
        drop(world);
        if !silent {
            self.oom.notify_waiters();
        }
    }

    /// Whether the call can succeed, with what it does at once; the process that it leaves behind.
    fn begin(&self, request: &Request, stdio: Option<ChildStdio>) -> (bool, Option<(u32, PathBuf)>) {
        let mut world = self.world();
        let init = world.init_of(&request.id);
        let runs = init.is_some_and(|pid| world.is_alive(pid));
        match request.verb.as_str() {
            "create" | "exec" if request.verb == "create" || runs => {
                let pid = world.fork(&request.id, &request.exec);
                let pid_file = request.pid_file.clone().unwrap();
                fs::write(&pid_file, pid.to_string()).unwrap();
                world.streams.extend(stdio.map(|stdio| (pid, stdio)));
                world.consoles.extend(request.console.clone().map(|console| (pid, console)));
                (true, Some((pid, pid_file)))
            }
            "exec" => (false, None),
            "start" => {
                world.started.extend(init);
                (runs, None)
            }
            "update" => (runs, None),
            "delete" => {
                world.kill_all(&request.id);
                (true, None)
            }
            other => panic!("the service called {other}"),
        }
    }
}

#[async_trait]
impl Host for StandIn {
    async fn run(&self, call: Call) -> Result<(), RuntimeError> {
        let (verb, request) = (call.verb(), Request::read(&call));
        assert!(!self.world().is_odd(Oddity::CallsPanic), "the stand-in was told to");
        let (possible, left) = self.begin(&request, call.into_stdio());
        let answer = self.world().arrive(request.name(), left);
        let answered = answer.await.unwrap();
        let failed = |message: &str| Err(RuntimeError::Failed { verb, message: message.into() });
        match (possible, answered) {
            (_, Outcome::Deadline) => Err(RuntimeError::Deadline { verb, deadline: Duration::from_secs(60) }),
            (true, Outcome::Success) => Ok(()),
            (false, _) => failed("the container does not run"),
            (true, Outcome::Failure) => failed("the stand-in was told to fail"),
        }
    }

    fn signal_target(&self, pid: u32) -> Result<Box<dyn SignalTarget>, TaskError> {
        let mut world = self.world();
        if world.is_odd(Oddity::PidsAreReused) {
            world.processes.get_mut(&pid).unwrap().container = "a stranger".into();
        }
        match world.processes.get(&pid).map(|proc| proc.life) {
            Some(Life::Alive | Life::Zombie(_)) => Ok(Box::new(Target { world: Arc::clone(&self.world), pid })),
            Some(Life::Reaped(_)) | None => Err(TaskError::Finished),
        }
    }

    fn expect_attach(&self) {}

    fn cgroup_of(&self, pid: u32, _: &str) -> Result<Arc<dyn ContainerCgroup>, CgroupError> {
        let world = self.world();
        let proc = world.processes.get(&pid).filter(|proc| !matches!(proc.life, Life::Reaped(_)));
        let gone = || {
            let (path, source) = (format!("/proc/{pid}/cgroup").into(), io::ErrorKind::NotFound.into());
            CgroupError::Io { action: "read", path, source }
        };
        let proc = proc.ok_or_else(gone)?;
        let container = proc.container.clone();
        Ok(Arc::new(Group { world: Arc::clone(&self.world), oom: Arc::clone(&self.oom), container }))
    }

    async fn remove_cgroup_at(&self, cgroups_path: &str) -> Result<(), TaskError> {
        let mut world = self.world();
        world.calls.push(format!("remove {cgroups_path}"));
        world.kill_all(cgroups_path.rsplit('/').next().unwrap());
        Ok(())
    }

    async fn mount_rootfs(&self, _rootfs: &Path, _mounts: Vec<RootfsMount>) -> Result<(), TaskError> {
        Ok(())
    }

    async fn unmount_rootfs(&self, _rootfs: &Path) -> Result<(), TaskError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Target {
    world: Arc<Mutex<World>>,
    pid: u32,
}

impl SignalTarget for Target {
    fn send(&self, signal: SignalNumber) -> Result<(), TaskError> {
        let mut world = self.world.lock().unwrap();
        let proc = world.processes.get_mut(&self.pid).unwrap();
        if matches!(proc.life, Life::Reaped(_)) {
            return Err(TaskError::Finished);
        }
        proc.signals.push(signal.get());
        if signal == SignalNumber::KILL {
            world.die(self.pid, KILLED);
        }
        Ok(())
    }
}

struct Group {
    world: Arc<Mutex<World>>,
    oom: Arc<Notify>,
    container: String,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Group").field(&self.container).finish()
    }
}

impl Group {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    async fn settle(&self, verb: &str) {
        let answer = self.world().arrive(format!("{verb} {}", self.container), None);
        assert_eq!(answer.await.unwrap(), Outcome::Success, "the kernel does not fail here");
    }

    fn gone(&self) -> CgroupError {
        CgroupError::Gone { path: format!("/palisade-stand-in/{}", self.container).into() }
    }
}

#[async_trait]
impl ContainerCgroup for Group {
    fn pids(&self) -> Result<Vec<u32>, CgroupError> {
        let world = self.world();
        if world.is_odd(Oddity::CgroupIsGone) { Err(self.gone()) } else { Ok(world.alive_in(&self.container)) }
    }

    fn metrics(&self) -> Result<Any, CgroupError> {
        if self.world().is_odd(Oddity::CgroupIsGone) {
            return Err(self.gone());
        }
        Ok(Any { type_url: "io.containerd.cgroups.v2.Metrics".into(), ..Any::default() })
    }

    async fn look(&self, pid: u32, expected: Arc<Expected>, _: Stage) -> Result<Option<Seen>, TaskError> {
        let world = self.world();
        let gone = world.processes.get(&pid).is_none_or(|proc| matches!(proc.life, Life::Reaped(_)));
        let waits = world.processes.get(&pid).is_some_and(|proc| proc.exec.is_empty() && !world.started.contains(&pid));
        let lies = world.is_odd(Oddity::TooMuch) || !waits && world.is_odd(Oddity::TooMuchOnceBegun);
        let other = expected
            .of_exec(
                br#"{"user":{"uid":0,"gid":0},"capabilities":{"bounding":["CAP_CHOWN"]},"cwd":"/","args":["x"]}"#,
                pid,
            )
            .unwrap();
        let shown = if lies { &other } else { &*expected };
        Ok((!gone).then(|| Seen::exactly(shown, waits && expected.no_new_privs())))
    }

    async fn kill_all(&self) -> Result<(), TaskError> {
        self.settle("kill").await;
        if self.world().is_odd(Oddity::KilledEndLate) {
            let path = format!("/palisade-stand-in/{}", self.container).into();
            return Err(CgroupError::StillPopulated { path, left: 1 }.into());
        }
        self.world().kill_all(&self.container);
        Ok(())
    }

    async fn kill_since(&self, _: Ticks) -> Result<(), TaskError> {
        self.world().calls.push(format!("kill what has begun in {}", self.container));
        Ok(())
    }

    async fn freeze(&self) -> Result<(), TaskError> {
        // Before the last process stands still the others do, and those that are killed then are killed frozen.
        self.world().frozen.insert(self.container.clone());
        self.settle("freeze").await;
        Ok(())
    }

    async fn thaw(&self) -> Result<(), TaskError> {
        self.settle("thaw").await;
        self.world().thaw(&self.container);
        Ok(())
    }

    async fn remove(&self) -> Result<(), TaskError> {
        Ok(())
    }

    fn limit_hits(&self) -> Result<LimitHits, CgroupError> {
        let world = self.world();
        if world.is_odd(Oddity::CgroupIsGone) {
            return Err(self.gone());
        }
        let pids_refused = if world.is_odd(Oddity::TasksAreRefused) { 3 } else { 0 };
        Ok(LimitHits { pids_refused, ..LimitHits::default() })
    }

    fn limits_not_in_force(&self, _: u32, _: &Expected) -> Result<Vec<LimitDifference>, CgroupError> {
        let lost = LimitDifference { file: "pids.max".into(), decided: "5".into(), found: "max".into() };
        Ok(if self.world().is_odd(Oddity::UpdatesAreLost) { vec![lost] } else { Vec::new() })
    }

    async fn limit_met(&self) {
        std::future::pending().await
    }

    fn untold_oom_kills(&self) -> Result<u64, CgroupError> {
        Ok(self.world().oom_kills.remove(&self.container).unwrap_or(0))
    }

    async fn next_oom_kills(&self) -> Result<Option<u64>, CgroupError> {
        loop {
            let notified = self.oom.notified();
            match self.untold_oom_kills()? {
                0 => notified.await,
                kills => return Ok(Some(kills)),
            }
        }
    }
}
