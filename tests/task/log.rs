//! What containerd saw of a shim, and the one function that says whether it may have seen that.

use std::collections::BTreeMap;

use containerd_shim_protos::events::task::{
    TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskOOM, TaskPaused, TaskResumed, TaskStart,
};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::event::Envelope;

/// An event, as far as its order matters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Create {
        pid: u32,
    },
    Start {
        pid: u32,
    },
    /// `exec` is empty for init.
    Exit {
        exec: String,
        pid: u32,
        status: u32,
    },
    Delete {
        pid: u32,
        status: u32,
    },
    ExecAdded {
        exec: String,
    },
    ExecStarted {
        exec: String,
        pid: u32,
    },
    Paused,
    Resumed,
    Oom,
}

/// The container of an event, and the event.
pub(crate) fn read(envelope: &Envelope) -> (String, Event) {
    fn parse<T: Message>(envelope: &Envelope) -> T {
        T::parse_from_bytes(&envelope.event.value).unwrap()
    }
    match envelope.topic.as_str() {
        "/tasks/create" => {
            let TaskCreate { container_id, pid, .. } = parse(envelope);
            (container_id, Event::Create { pid })
        }
        "/tasks/start" => {
            let TaskStart { container_id, pid, .. } = parse(envelope);
            (container_id, Event::Start { pid })
        }
        "/tasks/exit" => {
            let TaskExit { container_id, id, pid, exit_status: status, .. } = parse(envelope);
            let exec = if id == container_id { String::new() } else { id };
            (container_id, Event::Exit { exec, pid, status })
        }
        "/tasks/delete" => {
            let TaskDelete { container_id, pid, exit_status: status, .. } = parse(envelope);
            (container_id, Event::Delete { pid, status })
        }
        "/tasks/exec-added" => {
            let TaskExecAdded { container_id, exec_id: exec, .. } = parse(envelope);
            (container_id, Event::ExecAdded { exec })
        }
        "/tasks/exec-started" => {
            let TaskExecStarted { container_id, exec_id: exec, pid, .. } = parse(envelope);
            (container_id, Event::ExecStarted { exec, pid })
        }
        "/tasks/paused" => (parse::<TaskPaused>(envelope).container_id, Event::Paused),
        "/tasks/resumed" => (parse::<TaskResumed>(envelope).container_id, Event::Resumed),
        "/tasks/oom" => (parse::<TaskOOM>(envelope).container_id, Event::Oom),
        other => panic!("topic {other}"),
    }
}

/// A verb that was answered well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Created {
        pid: u32,
    },
    Started {
        exec: String,
        pid: u32,
    },
    /// By `Wait`.
    Ended {
        exec: String,
        status: u32,
    },
    Deleted {
        exec: String,
        pid: u32,
        status: u32,
    },
}

/// One container as containerd saw it, and what truly happened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
    pub(crate) answers: Vec<Answer>,
    /// Status of each process that was waited for.
    pub(crate) reaped: BTreeMap<u32, u32>,
}

impl Log {
    /// Whether the last that containerd was told is that the container is paused.
    pub(crate) fn is_paused(&self) -> bool {
        let of_pauses =
            |event: &&Event| !matches!(event, Event::Oom | Event::ExecAdded { .. } | Event::ExecStarted { .. });
        let of_init = |event: &&Event| !matches!(event, Event::Exit { exec, .. } if !exec.is_empty());
        self.events.iter().rev().filter(of_pauses).find(of_init) == Some(&Event::Paused)
    }
}

/// One life of a container: up to its Delete. The same id may have another one.
#[derive(Debug, Default)]
struct Life {
    init: Option<u32>,
    started: bool,
    paused: bool,
    ended: Option<u32>,
    execs: BTreeMap<String, Exec>,
}

#[derive(Debug, Default)]
struct Exec {
    pid: Option<u32>,
    ended: bool,
}

/// What a shim must not do, if it did.
///
/// Create < Start < Exit < Delete; exec-added < exec-started < exit; init's exit last; each at most once, with one pid and
/// the status that the kernel gave; what was answered was told as well; and once all is over, no exit is missing.
pub(crate) fn violation(log: &Log) -> Option<String> {
    let mut lives = vec![Life::default()];
    for event in &log.events {
        let life = lives.last_mut()?;
        if let Err(reason) = step(life, event, &log.reaped) {
            return Some(format!("{event:?}: {reason}"));
        }
        if matches!(event, Event::Delete { .. }) {
            lives.push(Life::default());
        }
    }
    let lost = lives.iter().find_map(|life| missing(life, &log.reaped));
    lost.or_else(|| log.answers.iter().find_map(|answer| untold(answer, &log.events)))
}

type Step = Result<(), &'static str>;

fn check(holds: bool, reason: &'static str) -> Step {
    if holds { Ok(()) } else { Err(reason) }
}

fn step(life: &mut Life, event: &Event, reaped: &BTreeMap<u32, u32>) -> Step {
    if !matches!(event, Event::Create { .. }) {
        check(life.init.is_some(), "before Create, or after Delete")?;
    }
    let late = life.ended.is_some() && !matches!(event, Event::Delete { .. } | Event::ExecAdded { .. });
    check(!late, "after init's exit")?;
    match event {
        Event::Create { pid } => check(life.init.replace(*pid).is_none(), "created twice"),
        Event::Start { pid } => {
            check(life.init == Some(*pid), "another pid than Create's")?;
            check(!std::mem::replace(&mut life.started, true), "started twice")
        }
        Event::Exit { exec, pid, status } => {
            check(reaped.get(pid) == Some(status), "not what the kernel said")?;
            if exec.is_empty() { init_exit(life, *pid, *status) } else { exec_exit(life, exec, *pid) }
        }
        Event::Delete { pid, status } => {
            check(life.init == Some(*pid), "another pid than Create's")?;
            check(life.ended == Some(*status), "before init's exit, or with another status")
        }
        Event::ExecAdded { exec } => {
            // An exec that was deleted may come again.
            let known = life.execs.insert(exec.clone(), Exec::default());
            check(known.is_none_or(|known| known.ended || known.pid.is_none()), "added while it runs")
        }
        Event::ExecStarted { exec, pid } => {
            check(life.started, "before the container's Start")?;
            let exec = life.execs.get_mut(exec).ok_or("not added")?;
            check(exec.pid.replace(*pid).is_none(), "started twice")
        }
        Event::Paused => check(life.started && !std::mem::replace(&mut life.paused, true), "paused twice"),
        Event::Resumed => check(std::mem::replace(&mut life.paused, false), "not paused"),
        Event::Oom => Ok(()),
    }
}

fn init_exit(life: &mut Life, pid: u32, status: u32) -> Step {
    check(life.init == Some(pid), "another pid than Create's")?;
    check(life.execs.values().all(|exec| exec.pid.is_none() || exec.ended), "an exec that was started has not ended")?;
    life.ended = Some(status);
    Ok(())
}

fn exec_exit(life: &mut Life, exec: &str, pid: u32) -> Step {
    let exec = life.execs.get_mut(exec).ok_or("not added")?;
    check(exec.pid == Some(pid), "not started with this pid")?;
    check(!std::mem::replace(&mut exec.ended, true), "ended twice")
}

/// An end that nobody was told of.
fn missing(life: &Life, reaped: &BTreeMap<u32, u32>) -> Option<String> {
    let init = life.init.filter(|pid| reaped.contains_key(pid) && life.ended.is_none());
    let exec = life.execs.values().find(|exec| !exec.ended).and_then(|exec| exec.pid);
    let exec = exec.filter(|pid| reaped.contains_key(pid));
    init.or(exec).map(|pid| format!("the exit of {pid} is lost"))
}

/// An answer that goes with no event.
fn untold(answer: &Answer, events: &[Event]) -> Option<String> {
    let told = match answer {
        Answer::Created { pid } => events.contains(&Event::Create { pid: *pid }),
        Answer::Started { exec, pid } if exec.is_empty() => events.contains(&Event::Start { pid: *pid }),
        Answer::Started { exec, pid } => events.contains(&Event::ExecStarted { exec: exec.clone(), pid: *pid }),
        // 255 without a pid is the end of what never ran.
        Answer::Ended { status: 255, .. } | Answer::Deleted { pid: 0, status: 255, .. } => true,
        Answer::Ended { exec, status } => events
            .iter()
            .any(|event| matches!(event, Event::Exit { exec: of, status: with, .. } if of == exec && with == status)),
        Answer::Deleted { exec, pid, status } if exec.is_empty() => {
            events.contains(&Event::Delete { pid: *pid, status: *status })
        }
        Answer::Deleted { exec, pid, status } => {
            events.contains(&Event::Exit { exec: exec.clone(), pid: *pid, status: *status })
        }
    };
    (!told).then(|| format!("{answer:?} goes with no event"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(exec: &str, pid: u32, status: u32) -> Event {
        Event::Exit { exec: exec.into(), pid, status }
    }

    fn added(exec: &str) -> Event {
        Event::ExecAdded { exec: exec.into() }
    }

    fn exec_started(exec: &str, pid: u32) -> Event {
        Event::ExecStarted { exec: exec.into(), pid }
    }

    /// All that a container can go through.
    fn good() -> Log {
        Log {
            events: vec![
                Event::Create { pid: 10 },
                Event::Start { pid: 10 },
                added("e"),
                exec_started("e", 11),
                Event::Paused,
                Event::Resumed,
                exit("e", 11, 1),
                exit("", 10, 0),
                Event::Delete { pid: 10, status: 0 },
            ],
            answers: vec![
                Answer::Created { pid: 10 },
                Answer::Started { exec: String::new(), pid: 10 },
                Answer::Started { exec: "e".into(), pid: 11 },
                Answer::Ended { exec: "e".into(), status: 1 },
                Answer::Deleted { exec: "e".into(), pid: 11, status: 1 },
                Answer::Deleted { exec: String::new(), pid: 10, status: 0 },
            ],
            reaped: BTreeMap::from([(10, 0), (11, 1)]),
        }
    }

    #[test]
    fn a_good_log_passes_and_so_does_each_beginning_of_it() {
        assert_eq!(violation(&good()), None);
        for length in 0..good().events.len() {
            let events = good().events[..length].to_vec();
            let log = Log { events, ..Log::default() };
            let unreaped = violation(&log);
            assert!(unreaped.is_none_or(|reason| reason.contains("not what the kernel said")), "{length}");
        }
    }

    #[test]
    fn two_events_in_the_wrong_order_are_found() {
        let free = [added("e"), Event::Paused, Event::Resumed];
        for first in 0..good().events.len() - 1 {
            for second in first + 1..good().events.len() {
                let mut log = good();
                log.events.swap(first, second);
                // Pausing has no order with the life of an exec.
                let between = &good().events[first..=second];
                let bound = between.iter().filter(|event| !free.contains(event)).count() > 1
                    || between.contains(&Event::Paused) && between.contains(&Event::Resumed);
                assert!(!bound || violation(&log).is_some(), "{:#?}", log.events);
            }
        }
    }

    #[test]
    fn a_lost_event_is_found() {
        for at in 0..good().events.len() {
            let mut log = good();
            let lost = log.events.remove(at);
            assert!(lost == Event::Resumed || violation(&log).is_some(), "{lost:?}");
        }
    }

    #[test]
    fn a_doubled_event_is_found() {
        for at in 0..good().events.len() {
            let mut log = good();
            log.events.insert(at + 1, good().events[at].clone());
            // Adding an exec again before it was started says that it was deleted meanwhile.
            assert!(log.events[at] == added("e") || violation(&log).is_some(), "{:?}", log.events[at]);
        }
    }

    #[test]
    fn a_wrong_pid_or_status_is_found() {
        let wrong = [
            (1, Event::Start { pid: 12 }),
            (3, exec_started("e", 12)),
            (6, exit("e", 11, 0)),
            (6, exit("f", 11, 1)),
            (7, exit("", 10, 137)),
            (8, Event::Delete { pid: 10, status: 137 }),
            (8, Event::Delete { pid: 11, status: 0 }),
        ];
        for (at, event) in wrong {
            let mut log = good();
            log.events[at] = event.clone();
            assert!(violation(&log).is_some(), "{event:?}");
        }
    }

    #[test]
    fn an_answer_that_contradicts_the_events_is_found() {
        let wrong = [
            Answer::Created { pid: 12 },
            Answer::Started { exec: String::new(), pid: 12 },
            Answer::Started { exec: "f".into(), pid: 11 },
            Answer::Ended { exec: String::new(), status: 137 },
            Answer::Deleted { exec: "e".into(), pid: 11, status: 0 },
            Answer::Deleted { exec: String::new(), pid: 0, status: 0 },
        ];
        for answer in wrong {
            let mut log = good();
            log.answers.push(answer.clone());
            assert!(violation(&log).is_some(), "{answer:?}");
        }
    }
}
