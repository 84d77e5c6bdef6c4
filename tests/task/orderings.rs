//! What may overlap for one container, in every order.

use crate::log::Event;
use crate::play::{Nature, Outcome, Scenario, Verb, play};
use crate::stand_in::Oddity;
use Nature::{CallersLeave, CallsFail, Odd, OutOfMemory, ProcessesEnd, ProcessesVanish};
use Oddity::ExecsOutliveInit;
use Verb::{Create, Delete, Exec, Kill, Pause, Resume, Shutdown, Start, Update, Wait};

/// A container that runs.
const RUNNING: &[Verb] = &[Create, Start("")];
/// A container with an exec that was added.
const EXEC_ADDED: &[Verb] = &[Create, Start(""), Exec("e")];
/// A container with an exec that runs.
const EXEC_RUNNING: &[Verb] = &[Create, Start(""), Exec("e"), Start("e")];

pub(crate) fn answered(outcome: &Outcome, verb: Verb) -> impl Iterator<Item = &str> {
    let name = format!("{verb:?}");
    outcome.answers.iter().flatten().filter(move |(of, _)| *of == name).map(|(_, code)| code.as_str())
}

pub(crate) fn times(outcome: &Outcome, wanted: fn(&Event) -> bool) -> usize {
    outcome.events.iter().filter(|event| wanted(event)).count()
}

pub(crate) fn deletes(outcome: &Outcome) -> usize {
    times(outcome, |event| matches!(event, Event::Delete { .. }))
}

pub(crate) fn codes(outcomes: &[Outcome], verb: Verb) -> Vec<String> {
    let mut codes: Vec<String> =
        outcomes.iter().flat_map(|outcome| answered(outcome, verb)).map(str::to_owned).collect();
    codes.sort();
    codes.dedup();
    codes
}

pub(crate) fn all_deleted(outcomes: &[Outcome]) {
    for outcome in outcomes {
        assert!(outcome.leftovers.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn init_may_end_at_any_time() {
    let scenario = Scenario {
        clients: &[&[Create, Start(""), Wait(""), Delete("")]],
        nature: &[ProcessesEnd],
        ..Scenario::default()
    };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    assert_eq!(codes(&outcomes, Create), ["OK", "UNKNOWN"], "it may be gone before its pid is read");
    assert_eq!(codes(&outcomes, Start("")), ["FAILED_PRECONDITION", "NOT_FOUND", "OK", "UNKNOWN"]);
    assert_eq!(codes(&outcomes, Delete("")), ["NOT_FOUND", "OK"]);
}

#[test]
fn kill_races_with_every_step_of_a_life() {
    let scenario = Scenario {
        clients: &[&[Create, Start(""), Wait(""), Delete("")], &[Kill("")]],
        nature: &[ProcessesEnd],
        ..Scenario::default()
    };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    assert_eq!(codes(&outcomes, Kill("")), ["NOT_FOUND", "OK"]);
}

#[test]
fn delete_races_with_the_exit() {
    let scenario =
        Scenario { before: RUNNING, clients: &[&[Kill(""), Delete(""), Wait(""), Delete("")]], ..Scenario::default() };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    assert_eq!(codes(&outcomes, Delete("")), ["FAILED_PRECONDITION", "NOT_FOUND", "OK"]);
}

#[test]
fn of_two_deletes_one_deletes() {
    let scenario = Scenario {
        before: RUNNING,
        clients: &[&[Wait(""), Delete("")], &[Wait(""), Delete("")]],
        nature: &[ProcessesEnd],
    };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    for outcome in &outcomes {
        assert_eq!(deletes(outcome), 1);
        let mut answers: Vec<&str> = answered(outcome, Delete("")).collect();
        answers.sort_unstable();
        assert_eq!(answers, ["NOT_FOUND", "OK"], "{outcome:#?}");
    }
}

#[test]
fn two_deletes_and_a_start_of_what_was_only_created() {
    let scenario =
        Scenario { before: &[Create], clients: &[&[Start("")], &[Delete("")], &[Delete("")]], ..Scenario::default() };
    for outcome in play(&scenario) {
        let deleted = answered(&outcome, Delete("")).filter(|code| *code == "OK").count();
        assert_eq!(deleted, deletes(&outcome), "{outcome:#?}");
        assert!(deleted <= 1, "{outcome:#?}");
    }
}

#[test]
fn a_late_delete_does_not_hit_the_next_container_of_that_name() {
    let scenario = Scenario {
        before: &[Create],
        clients: &[&[Delete(""), Create], &[Delete("")], &[Delete("")]],
        ..Scenario::default()
    };
    for outcome in play(&scenario) {
        let deleted = answered(&outcome, Delete("")).filter(|code| *code == "OK").count();
        assert_eq!(deleted, deletes(&outcome), "{outcome:#?}");
    }
}

#[test]
fn an_exec_may_end_at_any_time() {
    let scenario = Scenario {
        before: EXEC_ADDED,
        clients: &[&[Start("e"), Wait("e"), Delete("e")], &[Kill("e")]],
        nature: &[ProcessesEnd],
    };
    let outcomes = play(&scenario);
    assert_eq!(codes(&outcomes, Start("e")), ["FAILED_PRECONDITION", "OK", "UNKNOWN"]);
    assert_eq!(codes(&outcomes, Delete("e")), ["OK"]);
}

#[test]
fn an_exec_starts_while_its_container_ends() {
    for outlive in [&[][..], &[Odd(ExecsOutliveInit), ProcessesVanish]] {
        let scenario = Scenario {
            before: EXEC_ADDED,
            clients: &[&[Start("e"), Wait("e")], &[Kill(""), Wait(""), Delete("")]],
            nature: outlive,
        };
        let outcomes = play(&scenario);
        all_deleted(&outcomes);
        assert_eq!(codes(&outcomes, Start("e")), ["FAILED_PRECONDITION", "NOT_FOUND", "OK", "UNKNOWN"]);
    }
}

#[test]
fn two_execs_and_init_end_in_any_order() {
    let scenario = Scenario {
        before: &[Create, Start(""), Exec("e"), Start("e"), Exec("f"), Start("f")],
        clients: &[&[Wait(""), Delete("")]],
        nature: &[ProcessesVanish, Odd(ExecsOutliveInit)],
    };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    assert_eq!(codes(&outcomes, Delete("")), ["OK"]);
}

#[test]
fn of_two_deletes_of_an_exec_one_deletes() {
    let scenario = Scenario {
        before: EXEC_RUNNING,
        clients: &[&[Wait("e"), Delete("e")], &[Wait("e"), Delete("e")], &[Kill("e")]],
        ..Scenario::default()
    };
    for outcome in play(&scenario) {
        let deleted = answered(&outcome, Delete("e")).filter(|code| *code == "OK").count();
        assert_eq!(deleted, 1, "{outcome:#?}");
    }
}

#[test]
fn an_exec_is_deleted_while_it_is_started() {
    let scenario = Scenario {
        before: EXEC_ADDED,
        clients: &[&[Start("e")], &[Delete("e"), Wait("e"), Delete("e")]],
        nature: &[ProcessesVanish],
    };
    for outcome in play(&scenario) {
        let deleted = answered(&outcome, Delete("e")).filter(|code| *code == "OK").count();
        assert_eq!(deleted, 1, "{outcome:#?}");
    }
}

/// Whoever waits for an exec that was never started learns that it never will be.
#[test]
fn a_container_goes_with_the_execs_that_were_never_started() {
    let scenario = Scenario {
        before: EXEC_ADDED,
        clients: &[&[Wait("e")], &[Kill(""), Wait(""), Delete("")]],
        ..Scenario::default()
    };
    all_deleted(&play(&scenario));
}

#[test]
fn pause_and_resume_race_with_the_exit() {
    let scenario =
        Scenario { before: RUNNING, clients: &[&[Pause, Resume], &[Wait(""), Delete("")]], nature: &[ProcessesEnd] };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    assert_eq!(codes(&outcomes, Delete("")), ["OK"], "an exit ends the pause");
}

/// Init is gone and its exit waits for the exec's while the container is frozen.
#[test]
fn pause_races_with_an_exit_that_waits_for_an_exec() {
    let scenario = Scenario {
        before: EXEC_RUNNING,
        clients: &[&[Pause, Resume], &[Wait(""), Delete("")]],
        nature: &[ProcessesVanish, Odd(ExecsOutliveInit)],
    };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    assert_eq!(codes(&outcomes, Delete("")), ["OK"], "an exit ends the pause");
}

#[test]
fn update_races_with_exit_and_delete() {
    let scenario = Scenario {
        before: RUNNING,
        clients: &[&[Update], &[Update], &[Kill(""), Wait(""), Delete("")]],
        ..Scenario::default()
    };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    assert_eq!(codes(&outcomes, Update), ["FAILED_PRECONDITION", "NOT_FOUND", "OK", "UNKNOWN"]);
}

#[test]
fn shutdown_never_ends_a_shim_that_holds_or_makes_a_container() {
    let scenario = Scenario {
        clients: &[&[Create, Kill(""), Wait(""), Delete("")], &[Shutdown, Shutdown]],
        ..Scenario::default()
    };
    let outcomes = play(&scenario);
    all_deleted(&outcomes);
    for outcome in &outcomes {
        let closed = answered(outcome, Create).any(|code| code == "UNAVAILABLE");
        assert!(!closed || outcome.shut_down && outcome.events.is_empty(), "{outcome:#?}");
    }
    assert_eq!(codes(&outcomes, Create), ["OK", "UNAVAILABLE"]);
    assert!(outcomes.iter().any(|outcome| outcome.shut_down) && outcomes.iter().any(|outcome| !outcome.shut_down));
}

#[test]
fn of_two_creates_one_creates() {
    let scenario = Scenario { clients: &[&[Create], &[Create]], ..Scenario::default() };
    for outcome in play(&scenario) {
        let mut answers: Vec<&str> = answered(&outcome, Create).collect();
        answers.sort_unstable();
        assert_eq!(answers, ["ALREADY_EXISTS", "OK"]);
    }
}

#[test]
fn a_verb_runs_to_its_end_though_its_caller_has_gone() {
    let scenario = Scenario {
        clients: &[&[Create, Start(""), Wait(""), Delete("")]],
        nature: &[CallersLeave, ProcessesVanish],
        ..Scenario::default()
    };
    for outcome in play(&scenario) {
        // A create that nobody waited for is there all the same, with its event.
        let left = answered(&outcome, Create).any(|code| code == "LEFT");
        assert!(!left || !outcome.events.is_empty() || outcome.leftovers.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn callers_of_execs_and_deletes_leave() {
    let scenario = Scenario {
        before: EXEC_ADDED,
        clients: &[&[Start("e"), Delete("e")], &[Kill(""), Delete("")]],
        nature: &[CallersLeave],
    };
    play(&scenario);
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    let scenario = Scenario {
        clients: &[&[Create, Start("")], &[Shutdown]],
        nature: &[CallsFail("create"), ProcessesEnd],
        ..Scenario::default()
    };
    for outcome in play(&scenario) {
        let made = answered(&outcome, Create).any(|code| code == "OK");
        assert_eq!(made, !outcome.events.is_empty(), "{outcome:#?}");
        assert_eq!(made, !outcome.leftovers.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn a_start_or_an_exec_that_fails_leaves_a_container_that_can_be_deleted() {
    for before in [&[Create][..], EXEC_ADDED] {
        let scenario = Scenario {
            before,
            clients: &[&[Start("e"), Delete("e")], &[Start(""), Kill(""), Wait(""), Delete("")]],
            nature: &[CallsFail("start"), CallsFail("exec")],
        };
        all_deleted(&play(&scenario));
    }
}

#[test]
fn a_delete_that_fails_can_be_tried_again() {
    let scenario = Scenario {
        before: RUNNING,
        clients: &[&[Kill(""), Wait(""), Delete(""), Delete("")]],
        nature: &[CallsFail("delete")],
    };
    for outcome in play(&scenario) {
        let twice_failed = answered(&outcome, Delete("")).all(|code| code == "UNKNOWN");
        assert_eq!(outcome.leftovers.is_empty(), !twice_failed, "{outcome:#?}");
        assert_eq!(deletes(&outcome), usize::from(!twice_failed));
    }
}

#[test]
fn an_oom_kill_is_told_once_and_before_the_exit() {
    let scenario = Scenario { before: RUNNING, clients: &[&[Wait(""), Delete("")]], nature: &[OutOfMemory] };
    for outcome in play(&scenario) {
        let order: Vec<&Event> =
            outcome.events.iter().filter(|event| matches!(event, Event::Oom | Event::Exit { .. })).collect();
        assert!(matches!(order[..], [Event::Oom, Event::Exit { .. }]), "{outcome:#?}");
    }
}
