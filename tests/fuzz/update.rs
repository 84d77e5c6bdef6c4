//! The body of the fuzz target for update, shared with the smoke test that needs no fuzzer.

use std::collections::BTreeMap;
use std::sync::LazyLock;

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
    given_within(bytes, grant);
    let Some(limits) = admitted(bytes, grant, &Policy::builtin()) else { return false };
    for (pointer, max) in [("/memory/limit", 64_i64 << 30), ("/memory/swap", 64 << 30), ("/pids/limit", 4096)] {
        let limit = limits.pointer(pointer).and_then(Value::as_i64);
        assert!(limit.is_none_or(|limit| (0..=max).contains(&limit)), "{pointer} is {limit:?}");
    }
    assert!(limits.get("devices").is_none_or(|rules| rules.as_array().is_none_or(Vec::is_empty)), "a device rule");
    true
}

fn admitted(bytes: &[u8], grant: &Grant, policy: &Policy) -> Option<Value> {
    let annotations = BTreeMap::new();
    let request =
        UpdateRequest { resources: bytes, annotations: &annotations, in_force: None, today: crate::create::today() };
    match judge_update(request, grant, policy).outcome {
        Outcome::Admit(admitted) => Some(serde_json::from_slice(admitted.as_bytes()).unwrap()),
        Outcome::Deny(_) => None,
    }
}

/// Limits that a profile has only where they are given. It has the name of the built-in one, which the grant is of.
const GIVEN: &str = r#"
[profiles.restricted.rules."res.cpuset"]
cpus = "0-1"
mems = "0"
[profiles.restricted.rules."res.hugepages"]
max = 4096
[profiles.restricted.rules."res.io"]
limits = ["* rbps=100 wbps=100 riops=100 wiops=100"]
weight = 100
"#;

fn given_within(bytes: &[u8], grant: &Grant) {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::from_toml(GIVEN).unwrap());
    let Some(limits) = admitted(bytes, grant, &POLICY) else { return };
    let text = |pointer: &str| limits.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert!(["", "0", "1", "0-1"].contains(&text("/cpu/cpus").as_str()), "{limits}");
    assert!(["", "0"].contains(&text("/cpu/mems").as_str()), "{limits}");
    let items = |pointer: &str| limits.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    assert!(items("/hugepageLimits").iter().all(|page| page["limit"].as_u64() <= Some(4096)), "{limits}");
    for list in ["throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice"]
    {
        let disks = items(&format!("/blockIO/{list}"));
        assert!(disks.iter().all(|disk| (1..=100).contains(&disk["rate"].as_u64().unwrap())), "{limits}");
    }
    let weight = limits.pointer("/blockIO/weight").and_then(Value::as_u64);
    assert!(weight.is_none_or(|weight| weight <= 100), "{limits}");
    let rates = text("/unified/io.max");
    let high =
        |word: &str| word.split_once('=').is_some_and(|(_, rate)| rate.parse::<u64>().is_ok_and(|rate| rate > 100));
    assert!(!rates.split(' ').any(|word| word.ends_with("=max") || high(word)), "{limits}");
}
