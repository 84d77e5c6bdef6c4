//! Any text as a policy file: refused, or the rules that always hold do.
#![no_main]

#[path = "../../tests/fuzz/policy.rs"]
mod policy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    policy::policy_holds(bytes);
});
