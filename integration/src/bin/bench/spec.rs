//! The specification that every side runs.

use std::fs;

use palisade_integration::ctr::unique;
use palisade_integration::tasks::{CreateOptions, Tasks};
use palisade_integration::{Containerd, Failure, Runtime, bundle_spec};
use serde_json::{Value, json};

/// What palisade makes of an ordinary spec, its seccomp profile and its limits included, so that all sides run the same and palisade finds
/// nothing to change.
pub(crate) fn hardened(containerd: &Containerd, tasks: &Tasks) -> Result<Value, Failure> {
    let id = unique("hardened");
    let spec = bundle_spec::spec(containerd.tag(), &id, &["/probe", "sleep"]);
    let mounts = tasks.make_container(&id, &containerd.runtime_name(Runtime::Palisade), &spec)?;
    tasks.create(&id, mounts, CreateOptions::default())?;
    let config = containerd.layout().bundles().join(containerd.tag()).join(&id).join("palisade/config.json");
    let text = fs::read_to_string(&config).map_err(Failure::io("read", &config))?;
    tasks.kill(&id, "", 9)?;
    tasks.wait(&id, "")?;
    tasks.delete(&id)?;
    tasks.remove_container(&id)?;
    serde_json::from_str(&text).map_err(|error| Failure::unreadable(&config.display().to_string(), &error))
}

/// The spec for one container: the root file system, the cgroup and the command are its own.
pub(crate) fn of_container(containerd: &Containerd, spec: &Value, id: &str, args: &[&str]) -> Value {
    let mut spec = spec.clone();
    let own = [
        ("/root/path", json!("rootfs")),
        ("/linux/cgroupsPath", json!(format!("/{}/{id}", containerd.tag()))),
        ("/process/args", json!(args)),
    ];
    for (pointer, value) in own {
        if let Some(place) = spec.pointer_mut(pointer) {
            *place = value;
        }
    }
    spec
}

/// The process of an exec in such a container.
pub(crate) fn process(spec: &Value, args: &[&str]) -> Value {
    let mut process = spec.get("process").cloned().unwrap_or_default();
    if let Some(place) = process.get_mut("args") {
        *place = json!(args);
    }
    process
}

/// Marks a container as CRI marks those of a pod.
pub(crate) fn mark(spec: &mut Value, pod: &str, sandbox: &str, is_sandbox: bool) {
    let annotations = json!({
        "io.kubernetes.cri.container-type": if is_sandbox { "sandbox" } else { "container" },
        "io.kubernetes.cri.sandbox-id": sandbox,
        "io.kubernetes.cri.sandbox-name": pod,
        "io.kubernetes.cri.sandbox-namespace": "bench",
        "io.kubernetes.cri.sandbox-uid": pod,
    });
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("annotations".to_owned(), annotations);
    }
}
