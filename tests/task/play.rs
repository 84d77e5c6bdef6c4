//! One scenario in one order: clients with scripts, and the machine's own moves between their verbs.

use std::time::Duration;

use containerd_shim_protos::api::{
    CreateTaskRequest, DeleteRequest, ExecProcessRequest, KillRequest, PauseRequest, ResumeRequest, ShutdownRequest,
    StartRequest, UpdateTaskRequest, WaitRequest,
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
use crate::stand_in::{Life, Proc};

/// The container of all scenarios.
pub(crate) const ID: &str = "c";

/// A call of a client; the text is the exec id, empty for init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Start(&'static str),
    Exec(&'static str),
    Kill(&'static str),
    Wait(&'static str),
    Delete(&'static str),
    Pause,
    Resume,
    Update,
    Shutdown,
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
    /// Each caller may go away while its call is under way.
    CallersLeave,
    /// Execs live on when init has died.
    ExecsOutliveInit,
    /// A process may be taken by the OOM killer.
    OutOfMemory,
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
    /// By client: verb and code, `OK` for a good answer.
    pub(crate) answers: Vec<Vec<(String, String)>>,
    /// What is left on disk beside what containerd has put there.
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
    answers: Vec<Answer>,
    played: Vec<String>,
}

impl Game {
    fn new(scenario: &Scenario) -> Self {
        let pod = Pod::new();
        if scenario.nature.contains(&Nature::ExecsOutliveInit) {
            pod.host.let_execs_outlive_init();
        }
        let clients = scenario.clients.iter().map(|script| Client::new(script)).collect();
        Self { pod, nature: scenario.nature, clients, answers: Vec::new(), played: Vec::new() }
    }

    async fn prepare(&mut self, verbs: &[Verb]) {
        for verb in verbs {
            let answer = call(&self.pod, *verb).await.unwrap().unwrap();
            self.answers.extend(answer);
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
            if self.may_fail(&name) {
                moves.push(Move::Fail(name.clone()));
            }
            moves.push(Move::Succeed(name));
        }
        for (pid, proc) in self.pod.host.processes() {
            self.moves_of_process(pid, &proc, &mut moves);
        }
        moves
    }

    fn may_fail(&self, name: &str) -> bool {
        self.nature.iter().any(|nature| matches!(nature, Nature::CallsFail(verb) if name.starts_with(verb)))
    }

    fn moves_of_process(&self, pid: u32, proc: &Proc, moves: &mut Vec<Move>) {
        match proc.life {
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
            Move::Succeed(name) => self.pod.host.answer(&name, true),
            Move::Fail(name) => self.pod.host.answer(&name, false),
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
                    self.answers.extend(answer);
                    "OK".to_owned()
                }
                Err(error) => format!("{:?}", code_of(&error)),
            };
            client.answered.push((format!("{verb:?}"), code));
        }
    }

    fn check(&self, over: bool) {
        let log = self.log(over);
        if let Some(reason) = violation(&log) {
            panic!("{reason}\n{log:#?}\nafter {:#?}", self.played);
        }
    }

    /// While the play goes on, an exit may be on its way.
    fn log(&self, over: bool) -> Log {
        let events = self.pod.events.waiting().iter().map(|envelope| read(envelope).1).collect();
        let mut log = Log { events, answers: self.answers.clone(), ..Log::default() };
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
        let (events, leftovers) = (self.log(true).events, self.pod.leftovers(ID));
        let answers = self.clients.into_iter().map(|client| client.answered).collect();
        let shut_down = self.pod.shut_down();
        Outcome { events, answers, leftovers, shut_down }
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
    let (api, id) = (pod.api.clone(), ID.to_owned());
    let create = if verb == Verb::Create { pod.create_request(ID) } else { CreateTaskRequest::default() };
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
