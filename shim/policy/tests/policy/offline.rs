//! What the admin's tool asks: containers of other machines, profiles side by side, decisions of the past.

use palisade_policy::{
    HostFacts, Identity, NamespaceSharing, ParsedSpec, PastFinding, Policy, RuleId, SourceKind, Taken,
};
use serde_json::json;

use crate::support;
use crate::tables::bind;

#[test]
fn names_stand_for_what_cannot_be_looked_at() {
    let mut spec = support::golden("cri-app");
    spec["mounts"] = json!([]);
    bind(&mut spec, "/etc", json!(["rbind"]));
    bind(&mut spec, "/srv", json!(["rbind"]));
    spec["linux"]["namespaces"] =
        json!([{"type": "ipc", "path": "/proc/1/ns/ipc"}, {"type": "network", "path": "/proc/7/ns/net"}]);
    spec["hooks"] = json!({"poststop": [{"path": "/usr/bin/x"}]});
    let spec = ParsedSpec::parse(spec.to_string().as_bytes()).unwrap();
    let facts = HostFacts::by_name(&spec, &Policy::builtin());
    let sources: Vec<_> = facts.sources.iter().map(|fact| (fact.mount, fact.kind, fact.same_as.as_deref())).collect();
    assert_eq!(sources, [(0, SourceKind::Directory, Some("/etc")), (1, SourceKind::Directory, None)]);
    let namespaces: Vec<_> = facts.namespaces.iter().map(|fact| fact.sharing).collect();
    assert_eq!(namespaces, [NamespaceSharing::Host, NamespaceSharing::Pod]);
    let hooks: Vec<_> = facts.hooks.iter().map(|fact| (fact.pointer.as_str(), fact.trusted)).collect();
    assert_eq!(hooks, [("/hooks/poststop/0", true)]);
    assert!(facts.joined_users_are_remapped);
}

const POLICY: &str = r#"
[profiles.watching]
extends = "restricted"
mode = "audit"
[[select]]
namespace = "watched"
profile = "watching"
[[select]]
namespace = "open"
profile = "privileged"
[[exempt]]
rule = "user.non-root"
namespace = "legacy"
reason = "TICKET-12"
expires = "2027-03-01"
"#;

#[test]
fn another_profile_counts_for_every_container() {
    let policy = Policy::from_toml(POLICY).unwrap();
    assert!(policy.with_profile("nosuch").is_none());
    let other = policy.with_profile("baseline").unwrap();
    assert_eq!(other.profile(), "baseline");
    let mut spec = support::golden("cri-app");
    spec["annotations"]["io.kubernetes.cri.sandbox-namespace"] = json!("open");
    assert_eq!(support::create(&spec, &policy).record.profile, "privileged");
    assert_eq!(support::create(&spec, &other).record.profile, "baseline", "no selector is left");
}

#[test]
fn every_profile_is_shown() {
    let policy = Policy::from_toml(POLICY).unwrap();
    let names: Vec<String> = policy.profiles().into_iter().map(|profile| profile.name).collect();
    assert_eq!(names, ["restricted", "baseline", "privileged", "watching"]);
}

#[test]
fn a_finding_of_the_past_is_taken_as_the_policy_would_today() {
    let policy = Policy::from_toml(POLICY).unwrap();
    let root = RuleId::named("user.non-root").unwrap().id;
    let seccomp = RuleId::named("linux.seccomp").unwrap().id;
    let sysctl = RuleId::named("linux.sysctl").unwrap().id;
    let oom = RuleId::named("process.oom").unwrap().id;
    for (namespace, rule, mendable, asked, profile, taken) in [
        ("shop", root, true, None, "restricted", Some(Taken::Mutated)),
        ("shop", root, false, None, "restricted", Some(Taken::Denied)),
        ("shop", sysctl, false, None, "restricted", Some(Taken::Denied)),
        ("shop", oom, true, None, "restricted", Some(Taken::Audited)),
        ("shop", root, true, Some("baseline"), "baseline", Some(Taken::Audited)),
        ("shop", root, true, Some("nosuch"), "restricted", Some(Taken::Mutated)),
        ("watched", root, true, None, "watching", Some(Taken::Audited)),
        ("open", root, true, None, "privileged", None),
        ("legacy", root, true, None, "restricted", Some(Taken::Exempted)),
        ("legacy", seccomp, true, None, "restricted", Some(Taken::Mutated)),
        ("legacy", root, true, Some("baseline"), "baseline", Some(Taken::Audited)),
    ] {
        let identity = Identity { pod_namespace: namespace.to_owned(), ..Identity::default() };
        let past = PastFinding { identity: &identity, id: "c", rule, mendable, asked };
        let expected = (profile.to_owned(), taken);
        assert_eq!(policy.would_take(&past, support::today()), expected, "{namespace} {rule} {asked:?}");
    }
}

#[test]
fn profiles_of_two_policies_are_compared_by_name() {
    let old = Policy::from_toml(POLICY).unwrap();
    let new = Policy::from_toml("[profiles.restricted.rules.\"res.pids\"]\nmax = 9999\n").unwrap();
    assert_eq!(new.looser_than(&old, "baseline"), None);
    assert!(new.looser_than(&old, "restricted").unwrap().contains("res.pids"));
    assert_eq!(old.looser_than(&new, "restricted"), None);
    assert_eq!(new.looser_than(&old, "watching"), None, "only one of them has it");
}
