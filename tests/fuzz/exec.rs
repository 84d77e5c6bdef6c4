//! The body of the fuzz target for exec, shared with the smoke test that needs no fuzzer.

use palisade_policy::{ExecRequest, Grant, Outcome, Policy, judge_exec};
use serde_json::Value;

/// Whatever the bytes are, the process is refused or has no more than its container.
///
/// True: they were not refused.
///
/// # Panics
///
/// When it has: that is the finding.
pub(crate) fn exec_within(bytes: &[u8], grant: &Grant) -> bool {
    let policy = Policy::builtin();
    let judge = |process: &[u8]| {
        let request =
            ExecRequest { process, stdin: "", stdout: "", stderr: "", terminal: false, today: crate::create::today() };
        judge_exec(request, grant, &policy).outcome
    };
    let Outcome::Admit(once) = judge(bytes) else { return false };
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
    true
}
