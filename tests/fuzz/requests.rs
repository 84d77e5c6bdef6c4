//! The bodies of the fuzz targets for exec, update and the policy file, shared with the smoke test that needs no fuzzer.

use std::collections::BTreeMap;

use palisade_policy::{
    Action, Day, ExecRequest, Grant, Outcome, Policy, RULES, UpdateRequest, judge_exec, judge_update,
};
use serde_json::Value;

fn today() -> Day {
    Day::of_unix_seconds(1_800_000_000)
}

/// Whatever the bytes are, the process is refused or has no more than its container.
///
/// # Panics
///
/// When it has: that is the finding.
pub(crate) fn exec_within(bytes: &[u8], grant: &Grant) {
    let policy = Policy::builtin();
    let judge = |process: &[u8]| {
        let request = ExecRequest { process, stdin: "", stdout: "", stderr: "", terminal: false, today: today() };
        judge_exec(request, grant, &policy).outcome
    };
    let Outcome::Admit(once) = judge(bytes) else { return };
    let process: Value = serde_json::from_slice(once.as_bytes()).unwrap();
    let number = |pointer: &str| process.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    assert_eq!(number("/user/uid"), u64::from(grant.uid()), "another user than the container's");
    assert_ne!(number("/user/gid"), 0, "group root");
    assert_eq!(process["noNewPrivileges"], Value::Bool(true), "no_new_privs is off");
    for (set, names) in process["capabilities"].as_object().into_iter().flatten() {
        assert!(names.as_array().is_some_and(Vec::is_empty), "{set} of a container that has none: {names}");
    }
    match judge(once.as_bytes()) {
        Outcome::Admit(twice) => assert_eq!(twice.as_bytes(), once.as_bytes(), "a clean process was changed"),
        Outcome::Deny(denial) => panic!("a hardened process is refused: {denial}"),
    }
}

/// Whatever the bytes are, the limits are refused or within the policy.
///
/// # Panics
///
/// When they are not: that is the finding.
pub(crate) fn update_within(bytes: &[u8], grant: &Grant) {
    let (policy, annotations) = (Policy::builtin(), BTreeMap::new());
    let request = UpdateRequest { resources: bytes, annotations: &annotations, today: today() };
    let Outcome::Admit(admitted) = judge_update(request, grant, &policy).outcome else { return };
    let limits: Value = serde_json::from_slice(admitted.as_bytes()).unwrap();
    for (pointer, max) in [("/memory/limit", 64_i64 << 30), ("/memory/swap", 64 << 30), ("/pids/limit", 4096)] {
        let limit = limits.pointer(pointer).and_then(Value::as_i64);
        assert!(limit.is_none_or(|limit| (0..=max).contains(&limit)), "{pointer} is {limit:?}");
    }
    assert!(limits.get("devices").is_none_or(|rules| rules.as_array().is_none_or(Vec::is_empty)), "a device rule");
}

/// Whatever the text is, it is refused or a policy under which the rules that always hold do.
///
/// # Panics
///
/// When they do not: that is the finding.
pub(crate) fn policy_holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(policy) = Policy::from_toml(text) else { return };
    let profiles = policy.profiles();
    assert!(profiles.iter().any(|profile| profile.name == policy.profile()), "the default profile is not there");
    for profile in profiles {
        for (rule, shown) in RULES.iter().zip(&profile.rules) {
            assert!(!rule.essential || shown.action == Action::Deny, "{} is {:?}", rule.id, shown.action);
        }
    }
}
