//! Whether the policy does what its admin thinks.

use palisade_policy::{Action, Day, Mode};

use super::check::Severity::{self, Critical, High, Low, Medium};
use super::check::{Check, Found, check as row};
use super::node::{Node, PolicyFacts};
use super::read::NOT_HERE;

/// Days before an exemption's end in which it is worth a word.
const SOON: i64 = 14;
const DAY: i64 = 24 * 60 * 60;

const fn check(
    id: &'static str,
    severity: Severity,
    demand: &'static str,
    why: &'static str,
    mend: &'static str,
    look: fn(&Node) -> Found,
) -> Check {
    row(id, severity, demand, why, "docs/policy.md", mend, look)
}

pub(super) const CHECKS: &[Check] = &[
    check(
        "host.policy.valid",
        Critical,
        "The policy can be read",
        "With one that can't be read nothing is created.",
        "palisade policy validate",
        valid,
    ),
    check(
        "host.policy.enforced",
        High,
        "The default profile is enforced",
        "A profile with mode = \"audit\" changes and refuses nothing.",
        "set mode = \"enforce\" for the profile; palisade replay shows what that would mean",
        |node| with(node, enforced),
    ),
    check(
        "host.policy.default-profile",
        High,
        "The default profile is not the privileged one",
        "Containers that nobody thought of get everything.",
        "set profile = \"restricted\" or \"baseline\", and select namespaces for the privileged one",
        |node| with(node, default_profile),
    ),
    check(
        "host.policy.rules-off",
        Medium,
        "No rule of the default profile is off or only noted that its kind enforces",
        "What it is about is not looked at, or passes.",
        "remove the action of the rule from the profile",
        |node| with(node, rules_off),
    ),
    check(
        "host.policy.exemptions",
        Low,
        "No exemption has ended, or ends in two weeks",
        "Containers that need it are refused from that day on.",
        "extend or remove it in the policy",
        |node| with(node, exemptions),
    ),
    check(
        "host.policy.audit-log",
        Medium,
        "Decisions are written to a file",
        "The journal alone drops lines when they come too fast; palisade's tools read the file.",
        "set audit.sink = \"file\" or \"both\"",
        |node| {
            with(node, |policy, _| match &policy.log {
                Some(log) => Found::pass(log.display().to_string()),
                None => Found::warn("audit.sink is journald"),
            })
        },
    ),
];

fn with(node: &Node, look: fn(&PolicyFacts, Day) -> Found) -> Found {
    match &node.policy {
        Ok(policy) => look(policy, node.today),
        Err(why) => Found::unknown(why.clone()),
    }
}

fn valid(node: &Node) -> Found {
    match &node.policy {
        Ok(policy) if policy.built_in => Found::pass("no file: the built-in policy is in force"),
        Ok(policy) => Found::pass(format!("default profile {}", policy.profile)),
        Err(why) if why.starts_with(NOT_HERE) => Found::unknown(why.clone()),
        Err(why) => Found::fail(why.clone()),
    }
}

fn enforced(policy: &PolicyFacts, _: Day) -> Found {
    match policy.mode {
        Mode::Enforce => Found::pass(policy.profile.clone()),
        _ => Found::fail(format!("profile {} has mode audit", policy.profile)),
    }
}

fn default_profile(policy: &PolicyFacts, _: Day) -> Found {
    if policy.profile == "privileged" {
        Found::fail("profile is privileged")
    } else {
        Found::pass(policy.profile.clone())
    }
}

/// The built-in profile is the measure: what it has off is off for a reason.
fn rules_off(policy: &PolicyFacts, _: Day) -> Found {
    let wrong: Vec<String> = policy
        .rules
        .iter()
        .filter(|rule| {
            matches!(rule.action, Action::Off | Action::Audit) && !policy.off_by_default.contains(&rule.rule)
        })
        .map(|rule| format!("{} is {}", rule.rule, rule.action))
        .collect();
    Found::all(&wrong, format!("{} rules", policy.rules.len()))
}

fn exemptions(policy: &PolicyFacts, today: Day) -> Found {
    let left = |end: Day| (end.unix_seconds() - today.unix_seconds()) / DAY;
    let near = policy.exemptions.iter().filter(|exemption| left(exemption.expires) <= SOON);
    let wrong: Vec<String> = near
        .map(|exemption| {
            let word = if left(exemption.expires) <= 0 { "ended" } else { "ends" };
            format!("{} of {} {word} on {}", exemption.entry, exemption.rule, exemption.expires)
        })
        .collect();
    Found::warn_all(&wrong, format!("{} exemptions", policy.exemptions.len()))
}
