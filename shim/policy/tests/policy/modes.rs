//! A profile that only audits changes and refuses nothing, and tells what it would have done.

use palisade_policy::{Mode, Policy, Taken};
use serde_json::{Value, json};

use crate::support::{self, Verdict, verdict_of};

fn watching() -> Policy {
    Policy::from_toml("[profiles.restricted]\nmode = \"audit\"\n").unwrap()
}

fn privileged() -> Policy {
    Policy::from_toml("profile = \"privileged\"").unwrap()
}

/// A document without what names the profile.
fn handed_on(spec: &Value, policy: &Policy) -> Value {
    support::json(support::admitted(support::create(spec, policy)).0.as_bytes())
}

#[test]
fn nothing_is_changed_or_refused_and_the_record_is_the_enforcing_one() {
    for name in ["cri-app", "cri-privileged", "cri-host-network", "cri-host-path", "ctr-privileged", "ctr-default"] {
        let spec = support::golden(name);
        assert_eq!(handed_on(&spec, &watching()), handed_on(&spec, &privileged()), "{name}: as with every rule off");
        let (seen, enforced) =
            (support::create(&spec, &watching()).record, support::create(&spec, &Policy::builtin()).record);
        assert_eq!(seen.findings, enforced.findings, "{name}");
        assert_eq!((seen.mode, enforced.mode), (Mode::Audit, Mode::Enforce));
        assert!(!seen.has_mutations(), "{name}: nothing was changed");
    }
}

#[test]
fn what_the_hand_off_needs_holds_even_so() {
    let mut outside = support::golden("cri-app");
    outside["root"]["path"] = json!("/etc");
    let decision = support::create(&outside, &watching());
    assert!(support::is_denied(&decision));
    assert_eq!(verdict_of("root.path", &decision.record), Verdict::Denied);
}

#[test]
fn exec_and_update_are_watched_as_well() {
    let mut spec = support::golden("cri-app");
    spec["process"]["user"]["uid"] = json!(0);
    let grant = support::admitted(support::create(&spec, &watching())).0.grant().clone();
    assert_eq!(grant.uid(), 0, "the grant is of what the container got");
    let process = spec["process"].clone();
    let (kept, record) = support::admitted(support::exec(&process, &grant, &watching()));
    assert_eq!(support::json(kept.as_bytes())["user"]["uid"], json!(0));
    assert!(record.findings.iter().any(|f| f.rule.as_str() == "user.non-root" && f.action == Taken::Mutated));
    let resources = json!({ "memory": { "limit": 1_u64 << 50 } });
    let (kept, record) = support::admitted(support::update(&resources, &grant, &watching()));
    assert_eq!(support::json(kept.as_bytes())["memory"]["limit"], json!(1_u64 << 50));
    assert_eq!(verdict_of("res.memory", &record), Verdict::Mutated);
    let unknown = json!({ "memory": { "limits": 1 } });
    assert!(support::is_denied(&support::update(&unknown, &grant, &watching())), "what is not understood is refused");
}
