//! A specification in which the policy finds nothing, and tables of what changes to it come to.

use std::sync::LazyLock;

use palisade_policy::Policy;
use serde_json::{Value, json};

use crate::support::{self, Task, Verdict, Verdict::Clean, verdict_of};

/// A pod's container that the policy finds nothing in. Made once: hundreds of rows start from it.
pub(crate) fn pod() -> Value {
    static POD: LazyLock<Value> = LazyLock::new(|| {
        let (hardened, _) = support::admitted(support::create(&support::golden("cri-app"), &Policy::builtin()));
        support::json(hardened.as_bytes())
    });
    POD.clone()
}

pub(crate) type Edit = fn(&mut Value);

pub(crate) fn judged(rule: &str, policy: &Policy, edit: Edit) -> Verdict {
    let mut spec = pod();
    let task = Task::of(&support::id_of(&spec));
    // The bundle's root is absolute in what was hardened; containerd writes it relative.
    spec["root"]["path"] = json!("rootfs");
    edit(&mut spec);
    verdict_of(rule, &support::create_task(&spec, &task, policy).record)
}

pub(crate) fn table(rule: &str, rows: &[(&str, Verdict, Edit)]) {
    let policy = Policy::builtin();
    assert_eq!(judged(rule, &policy, |_| {}), Clean, "{rule}: unchanged");
    for (name, verdict, edit) in rows {
        assert_eq!(judged(rule, &policy, *edit), *verdict, "{rule}: {name}");
    }
}

pub(crate) fn push(list: &mut Value, item: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().unwrap().push(item);
}

pub(crate) fn bind(spec: &mut Value, source: &str, options: Value) {
    let mount = json!({"destination": "/extra", "type": "bind", "source": source, "options": options});
    push(&mut spec["mounts"], mount);
}

pub(crate) fn mount(spec: &mut Value, destination: &str, kind: &str, options: Value) {
    let mount = json!({"destination": destination, "type": kind, "source": kind, "options": options});
    push(&mut spec["mounts"], mount);
}

pub(crate) fn options_at<'a>(spec: &'a mut Value, destination: &str) -> &'a mut Value {
    let mounts = spec["mounts"].as_array_mut().unwrap();
    let mount = mounts.iter_mut().find(|mount| mount["destination"] == destination).unwrap();
    &mut mount["options"]
}

pub(crate) fn every_set(spec: &mut Value, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set] = json!(names);
    }
}
