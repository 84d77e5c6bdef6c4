//! What the admin lets pass for some containers until some day.

use palisade_policy::{Policy, Record};
use serde_json::{Value, json};

use crate::support::{self, Verdict, verdict_of};

fn exempting(rule: &str, scope: &str, expires: &str) -> Policy {
    let text = format!("[[exempt]]\nrule = \"{rule}\"\n{scope}\nreason = \"TICKET-12\"\nexpires = {expires}\n");
    Policy::from_toml(&text).unwrap()
}

fn app() -> Value {
    let mut spec = support::golden("cri-app");
    spec["annotations"]["io.kubernetes.cri.sandbox-namespace"] = json!("monitoring");
    spec["annotations"]["io.kubernetes.cri.container-name"] = json!("node-exporter");
    spec["process"]["user"]["uid"] = json!(0);
    spec
}

fn verdict(policy: &Policy) -> (Verdict, Record) {
    let record = support::create(&app(), policy).record;
    (verdict_of("user.non-root", &record), record)
}

const SCOPE: &str = "namespace = \"monitoring\"\ncontainer = \"node-*\"";

#[test]
fn an_exempted_finding_passes_unchanged_and_is_on_record() {
    let policy = exempting("user.non-root", SCOPE, "\"2027-03-01\"");
    let (hardened, record) = support::admitted(support::create(&app(), &policy));
    assert_eq!(verdict_of("user.non-root", &record), Verdict::Exempted);
    assert_eq!(support::json(hardened.as_bytes())["process"]["user"]["uid"], json!(0));
    let used = &record.exemptions;
    assert_eq!(used.len(), 1, "one use, however many findings");
    assert_eq!((used[0].entry.as_str(), used[0].rule.as_str()), ("exempt[0]", "user.non-root"));
    assert_eq!((used[0].reason.as_str(), used[0].expires.as_str()), ("TICKET-12", "2027-03-01"));
    assert_eq!(verdict_of("linux.seccomp", &record), Verdict::Mutated, "other rules hold");
}

#[test]
fn a_denial_can_be_exempted_from() {
    let mut spec = app();
    spec["linux"]["sysctl"] = json!({ "kernel.msgmax": "65536" });
    assert!(support::is_denied(&support::create(&spec, &Policy::builtin())));
    let policy = exempting("linux.sysctl", SCOPE, "2027-03-01");
    let (hardened, record) = support::admitted(support::create(&spec, &policy));
    assert_eq!(verdict_of("linux.sysctl", &record), Verdict::Exempted);
    assert_eq!(support::json(hardened.as_bytes())["linux"]["sysctl"]["kernel.msgmax"], json!("65536"));
}

#[test]
fn an_exemption_counts_for_its_rule_its_scope_and_its_time_only() {
    for (scope, expires, expected) in [
        (SCOPE, "\"2026-11-25\"", Verdict::Exempted),
        (SCOPE, "\"2026-11-24\"", Verdict::Mutated),
        (SCOPE, "\"2020-01-01\"", Verdict::Mutated),
        ("namespace = \"monitor\"", "\"2027-03-01\"", Verdict::Mutated),
        ("namespace = \"monitoring\"\ncontainer = \"other\"", "\"2027-03-01\"", Verdict::Mutated),
        ("namespace = \"monitoring\"\nsandbox = true", "\"2027-03-01\"", Verdict::Mutated),
    ] {
        let (verdict, record) = verdict(&exempting("user.non-root", scope, expires));
        assert_eq!(verdict, expected, "{scope} {expires}");
        assert_eq!(record.exemptions.is_empty(), expected != Verdict::Exempted, "{scope} {expires}");
    }
    let (verdict, record) = verdict(&exempting("linux.sysctl", SCOPE, "\"2027-03-01\""));
    assert_eq!(verdict, Verdict::Mutated);
    assert!(record.exemptions.is_empty(), "an exemption that nothing needed is not used");
}

#[test]
fn an_exemption_counts_for_exec_too_and_ends_there_as_well() {
    let lasting = exempting("user.non-root", SCOPE, "\"2027-03-01\"");
    let over = exempting("user.non-root", SCOPE, "\"2026-11-24\"");
    let grant = support::admitted(support::create(&app(), &lasting)).0.grant().clone();
    let process = app()["process"].clone();
    let (kept, record) = support::admitted(support::exec(&process, &grant, &lasting));
    assert_eq!(support::json(kept.as_bytes())["user"]["uid"], json!(0));
    assert_eq!(record.exemptions.len(), 1);
    let (ended, record) = support::admitted(support::exec(&process, &grant, &over));
    assert_eq!(support::json(ended.as_bytes())["user"]["uid"], json!(65_532));
    assert!(record.exemptions.is_empty());
}

#[test]
fn at_exec_a_sandbox_is_one_that_was_created_as_such() {
    let process = app()["process"].clone();
    for (sandbox, expected) in [("false", Verdict::Exempted), ("true", Verdict::Mutated)] {
        let policy = exempting("user.non-root", &format!("namespace = \"*\"\nsandbox = {sandbox}"), "\"2027-03-01\"");
        let grant = support::admitted(support::create(&app(), &policy)).0.grant().clone();
        let record = support::exec(&process, &grant, &policy).record;
        assert_eq!(verdict_of("user.non-root", &record), expected, "sandbox = {sandbox}");
    }
}

#[test]
fn what_makes_no_sense_is_an_error_with_its_line() {
    let whole = "[[exempt]]\nrule = \"user.non-root\"\nnamespace = \"a\"\nreason = \"T\"\nexpires = \"2027-03-01\"\n";
    Policy::from_toml(whole).unwrap();
    for (line, word, from, to) in [
        (2, "is no rule", "user.non-root", "user.non-rot"),
        (2, "cannot be exempted from", "user.non-root", "spec.strict"),
        (2, "cannot be exempted from", "user.non-root", "caps.never"),
        (2, "cannot be exempted from", "user.non-root", "mount.deny-always"),
        (1, "about every container", "namespace = \"a\"\n", ""),
        (1, "author chooses", "namespace = \"a\"", "container = \"a\""),
        (4, "is empty", "\"T\"", "\" \""),
        (1, "missing field", "reason = \"T\"\n", ""),
        (1, "missing field", "expires = \"2027-03-01\"\n", ""),
        (5, "is no date", "2027-03-01", "next week"),
        (5, "is no date", "\"2027-03-01\"", "2027-03-01T00:00:00Z"),
    ] {
        let text = whole.replace(from, to);
        let error = Policy::from_toml(&text).unwrap_err();
        assert!(error.to_string().contains(word), "{text}: {error}");
        assert_eq!(error.line(), line, "{text}: {error}");
    }
}
