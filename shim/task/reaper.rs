//! Child processes: runtime calls, init and exec processes, and whatever else is reparented to the shim.
//!
//! The shim is a subreaper, so an init process becomes its child when the runtime that made it exits. All
//! children are waited for in one place; a pid stays reserved until it is waited for here, and an exit is
//! handed over in the same step, so a reused pid can't be mistaken for its predecessor.

use std::collections::HashMap;
use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, wait, waitid};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::exit::Exit;

/// Waits for all children. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Reaper {
    children: Arc<Mutex<Children>>,
}

#[derive(Debug, Default)]
struct Children {
    awaited: HashMap<u32, oneshot::Sender<Exit>>,
    /// Exits of processes that nobody awaits yet, kept while a runtime call may still be about to name them.
    early: HashMap<u32, Exit>,
    adoptions: usize,
}

impl Children {
    fn ended(&mut self, pid: u32, exit: Exit) {
        match self.awaited.remove(&pid) {
            // Whoever awaited may have gone past a deadline; then nobody needs the exit.
            Some(sender) => drop(sender.send(exit)),
            None if self.adoptions > 0 => drop(self.early.insert(pid, exit)),
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
        match early {
            // The receiver is right here, so the send can't fail.
            Some(early) => drop(sender.send(early)),
            None => drop(children.awaited.insert(pid, sender)),
        }
        Child { pid, exit, collected }
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
        Ok(Child { pid, exit, collected: false })
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
        // ECHILD says that no child is left, None that none has ended.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let Some(exit) = Exit::from_wait(status) else { continue };
            children.ended(pid.as_raw_nonzero().get().unsigned_abs(), exit);
        }
    }

    /// Hands over the exit of a process that was waited for elsewhere, as a [`Host`](super::Host) without processes of
    /// this one does.
    pub fn ended(&self, pid: u32, exit: Exit) {
        self.children().ended(pid, exit);
    }
}
