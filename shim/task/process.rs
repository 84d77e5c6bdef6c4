//! One process of a container: init, or one that was added by exec.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::error::TaskError;
use super::exit::Exit;
use super::host::{Host, SignalTarget};
use super::io::{ProcessIo, Stdio};
use super::reaper::Child;
use super::signal::SignalNumber;
use super::state::TaskState;

/// A process and all that the shim holds for it.
#[derive(Debug)]
pub(super) struct Process {
    exec_id: String,
    stdio: Stdio,
    /// Taken for create, start, delete and the report of the exit: what may not overlap.
    order: tokio::sync::Mutex<()>,
    live: Mutex<Live>,
    exit: watch::Sender<Option<Exit>>,
}

#[derive(Debug, Default)]
struct Live {
    pid: u32,
    target: Option<Box<dyn SignalTarget>>,
    io: Option<ProcessIo>,
    state: Option<TaskState>,
    /// `CloseIO` may come before the process is there (containerd issue 4489).
    stdin_closed: bool,
    /// SIGKILL was sent.
    killed: bool,
}

impl Process {
    /// A process that was asked for and has no pid yet. `exec_id` is empty for init.
    pub(super) fn new(exec_id: &str, stdio: Stdio) -> Arc<Self> {
        Arc::new(Self {
            exec_id: exec_id.into(),
            stdio,
            order: tokio::sync::Mutex::default(),
            live: Mutex::default(),
            exit: watch::Sender::new(None),
        })
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empty for init.
    pub(super) fn exec_id(&self) -> &str {
        &self.exec_id
    }

    pub(super) fn stdio(&self) -> &Stdio {
        &self.stdio
    }

    /// Keeps other verbs and the exit report of this process waiting while held.
    pub(super) async fn in_order(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.order.lock().await
    }

    /// 0 while there is none.
    pub(super) fn pid(&self) -> u32 {
        self.live().pid
    }

    pub(super) fn state(&self) -> TaskState {
        self.live().state.unwrap_or(TaskState::Created)
    }

    pub(super) fn set_state(&self, state: TaskState) {
        self.live().state = Some(state);
    }

    /// The process is there: it can be signalled from now on.
    ///
    /// One that has ended and was waited for already has no target, and signals to it find it finished.
    pub(super) fn spawned(&self, host: &dyn Host, child: &Child, mut io: ProcessIo) -> Result<(), TaskError> {
        let target = if child.was_collected() { Err(TaskError::Finished) } else { host.signal_target(child.pid()) };
        let target = match target {
            Ok(target) => Some(target),
            Err(TaskError::Finished) => None,
            Err(error) => return Err(error),
        };
        let mut live = self.live();
        live.pid = child.pid();
        live.target = target;
        if live.stdin_closed {
            io.close_stdin();
        }
        live.io = Some(io);
        Ok(())
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Records the end and wakes all that wait for it.
    pub(super) fn exited(&self, exit: Exit) {
        let mut live = self.live();
        live.state = Some(TaskState::Stopped);
        live.target = None;
        drop(live);
        self.exit.send_replace(Some(exit));
    }

    /// Wakes all that wait for a process which will not be started, or could not be.
    pub(super) fn never_ran(&self) {
        if self.exit().is_none() {
            self.exited(Exit::never_ran());
        }
    }

    /// Waits for the end, however long ago it was.
    pub(super) async fn wait(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await.map(|exit| *exit);
        match ended {
            Ok(Some(exit)) => exit,
            // The sender lives in self, so it can't be gone.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Sends a signal; a process that has ended is [`TaskError::Finished`].
    pub(super) fn signal(&self, signal: SignalNumber) -> Result<(), TaskError> {
        let mut live = self.live();
        live.target.as_ref().ok_or(TaskError::Finished)?.send(signal)?;
        live.killed |= signal == SignalNumber::KILL;
        Ok(())
    }

    /// Kills it; one that has ended is killed already.
    pub(super) fn kill(&self) -> Result<(), TaskError> {
        match self.signal(SignalNumber::KILL) {
            Ok(()) | Err(TaskError::Finished) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether SIGKILL was sent to it.
    pub(super) fn was_killed(&self) -> bool {
        self.live().killed
    }

    /// Sets the terminal's size; a process without one has none.
    pub(super) fn resize(&self, width: u16, height: u16) -> Result<(), TaskError> {
        let live = self.live();
        let resized = live.io.as_ref().map_or(Ok(()), |io| io.resize(width, height));
        resized.map_err(|source| TaskError::System { action: "resize the terminal", source })
    }

    /// Lets stdin end.
    pub(super) fn close_stdin(&self) {
        let mut live = self.live();
        live.stdin_closed = true;
        if let Some(io) = live.io.as_mut() {
            io.close_stdin();
        }
    }

    /// Takes stdio out, to drain and close it.
    pub(super) fn take_io(&self) -> Option<ProcessIo> {
        self.live().io.take()
    }
}
