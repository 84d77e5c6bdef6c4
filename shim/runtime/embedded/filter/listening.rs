//! A filter whose refusals are reported, or whose calls are recorded, by the shim: it asks a listener that the shim holds.
//!
//! The listener is made by the thread that becomes the container's program, right before its execve. Most filters let it send and close
//! then. Where one does not, another thread, which the filter does not reach, does both:
//!
//! ```text
//! this thread:  start the other ─ load ─ number into the slot ─ wait without a call that could be asked about ─ execve
//! the other:                      wait for the number ────────── send to the shim ─ close ─ say so ─ end
//! ```
//!
//! Whatever fails on the way, the container is not left without its filter: it is loaded without a listener then, and the shim is told
//! why. Source: seccomp_unotify(2).

use std::io::{self, IoSlice, Write as _};
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
use crate::unsafe_syscalls::{ListenerSlot, SockFilter, notifications_are_known};

/// Longest wait for a shim that does not take the listener.
const SEND: Duration = Duration::from_secs(5);
/// Between two looks for what the other thread has done.
const LOOK: Duration = Duration::from_micros(20);
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
        if ["sendmsg", "close"].into_iter().all(|name| runs_unasked(asking, name)) {
            return self.load_and_send(compiled, asking, &program);
        }
        let pause = Pause::under(asking);
        let handover = Arc::new(Handover { slot: ListenerSlot::new(), state: AtomicU8::new(UNDER_WAY) });
        let (theirs, socket, bytes) = (Arc::clone(&handover), Arc::clone(&self.socket), compiled.to_bytes());
        let sender = thread::Builder::new().stack_size(STACK).spawn(move || theirs.send(&socket, &bytes))?;
        if let Err(error) = handover.slot.load_filter(asking.load_flags(), &program) {
            handover.state.store(CALLED_OFF, Ordering::Release);
            drop(sender.join());
            return Err(error);
        }
        let sent = handover.wait(pause);
        // Freeing what the other thread had would be a system call under the filter.
        std::mem::forget((sender, handover, program));
        if !sent {
            load_on_top(compiled);
        }
        Ok(())
    }

    /// The same where this thread may send under the filter.
    fn load_and_send(
        &self,
        compiled: &CompiledFilter,
        asking: &CompiledFilter,
        program: &[SockFilter],
    ) -> io::Result<()> {
        let bytes = compiled.to_bytes();
        let slot = ListenerSlot::new();
        slot.load_filter(asking.load_flags(), program)?;
        let sent = slot.take().is_some_and(|listener| send_or_tell(&self.socket, &bytes, listener));
        if !sent {
            load_on_top(compiled);
        }
        Ok(())
    }
}

/// Nobody listens, so calls get ENOSYS; with the filter itself on top they get what they should. If even loading is refused, they stay
/// refused.
fn load_on_top(compiled: &CompiledFilter) {
    drop(Filter(Some(compiled.clone())).load());
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
            thread::sleep(LOOK);
        };
        let sent = send_or_tell(socket, bytes, listener);
        self.state.store(if sent { SENT } else { FAILED }, Ordering::Release);
    }

    /// Waits for the other thread, which takes [`SEND`] at most; whether it has sent.
    fn wait(&self, pause: Pause) -> bool {
        loop {
            match self.state.load(Ordering::Acquire) {
                UNDER_WAY => pause.make(),
                state => return state == SENT,
            }
        }
    }
}

/// How a thread may wait under a filter: by a call that simply runs, if there is one.
#[derive(Debug, Clone, Copy)]
enum Pause {
    Sleep,
    Yield,
    Spin,
}

impl Pause {
    fn under(filter: &CompiledFilter) -> Self {
        // Which of the two a C library makes differs.
        let may_sleep = ["nanosleep", "clock_nanosleep"].into_iter().all(|name| runs_unasked(filter, name));
        match (may_sleep, runs_unasked(filter, "sched_yield")) {
            (true, _) => Self::Sleep,
            (false, true) => Self::Yield,
            (false, false) => Self::Spin,
        }
    }

    fn make(self) {
        match self {
            Self::Sleep => thread::sleep(LOOK),
            Self::Yield => thread::yield_now(),
            Self::Spin => std::hint::spin_loop(),
        }
    }
}

/// Sends the listener, or the reason why that can't be, by the same call: another one might be asked about. Whether it was sent.
fn send_or_tell(socket: &OwnedFd, bytes: &[u8], listener: OwnedFd) -> bool {
    let sent = send(socket, bytes, &listener);
    // Before anything is said: a call of this process that nobody answers would wait for good while a listener is open.
    drop(listener);
    let Err(error) = sent else { return true };
    // In place: memory may take a call that the filter refuses.
    let mut why = [0; 48];
    let mut rest = why.as_mut_slice();
    write!(rest, "send the listener: errno {}", error.raw_os_error().unwrap_or_default()).unwrap_or_default();
    let unused = rest.len();
    let (why, _) = why.split_at(why.len() - unused);
    // A shim that has taken nothing for so long is not waited for again, and one that has gone needs no reason.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(why)], &mut SendAncillaryBuffer::default(), flags).unwrap_or_default();
    false
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

/// Whether a call runs under a filter whatever its arguments, and is not asked about.
fn runs_unasked(filter: &CompiledFilter, name: &str) -> bool {
    let answer = Call::native(name, [0; 6]).and_then(|call| filter.answer(&call));
    answer.is_some_and(|Answer { verdict, looked_at }| verdict == Verdict::Allow && looked_at == [false; 6])
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_listener_that_cannot_be_sent_is_told_of() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let (mut read, listener) = io::pipe().unwrap();
        // No socket takes that much at once.
        assert!(!send_or_tell(&ours.into(), &vec![0; 64 << 20], listener.into()));
        assert_eq!(read.read(&mut [0]).unwrap(), 0, "it is closed");
        let mut said = [0; 200];
        let length = theirs.recv(&mut said).unwrap();
        let said = String::from_utf8_lossy(&said[..length]);
        assert_eq!(said, format!("send the listener: errno {}", libc::EMSGSIZE));
    }
}
