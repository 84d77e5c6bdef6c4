//! The order that containerd's clients go by: Create < Start < Exit < Delete, exec-added < exec-started < exit, init's exit
//! after every exec's, and each of them once. Source: containerd `docs/runtime-v2.md`, "Events".

use std::collections::BTreeMap;

use super::{Event, What};

/// What a life is expected to hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// Init was started.
    pub started: bool,
    /// How many execs were started.
    pub execs: usize,
    /// Its shim died: containerd itself tells of init's end, and of no exec's.
    pub orphaned: bool,
}

/// Places of the events of one process.
#[derive(Default)]
struct Places {
    created: Vec<usize>,
    started: Vec<usize>,
    ended: Vec<usize>,
    deleted: Vec<usize>,
}

/// What is wrong with the events of one container, in words; nothing is an empty list.
#[must_use]
pub fn faults_in(events: &[Event], life: &Life) -> Vec<String> {
    let mut of = BTreeMap::<&str, Places>::new();
    for (at, event) in events.iter().enumerate() {
        let places = of.entry(event.exec.as_str()).or_default();
        match event.what {
            What::Create | What::ExecAdded => places.created.push(at),
            What::Start | What::ExecStarted => places.started.push(at),
            What::Exit(_) => places.ended.push(at),
            What::Delete => places.deleted.push(at),
            What::Oom | What::Paused | What::Resumed => {}
        }
    }
    let init = of.remove("").unwrap_or_default();
    let mut faults = of_init(&init, life);
    let started = of.values().filter(|exec| !exec.started.is_empty()).count();
    if started != life.execs {
        faults.push(format!("{started} execs started, not {}", life.execs));
    }
    for (exec, places) in &of {
        faults.extend(of_exec(places, &init, life).into_iter().map(|fault| format!("{exec}: {fault}")));
    }
    faults
}

fn of_init(init: &Places, life: &Life) -> Vec<String> {
    let started = usize::from(life.started);
    let mut faults = counted(&[
        ("creations", &init.created, 1),
        ("starts", &init.started, started),
        ("exits", &init.ended, 1),
        ("deletions", &init.deleted, 1),
    ]);
    let order: Vec<usize> =
        [&init.created, &init.started, &init.ended, &init.deleted].into_iter().flatten().copied().collect();
    if !order.is_sorted() {
        faults.push("init's events are out of order".to_owned());
    }
    faults
}

fn of_exec(exec: &Places, init: &Places, life: &Life) -> Vec<String> {
    let started = exec.started.len();
    let ends = if life.orphaned { exec.ended.len().min(started) } else { started };
    let mut faults = counted(&[
        ("additions", &exec.created, 1),
        ("starts", &exec.started, started.min(1)),
        ("exits", &exec.ended, ends),
    ]);
    let order: Vec<usize> =
        [&exec.created, &exec.started, &exec.ended, &init.ended].into_iter().flatten().copied().collect();
    if !order.is_sorted() {
        faults.push("out of order, or after init's exit".to_owned());
    }
    faults
}

fn counted(kinds: &[(&str, &Vec<usize>, usize)]) -> Vec<String> {
    let wrong = kinds.iter().filter(|(_, places, wanted)| places.len() != *wanted);
    wrong.map(|(kind, places, wanted)| format!("{} {kind}, not {wanted}", places.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(exec: &str, what: What) -> Event {
        Event { container: "c".to_owned(), exec: exec.to_owned(), what, pid: 1 }
    }

    fn whole() -> Vec<Event> {
        vec![
            event("", What::Create),
            event("", What::Start),
            event("e", What::ExecAdded),
            event("e", What::ExecStarted),
            event("e", What::Exit(0)),
            event("", What::Exit(137)),
            event("", What::Delete),
        ]
    }

    const LIFE: Life = Life { started: true, execs: 1, orphaned: false };

    #[test]
    fn a_whole_life_has_no_fault() {
        assert_eq!(faults_in(&whole(), &LIFE), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_twice_or_out_of_order_is_found() {
        for at in 0..whole().len() {
            let mut events = whole();
            let event = events.remove(at);
            assert!(!faults_in(&events, &LIFE).is_empty(), "without {event:?}");
            let mut events = whole();
            events.insert(at, events.get(at).cloned().unwrap_or_else(|| event.clone()));
            assert!(!faults_in(&events, &LIFE).is_empty(), "twice {event:?}");
        }
        for at in 1..whole().len() {
            // An exec is added and init is started in no order of their own.
            if at == 2 {
                continue;
            }
            let mut events = whole();
            events.swap(at - 1, at);
            assert!(!faults_in(&events, &LIFE).is_empty(), "{at} before {}", at - 1);
        }
    }
}
