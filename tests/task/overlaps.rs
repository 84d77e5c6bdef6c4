//! What may overlap of execs, pauses, kills and several containers, in every order.

use crate::log::Event;
use crate::orderings::{all_deleted, answered, codes, deletes, times};
use crate::play::{Nature, Outcome, Scenario, Verb, play};
use crate::stand_in::{KILLED, Oddity};
use Nature::{CallersLeave, CallsFail, CallsHang, Odd, OutOfMemory, PidsShared, ProcessesEnd, ProcessesVanish};
use Oddity::{ExecsOutliveInit, OomNoticeIsLate};
use Verb::{
    Connect, Create, Delete, Exec, In, Kill, KillAll, Pause, Pids, Resume, Shutdown, Start, State, Update, Wait,
};

const EXEC_ADDED: &[Verb] = &[Create, Start(""), Exec("e")];
const EXEC_RUNNING: &[Verb] = &[Create, Start(""), Exec("e"), Start("e")];
const PAUSED: &[Verb] = &[Create, Start(""), Exec("e"), Start("e"), Pause];

fn good(outcome: &Outcome, verb: Verb) -> bool {
    answered(outcome, verb).any(|code| code == "OK")
}

/// What is started is not deleted: the delete comes before the start or is refused.
#[test]
fn a_delete_does_not_kill_what_is_being_started() {
    let scenario = Scenario { before: &[Create], clients: &[&[Start("")], &[Delete("")]], ..Scenario::default() };
    let outcomes = play(&scenario);
    for outcome in &outcomes {
        assert!(good(outcome, Start("")) != good(outcome, Delete("")), "{outcome:#?}");
        assert_eq!(deletes(outcome), usize::from(good(outcome, Delete(""))));
    }
    assert_eq!(codes(&outcomes, Delete("")), ["FAILED_PRECONDITION", "OK"]);
}

/// Frozen half-made it would run into the runtime's deadline.
#[test]
fn a_pause_waits_for_an_exec_that_is_being_started() {
    let scenario =
        Scenario { before: EXEC_ADDED, clients: &[&[Start("e")], &[Pause, Resume]], nature: &[ProcessesVanish] };
    let outcomes = play(&scenario);
    assert_eq!(codes(&outcomes, Start("e")), ["FAILED_PRECONDITION", "OK"]);
    assert!(outcomes.iter().any(|outcome| good(outcome, Start("e")) && good(outcome, Pause) && good(outcome, Resume)));
}

/// Under cgroup v1 a process that is killed while it is frozen dies when it is thawed, so whoever kills it thaws.
#[test]
fn a_kill_ends_a_container_that_is_paused_before_or_after() {
    for kill in [Kill(""), KillAll] {
        let killer: &'static [Verb] = if kill == KillAll { &[KillAll] } else { &[Kill("")] };
        let scenario = Scenario {
            before: EXEC_RUNNING,
            clients: &[&[Pause], &[Wait("e"), Wait(""), Delete("")]],
            ..Scenario::default()
        };
        let clients = [scenario.clients, &[killer]].concat().leak();
        let outcomes = play(&Scenario { clients, ..scenario });
        all_deleted(&outcomes);
        assert_eq!(codes(&outcomes, kill), ["OK"]);
        assert_eq!(codes(&outcomes, Delete("")), ["OK"]);
    }
}

/// Its container stays frozen, and the exec dies when that goes on.
#[test]
fn the_kill_of_an_exec_does_not_end_a_pause() {
    let scenario = Scenario {
        before: PAUSED,
        clients: &[&[Kill("e")], &[Resume, Wait("e"), Delete("e")], &[State("e"), State("")]],
        ..Scenario::default()
    };
    let outcomes = play(&scenario);
    assert_eq!(codes(&outcomes, Kill("e")), ["OK"]);
    assert_eq!(codes(&outcomes, Delete("e")), ["OK"]);
}

#[test]
fn an_exec_is_paused_resumed_and_killed_with_its_container() {
    let scenario =
        Scenario { before: EXEC_RUNNING, clients: &[&[Pause, Resume], &[Kill("e"), Kill("")]], ..Scenario::default() };
    for outcome in play(&scenario) {
        assert_eq!(times(&outcome, |event| matches!(event, Event::Exit { .. })), 2, "{outcome:#?}");
    }
}

#[test]
fn update_and_pause_wait_for_the_start() {
    let scenario = Scenario { before: &[Create], clients: &[&[Start("")], &[Update], &[Pause]], ..Scenario::default() };
    let outcomes = play(&scenario);
    assert_eq!(codes(&outcomes, Update), ["OK"]);
    assert_eq!(codes(&outcomes, Pause), ["FAILED_PRECONDITION", "OK"]);
}

/// A name is free again when its exec was deleted; the one that comes then is another.
#[test]
fn the_name_of_an_exec_is_used_again() {
    let scenario = Scenario {
        before: EXEC_RUNNING,
        clients: &[&[Wait("e"), Delete("e"), Exec("e"), Start("e"), Wait("e")], &[Delete("e")]],
        nature: &[ProcessesVanish],
    };
    let outcomes = play(&scenario);
    assert_eq!(codes(&outcomes, Exec("e")), ["FAILED_PRECONDITION", "OK"]);
    assert_eq!(codes(&outcomes, Start("e")), ["FAILED_PRECONDITION", "NOT_FOUND", "OK"]);
}

#[test]
fn an_exec_is_deleted_while_its_container_is() {
    let scenario = Scenario {
        before: EXEC_RUNNING,
        clients: &[&[Wait("e"), Delete("e")], &[Wait(""), Delete("")], &[Kill("")]],
        ..Scenario::default()
    };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    assert_eq!(codes(&outcomes, Delete("e")), ["NOT_FOUND", "OK"]);
}

/// What is left in a pid namespace that is not the container's own is killed with it.
#[test]
fn init_takes_its_execs_along_though_the_pid_namespace_is_shared() {
    for before in [EXEC_ADDED, EXEC_RUNNING, PAUSED] {
        let mut clients: Vec<&'static [Verb]> = vec![&[Kill(""), Wait(""), Delete("")]];
        match before.len() {
            3 => clients.push(&[Start("e"), Wait("e")]),
            4 => clients.push(&[Wait("e"), Delete("e")]),
            _ => clients.push(&[Resume, Wait("e")]),
        }
        let scenario = Scenario { before, clients: clients.leak(), nature: &[PidsShared, Odd(ExecsOutliveInit)] };
        let outcomes = play(&scenario);
        all_deleted(&outcomes);
        assert_eq!(codes(&outcomes, Delete("")), ["OK"]);
    }
}

#[test]
fn an_oom_kill_is_told_before_the_exit_of_any_process_though_its_notice_is_late() {
    const CLIENTS: [&[&[Verb]]; 2] = [&[&[Wait("e"), Delete("e")]], &[&[Wait(""), Delete("")]]];
    for clients in CLIENTS {
        let scenario = Scenario { before: EXEC_RUNNING, clients, nature: &[OutOfMemory, Odd(OomNoticeIsLate)] };
        for outcome in play(&scenario) {
            let first = outcome.events.iter().position(|event| matches!(event, Event::Exit { status: KILLED, .. }));
            let oom = outcome.events.iter().position(|event| *event == Event::Oom);
            assert!(oom.is_some() && (first.is_none() || oom < first), "{outcome:#?}");
        }
    }
}

/// The sandbox of a pod, running.
const SANDBOX: &[Verb] = &[In("s", &Create), In("s", &Start(""))];

#[test]
fn containers_of_a_pod_come_side_by_side() {
    let clients: &[&[Verb]] = &[&[In("a", &Create)], &[In("b", &Create)]];
    for outcome in play(&Scenario { before: SANDBOX, clients, nature: &[CallsFail("create")] }) {
        let made = |id: &str| outcome.others.get(id).is_some_and(|events| !events.is_empty());
        assert_eq!(made("a"), good(&outcome, In("a", &Create)));
        assert_eq!(made("b"), good(&outcome, In("b", &Create)));
        assert_eq!(outcome.leftovers.len(), 1 + usize::from(made("a")) + usize::from(made("b")), "{outcome:#?}");
    }
}

/// The sandbox stays until its containers are gone, and the shim until the sandbox is.
#[test]
fn one_container_of_a_pod_goes_while_another_comes() {
    let clients: &[&[Verb]] = &[&[In("a", &Create), In("a", &Delete("")), Shutdown], &[In("b", &Create)]];
    for outcome in play(&Scenario { before: SANDBOX, clients, ..Scenario::default() }) {
        assert!(!outcome.shut_down, "the sandbox is there: {outcome:#?}");
        assert_eq!(outcome.leftovers.len(), 2, "{outcome:#?}");
    }
}

#[test]
fn the_shim_ends_with_the_last_container_of_the_pod() {
    const ENDED: &[Verb] = &[
        In("s", &Create),
        In("s", &Start("")),
        In("a", &Create),
        In("a", &Start("")),
        In("a", &Kill("")),
        In("a", &Wait("")),
        In("s", &Kill("")),
        In("s", &Wait("")),
    ];
    let clients: &[&[Verb]] = &[&[In("a", &Delete("")), Shutdown], &[In("s", &Delete("")), Shutdown]];
    let outcomes = play(&Scenario { before: ENDED, clients, ..Scenario::default() });
    all_deleted(&outcomes);
    assert!(outcomes.iter().all(|outcome| outcome.shut_down));
}

/// containerd is restarted: its calls are cut off, and the new one asks what there is.
#[test]
fn a_new_containerd_finds_what_the_old_one_left() {
    let clients: &[&[Verb]] = &[&[Create, Start("")], &[Connect, State(""), Pids, Kill("")]];
    for outcome in play(&Scenario { clients, nature: &[CallersLeave], ..Scenario::default() }) {
        let known = [State(""), Pids, Kill("")].map(|verb| good(&outcome, verb));
        assert!(known[0] <= known[1] && known[1] <= known[2], "once there, always there: {outcome:#?}");
    }
}

/// The wait of the old one is cut off, and the new one's is answered.
#[test]
fn a_new_containerd_waits_for_the_end_and_deletes() {
    let clients: &[&[Verb]] = &[&[Wait("")], &[Connect, Kill(""), Wait(""), Delete("")]];
    let outcomes = play(&Scenario { before: EXEC_RUNNING, clients, nature: &[CallersLeave] });
    assert!(outcomes.iter().any(|outcome| good(outcome, Delete("")) && outcome.leftovers.is_empty()));
}

#[test]
fn a_restart_of_containerd_cuts_an_exec_and_a_pause_off() {
    let clients: &[&[Verb]] = &[&[Start("e")], &[Pause, Resume]];
    play(&Scenario { before: EXEC_ADDED, clients, nature: &[CallersLeave] });
}

/// A runtime that was killed has taken nothing back; the shim does.
#[test]
fn a_create_that_hangs_leaves_nothing() {
    let scenario = Scenario {
        clients: &[&[Create, Delete("")], &[Shutdown]],
        nature: &[CallsHang("create"), CallsFail("delete")],
        ..Scenario::default()
    };
    for outcome in play(&scenario) {
        let hung = answered(&outcome, Create).any(|code| code == "DEADLINE_EXCEEDED");
        assert!(!hung || outcome.leftovers.is_empty() && outcome.events.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn a_start_that_hangs_leaves_a_container_that_can_be_deleted() {
    let clients: &[&[Verb]] = &[&[Start(""), Kill(""), Wait(""), Delete("")]];
    let nature: &[Nature] = &[CallsHang("start"), ProcessesEnd];
    all_deleted(&play(&Scenario { before: &[Create], clients, nature }));
}

/// What it may have started is killed: nobody would wait for it.
#[test]
fn an_exec_that_hangs_leaves_a_container_that_can_be_deleted() {
    let clients: &[&[Verb]] = &[&[Start("e"), Delete("e")], &[Kill(""), Wait(""), Delete("")]];
    all_deleted(&play(&Scenario { before: EXEC_ADDED, clients, nature: &[CallsHang("exec")] }));
}

#[test]
fn every_kill_reaches_who_is_there() {
    let scenario = Scenario {
        before: EXEC_ADDED,
        clients: &[&[Start("e")], &[KillAll], &[Wait(""), Delete("")]],
        ..Scenario::default()
    };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    for outcome in &outcomes {
        let started = times(outcome, |event| matches!(event, Event::ExecStarted { .. }));
        let ended = times(outcome, |event| matches!(event, Event::Exit { exec, .. } if exec == "e"));
        assert_eq!(started, ended, "{outcome:#?}");
    }
}

#[test]
fn three_ends_and_a_delete_that_is_too_early() {
    let scenario = Scenario {
        before: &[Create, Start(""), Exec("e"), Start("e"), Exec("f")],
        clients: &[&[Start("f")], &[Delete(""), Wait(""), Delete("")]],
        nature: &[ProcessesVanish],
    };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
}

#[test]
fn a_container_that_ends_at_once_is_created_or_refused() {
    let scenario = Scenario {
        clients: &[&[Create, Wait(""), Delete("")], &[State("")]],
        nature: &[ProcessesVanish, CallsFail("delete")],
        ..Scenario::default()
    };
    for outcome in play(&scenario) {
        assert_eq!(good(&outcome, Create), !outcome.events.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn running_containers_pause_and_end_side_by_side() {
    let scenario = Scenario {
        before: &[Create, Start(""), In("d", &Create), In("d", &Start(""))],
        clients: &[&[Pause, Kill("")], &[In("d", &Pause), In("d", &Resume)]],
        ..Scenario::default()
    };
    for outcome in play(&scenario) {
        assert_eq!((outcome.events.len(), outcome.others["d"].len()), (4, 4), "{outcome:#?}");
    }
}
