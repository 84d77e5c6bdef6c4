//! The container that exec and update are about: user 1000, no capability.

use std::sync::LazyLock;

use palisade_policy::{Grant, Outcome, ParsedSpec, Policy};
use serde_json::{Value, json};

/// What it was given.
pub(crate) static GRANT: LazyLock<Grant> = LazyLock::new(|| {
    let mut spec: Value = serde_json::from_slice(include_bytes!("../golden/cri-app/hardened.json")).unwrap();
    spec["root"]["path"] = json!("rootfs");
    spec["linux"]["cgroupsPath"] = json!("/kubepods/c1");
    let spec = ParsedSpec::parse(spec.to_string().as_bytes()).unwrap();
    match crate::create::judge(spec, &Policy::builtin()).outcome {
        Outcome::Admit(hardened) => hardened.grant().clone(),
        Outcome::Deny(denial) => panic!("{denial}"),
    }
});
