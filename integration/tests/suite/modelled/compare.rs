//! A specification of containerd's beside one of the model.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::{Check, World};

/// Names of this run, and the model's that stand for them.
pub(super) struct Names(Vec<(String, String)>);

/// The model's.
const SANDBOX: &str = "5f2c8a1d9b3e4f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8";

/// What is not compared, and why; `*` stands for the number of an item.
const IGNORED: &[(&str, &str)] = &[
    ("/ociVersion", "containerd's version decides"),
    (
        "/linux/cgroupsPath",
        "the suite's pods stay below its own cgroup; that it ends in the container's id is compared by itself",
    ),
    (
        "/linux/seccomp/syscalls",
        "the list of calls is containerd's own and grows with it; that there is a filter, its default and its architectures are compared",
    ),
    ("/linux/devices/*/fileMode", "the node's files have modes and owners, which no rule goes by"),
    ("/linux/devices/*/uid", "as above"),
    ("/linux/devices/*/gid", "as above"),
    ("/annotations/io.kubernetes.cri.sandbox-log-directory", "the suite's logs stay below its own directory"),
];

/// The same for privileged containers.
const OF_PRIVILEGED: &[(&str, &str)] =
    &[("/linux/devices", "every device of the machine; that there are some is compared by itself")];

impl Names {
    pub(super) fn of_sandbox(id: &str, name: &str) -> Self {
        Self(vec![(id.to_owned(), SANDBOX.to_owned()), (name.to_owned(), name.to_owned())])
    }

    /// A container and its name; the model's id is the digest of the name, and is replaced in its specification.
    pub(super) fn container(&mut self, id: &str, name: &str) {
        self.0.push((id.to_owned(), format!("ID-OF-{name}")));
    }

    /// Fails unless what containerd wrote for a container is what the model says.
    pub(super) fn compare(&self, world: &World, id: &str, modelled: &Value, what: &str) -> Check {
        let path = world.containerd.layout().bundles().join("k8s.io").join(id).join("config.json");
        let mut text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for (name, stand_in) in &self.0 {
            text = text.replace(name.as_str(), stand_in);
        }
        let real: Value = serde_json::from_str(&text)?;
        expect!(!modelled.is_null(), "{what}: the model has no such container");
        let own = real["linux"]["cgroupsPath"].as_str().unwrap_or_default();
        let stand_in = self.0.iter().find(|(name, _)| name == id).map(|(_, stand_in)| stand_in.as_str());
        expect!(stand_in.is_some_and(|stand_in| own.ends_with(stand_in)), "{what}: cgroup {own:?}");
        let privileged = real["linux"]["resources"]["devices"][0]["allow"] == true;
        expect!(
            !privileged || real["linux"]["devices"].as_array().is_some_and(|all| !all.is_empty()),
            "{what}: no device"
        );
        let mut differing = Vec::new();
        differences("", &canonical("", &real), &canonical("", modelled), privileged, &mut differing);
        expect!(differing.is_empty(), "{what}: {}", differing.join("\n  "));
        Ok(())
    }
}

/// A specification without what says nothing, with sets in order, and without numbers of processes.
fn canonical(at: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(key, value)| (key.clone(), canonical(&format!("{at}/{key}"), value)));
            Value::Object(kept.filter(|(_, value)| !says_nothing(value)).collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| canonical(&format!("{at}/*"), item)).collect();
            if is_set(at) {
                items.sort_by_key(ToString::to_string);
            }
            Value::Array(items)
        }
        Value::String(text) if at.ends_with("/path") && at.starts_with("/linux/namespaces") => {
            Value::from(namespace(text))
        }
        Value::String(text) if at.ends_with("/source") => Value::from(source(text)),
        other => other.clone(),
    }
}

fn says_nothing(value: &Value) -> bool {
    value.is_null()
        || *value == false
        || value.as_str().is_some_and(str::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn is_set(at: &str) -> bool {
    at.starts_with("/process/capabilities/")
        || matches!(
            at,
            "/process/user/additionalGids"
                | "/linux/namespaces"
                | "/linux/maskedPaths"
                | "/linux/readonlyPaths"
                | "/linux/seccomp/architectures"
                | "/process/env"
        )
}

/// Pids and names of network namespaces are the machine's.
fn namespace(path: &str) -> String {
    match path.strip_prefix("/proc/").and_then(|rest| rest.split_once('/')) {
        Some((_, file)) => format!("/proc/PID/{file}"),
        None if path.contains("/cni-") => "NETWORK".to_owned(),
        None => path.to_owned(),
    }
}

/// The file for the last message has a name at random.
fn source(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((above, _)) if above.contains("/containers/") && above.starts_with("/var/lib/kubelet") => {
            format!("{above}/FILE")
        }
        _ => path.to_owned(),
    }
}

fn differences(at: &str, real: &Value, modelled: &Value, privileged: bool, into: &mut Vec<String>) {
    if is_ignored(at, privileged) {
        return;
    }
    match (real, modelled) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let part = key.replace('~', "~0").replace('/', "~1");
                let null = Value::Null;
                let (left, right) = (left.get(key).unwrap_or(&null), right.get(key).unwrap_or(&null));
                differences(&format!("{at}/{part}"), left, right, privileged, into);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{at}/{index}"), left, right, privileged, into);
            }
        }
        (left, right) if left == right => {}
        (left, right) => into.push(format!("{at}: containerd wrote {left}, the model says {right}")),
    }
}

fn is_ignored(at: &str, privileged: bool) -> bool {
    let also = if privileged { OF_PRIVILEGED } else { &[] };
    IGNORED.iter().chain(also).any(|(pattern, _)| {
        let (mut pattern, mut at) = (pattern.split('/'), at.split('/'));
        loop {
            match (pattern.next(), at.next()) {
                (None, None) => break true,
                (Some("*"), Some(_)) => {}
                (Some(one), Some(other)) if one.replace('~', "~0") == other || one == other => {}
                _ => break false,
            }
        }
    })
}
