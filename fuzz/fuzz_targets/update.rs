//! Any bytes as the request of an update: refused, or within what the container was given.
#![no_main]

#[path = "../../tests/fuzz/create.rs"]
mod create;
#[path = "../../tests/fuzz/update.rs"]
mod update;
#[path = "../../tests/fuzz/grant.rs"]
mod grant;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    update::update_within(bytes, &grant::GRANT);
});
