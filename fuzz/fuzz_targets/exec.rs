//! Any bytes as the request of an exec: refused, or within what the container was given.
#![no_main]

#[path = "../../tests/fuzz/requests.rs"]
#[allow(dead_code, reason = "of use to the other targets")]
mod requests;
#[path = "../../tests/fuzz/spec.rs"]
#[allow(dead_code, reason = "of use to the other targets")]
mod spec;

use std::sync::LazyLock;

use palisade_policy::Grant;

static GRANT: LazyLock<Grant> =
    LazyLock::new(|| spec::grant_of(include_bytes!("../../tests/golden/cri-app/hardened.json")));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| requests::exec_within(bytes, &GRANT));
