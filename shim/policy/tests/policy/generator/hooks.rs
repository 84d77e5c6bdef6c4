//! Hooks.

use serde_json::json;

use super::parts::{Json, Temper, list, maybe, numbers, object, pick, words};

const STAGES: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub(super) fn of(temper: Temper) -> Json {
    let empty = pick(vec![json!({}), json!({"prestart": []}), json!({"poststop": [], "createRuntime": []})]);
    let some = object(STAGES.into_iter().map(|stage| (stage, maybe(40, list(hook(), 2)))).collect());
    temper.mix(maybe(15, empty), some)
}

fn hook() -> Json {
    object(vec![
        ("path", words(&["/usr/bin/nvidia-cdi-hook", "/opt/x", "relative"])),
        ("args", maybe(50, list(words(&["x", "--ldcache", ""]), 3))),
        ("env", maybe(40, list(words(&["A=b", "LD_PRELOAD=/x.so", "LD_DEBUG_OUTPUT=/x"]), 2))),
        ("timeout", maybe(40, numbers(&[0_i64, 1, -1]))),
    ])
}
