//! The body of the fuzz target for the spec, shared with the smoke test that needs no fuzzer.

use palisade_policy::{Outcome, ParsedSpec, Policy};

use crate::create::judge;

/// Whatever the bytes are, they are refused or hardened; what was hardened parses and judges clean.
///
/// # Panics
///
/// When they do not: that is the finding.
pub(crate) fn judge_twice(bytes: &[u8]) {
    let policy = Policy::builtin();
    let Some(once) = harden(bytes, &policy) else { return };
    let Some(spec) = ParsedSpec::parse(&once).ok() else { panic!("a hardened spec does not parse") };
    let again = judge(spec, &policy);
    assert!(!again.record.has_mutations(), "hardening is not idempotent: {:?}", again.record);
    match again.outcome {
        Outcome::Admit(twice) => assert_eq!(twice.as_bytes(), once, "a clean spec was changed"),
        Outcome::Deny(denial) => panic!("a hardened spec is refused: {denial}"),
    }
}

fn harden(bytes: &[u8], policy: &Policy) -> Option<Vec<u8>> {
    match judge(ParsedSpec::parse(bytes).ok()?, policy).outcome {
        Outcome::Admit(hardened) => Some(hardened.as_bytes().to_vec()),
        Outcome::Deny(_) => None,
    }
}
