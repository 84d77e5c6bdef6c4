//! The body of the differential fuzz target, shared with the tests: what was judged is what libcontainer reads from the
//! bytes that are handed on, and there is one way only to read them. The tests compare with Go's reader as well.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use oci_spec::runtime as oci;
use palisade_policy::{
    CapabilityName, ExecRequest, Grant, HardenedSpec, Outcome, ParsedSpec, Policy, ProfilePlace, UpdateRequest,
    judge_exec, judge_update,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The strictest profile, and the one that lets every field pass.
static POLICIES: LazyLock<[Policy; 2]> = LazyLock::new(|| {
    let privileged = Policy::from_toml("profile = \"privileged\"");
    [Policy::builtin(), privileged.unwrap_or_else(|error| panic!("{error}"))]
});

/// What is handed on for a `config.json`, under each policy that admits it.
///
/// # Panics
///
/// When a reader reads something else: that is the finding.
pub(crate) fn specs(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Ok(spec) = ParsedSpec::parse(bytes) else { return Vec::new() };
    let judged = POLICIES.iter().map(|policy| crate::create::judge(spec.clone(), policy).outcome);
    let admitted = judged.filter_map(|outcome| match outcome {
        Outcome::Admit(hardened) => Some(hardened),
        Outcome::Deny(_) => None,
    });
    admitted
        .map(|hardened| {
            let read: oci::Spec = read_alike(hardened.as_bytes(), "/process/capabilities");
            is_what_was_judged(&read, &hardened);
            let with_paths =
                hardened.with_paths(&[], &[], ProfilePlace::Document).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(value(&with_paths), value(hardened.as_bytes()), "paths changed more than paths");
            hardened.as_bytes().to_vec()
        })
        .collect()
}

/// What is handed on for the process of an exec.
///
/// # Panics
///
/// As [`specs`].
pub(crate) fn process(bytes: &[u8], grant: &Grant) -> Vec<Vec<u8>> {
    let judged = POLICIES.iter().map(|policy| {
        let request = ExecRequest {
            process: bytes,
            stdin: "",
            stdout: "",
            stderr: "",
            terminal: false,
            today: crate::create::today(),
        };
        judge_exec(request, grant, policy).outcome
    });
    let admitted = judged.filter_map(|outcome| match outcome {
        Outcome::Admit(hardened) => Some(hardened.as_bytes().to_vec()),
        Outcome::Deny(_) => None,
    });
    admitted.inspect(|bytes| drop(read_alike::<oci::Process>(bytes, "/capabilities"))).collect()
}

/// What is handed on for the resources of an update.
///
/// # Panics
///
/// As [`specs`].
pub(crate) fn resources(bytes: &[u8], grant: &Grant) -> Vec<Vec<u8>> {
    let annotations = std::collections::BTreeMap::new();
    let judged = POLICIES.iter().map(|policy| {
        let request = UpdateRequest {
            resources: bytes,
            annotations: &annotations,
            in_force: None,
            today: crate::create::today(),
        };
        judge_update(request, grant, policy).outcome
    });
    let admitted = judged.filter_map(|outcome| match outcome {
        Outcome::Admit(hardened) => Some(hardened.as_bytes().to_vec()),
        Outcome::Deny(_) => None,
    });
    admitted.inspect(|bytes| drop(read_alike::<oci::LinuxResources>(bytes, ""))).collect()
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("no JSON is handed on: {error}"))
}

/// The document as libcontainer reads it (`oci_spec::runtime::Spec::load`), which is all that stands there.
///
/// # Panics
///
/// When it is not.
pub(crate) fn read_alike<T: DeserializeOwned + Serialize>(bytes: &[u8], capabilities: &str) -> T {
    is_canonical(bytes);
    let plain = value(bytes);
    let read: T = serde_json::from_reader(bytes).unwrap_or_else(|error| panic!("libcontainer does not read: {error}"));
    let written = serde_json::to_value(&read).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(sorted(written, capabilities), sorted(plain.clone(), capabilities), "libcontainer reads something else");
    capability_names(&plain, capabilities);
    read
}

/// Sets have no order in oci-spec.
fn sorted(mut document: Value, capabilities: &str) -> Value {
    let sets = document.pointer_mut(capabilities).and_then(Value::as_object_mut);
    for set in sets.into_iter().flatten().filter_map(|(_, set)| set.as_array_mut()) {
        set.sort_by_key(ToString::to_string);
    }
    document
}

/// runc takes exactly the names of capability.h, where oci-spec takes others too.
fn capability_names(document: &Value, capabilities: &str) {
    let sets = document.pointer(capabilities).and_then(Value::as_object);
    for name in sets.into_iter().flatten().flat_map(|(_, set)| set.as_array().into_iter().flatten()) {
        let exact = name.as_str().and_then(CapabilityName::exact).map(|capability| capability.to_string());
        assert_eq!(exact.as_deref(), name.as_str(), "{name} is no capability's name");
    }
}

/// Outside of texts there is no space and no number but a plain integer; no object has a key twice, in any case. Null is
/// an absence to every reader.
fn is_canonical(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{error}"));
    let (mut outside, mut in_text, mut escaped) = (String::new(), false, false);
    for letter in text.chars() {
        match letter {
            '"' if !escaped => in_text = !in_text,
            _ if !in_text => outside.push(letter),
            _ => {}
        }
        escaped = in_text && letter == '\\' && !escaped;
    }
    for token in outside.split([',', ':', '{', '}', '[', ']']).filter(|token| !token.is_empty()) {
        let digits = token.strip_prefix('-').unwrap_or(token);
        let integer = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        let plain = matches!(token, "true" | "false" | "null") || (integer && token != "-0");
        assert!(plain, "{token:?} is not written in its only form");
    }
    no_key_twice(&value(bytes));
    assert_eq!(serde_json::to_vec(&value(bytes)).ok().as_deref(), Some(bytes), "a key twice, or out of order");
}

/// Maps, whose keys are data.
const MAPS: [&str; 6] = ["annotations", "sysctl", "unified", "rdma", "netDevices", "timeOffsets"];

/// Go's reader takes the key of a type's field in any case.
fn no_key_twice(value: &Value) {
    match value {
        Value::Object(map) => {
            let keys: BTreeSet<String> = map.keys().map(|key| key.to_lowercase()).collect();
            assert_eq!(keys.len(), map.len(), "keys that differ by case: {:?}", map.keys());
            map.iter().filter(|(key, _)| !MAPS.contains(&key.as_str())).for_each(|(_, value)| no_key_twice(value));
        }
        Value::Array(list) => list.iter().for_each(no_key_twice),
        _ => {}
    }
}

/// What the policy goes by afterwards is what libcontainer read.
fn is_what_was_judged(read: &oci::Spec, hardened: &HardenedSpec) {
    let grant = hardened.grant();
    let process = read.process().as_ref().unwrap_or_else(|| panic!("no process"));
    let user = process.user();
    assert_eq!((user.uid(), user.gid()), (grant.uid(), grant.gid()));
    assert_eq!(user.additional_gids().as_deref().unwrap_or_default(), grant.additional_gids());
    assert_eq!(process.no_new_privileges(), Some(grant.no_new_privileges()));
    assert_eq!(process.terminal(), Some(hardened.terminal()));
    let capabilities = process.capabilities().as_ref().unwrap_or_else(|| panic!("no capability sets"));
    let read_sets = [
        ("bounding", capabilities.bounding()),
        ("effective", capabilities.effective()),
        ("permitted", capabilities.permitted()),
        ("inheritable", capabilities.inheritable()),
        ("ambient", capabilities.ambient()),
    ];
    for ((name, granted), (read_name, set)) in grant.capabilities().named().into_iter().zip(read_sets) {
        let set: BTreeSet<CapabilityName> = set.iter().flatten().map(|capability| (*capability).into()).collect();
        assert_eq!((name, granted), (read_name, &set));
    }
    let linux = read.linux().as_ref().unwrap_or_else(|| panic!("no Linux section"));
    let memory = linux.resources().as_ref().and_then(|resources| *resources.memory());
    let limit = memory.and_then(|memory| memory.limit());
    assert_eq!(limit.unwrap_or(0), grant.memory_limit());
    assert_eq!(linux.cgroups_path().as_deref(), Some(hardened.cgroups_path().as_ref()));
    assert_eq!(read.root().as_ref().map(|root| root.path().as_path()), Some(hardened.root()));
    let annotations = read.annotations().iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
    assert_eq!(&annotations.collect::<std::collections::BTreeMap<_, _>>(), hardened.annotations());
}
