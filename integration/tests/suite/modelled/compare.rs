//! A specification of containerd's beside one of the model.

use std::collections::BTreeSet;
use std::fs;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::support::World;

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

/// Capabilities that a machine may keep from its root, with their bits: containerd gives no more than it has.
const OF_MACHINE: &[(&str, u32)] = &[("CAP_SYS_RESOURCE", 24)];

impl Names {
    pub(super) fn of_sandbox(id: &str) -> Self {
        Self(vec![(id.to_owned(), SANDBOX.to_owned())])
    }

    /// A container and its name; the model's id is the digest of the name, and is replaced in its specification.
    pub(super) fn container(&mut self, id: &str, name: &str) {
        self.0.push((id.to_owned(), format!("ID-OF-{name}")));
    }

    /// Where what containerd wrote for a container is not what the model says.
    pub(super) fn compare(
        &self,
        world: &World,
        id: &str,
        modelled: &Value,
        unknown: &[(&str, &str)],
        what: &str,
    ) -> Result<Vec<String>, Failed> {
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
        let mut differing = Vec::new();
        let (real, modelled) = (canonical("", &real), canonical("", &possible(modelled)?));
        let ignored: Vec<&str> = IGNORED.iter().chain(unknown).map(|(pattern, _)| *pattern).collect();
        differences("", &real, &modelled, &ignored, &mut differing);
        Ok(differing.into_iter().map(|line| format!("{what}: {line}")).collect())
    }
}

/// The model's specification without the capabilities that nobody has on this machine.
fn possible(modelled: &Value) -> Result<Value, Failed> {
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or_default();
    let bounding = u64::from_str_radix(bounding.trim(), 16)?;
    let mut modelled = modelled.clone();
    for (name, _) in OF_MACHINE.iter().filter(|(_, bit)| bounding & (1 << bit) == 0) {
        for set in ["bounding", "effective", "permitted"] {
            let list = modelled.pointer_mut(&format!("/process/capabilities/{set}")).and_then(Value::as_array_mut);
            list.into_iter().for_each(|list| list.retain(|one| one != name));
        }
    }
    Ok(modelled)
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

fn differences(at: &str, real: &Value, modelled: &Value, ignored: &[&str], into: &mut Vec<String>) {
    if ignored.iter().any(|pattern| fits(pattern, at)) {
        return;
    }
    match (real, modelled) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let part = key.replace('~', "~0").replace('/', "~1");
                let null = Value::Null;
                let (left, right) = (left.get(key).unwrap_or(&null), right.get(key).unwrap_or(&null));
                differences(&format!("{at}/{part}"), left, right, ignored, into);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{at}/{index}"), left, right, ignored, into);
            }
        }
        (left, right) if left == right => {}
        (left, right) => into.push(format!("{at}: containerd wrote {left}, the model says {right}")),
    }
}

/// Whether a pattern is this pointer, with `*` for the number of an item.
fn fits(pattern: &str, at: &str) -> bool {
    let (pattern, at): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), at.split('/').collect());
    pattern.len() == at.len() && pattern.iter().zip(at).all(|(one, other)| *one == "*" || *one == other)
}
