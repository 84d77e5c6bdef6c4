//! The body of the fuzz target for the policy file, shared with the smoke test that needs no fuzzer.

use palisade_policy::{Action, Policy, RULES};

/// Whatever the text is, it is refused or a policy under which the rules that always hold do.
///
/// True: they were not refused.
///
/// # Panics
///
/// When they do not: that is the finding.
pub(crate) fn policy_holds(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(policy) = Policy::from_toml(text) else { return false };
    let profiles = policy.profiles();
    assert!(profiles.iter().any(|profile| profile.name == policy.profile()), "the default profile is not there");
    for profile in profiles {
        for (rule, shown) in RULES.iter().zip(&profile.rules) {
            assert!(!rule.essential || shown.action == Action::Deny, "{} is {:?}", rule.id, shown.action);
        }
    }
    true
}
