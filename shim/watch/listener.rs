//! Answering what a container's processes ask.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use palisade_seccomp::{Answer, Call, CompiledFilter, Verdict};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use tokio::io::Interest;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Kind;
use super::calls::Calls;
use super::rate::Bucket;
use super::refusals::{News, Refusal, Refusals};
use super::socket::{Arrival, ListenerSocket, receive};
use super::subject::Subject;
use crate::unsafe_syscalls::{
    Notification, NotificationAnswer, answer_notification, answer_on_same_cpu, async_fd, receive_notification,
};

/// Refusals of one container that are answered at once, and how many a second after that: 6 % of a CPU.
const REFUSALS: (u32, u32) = (12_000, 12_000);
/// The same for calls that are recorded. The admin has asked for it, and the workload is to get on.
const CALLS: (u32, u32) = (100_000, 50_000);
/// Time between two summaries. It doubles each time, up to the second.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// Recorded calls are written down soon, since a shim can be killed.
const RECORD_INTERVAL: Duration = Duration::from_secs(2);
/// Listeners of processes that have all ended end within this.
const LAST_ANSWERS: Duration = Duration::from_millis(300);
/// Pause after a socket that could not be read.
const PAUSE: Duration = Duration::from_millis(100);

/// EPERM, for what should not be.
const EPERM: u16 = 1;

/// One container, for all its listeners.
struct Watched {
    kind: Kind,
    subject: Subject,
    bucket: Mutex<Bucket>,
    refusals: Mutex<Refusals>,
    calls: Mutex<Calls>,
}

/// Takes the listeners of a container and sees to them until it is told to stop.
pub(super) async fn watch(socket: ListenerSocket, kind: Kind, subject: Subject, mut stopped: oneshot::Receiver<()>) {
    let registered = match socket.socket() {
        Ok(registered) => registered,
        Err(error) => return crate::warn!("watch the calls of {}: {error}", subject.id),
    };
    let watched = Arc::new(Watched::new(kind, subject));
    let mut listeners = JoinSet::new();
    let mut interval = if kind == Kind::Calls { RECORD_INTERVAL } else { INTERVALS.0 };
    let mut next = Instant::now() + interval;
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            arrival = receive(&registered) => match arrival {
                Ok(Arrival::Listener(listener, filter)) => {
                    listeners.spawn(answer_all(listener, filter, Arc::clone(&watched)));
                }
                Ok(Arrival::None(why)) => {
                    crate::warn!("calls of a process of {} are not watched: {why}", watched.subject.id);
                }
                Err(error) => {
                    crate::warn!("take a listener of {}: {error}", watched.subject.id);
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = listeners.join_next() => if listeners.is_empty() { watched.tell() },
            () = sleep_until(next) => {
                watched.tell();
                if kind == Kind::Refusals {
                    interval = (interval * 2).min(INTERVALS.1);
                }
                next = Instant::now() + interval;
            }
        }
    }
    let all_ended = async { while listeners.join_next().await.is_some() {} };
    // One that goes on has no process to answer: before Linux 5.9 nothing tells.
    timeout(LAST_ANSWERS, all_ended).await.unwrap_or_default();
    watched.tell();
}

/// Answers until no process has the filter any more.
async fn answer_all(listener: OwnedFd, filter: CompiledFilter, watched: Arc<Watched>) {
    // Only quicker.
    answer_on_same_cpu(listener.as_fd()).unwrap_or_default();
    let ended = match async_fd(listener, Interest::READABLE) {
        Ok(listener) => answer_until_end(&listener, &filter, &watched).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        // Without a listener refused calls get ENOSYS.
        crate::warn!("answer the calls of {}: {error}", watched.subject.id);
    }
}

async fn answer_until_end(
    listener: &tokio::io::unix::AsyncFd<OwnedFd>,
    filter: &CompiledFilter,
    watched: &Watched,
) -> io::Result<()> {
    loop {
        // A container that asks faster than it is answered would never let another one be answered.
        tokio::task::coop::consume_budget().await;
        let mut ready = listener.readable().await?;
        // Taking what is not there would wait for it, with the whole thread.
        match state(listener.get_ref())? {
            State::Ended => return Ok(()),
            State::Quiet => ready.clear_ready(),
            State::Asked => {
                watched.token().await;
                watched.answer(listener.get_ref(), filter)?;
            }
        }
    }
}

enum State {
    Asked,
    Quiet,
    Ended,
}

fn state(listener: &OwnedFd) -> io::Result<State> {
    let mut polled = [PollFd::new(listener, PollFlags::IN)];
    // The shim's other work brings signals, and an answer that is not given would end the listener.
    retry_on_intr(|| poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })))?;
    let [polled] = &polled;
    let seen = polled.revents();
    Ok(if seen.contains(PollFlags::IN) {
        State::Asked
    } else if seen.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        State::Ended
    } else {
        State::Quiet
    })
}

impl Watched {
    fn new(kind: Kind, subject: Subject) -> Self {
        let (size, per_second) = if kind == Kind::Calls { CALLS } else { REFUSALS };
        let (refusals, calls) = (Mutex::default(), Mutex::default());
        Self { kind, subject, bucket: Mutex::new(Bucket::new(size, per_second)), refusals, calls }
    }

    /// Waits for the container's next answer to be due.
    async fn token(&self) {
        while !self.bucket.lock().unwrap_or_else(PoisonError::into_inner).try_take(Instant::now()) {
            tokio::time::sleep(super::rate::PAUSE).await;
        }
    }

    fn answer(&self, listener: &OwnedFd, filter: &CompiledFilter) -> io::Result<()> {
        let asked = match receive_notification(listener) {
            Ok(asked) => asked,
            // Who asked was killed meanwhile, or a signal came.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Notification { id, architecture, number, arguments, .. } = asked;
        let call = Call { architecture, number, arguments };
        let answer = filter.answer(&call);
        match (self.kind, answer) {
            // The filter asks about what runs, and refuses all else by itself, so nothing depends on this answer but a record.
            (Kind::Calls, Some(Answer { verdict: Verdict::Allow | Verdict::Log, .. })) => {
                self.calls.lock().unwrap_or_else(PoisonError::into_inner).add(&call);
                send(listener, id, NotificationAnswer::Continue)
            }
            (_, Some(answer @ Answer { verdict: Verdict::Errno(errno), .. })) => {
                let first = self.count(&asked, &call, &answer, errno);
                let sent = send(listener, id, NotificationAnswer::Errno(errno));
                if let Some(news) = first {
                    self.write(&news);
                }
                sent
            }
            // No filter asks about such a call.
            _ => send(listener, id, NotificationAnswer::Errno(EPERM)),
        }
    }

    /// Counts a refusal; something to tell if it is the first of its kind.
    fn count(&self, asked: &Notification, call: &Call, answer: &Answer, errno: u16) -> Option<News> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = Refusal::new(call, answer, errno);
        // While it waits for its answer its pid is nobody else's.
        let told = refusals.count(refusal, SystemTime::now(), || (asked.pid, command(asked.pid)))?;
        Some(News { refusals: vec![told], more: 0 })
    }

    /// Tells what was not told yet.
    fn tell(&self) {
        match self.kind {
            Kind::Refusals => {
                let news = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).news();
                if let Some(news) = news {
                    self.write(&news);
                }
            }
            Kind::Calls => {
                let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = calls.write(&self.subject) {
                    crate::warn!("write down the calls of {}: {error}", self.subject.id);
                }
            }
        }
    }

    fn write(&self, news: &News) {
        self.subject.chronicle.tell("seccomp", news);
    }
}

/// Who asked may have been killed while it waited.
fn send(listener: &OwnedFd, id: u64, answer: NotificationAnswer) -> io::Result<()> {
    loop {
        match answer_notification(listener, id, answer) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}

/// The name of a process: its own choice, and nothing of its memory.
fn command(pid: u32) -> String {
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_utf_8_is_a_text() {
        let named = std::thread::spawn(|| {
            std::fs::write("/proc/thread-self/comm", b"a\xff\x1b[31m\n").unwrap();
            command(rustix::thread::gettid().as_raw_nonzero().get().try_into().unwrap())
        });
        assert_eq!(named.join().unwrap(), "a\u{fffd}\u{1b}[31m");
    }

    /// Answers that a container gets which asks without end, in the first second and the two after it.
    fn answers_to_a_flood(mut bucket: Bucket, most: u64) -> u64 {
        let begun = Instant::now();
        let steps = 3 * 1000 / super::super::rate::PAUSE.as_millis();
        let mut answers = 0;
        for step in 0..u32::try_from(steps).unwrap() {
            let now = begun + step * super::super::rate::PAUSE;
            while answers < most && bucket.try_take(now) {
                answers += 1;
            }
        }
        answers
    }

    #[test]
    fn a_flood_gets_the_burst_and_then_the_rate() {
        let (size, per_second) = REFUSALS;
        let most = u64::from(size) + 3 * u64::from(per_second);
        let answers = answers_to_a_flood(Bucket::new(size, per_second), 10 * most);
        assert!(answers <= most && answers > most - u64::from(per_second), "{answers} of {most}");
        // The control: without the limit the same flood gets whatever it asks for.
        assert_eq!(answers_to_a_flood(Bucket::new(u32::MAX, u32::MAX), 10 * most), 10 * most);
    }
}
