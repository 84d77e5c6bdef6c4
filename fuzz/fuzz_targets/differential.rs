//! Any bytes as `config.json`, as the request of an exec and of an update: refused, or every reader reads what was judged.
#![no_main]

#[path = "../../tests/fuzz/create.rs"]
mod create;
#[path = "../../tests/fuzz/differential.rs"]
mod differential;
#[path = "../../tests/fuzz/grant.rs"]
mod grant;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    differential::specs(bytes);
    differential::process(bytes, &grant::GRANT);
    differential::resources(bytes, &grant::GRANT);
});
