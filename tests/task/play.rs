//! One scenario in one order: clients with scripts, and the machine's own moves between their verbs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use containerd_shim_protos::api::{
    ConnectRequest, CreateTaskRequest, DeleteRequest, ExecProcessRequest, KillRequest, PauseRequest, PidsRequest,
    ResumeRequest, ShutdownRequest, StartRequest, StateRequest, UpdateTaskRequest, WaitRequest,
};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim_async::Task as _;
use tokio::task::JoinHandle;
use ttrpc::Code;
use ttrpc::r#async::TtrpcContext;
use ttrpc::proto::MessageHeader;

use crate::explore::{Choices, explore};
use crate::log::{Answer, Event, Log, read, violation};
use crate::pod::{Pod, exec_request};
use crate::stand_in::{Life, Oddity, Outcome as Answered, Proc};

/// The container of all verbs that name no other.
pub(crate) const ID: &str = "c";

/// A call of a client; the text is the exec id, empty for init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Start(&'static str),
    Exec(&'static str),
    /// With SIGKILL.
    Kill(&'static str),
    /// With SIGKILL, all processes.
    KillAll,
    Wait(&'static str),
    Delete(&'static str),
    Pause,
    Resume,
    Update,
    State(&'static str),
    Pids,
    Connect,
    Shutdown,
    /// A verb on another container.
    In(&'static str, &'static Verb),
}

impl Verb {
    fn container(self) -> (&'static str, Self) {
        if let Self::In(id, verb) = self { (id, *verb) } else { (ID, self) }
    }

    /// What it may ever answer.
    fn answers(self) -> &'static [&'static str] {
        match self.container().1 {
            Self::Create => &["OK", "ALREADY_EXISTS", "UNAVAILABLE", "UNKNOWN", "DEADLINE_EXCEEDED"],
            Self::Start(_) => &["OK", "NOT_FOUND", "FAILED_PRECONDITION", "UNKNOWN", "DEADLINE_EXCEEDED"],
            Self::Delete(_) => &["OK", "NOT_FOUND", "FAILED_PRECONDITION", "UNKNOWN"],
            Self::Exec(_) => &["OK", "NOT_FOUND", "FAILED_PRECONDITION", "ALREADY_EXISTS"],
            Self::Kill("") => &["OK", "NOT_FOUND"],
            Self::Kill(_) | Self::Pause | Self::Resume => &["OK", "NOT_FOUND", "FAILED_PRECONDITION"],
            Self::Update => &["OK", "NOT_FOUND", "FAILED_PRECONDITION", "UNKNOWN"],
            Self::Wait(_) | Self::State(_) | Self::Pids | Self::KillAll => &["OK", "NOT_FOUND"],
            Self::Connect | Self::Shutdown | Self::In(..) => &["OK"],
        }
    }
}

/// What the machine does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Processes end with status 0 when they like to, and are waited for some time later.
    ProcessesEnd,
    /// The same, and they are waited for at once.
    ProcessesVanish,
    /// A runtime's call with this beginning may fail.
    CallsFail(&'static str),
    /// A runtime's call with this beginning may run into its deadline.
    CallsHang(&'static str),
    /// Each caller may go away while its call is under way.
    CallersLeave,
    /// A process may be taken by the OOM killer.
    OutOfMemory,
    /// The host's pid namespace is the container's.
    PidsShared,
    /// See there.
    Odd(Oddity),
}

/// What is played in every order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scenario {
    /// Verbs that come first, in this order, with nothing between them.
    pub(crate) before: &'static [Verb],
    /// Clients that run side by side, each verb after the answer to the one before.
    pub(crate) clients: &'static [&'static [Verb]],
    pub(crate) nature: &'static [Nature],
}

/// How a run ended: the events and how each verb was answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    /// Those of other containers.
    pub(crate) others: BTreeMap<String, Vec<Event>>,
    /// By client: verb and code, `OK` for a good answer.
    pub(crate) answers: Vec<Vec<(String, String)>>,
    /// What is left on disk of any container beside what containerd has put there.
    pub(crate) leftovers: Vec<String>,
    /// The shim was asked to end, and agreed.
    pub(crate) shut_down: bool,
}

/// Plays every order of a scenario; each has to pass the one check.
pub(crate) fn play(scenario: &Scenario) -> Vec<Outcome> {
    let begun = std::time::Instant::now();
    let explored = explore(|choices| run(scenario, choices));
    // What a test prints is shown when it fails, or with --nocapture.
    println!("{} orders, {} outcomes, {:?}", explored.orders, explored.outcomes.len(), begun.elapsed());
    explored.outcomes.into_iter().collect()
}

fn run(scenario: &Scenario, choices: &mut Choices) -> Outcome {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    event_loop.block_on(async {
        let mut game = Game::new(scenario);
        game.prepare(scenario.before).await;
        loop {
            let moves = game.moves();
            if moves.is_empty() {
                break;
            }
            let next = moves[choices.pick(moves.len())].clone();
            game.played.push(format!("{next:?}"));
            game.make(next).await;
        }
        game.over()
    })
}

/// Something that can come next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Move {
    Call(usize),
    Leave(usize),
    Succeed(String),
    Fail(String),
    Hang(String),
    End(u32),
    Vanish(u32),
    OomKill(u32),
    Reap(u32),
}

type Reply = Result<Option<Answer>, ttrpc::Error>;

struct Client {
    script: Vec<Verb>,
    pending: Option<(Verb, JoinHandle<Reply>)>,
    answered: Vec<(String, String)>,
}

impl Client {
    fn new(script: &[Verb]) -> Self {
        Self { script: script.iter().rev().copied().collect(), pending: None, answered: Vec::new() }
    }
}

struct Game {
    pod: Pod,
    nature: &'static [Nature],
    clients: Vec<Client>,
    containers: BTreeSet<&'static str>,
    answers: Vec<(&'static str, Answer)>,
    played: Vec<String>,
}

impl Game {
    fn new(scenario: &Scenario) -> Self {
        let pod = if scenario.nature.contains(&Nature::PidsShared) { Pod::sharing_pids() } else { Pod::new() };
        for nature in scenario.nature {
            if let Nature::Odd(oddity) = nature {
                pod.host.be_odd(*oddity);
            }
        }
        let clients = scenario.clients.iter().map(|script| Client::new(script)).collect();
        let verbs = scenario.clients.iter().copied().flatten().chain(scenario.before);
        let containers = verbs.map(|verb| verb.container().0).collect();
        Self { pod, nature: scenario.nature, clients, containers, answers: Vec::new(), played: Vec::new() }
    }

    async fn prepare(&mut self, verbs: &[Verb]) {
        for verb in verbs {
            let answer = call(&self.pod, *verb).await.unwrap().unwrap();
            self.answers.extend(answer.map(|answer| (verb.container().0, answer)));
        }
        self.pod.host.hold(true);
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (index, client) in self.clients.iter().enumerate() {
            match &client.pending {
                None if !client.script.is_empty() => moves.push(Move::Call(index)),
                Some(_) if self.nature.contains(&Nature::CallersLeave) => moves.push(Move::Leave(index)),
                _ => {}
            }
        }
        for name in self.pod.host.held() {
            if self.may(Nature::CallsFail, &name) {
                moves.push(Move::Fail(name.clone()));
            }
            if self.may(Nature::CallsHang, &name) {
                moves.push(Move::Hang(name.clone()));
            }
            moves.push(Move::Succeed(name));
        }
        for (pid, proc) in self.pod.host.processes() {
            self.moves_of_process(pid, &proc, &mut moves);
        }
        moves
    }

    fn may(&self, nature: fn(&'static str) -> Nature, call: &str) -> bool {
        let is_of = |of: &'static str| call.strip_prefix(of).is_some_and(|rest| rest.starts_with(' '));
        self.nature.iter().any(|present| match present {
            Nature::CallsFail(of) | Nature::CallsHang(of) => *present == nature(of) && is_of(of),
            _ => false,
        })
    }

    fn moves_of_process(&self, pid: u32, proc: &Proc, moves: &mut Vec<Move>) {
        match proc.life {
            Life::Alive if self.pod.host.is_frozen(&proc.container) => {}
            Life::Alive if self.nature.contains(&Nature::ProcessesEnd) => moves.push(Move::End(pid)),
            Life::Alive if self.nature.contains(&Nature::ProcessesVanish) => moves.push(Move::Vanish(pid)),
            Life::Alive if self.nature.contains(&Nature::OutOfMemory) => moves.push(Move::OomKill(pid)),
            Life::Zombie(_) => moves.push(Move::Reap(pid)),
            Life::Alive | Life::Reaped(_) => {}
        }
    }

    async fn make(&mut self, next: Move) {
        match next {
            Move::Call(index) => {
                let client = &mut self.clients[index];
                let verb = client.script.pop().unwrap();
                client.pending = Some((verb, call(&self.pod, verb)));
            }
            Move::Leave(index) => {
                let client = &mut self.clients[index];
                let (verb, handle) = client.pending.take().unwrap();
                handle.abort();
                client.answered.push((format!("{verb:?}"), "LEFT".into()));
            }
            Move::Succeed(name) => self.pod.host.answer(&name, Answered::Success),
            Move::Fail(name) => self.pod.host.answer(&name, Answered::Failure),
            Move::Hang(name) => self.pod.host.answer(&name, Answered::Deadline),
            Move::End(pid) => self.pod.host.die(pid, 0),
            Move::Vanish(pid) => self.pod.host.end(pid, 0),
            Move::OomKill(pid) => self.pod.host.oom_kill(pid),
            Move::Reap(pid) => self.pod.host.reap(pid),
        }
        // Over when no task can go on.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.collect().await;
        self.check(false);
    }

    /// Takes the answers that have come.
    async fn collect(&mut self) {
        for client in &mut self.clients {
            let Some((verb, handle)) = client.pending.take_if(|(_, handle)| handle.is_finished()) else { continue };
            let code = match handle.await.unwrap() {
                Ok(answer) => {
                    self.answers.extend(answer.map(|answer| (verb.container().0, answer)));
                    "OK".to_owned()
                }
                Err(error) => format!("{:?}", code_of(&error)),
            };
            assert!(verb.answers().contains(&code.as_str()), "{verb:?}: {code} after {:#?}", self.played);
            client.answered.push((format!("{verb:?}"), code));
        }
    }

    fn check(&self, over: bool) {
        for container in &self.containers {
            let log = self.log(container, over);
            let wrong = violation(&log).or_else(|| self.wrong_with(container, &log));
            if let Some(reason) = wrong {
                panic!("{container}: {reason}\n{log:#?}\nafter {:#?}", self.played);
            }
        }
    }

    /// What must hold between any two moves, besides the order of events.
    fn wrong_with(&self, container: &str, log: &Log) -> Option<String> {
        let held = self.pod.host.held();
        let under_way = |verb: &str| {
            held.iter().any(|name| name.strip_prefix(verb).is_some_and(|of| of.starts_with(&format!(" {container}"))))
        };
        if under_way("freeze") && under_way("exec") {
            return Some("an exec is frozen while it is started".into());
        }
        let processes = self.pod.host.processes();
        let mut alive = processes.values().filter(|proc| proc.container == container && proc.life == Life::Alive);
        let mut of_container = processes.values().filter(|proc| proc.container == container && proc.exec.is_empty());
        let ends = of_container.next_back().is_some_and(|init| init.life != Life::Alive || init.signals.contains(&9));
        let frozen = self.pod.host.is_frozen(container);
        if alive.clone().count() > 0 && !ends && !under_way("freeze") && !under_way("thaw") && frozen != log.is_paused()
        {
            return Some(format!("frozen is {frozen}, told was {}", log.is_paused()));
        }
        // If the shim died now, `shim delete` would know what to remove.
        let lost = alive.find(|_| self.pod.record(container).is_none());
        lost.map(|proc| format!("no record of {proc:?} is on disk"))
    }

    /// While the play goes on, an exit may be on its way.
    fn log(&self, container: &str, over: bool) -> Log {
        let waiting = self.pod.events.waiting();
        let events = waiting.iter().map(read).filter(|(of, _)| of == container).map(|(_, event)| event);
        let answers = self.answers.iter().filter(|(of, _)| *of == container).map(|(_, answer)| answer.clone());
        let mut log = Log { events: events.collect(), answers: answers.collect(), ..Log::default() };
        for (pid, proc) in self.pod.host.processes() {
            let Life::Reaped(status) = proc.life else { continue };
            let told = log.events.iter().any(|event| matches!(event, Event::Exit { pid: of, .. } if *of == pid));
            if over || told {
                log.reaped.insert(pid, status);
            }
        }
        log
    }

    fn over(self) -> Outcome {
        self.check(true);
        for client in &self.clients {
            assert!(client.pending.is_none(), "{:?} was never answered after {:#?}", client.pending, self.played);
        }
        let others = self.containers.iter().filter(|id| **id != ID);
        let others = others.map(|id| ((*id).to_owned(), self.log(id, true).events)).collect();
        let (events, mut leftovers) = (self.log(ID, true).events, Vec::new());
        for id in &self.containers {
            let of = self.pod.leftovers(id);
            let alive =
                self.pod.host.processes().into_values().any(|proc| proc.container == *id && proc.life == Life::Alive);
            assert!(!alive || !of.is_empty(), "a process of {id} lives on after {:#?}", self.played);
            leftovers.extend(of);
        }
        let answers = self.clients.into_iter().map(|client| client.answered).collect();
        let shut_down = self.pod.shut_down();
        Outcome { events, others, answers, leftovers, shut_down }
    }
}

pub(crate) fn code_of(error: &ttrpc::Error) -> Code {
    match error {
        ttrpc::Error::RpcStatus(status) => status.code.enum_value().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn context() -> TtrpcContext {
    let mh = MessageHeader { length: 0, stream_id: 1, type_: 1, flags: 0 };
    TtrpcContext { mh, metadata: Default::default(), timeout_nano: 0, connection_data: Default::default() }
}

/// Calls as ttrpc does, so that a caller can go away as there.
fn call(pod: &Pod, verb: Verb) -> JoinHandle<Reply> {
    let (id, verb) = verb.container();
    let (api, id) = (pod.api.clone(), id.to_owned());
    let create = if verb == Verb::Create { pod.create_request(&id) } else { CreateTaskRequest::default() };
    tokio::spawn(async move {
        let ctx = context();
        match verb {
            Verb::Create => api.create(&ctx, create).await.map(|created| Some(Answer::Created { pid: created.pid })),
            Verb::Start(exec) => {
                let request = StartRequest { id, exec_id: exec.into(), ..StartRequest::default() };
                let started = api.start(&ctx, request).await?;
                Ok(Some(Answer::Started { exec: exec.into(), pid: started.pid }))
            }
            Verb::Exec(exec) => {
                let request: ExecProcessRequest = exec_request(&id, exec);
                api.exec(&ctx, request).await.map(|_| None)
            }
            Verb::Kill(exec) => {
                let request = KillRequest { id, exec_id: exec.into(), signal: 9, ..KillRequest::default() };
                api.kill(&ctx, request).await.map(|_| None)
            }
            Verb::KillAll => {
                let request = KillRequest { id, all: true, signal: 9, ..KillRequest::default() };
                api.kill(&ctx, request).await.map(|_| None)
            }
            Verb::State(exec) => {
                let request = StateRequest { id, exec_id: exec.into(), ..StateRequest::default() };
                api.state(&ctx, request).await.map(|_| None)
            }
            Verb::Pids => api.pids(&ctx, PidsRequest { id, ..PidsRequest::default() }).await.map(|_| None),
            Verb::Connect => api.connect(&ctx, ConnectRequest { id, ..ConnectRequest::default() }).await.map(|_| None),
            Verb::In(..) => panic!("no container in a container"),
            Verb::Wait(exec) => {
                let request = WaitRequest { id, exec_id: exec.into(), ..WaitRequest::default() };
                let ended = api.wait(&ctx, request).await?;
                Ok(Some(Answer::Ended { exec: exec.into(), status: ended.exit_status }))
            }
            Verb::Delete(exec) => {
                let request = DeleteRequest { id, exec_id: exec.into(), ..DeleteRequest::default() };
                let deleted = api.delete(&ctx, request).await?;
                Ok(Some(Answer::Deleted { exec: exec.into(), pid: deleted.pid, status: deleted.exit_status }))
            }
            Verb::Pause => api.pause(&ctx, PauseRequest { id, ..PauseRequest::default() }).await.map(|_| None),
            Verb::Resume => api.resume(&ctx, ResumeRequest { id, ..ResumeRequest::default() }).await.map(|_| None),
            Verb::Update => {
                let resources = Any { value: b"{}".to_vec(), ..Any::default() };
                let resources = MessageField::some(resources);
                api.update(&ctx, UpdateTaskRequest { id, resources, ..UpdateTaskRequest::default() })
                    .await
                    .map(|_| None)
            }
            Verb::Shutdown => {
                api.shutdown(&ctx, ShutdownRequest { id, ..ShutdownRequest::default() }).await.map(|_| None)
            }
        }
    })
}
