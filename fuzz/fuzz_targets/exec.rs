//! Any bytes as the request of an exec: refused, or within what the container was given.
#![no_main]

#[path = "../../tests/fuzz/create.rs"]
mod create;
#[path = "../../tests/fuzz/exec.rs"]
mod exec;
#[path = "../../tests/fuzz/grant.rs"]
mod grant;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    exec::exec_within(bytes, &grant::GRANT);
});
