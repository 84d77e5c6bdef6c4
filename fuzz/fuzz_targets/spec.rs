//! Any bytes as `config.json`: refused or hardened, never a panic, and what was hardened judges clean.
#![no_main]

#[path = "../../tests/fuzz/create.rs"]
mod create;
#[path = "../../tests/fuzz/spec.rs"]
mod spec;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spec::judge_twice(bytes));
