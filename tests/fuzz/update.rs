//! The body of the fuzz target for update, shared with the smoke test that needs no fuzzer.

use std::collections::BTreeMap;

use palisade_policy::{Grant, Outcome, Policy, UpdateRequest, judge_update};
use serde_json::Value;

/// Whatever the bytes are, the limits are refused or within the policy.
///
/// True: they were not refused.
///
/// # Panics
///
/// When they are not: that is the finding.
pub(crate) fn update_within(bytes: &[u8], grant: &Grant) -> bool {
    let (policy, annotations) = (Policy::builtin(), BTreeMap::new());
    let request =
        UpdateRequest { resources: bytes, annotations: &annotations, in_force: None, today: crate::create::today() };
    let Outcome::Admit(admitted) = judge_update(request, grant, &policy).outcome else { return false };
    let limits: Value = serde_json::from_slice(admitted.as_bytes()).unwrap();
    for (pointer, max) in [("/memory/limit", 64_i64 << 30), ("/memory/swap", 64 << 30), ("/pids/limit", 4096)] {
        let limit = limits.pointer(pointer).and_then(Value::as_i64);
        assert!(limit.is_none_or(|limit| (0..=max).contains(&limit)), "{pointer} is {limit:?}");
    }
    assert!(limits.get("devices").is_none_or(|rules| rules.as_array().is_none_or(Vec::is_empty)), "a device rule");
    true
}
