//! A policy as it is shown: what an admin wrote comes back, in the form in which it was written.

use palisade_policy::{CallWatch, Policy};
use palisade_seccomp::{Library, Mitigation};
use serde_json::{Value, json};

use crate::support;

/// The settings of a rule in the profile `restricted`.
fn shown(policy: &Policy, rule: &str) -> Value {
    let profiles = policy.profiles();
    let restricted = profiles.iter().find(|profile| profile.name == "restricted").unwrap();
    Value::Object(restricted.rules.iter().find(|shown| shown.rule.as_str() == rule).unwrap().settings.clone())
}

fn refused(text: &str) -> String {
    Policy::from_toml(text).unwrap_err().to_string()
}

#[test]
fn what_was_written_is_shown() {
    let rows = [
        ("res.memory", "default = \"1GiB\"\nmax = \"2GiB\"", json!({"default": 1_u64 << 30, "max": 2_u64 << 30})),
        ("res.cpu", "default = \"250m\"\nmax = \"1500m\"", json!({"default": "250m", "max": "1500m"})),
        ("res.pids", "default = 10\nmax = 20", json!({"default": 10, "max": 20})),
        ("mount.host-path", "allow = [\"/data\", \"/log:ro\"]", json!({"allow": ["/data", "/log:ro"]})),
        (
            "linux.devices",
            "allow = [\"/dev/fuse c 10:229\", \"/dev/loop0 b 7:0\"]",
            json!({"allow": ["/dev/fuse c 10:229", "/dev/loop0 b 7:0"]}),
        ),
        ("task.stdio", "allow = [\"binary:///usr/bin/logger\"]", json!({"allow": ["binary:///usr/bin/logger"]})),
    ];
    for (rule, text, expected) in rows {
        let text = format!("[profiles.restricted.rules.\"{rule}\"]\n{text}\n");
        let policy = Policy::from_toml(&text).unwrap_or_else(|error| panic!("{text}{error}"));
        assert_eq!(shown(&policy, rule), expected, "{rule}");
    }
}

/// As docs/controls.md says.
#[test]
fn the_built_in_limits() {
    let policy = Policy::builtin();
    assert_eq!(shown(&policy, "mount.size"), json!({"default": 512_u64 << 20, "max": 4_u64 << 30}));
    assert_eq!(shown(&policy, "res.memory"), json!({"default": 4_u64 << 30, "max": 64_u64 << 30}));
    assert_eq!(shown(&policy, "res.pids"), json!({"default": 2048, "max": 4096}));
    assert_eq!(shown(&policy, "res.cpu"), json!({"default": "8000m", "max": "8000m"}));
}

#[test]
fn an_entry_that_names_nothing_certain_is_refused() {
    for word in ["", "*", "two words", "a\\u0001b", "\\t"] {
        let text = format!("[profiles.restricted.rules.annotations]\nallow = [\"{word}\"]\n");
        assert!(refused(&text).contains("empty or unbounded"), "{word:?}: {}", refused(&text));
    }
}

#[test]
fn a_mitigation_counts_once_and_others_beside_it() {
    let known: Vec<String> = Library::default().mitigations();
    let [first, second, ..] = known.as_slice() else { panic!("{known:?}") };
    let policy = Policy::from_toml(&format!("mitigations = [\"{first}\", \"{second}\", \"{first}\"]\n")).unwrap();
    let ids: Vec<&str> = policy.mitigations().iter().map(|mitigation| Mitigation::id(mitigation)).collect();
    assert_eq!(ids, [first.as_str(), second.as_str()]);
    assert!(Policy::builtin().mitigations().is_empty());
}

#[test]
fn a_policy_knows_the_library_it_was_read_with() {
    let own = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let library = Library::with_profiles(&[("narrow", own)], None).unwrap();
    let policy = Policy::from_files_with(&[("", "")], library).unwrap();
    assert!(policy.library().profiles().contains(&"narrow".to_owned()), "{:?}", policy.library().profiles());
    assert!(!Policy::builtin().library().profiles().contains(&"narrow".to_owned()));
}

#[test]
fn what_is_watched_goes_by_the_profile_and_the_report() {
    let rows = [
        ("", CallWatch::Refusals),
        ("[seccomp]\nreport = false\n", CallWatch::Off),
        ("[profiles.restricted]\nlearn = true\n", CallWatch::Calls),
        ("[seccomp]\nreport = false\n[profiles.restricted]\nlearn = true\n", CallWatch::Calls),
        ("[profiles.baseline]\nlearn = true\n", CallWatch::Refusals),
    ];
    for (text, expected) in rows {
        let policy = Policy::from_toml(text).unwrap_or_else(|error| panic!("{text}{error}"));
        let (hardened, _) = support::admitted(support::create(&support::golden("cri-app"), &policy));
        assert_eq!(policy.call_watch(hardened.grant()), expected, "{text}");
    }
}

/// It only does early what a judgement does.
#[test]
fn to_prepare_changes_nothing() {
    let (ready, fresh) = (Policy::builtin(), Policy::builtin());
    ready.prepare();
    let create = |policy| support::admitted(support::create(&support::golden("cri-app"), policy)).0;
    assert_eq!(create(&ready).as_bytes(), create(&fresh).as_bytes());
}
