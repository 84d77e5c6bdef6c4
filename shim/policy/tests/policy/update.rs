//! New limits are held to the policy and can not take a limit away.

use std::collections::BTreeMap;

use palisade_policy::{Grant, Policy, UpdateRequest, judge_update};
use serde_json::{Value, json};

use crate::support::{self, Verdict, Verdict::*, verdict_of};

fn grant() -> Grant {
    let (hardened, _) = support::admitted(support::create(&support::golden("cri-app"), &Policy::builtin()));
    hardened.grant().clone()
}

#[test]
fn limits_stay_within_the_policy_and_in_force() {
    const GIB: i64 = 1 << 30;
    let rows: &[(&str, Value, Verdict, Value)] = &[
        (
            "res.memory",
            json!({"memory": {"limit": GIB, "swap": GIB}}),
            Clean,
            json!({"memory": {"limit": GIB, "swap": GIB}}),
        ),
        (
            "res.memory",
            json!({"memory": {"limit": 65 * GIB}}),
            Mutated,
            json!({"memory": {"limit": 64 * GIB, "swap": 64 * GIB}}),
        ),
        (
            "res.memory",
            json!({"memory": {"limit": -1, "swap": -1}}),
            Mutated,
            json!({"memory": {"limit": 64 * GIB, "swap": 64 * GIB}}),
        ),
        ("res.memory", json!({"memory": {"swap": -1}}), Mutated, json!({"memory": {}})),
        ("res.cpu", json!({"cpu": {"shares": 512}}), Clean, json!({"cpu": {"shares": 512}})),
        (
            "res.cpu",
            json!({"cpu": {"quota": -1, "period": 100_000}}),
            Mutated,
            json!({"cpu": {"quota": 800_000, "period": 100_000}}),
        ),
        (
            "res.cpu",
            json!({"cpu": {"period": 1_000_000}}),
            Mutated,
            json!({"cpu": {"quota": 8_000_000, "period": 1_000_000}}),
        ),
        ("res.cpu", json!({"cpu": {"period": 0}}), Clean, json!({"cpu": {"period": 0}})),
        ("res.pids", json!({"pids": {"limit": -1}}), Mutated, json!({"pids": {"limit": 4096}})),
        ("res.pids", json!({"pids": {"limit": 0}}), Mutated, json!({})),
        (
            "res.unified",
            json!({"unified": {"memory.max": "max"}}),
            Mutated,
            json!({"unified": {"memory.max": (64 * GIB).to_string()}}),
        ),
        (
            "res.unified",
            json!({"unified": {"cpu.max": "max 50000"}}),
            Mutated,
            json!({"unified": {"cpu.max": "400000 50000"}}),
        ),
        ("update.devices", json!({"devices": [{"allow": false, "access": "rwm"}]}), Mutated, json!({})),
    ];
    for (rule, asked, verdict, expected) in rows {
        let decision = support::update(asked, &grant(), &Policy::builtin());
        assert_eq!(verdict_of(rule, &decision.record), *verdict, "{rule}: {asked}");
        let (hardened, _) = support::admitted(decision);
        assert_eq!(support::json(hardened.as_bytes()), *expected, "{rule}: {asked}");
    }
}

#[test]
fn what_no_update_may_do_is_refused() {
    for (rule, asked) in [
        ("res.devices", json!({"devices": [{"allow": true, "access": "rwm"}]})),
        ("res.unified", json!({"unified": {"cgroup.procs": "1"}})),
        ("spec.strict", json!({"memory": {"limit": 1.5}})),
        ("spec.strict", json!({"memoryx": {}})),
    ] {
        let decision = support::update(&asked, &grant(), &Policy::builtin());
        assert!(support::is_denied(&decision), "{asked}");
        assert_eq!(verdict_of(rule, &decision.record), Denied, "{asked}");
    }
}

#[test]
fn annotations_are_those_of_cri() {
    for (name, verdict) in [("io.kubernetes.cri.sandbox-id", Clean), ("org.systemd.property.TasksMax", Denied)] {
        let annotations = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        let request = UpdateRequest {
            resources: b"{}",
            annotations: &annotations,
            in_force: None,
            today: crate::support::today(),
        };
        let decision = judge_update(request, &grant(), &Policy::builtin());
        assert_eq!(verdict_of("update.annotations", &decision.record), verdict, "{name}");
    }
}
