//! Records of what has already happened, which wait where the log can't be written for a while: whoever holds its lock, or has filled the
//! disk, is not to make them disappear. Decisions do not wait here: what can't be put on record is not done.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use palisade_policy::AuditSettings;

use super::AuditError;

/// Records that wait at most, and their bytes.
const MOST: (usize, usize) = (256, 1 << 20);
/// Between two tries; it doubles up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Writing a line takes little.
const STACK: usize = 256 << 10;

/// Writes a line where the settings say.
pub(super) type Put = fn(&AuditSettings, &'static str, Vec<u8>) -> Result<(), AuditError>;

/// A record that waits.
#[derive(Debug)]
struct Record {
    event: &'static str,
    line: Vec<u8>,
}

/// The records of this shim that wait, the oldest one first.
#[derive(Debug)]
pub(super) struct Later {
    held: Mutex<Held>,
    /// Held by who writes them, so that none is written twice.
    writing: Mutex<()>,
    put: Put,
}

#[derive(Debug)]
struct Held {
    records: VecDeque<Arc<Record>>,
    /// Where they go: as the newest one says, since a place that an admin has given up may never be written to again.
    settings: Option<AuditSettings>,
    bytes: usize,
    /// Records for which there was no room, since the last one that says so.
    lost: u64,
    /// A thread tries to write them.
    is_tried: bool,
}

impl Later {
    pub(super) const fn new(put: Put) -> Self {
        let held = Held { records: VecDeque::new(), settings: None, bytes: 0, lost: 0, is_tried: false };
        Self { held: Mutex::new(held), writing: Mutex::new(()), put }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a record now, or keeps it where that can't be done or others wait already.
    pub(super) fn tell(&'static self, settings: AuditSettings, event: &'static str, line: Vec<u8>) {
        let record = Record { event, line };
        if self.held().is_empty() {
            match (self.put)(&settings, event, record.line.clone()) {
                // The file has it already.
                Err(error @ AuditError::Journal { .. }) if settings.sink().has_file() => {
                    return crate::warn!("{}", crate::log::chain(&error));
                }
                Err(error) => crate::warn!("a record waits: {}", crate::log::chain(&error)),
                Ok(()) => return,
            }
        }
        if self.held().keep(settings, record) {
            self.go_on();
        }
    }

    /// Tries from now on, on a thread that ends when none waits any more.
    fn go_on(&'static self) {
        let tried = thread::Builder::new().name("audit".into()).stack_size(STACK).spawn(|| {
            let (mut pause, longest) = PAUSES;
            loop {
                thread::sleep(pause);
                if self.write() {
                    return;
                }
                pause = (pause * 2).min(longest);
            }
        });
        if let Err(error) = tried {
            // Then the next record tries.
            self.held().is_tried = false;
            crate::warn!("records wait for the audit log: {error}");
        }
    }

    /// Writes what waits; whether that was all.
    pub(super) fn write(&self) -> bool {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // The lock is not held while the log's is waited for.
            let Some((settings, record, lost)) = self.held().first() else { return true };
            let line = with_lost(&record.line, lost);
            match (self.put)(&settings, record.event, line) {
                Err(AuditError::Journal { .. }) if settings.sink().has_file() => {}
                Err(_) => return false,
                Ok(()) => {}
            }
            self.held().written(lost);
        }
    }

    /// How many wait or had no room.
    pub(super) fn untold(&self) -> u64 {
        let held = self.held();
        held.lost.saturating_add(held.records.len() as u64)
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.lost == 0
    }

    /// Keeps a record, if there is room; whether somebody has to try from now on.
    fn keep(&mut self, settings: AuditSettings, record: Record) -> bool {
        self.settings = Some(settings);
        let bytes = self.bytes.saturating_add(record.line.len());
        if self.records.len() < MOST.0 && bytes <= MOST.1 {
            self.bytes = bytes;
            self.records.push_back(Arc::new(record));
        } else {
            self.lost = self.lost.saturating_add(1);
        }
        !std::mem::replace(&mut self.is_tried, true)
    }

    /// The oldest one, and how many are lost; `None` if none waits, and then nobody tries any more.
    fn first(&mut self) -> Option<(AuditSettings, Arc<Record>, u64)> {
        let first = self
            .settings
            .clone()
            .zip(self.records.front())
            .map(|(settings, record)| (settings, Arc::clone(record), self.lost));
        self.is_tried = first.is_some();
        first
    }

    /// The oldest one is on record, and so are those that were lost by then.
    fn written(&mut self, lost: u64) {
        if let Some(record) = self.records.pop_front() {
            self.bytes = self.bytes.saturating_sub(record.line.len());
        }
        self.lost = self.lost.saturating_sub(lost);
    }
}

/// A line, an object with fields, that tells as well how many others are not on record.
fn with_lost(line: &[u8], lost: u64) -> Vec<u8> {
    if lost == 0 {
        return line.to_vec();
    }
    let mut told = format!("{{\"lost\":{lost},").into_bytes();
    told.extend_from_slice(line.strip_prefix(b"{").unwrap_or(line));
    told
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    use palisade_policy::Policy;
    use rustix::fs::{FlockOperation, flock};

    use super::super::put;
    use super::super::scratch::Scratch;
    use super::*;

    fn settings(scratch: &Scratch) -> AuditSettings {
        let text = format!("[audit]\npath = {:?}\n", scratch.path("audit.jsonl"));
        Policy::from_toml(&text).unwrap().audit().clone()
    }

    #[test]
    fn what_happens_while_the_log_is_locked_is_on_record_afterwards_in_order() {
        static LATER: Later = Later::new(put);
        let scratch = Scratch::new("later");
        let (settings, path) = (settings(&scratch), scratch.path("audit.jsonl"));
        let holder = fs::File::create(&path).unwrap();
        flock(&holder, FlockOperation::LockExclusive).unwrap();
        for number in 1..=3 {
            LATER.tell(settings.clone(), "oom", format!("{{\"v\":{number}}}\n").into_bytes());
        }
        assert_eq!((LATER.untold(), fs::read_to_string(&path).unwrap().as_str()), (3, ""));
        assert!(!LATER.write(), "it is still locked");
        drop(holder);
        assert!(LATER.write());
        LATER.tell(settings, "oom", b"{\"v\":4}\n".to_vec());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"v\":1}\n{\"v\":2}\n{\"v\":3}\n{\"v\":4}\n");
        assert_eq!(LATER.untold(), 0);
    }

    /// The old place may be a disk that is broken for good.
    #[test]
    fn what_waits_goes_where_the_policy_says_by_then() {
        static LATER: Later = Later::new(put);
        let (old, new) = (Scratch::new("later-old"), Scratch::new("later-new"));
        let holder = fs::File::create(old.path("audit.jsonl")).unwrap();
        flock(&holder, FlockOperation::LockExclusive).unwrap();
        LATER.tell(settings(&old), "oom", b"{\"v\":1}\n".to_vec());
        LATER.tell(settings(&new), "oom", b"{\"v\":2}\n".to_vec());
        assert!(LATER.write());
        assert_eq!(fs::read_to_string(new.path("audit.jsonl")).unwrap(), "{\"v\":1}\n{\"v\":2}\n");
        assert_eq!(fs::read_to_string(old.path("audit.jsonl")).unwrap(), "");
    }

    #[test]
    fn a_thread_writes_them_without_another_record() {
        static TOLD: Mutex<Option<mpsc::Sender<Vec<u8>>>> = Mutex::new(None);
        static FAILS: Mutex<u32> = Mutex::new(1);
        static LATER: Later = Later::new(|_, _, line| {
            let mut fails = FAILS.lock().unwrap();
            if *fails > 0 {
                *fails -= 1;
                return Err(AuditError::Encode(serde::ser::Error::custom("not now")));
            }
            TOLD.lock().unwrap().as_ref().unwrap().send(line).unwrap();
            Ok(())
        });
        let (sender, told) = mpsc::channel();
        *TOLD.lock().unwrap() = Some(sender);
        LATER.tell(AuditSettings::default(), "oom", b"{\"v\":1}\n".to_vec());
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap(), b"{\"v\":1}\n");
    }

    #[test]
    fn beyond_the_bound_they_are_counted_and_the_next_one_says_so() {
        let mut held = Later::new(put).held.into_inner().unwrap();
        let settings = AuditSettings::default;
        let record = |number: usize| Record { event: "oom", line: format!("{{\"v\":{number}}}\n").into_bytes() };
        let tries = (0..MOST.0 + 5).filter(|number| held.keep(settings(), record(*number))).count();
        assert_eq!((held.records.len(), held.lost, tries), (MOST.0, 5, 1));
        let (_, first, lost) = held.first().unwrap();
        assert_eq!(with_lost(&first.line, lost), b"{\"lost\":5,\"v\":0}\n");
        held.keep(settings(), record(1000));
        held.written(lost);
        let (_, second, lost) = held.first().unwrap();
        assert_eq!((second.line.as_slice(), lost), (b"{\"v\":1}\n".as_slice(), 1), "one was lost since");
        let big = Record { line: vec![b' '; MOST.1], ..record(0) };
        held.keep(settings(), big);
        assert_eq!(held.lost, 2, "not by number alone");
    }
}
