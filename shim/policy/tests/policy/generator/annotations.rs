//! Annotations: those by which CRI says whose the container is, and others.

use serde_json::json;

use super::parts::{Json, Temper, map, maybe, merged, pick, words};
use super::{ID, Role};

/// The pod of every generated container.
pub(super) const POD_UID: &str = "4d6d1f5e-8f5b-4f0c-9a3e-3a4f0f1b2c3d";

/// The sandbox of every generated container that is not one.
pub(super) const SANDBOX: &str = "s1";

pub(super) fn of(role: Role, temper: Temper) -> Json {
    let others = map(
        &[
            "io.kubernetes.cri.sandbox-log-directory",
            "io.kubernetes.cri.image-name",
            "io.kubernetes.cri.sandbox-cpu-quota",
            "io.kubernetes.cri.sandbox-cpu-period",
            "org.systemd.property.TasksMax",
            "run.oci.handler",
            "io.container.manager",
            "",
        ],
        words(&["x", "", "20000", "100000", "uint64 9", "ü"]),
        4,
    );
    match role {
        Role::Standalone => maybe(80, temper.mix(others, pick(vec![json!({"io.kubernetes.cri.sandbox-id": "s9"})]))),
        Role::Sandbox => merged(vec![pod("sandbox", ID), maybe(60, others), claims(temper)]),
        Role::Container => merged(vec![pod("container", SANDBOX), maybe(60, others), claims(temper)]),
    }
}

fn pod(kind: &str, sandbox: &str) -> Json {
    pick(vec![json!({
        "io.kubernetes.cri.container-type": kind,
        "io.kubernetes.cri.sandbox-id": sandbox,
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-name": "cart-0",
        "io.kubernetes.cri.sandbox-uid": POD_UID,
        "io.kubernetes.cri.container-name": if kind == "sandbox" { "" } else { "app" },
    })])
}

/// What no container may say of itself, and what a pod may ask for.
fn claims(temper: Temper) -> Json {
    let asks = maybe(3, pick(vec![json!({"palisade.io/profile": "restricted"})]));
    temper.mix(asks, pick(vec![json!({"io.kubernetes.cri.sandbox-id": ""}), json!({"palisade.io/profile": "none"})]))
}
