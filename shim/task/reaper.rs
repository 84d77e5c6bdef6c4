//! Child processes: runtime calls, init and exec processes, and whatever else is reparented to the shim.
//!
//! The shim is a subreaper, so an init process becomes its child when the runtime that made it exits. All
//! children are waited for in one place; a pid stays reserved until it is waited for here, and an exit is
//! handed over in the same step, so a reused pid can't be mistaken for its predecessor.

use std::collections::HashMap;
use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, wait, waitid, waitpid};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::exit::Exit;
use crate::unsafe_syscalls;

/// Waits for all children. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Reaper {
    children: Arc<Mutex<Children>>,
}

#[derive(Debug, Default)]
struct Children {
    awaited: HashMap<u32, oneshot::Sender<Exit>>,
    /// Exits of processes that nobody awaits yet, kept while a runtime call may still be about to name them.
    early: HashMap<u32, (Exit, LastStatus)>,
    adoptions: usize,
    /// Processes whose status is kept when they end, and what it was.
    remembered: HashMap<u32, LastStatus>,
}

/// `/proc/<pid>/status` of a process that has ended, read before it was waited for; an error where it could not be read, `None` where
/// nobody looked.
pub type LastStatus = Option<Result<String, String>>;

impl Children {
    /// Whether anybody may ask what a process was.
    fn looks(&self) -> bool {
        self.adoptions > 0 || !self.remembered.is_empty()
    }

    /// Whether somebody will ask what this process was.
    fn is_of_interest(&self, pid: u32) -> bool {
        self.remembered.contains_key(&pid) || self.adoptions > 0 && !self.awaited.contains_key(&pid)
    }

    fn ended(&mut self, pid: u32, exit: Exit, status: LastStatus) {
        if let Some(remembered) = self.remembered.get_mut(&pid) {
            remembered.clone_from(&status);
        }
        match self.awaited.remove(&pid) {
            // Whoever awaited may have gone past a deadline; then nobody needs the exit.
            Some(sender) => drop(sender.send(exit)),
            None if self.adoptions > 0 => drop(self.early.insert(pid, (exit, status))),
            None => {}
        }
    }
}

/// A child whose exit is on its way to the holder.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    exit: oneshot::Receiver<Exit>,
    collected: bool,
    last_status: LastStatus,
}

impl Child {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it had been waited for when it was adopted: its pid may be another process's by now. That of any other child
    /// stays its own until the reaper's next turn, so what is looked up by it before the next `await` is that child's.
    #[must_use]
    pub fn was_collected(&self) -> bool {
        self.collected
    }

    /// What it was when it ended, of one that was waited for when it was adopted.
    #[must_use]
    pub fn last_status(&self) -> &LastStatus {
        &self.last_status
    }

    /// Waits for the end. A lost sender means that the reaper is gone, and with it the shim.
    pub async fn exit(self) -> Exit {
        match self.exit.await {
            Ok(exit) => exit,
            Err(_) => std::future::pending().await,
        }
    }
}

/// While one of these lives, exits of unknown processes are kept, so that an init process that dies before
/// its pid is read is not missed.
#[derive(Debug)]
pub struct Adoption {
    reaper: Reaper,
}

impl Adoption {
    /// Awaits the process `pid`, which a runtime has just left to the shim.
    #[must_use]
    pub fn adopt(&self, pid: u32) -> Child {
        let (sender, exit) = oneshot::channel();
        let mut children = self.reaper.children();
        // While a slow call is under way, a pid can be waited for and given out again.
        let early = children.early.remove(&pid).filter(|_| !is_child(pid));
        let collected = early.is_some();
        let last_status = match early {
            // The receiver is right here, so the send can't fail.
            Some((early, status)) => {
                if sender.send(early).is_err() {
                    crate::warn!("the end of {pid} was lost");
                }
                status
            }
            None => {
                children.awaited.insert(pid, sender);
                None
            }
        };
        Child { pid, exit, collected, last_status }
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        let mut children = self.reaper.children();
        children.adoptions -= 1;
        if children.adoptions == 0 {
            children.early.clear();
        }
    }
}

/// See [`Reaper::remember`].
#[derive(Debug)]
pub struct Remembered {
    reaper: Reaper,
    pid: u32,
}

impl Remembered {
    /// The status with which it ended; `None` if it has not, or nobody looked.
    #[must_use]
    pub fn last_status(&self) -> LastStatus {
        self.reaper.children().remembered.get(&self.pid).cloned().flatten()
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        self.reaper.children().remembered.remove(&self.pid);
    }
}

/// The child that a wait would collect.
fn first_to_collect() -> Option<u32> {
    u32::try_from(unsafe_syscalls::first_ended_child()?).ok()
}

fn last_status(pid: u32) -> Result<String, String> {
    let status = std::fs::read(format!("/proc/{pid}/status")).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&status).into_owned())
}

/// Whether a child has this pid, alive or not waited for yet. The reaper's lock must be held: nobody waits meanwhile.
fn is_child(pid: u32) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| waitid(WaitId::Pid(pid), look).is_ok())
}

impl Reaper {
    fn children(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stretch in which a runtime call leaves a process behind; see [`Adoption`].
    #[must_use]
    pub fn expect_child(&self) -> Adoption {
        self.children().adoptions += 1;
        Adoption { reaper: self.clone() }
    }

    /// Starts a program. The lock is held meanwhile, so its exit can't be handed over before it is awaited.
    ///
    /// # Errors
    ///
    /// The kernel's reason.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut children = self.children();
        let pid = command.spawn()?.id();
        let (sender, exit) = oneshot::channel();
        children.awaited.insert(pid, sender);
        Ok(Child { pid, exit, collected: false, last_status: None })
    }

    /// Hands over exits until the shim ends.
    ///
    /// # Errors
    ///
    /// When SIGCHLD can't be listened for.
    pub fn listen() -> io::Result<Signal> {
        signal(SignalKind::child())
    }

    /// Waits for SIGCHLD again and again.
    pub async fn run(self, mut signals: Signal) {
        while signals.recv().await.is_some() {
            self.reap();
        }
    }

    /// Collects every child that has ended. One signal can stand for many.
    fn reap(&self) {
        let mut children = self.children();
        loop {
            let first = if children.looks() { first_to_collect() } else { None };
            let last = first.filter(|pid| children.is_of_interest(*pid)).map(last_status);
            // That very one: another may have ended since, and would be the next of any.
            let waited = match first.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
                Some(first) => waitpid(Some(first), WaitOptions::NOHANG),
                None => wait(WaitOptions::NOHANG),
            };
            // ECHILD says that no child is left, None that none has ended.
            let Ok(Some((pid, status))) = waited else { return };
            let Some(exit) = Exit::from_wait(status) else { continue };
            children.ended(pid.as_raw_nonzero().get().unsigned_abs(), exit, last);
        }
    }

    /// Hands over the exit of a process that was waited for elsewhere, as a [`Host`](super::Host) without processes of
    /// this one does.
    pub fn ended(&self, pid: u32, exit: Exit) {
        self.children().ended(pid, exit, None);
    }

    /// Keeps the status of a process should it end while what comes back lives.
    #[must_use]
    pub fn remember(&self, pid: u32) -> Remembered {
        self.children().remembered.insert(pid, None);
        Remembered { reaper: self.clone(), pid }
    }
}
