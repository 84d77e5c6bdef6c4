//! What the shim reads off an admitted request, beside the document.

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxNamespaceType as Kind;
use palisade_policy::{CapabilityName, Policy, ProfilePlace};
use serde_json::{Value, json};

use crate::support::{self, Task};
use crate::tables::pod;

fn app() -> Value {
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    spec
}

fn namespace<'a>(spec: &'a mut Value, kind: &str) -> &'a mut Value {
    let list = spec["linux"]["namespaces"].as_array_mut().unwrap();
    list.iter_mut().find(|namespace| namespace["type"] == kind).unwrap()
}

#[test]
fn the_terminal_is_the_requests() {
    let policy = Policy::builtin();
    let mut spec = app();
    for (asked, written) in [(true, true), (true, false), (false, true), (false, false)] {
        spec["process"]["terminal"] = json!(written);
        let task = Task { terminal: asked, ..Task::of(&support::id_of(&spec)) };
        let (hardened, _) = support::admitted(support::create_task(&spec, &task, &policy));
        assert_eq!(hardened.terminal(), asked);
        assert_eq!(support::json(hardened.as_bytes())["process"]["terminal"], json!(asked));
        let (process, _) = support::admitted(support::exec_with(&spec["process"], hardened.grant(), &policy, asked));
        assert_eq!(process.terminal(), asked);
        assert_eq!(support::json(process.as_bytes())["terminal"], json!(asked));
    }
}

#[test]
fn a_pid_namespace_that_is_joined_is_shared() {
    let mut spec = app();
    for (path, shared) in [(Value::Null, false), (json!("/proc/77/ns/pid"), true)] {
        namespace(&mut spec, "pid")["path"] = path;
        let (hardened, _) = support::admitted(support::create(&spec, &Policy::builtin()));
        assert_eq!(hardened.pid_namespace_shared(), shared);
    }
    // Without one of its own it has the host's, where a profile lets it.
    spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    let policy = Policy::from_toml("profile = \"privileged\"").unwrap();
    assert!(support::admitted(support::create(&spec, &policy)).0.pid_namespace_shared());
}

/// The embedded runtime sees the host read-only unless hooks run.
#[test]
fn hooks_are_told_of_wherever_they_run() {
    let policy = Policy::from_toml("profile = \"privileged\"").unwrap();
    let mut spec = app();
    let told = |spec: &Value| support::admitted(support::create(spec, &policy)).0.has_hooks();
    assert!(!told(&spec));
    spec["hooks"] = json!({ "prestart": [], "poststop": [] });
    assert!(!told(&spec));
    for stage in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        spec["hooks"] = json!({ stage: [{ "path": "/usr/bin/hook" }] });
        assert!(told(&spec), "{stage}");
    }
}

#[test]
fn annotations_and_places_are_those_of_the_document() {
    let mut spec = app();
    spec["annotations"]["run.oci.handler"] = json!("x");
    let (hardened, _) = support::admitted(support::create(&spec, &Policy::builtin()));
    let document = support::json(hardened.as_bytes());
    assert_eq!(json!(hardened.annotations()), document["annotations"]);
    assert!(!hardened.annotations().contains_key("run.oci.handler"));
    let mounted: Vec<Value> = hardened.places().iter().map(|place| json!(place.destination)).collect();
    let written: Vec<Value> = document["mounts"].as_array().unwrap().iter().map(|m| m["destination"].clone()).collect();
    assert_eq!(mounted, written);
    assert_eq!(hardened.cgroups_path(), document["linux"]["cgroupsPath"]);
    assert_eq!(json!(hardened.root()), document["root"]["path"]);
    assert_eq!(hardened.root(), Path::new(support::BUNDLE).join(support::id_of(&spec)).join("rootfs"));
}

/// A record of calls names it, so that what is learned is no looser.
#[test]
fn the_system_call_profile_is_the_documents() {
    let mut spec = app();
    let (hardened, _) = support::admitted(support::create(&spec, &Policy::builtin()));
    let written = support::json(hardened.as_bytes())["linux"]["seccomp"].clone();
    assert!(written["syscalls"].as_array().is_some_and(|calls| !calls.is_empty()), "{written}");
    assert_eq!(json!(hardened.seccomp()), written);
    let policy = Policy::from_toml("profile = \"privileged\"").unwrap();
    spec["linux"]["seccomp"] = Value::Null;
    assert_eq!(support::admitted(support::create(&spec, &policy)).0.seccomp(), None, "no profile");
}

/// The runtime gets the document with other paths, and nothing else in it is another.
#[test]
fn paths_are_exchanged_where_they_stand() {
    let mut spec = app();
    namespace(&mut spec, "network")["path"] = json!("/proc/77/ns/net");
    namespace(&mut spec, "ipc")["path"] = json!("/proc/77/ns/ipc");
    let (hardened, _) = support::admitted(support::create(&spec, &Policy::builtin()));
    let mut expected = support::json(hardened.as_bytes());
    let sources = [(1, PathBuf::from("/view/1"))];
    let joined = [(Kind::Network, PathBuf::from("/view/net")), (Kind::Pid, PathBuf::from("/view/pid"))];
    let bytes = hardened.with_paths(&sources, &joined, ProfilePlace::Document).unwrap();
    expected["mounts"][1]["source"] = json!("/view/1");
    namespace(&mut expected, "network")["path"] = json!("/view/net");
    if namespace(&mut expected, "pid").get("path").is_some() {
        namespace(&mut expected, "pid")["path"] = json!("/view/pid");
    }
    assert_eq!(support::json(&bytes), expected);
    let bytes = hardened.with_paths(&sources, &joined, ProfilePlace::Compiled).unwrap();
    let profile = expected["linux"].as_object_mut().unwrap().remove("seccomp");
    assert!(profile.is_some());
    assert_eq!(support::json(&bytes), expected, "all but the profile");
    assert!(hardened.with_paths(&[(999, PathBuf::from("/view/1"))], &[], ProfilePlace::Document).is_err());
}

#[test]
fn a_record_says_whether_something_was_changed() {
    let policy = Policy::builtin();
    assert!(!support::create(&app(), &policy).record.has_mutations());
    let mut writable = app();
    writable["process"]["oomScoreAdj"] = json!(-1);
    assert!(!support::create(&writable, &policy).record.has_mutations(), "what was let pass is no change");
    assert!(support::create(&support::golden("ctr-default"), &policy).record.has_mutations());
}

#[test]
fn a_grant_is_what_the_container_was_given() {
    let mut spec = support::golden("cri-userns");
    spec["process"]["user"] = json!({"uid": 5, "gid": 7, "additionalGids": [2000, 3000]});
    spec["linux"]["resources"]["memory"] = json!({"limit": 1 << 30, "swap": 1 << 30});
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set] = json!(["CAP_NET_BIND_SERVICE", "CAP_KILL"]);
    }
    let (hardened, _) = support::admitted(support::create(&spec, &Policy::builtin()));
    let grant = hardened.grant();
    assert_eq!((grant.uid(), grant.gid()), (5, 7));
    let first = |list: &str| u32::try_from(spec["linux"][list][0]["hostID"].as_u64().unwrap()).unwrap();
    assert_eq!((grant.host_uid(), grant.host_gid()), (first("uidMappings") + 5, first("gidMappings") + 7));
    assert_eq!(grant.additional_gids(), [2000, 3000]);
    assert_eq!((grant.memory_limit(), grant.no_new_privileges(), grant.profile()), (1 << 30, true, "restricted"));
    let kept = CapabilityName::exact("CAP_NET_BIND_SERVICE").unwrap();
    assert_eq!(grant.capabilities().bounding.iter().copied().collect::<Vec<_>>(), [kept]);
    assert_eq!(grant.identity().pod_name, spec["annotations"]["io.kubernetes.cri.sandbox-name"]);
    assert_eq!(grant.identity().sandbox_id(), spec["annotations"]["io.kubernetes.cri.sandbox-id"]);
    let size = u32::try_from(spec["linux"]["uidMappings"][0]["size"].as_u64().unwrap()).unwrap();
    spec["process"]["user"]["uid"] = json!(size);
    let beyond = support::admitted(support::create(&spec, &Policy::builtin())).0;
    assert_eq!(beyond.grant().host_uid(), size, "an id that is not mapped is nobody else's");
    let without = support::admitted(support::create(&app(), &Policy::builtin())).0;
    assert_eq!(without.grant().host_uid(), without.grant().uid(), "without a user namespace they are the same");
}
