//! Changes to a spec.

use serde_json::{Value, json};

/// Sets a member of an object that exists.
pub(crate) fn set(spec: &mut Value, pointer: &str, value: Value) {
    if let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(object) = spec.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        object.insert(name.to_owned(), value);
    }
}

/// Adds to an array, which is made where it is not there.
pub(crate) fn push(spec: &mut Value, pointer: &str, value: Value) {
    if spec.pointer(pointer).is_none() {
        set(spec, pointer, json!([]));
    }
    if let Some(array) = spec.pointer_mut(pointer).and_then(Value::as_array_mut) {
        array.push(value);
    }
}

/// Mounts a path of the host.
pub(crate) fn bind(spec: &mut Value, source: &str) {
    push(
        spec,
        "/mounts",
        json!({ "destination": "/mnt/host", "type": "bind", "source": source, "options": ["rbind", "ro"] }),
    );
}

/// Asks for a capability in the sets that containerd fills.
pub(crate) fn add_capability(spec: &mut Value, capability: &str) {
    for set in ["bounding", "effective", "permitted"] {
        push(spec, &format!("/process/capabilities/{set}"), json!(capability));
    }
}

fn namespaces(spec: &mut Value) -> Option<&mut Vec<Value>> {
    spec.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut)
}

/// Leaves a namespace out, which is the host's then.
pub(crate) fn drop_namespace(spec: &mut Value, kind: &str) {
    if let Some(namespaces) = namespaces(spec) {
        namespaces.retain(|namespace| namespace.get("type") != Some(&json!(kind)));
    }
}

/// Joins a namespace by its path.
pub(crate) fn join_namespace(spec: &mut Value, kind: &str, path: &str) {
    drop_namespace(spec, kind);
    push(spec, "/linux/namespaces", json!({ "type": kind, "path": path }));
}

/// Changes the options of the mount at a destination.
pub(crate) fn mount_options(spec: &mut Value, destination: &str, options: Value) {
    let mounts = spec.pointer_mut("/mounts").and_then(Value::as_array_mut).into_iter().flatten();
    for mount in mounts.filter(|mount| mount.get("destination") == Some(&json!(destination))) {
        set(mount, "/options", options.clone());
    }
}
