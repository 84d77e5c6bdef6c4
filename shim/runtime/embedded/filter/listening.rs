//! A filter whose refusals are reported, or whose calls are recorded, by the shim: it asks a listener that the shim holds.
//!
//! The listener is made by the thread that becomes the container's program, right before its execve. Under the filter that thread may
//! not be allowed to send anything, so another one, which the filter does not reach, does it and closes what this process has of the
//! listener:
//!
//! ```text
//! this thread:  start the other ─ load ─ number into the slot ─ wait without a call that could be asked about ─ execve
//! the other:                      wait for the number ────────── send to the shim ─ close ─ say so ─ end
//! ```
//!
//! Whatever fails on the way, the container is not left without its filter: it is loaded without a listener then, and the shim is told
//! why. Source: seccomp_unotify(2).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use palisade_seccomp::{Answer, Call, CompiledFilter, UNASKED, Verdict};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, sendmsg, socket_with,
};

use super::{Filter, FilterError, steps};
use crate::runtime::Listening;
use crate::unsafe_syscalls::{ListenerSlot, notifications_are_known};

/// Longest wait for a shim that does not take the listener.
const SEND: Duration = Duration::from_secs(5);
/// The other thread calls sendmsg(2) and close(2).
const STACK: usize = 64 << 10;

/// A connection to the shim, made before the container is entered.
#[derive(Debug, Clone)]
pub(in crate::runtime::embedded) struct Listener {
    kind: Kind,
    socket: Arc<OwnedFd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refusals,
    Calls,
}

/// What the two threads share.
#[derive(Debug)]
struct Handover {
    slot: ListenerSlot,
    state: AtomicU8,
}

const UNDER_WAY: u8 = 0;
const SENT: u8 = 1;
const FAILED: u8 = 2;
/// There is no listener to be sent.
const CALLED_OFF: u8 = 3;

impl Listener {
    /// Connects to the shim's socket.
    pub(in crate::runtime::embedded) fn connect(listening: &Listening) -> io::Result<Self> {
        let kind = match listening {
            Listening::Refusals(_) => Kind::Refusals,
            Listening::Calls(_) => Kind::Calls,
        };
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrUnix::new(listening.socket())?)?;
        set_socket_timeout(&socket, Timeout::Send, Some(SEND))?;
        Ok(Self { kind, socket: Arc::new(socket) })
    }

    /// Puts the filter in force for this thread, for good. Without a listener where there can be none.
    pub(super) fn load(&self, filter: &Filter) -> Result<(), FilterError> {
        let Some(compiled) = &filter.0 else { return Ok(()) };
        let asking = match self.kind {
            Kind::Refusals => compiled.reporting(),
            Kind::Calls => compiled.recording(UNASKED),
        };
        if asking == *compiled {
            return filter.load();
        }
        match self.load_with_listener(compiled, &asking) {
            Ok(()) => Ok(()),
            Err(error) => {
                // No filter is in force yet, so this thread may still send. A shim that has gone needs no reason any more.
                rustix::net::send(&self.socket, error.to_string().as_bytes(), SendFlags::NOSIGNAL).unwrap_or_default();
                filter.load()
            }
        }
    }

    /// On failure no filter is in force.
    fn load_with_listener(&self, compiled: &CompiledFilter, asking: &CompiledFilter) -> io::Result<()> {
        if !notifications_are_known() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let program = steps(asking);
        let may_yield = runs_unasked(asking, "sched_yield");
        let handover = Arc::new(Handover { slot: ListenerSlot::new(), state: AtomicU8::new(UNDER_WAY) });
        let (theirs, socket, bytes) = (Arc::clone(&handover), Arc::clone(&self.socket), compiled.to_bytes());
        let sender = thread::Builder::new().stack_size(STACK).spawn(move || theirs.send(&socket, &bytes))?;
        if let Err(error) = handover.slot.load_filter(asking.load_flags(), &program) {
            handover.state.store(CALLED_OFF, Ordering::Release);
            drop(sender.join());
            return Err(error);
        }
        let sent = handover.wait(may_yield);
        // Freeing what the other thread had would be a system call under the filter.
        std::mem::forget((sender, handover, program));
        if !sent {
            // Nobody listens, so calls get ENOSYS; with the filter itself on top they get what they should. If even loading is refused,
            // they stay refused.
            drop(Filter(Some(compiled.clone())).load());
        }
        Ok(())
    }
}

impl Handover {
    /// The other thread's part.
    fn send(&self, socket: &OwnedFd, bytes: &[u8]) {
        let listener = loop {
            if let Some(listener) = self.slot.take() {
                break listener;
            }
            if self.state.load(Ordering::Acquire) == CALLED_OFF {
                return;
            }
            thread::yield_now();
        };
        let sent = send(socket, bytes, &listener);
        // Before anything is said: a call of this process that nobody answers would wait for good while a listener is open.
        drop(listener);
        self.state.store(if sent.is_ok() { SENT } else { FAILED }, Ordering::Release);
    }

    /// Waits for the other thread, which takes [`SEND`] at most; whether it has sent. Where giving way is no plain call under the
    /// filter, by looking again and again.
    fn wait(&self, may_yield: bool) -> bool {
        loop {
            match self.state.load(Ordering::Acquire) {
                UNDER_WAY if may_yield => thread::yield_now(),
                UNDER_WAY => std::hint::spin_loop(),
                state => return state == SENT,
            }
        }
    }
}

fn send(socket: &OwnedFd, bytes: &[u8], listener: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [listener.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Whether a call without arguments runs under a filter, and is not asked about.
fn runs_unasked(filter: &CompiledFilter, name: &str) -> bool {
    let answer = Call::native(name, [0; 6]).and_then(|call| filter.answer(&call));
    matches!(answer, Some(Answer { verdict: Verdict::Allow, .. }))
}
