//! Any text as a policy file: refused, or the rules that always hold do.
#![no_main]

#[path = "../../tests/fuzz/requests.rs"]
#[allow(dead_code, reason = "of use to the other targets")]
mod requests;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| requests::policy_holds(bytes));
