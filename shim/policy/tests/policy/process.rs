//! Users, capabilities, and the other fields of a process.

use palisade_policy::{IdRange, Policy, ProfilePlace, TakenIds};
use serde_json::{Value, json};

use crate::support;
use crate::support::Verdict::*;
use crate::tables::{every_set, push, table};

#[test]
fn user_non_root() {
    table(
        "user.non-root",
        &[
            ("root", Mutated, |s| s["process"]["user"]["uid"] = json!(0)),
            ("absent is root", Mutated, |s| drop(s["process"]["user"].as_object_mut().unwrap().remove("uid"))),
            ("another user", Clean, |s| s["process"]["user"]["uid"] = json!(1)),
            ("root of a remapped namespace", Clean, |s| {
                s["process"]["user"]["uid"] = json!(0);
                remap(s, 65_536);
            }),
            ("root of a namespace that maps to the host", Mutated, |s| {
                s["process"]["user"]["uid"] = json!(0);
                remap(s, 0);
            }),
            ("root of a remapped namespace on a disk of its pod's", Clean, |s| writes_as_root(s, "empty-dir", "rw")),
            ("root of a remapped namespace on a disk of others", Mutated, |s| writes_as_root(s, "csi", "rw")),
            ("the same, to read", Clean, |s| writes_as_root(s, "csi", "ro")),
            ("without an idmapped mount it is nobody there", Clean, |s| {
                writes_as_root(s, "csi", "rw");
                let mount = s["mounts"].as_array_mut().unwrap().last_mut().unwrap().as_object_mut().unwrap();
                mount.remove("uidMappings");
                mount.remove("gidMappings");
            }),
            ("mappings without the namespace", Mutated, |s| {
                s["process"]["user"]["uid"] = json!(0);
                let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
                s["linux"]["uidMappings"] = mapping.clone();
                s["linux"]["gidMappings"] = mapping;
            }),
        ],
    );
}

/// Root of a user namespace with an idmapped volume, whose files are root's on the disk.
fn writes_as_root(spec: &mut Value, plugin: &str, access: &str) {
    spec["process"]["user"]["uid"] = json!(0);
    remap(spec, 1_048_576);
    let uid = spec["annotations"]["io.kubernetes.cri.sandbox-uid"].as_str().unwrap_or_default().to_owned();
    let source = format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~{plugin}/v");
    let map = json!([{"containerID": 0, "hostID": 1_048_576, "size": 65_536}]);
    let options = ["rbind", "rprivate", "nosuid", "nodev", access];
    let mount = json!({"destination": "/vol", "type": "bind", "source": source, "options": options, "uidMappings": map, "gidMappings": map});
    push(&mut spec["mounts"], mount);
}

pub(crate) fn remap(spec: &mut Value, host: u32) {
    let mapping = json!([{"containerID": 0, "hostID": host, "size": 65_536}]);
    spec["linux"]["uidMappings"] = mapping.clone();
    spec["linux"]["gidMappings"] = mapping;
    push(&mut spec["linux"]["namespaces"], json!({"type": "user"}));
}

#[test]
fn user_namespace() {
    table(
        "linux.userns",
        &[
            ("outside the host's ids", Clean, |s| remap(s, 65_536)),
            ("the host's ids", Denied, |s| remap(s, 0)),
            ("the last reserved id", Denied, |s| remap(s, 65_535)),
            ("wraps round", Denied, |s| remap(s, u32::MAX - 10)),
            ("maps nobody", Denied, |s| {
                remap(s, 65_536);
                s["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 65_536, "size": 0}]);
            }),
            ("no mapping", Denied, |s| push(&mut s["linux"]["namespaces"], json!({"type": "user"}))),
            ("ranges that share an id inside", Denied, |s| {
                remap(s, 65_536);
                let twice = json!([{"containerID": 0, "hostID": 65_536, "size": 10}, {"containerID": 9, "hostID": 70_000, "size": 1}]);
                s["linux"]["gidMappings"] = twice;
            }),
            ("ranges that share a host id", Denied, |s| {
                remap(s, 65_536);
                let twice = json!([{"containerID": 0, "hostID": 65_536, "size": 10}, {"containerID": 10, "hostID": 65_545, "size": 1}]);
                s["linux"]["uidMappings"] = twice;
            }),
            ("ids inside wrap round", Denied, |s| {
                remap(s, 65_536);
                s["linux"]["uidMappings"][0]["containerID"] = json!(u32::MAX - 10);
            }),
        ],
    );
}

/// A volume of the pod itself, and one of the host.
const VOLUME: &str = "/var/lib/kubelet/pods/b8a4d6bb-5a6f-4b86-9f43-0a4c2e4e5d4e/volumes/kubernetes.io~empty-dir/data";

#[test]
fn idmapped_mounts_are_the_pods_own() {
    fn idmapped(spec: &mut Value, source: &str, options: &[&str], inside: u32, host: u32) {
        remap(spec, 1_048_576);
        let map = json!([{"containerID": inside, "hostID": host, "size": 1000}]);
        let mount = json!({"destination": "/data", "type": "bind", "source": source, "options": options,
            "uidMappings": map, "gidMappings": map});
        push(&mut spec["mounts"], mount);
    }
    let volume = |spec: &Value| {
        let uid = spec["annotations"]["io.kubernetes.cri.sandbox-uid"].as_str().unwrap_or_default().to_owned();
        VOLUME.replace("b8a4d6bb-5a6f-4b86-9f43-0a4c2e4e5d4e", &uid)
    };
    type Change = fn(&mut Value, &str);
    let cases: &[(&str, support::Verdict, Change)] = &[
        ("its own files", Clean, |s, v| idmapped(s, v, &["rbind", "rw"], 0, 1_048_576)),
        ("a part of its users", Clean, |s, v| idmapped(s, v, &["rbind", "ridmap"], 64_000, 1_048_576 + 64_000)),
        ("a user of the host as its root", Denied, |s, v| idmapped(s, v, &["rbind"], 1000, 1_048_576)),
        ("its own files as another of its users'", Denied, |s, v| idmapped(s, v, &["rbind"], 0, 1_048_577)),
        ("another pod's users", Denied, |s, v| idmapped(s, v, &["rbind"], 0, 2_097_152)),
        ("users of the host", Denied, |s, v| idmapped(s, v, &["rbind"], 0, 0)),
        ("one id beyond the last", Denied, |s, v| idmapped(s, v, &["rbind"], 64_537, 1_048_576 + 64_537)),
        ("users alone", Denied, |s, v| {
            idmapped(s, v, &["rbind"], 0, 1_048_576);
            drop(
                s["mounts"].as_array_mut().unwrap().last_mut().unwrap().as_object_mut().unwrap().remove("gidMappings"),
            );
        }),
        ("a directory of the host, to write", Denied, |s, _| {
            idmapped(s, "/srv/models", &["rbind", "rw"], 0, 1_048_576)
        }),
        ("a directory of the host, to read", Clean, |s, _| idmapped(s, "/srv/models", &["rbind", "ro"], 0, 1_048_576)),
        ("the same with what is mounted below it", Denied, |s, _| {
            idmapped(s, "/srv/models", &["rbind", "ro", "ridmap"], 0, 1_048_576);
        }),
        ("the same, to read", Clean, |s, _| idmapped(s, "/srv/models", &["rbind", "rro", "ridmap"], 0, 1_048_576)),
        ("no bind mount", Denied, |s, v| {
            idmapped(s, v, &["size=1m"], 0, 1_048_576);
            s["mounts"].as_array_mut().unwrap().last_mut().unwrap()["type"] = json!("tmpfs");
        }),
        ("by the word alone", Clean, |s, v| {
            remap(s, 1_048_576);
            push(
                &mut s["mounts"],
                json!({"destination": "/data", "type": "bind", "source": v, "options": ["rbind", "idmap"]}),
            );
        }),
        ("without a user namespace", Denied, |s, v| {
            push(
                &mut s["mounts"],
                json!({"destination": "/data", "type": "bind", "source": v, "options": ["rbind", "idmap"]}),
            );
        }),
    ];
    let policy = Policy::from_toml("[profiles.restricted.rules.\"mount.host-path\"]\nallow = [\"/srv\"]\n").unwrap();
    for (what, verdict, change) in cases {
        let mut spec = support::golden("cri-app");
        spec["root"]["path"] = json!("rootfs");
        let source = volume(&spec);
        change(&mut spec, &source);
        let record = support::create(&spec, &policy).record;
        assert_eq!(support::verdict_of("linux.userns", &record), *verdict, "{what}: {:?}", record.findings);
    }
}

#[test]
fn host_ids_that_another_pod_has_are_refused() {
    let mut spec = support::golden("cri-app");
    spec["root"]["path"] = json!("rootfs");
    remap(&mut spec, 1_048_576);
    let task = support::Task::of(&support::id_of(&spec));
    let taken = TakenIds { first: 1_100_000, last: 1_200_000, by: "another pod".into() };
    for (taken, verdict) in [(None, Clean), (Some(taken), Denied)] {
        let decision =
            support::create_with(&spec, &task, &Policy::builtin(), |host| host.users_of_others = taken.clone());
        assert_eq!(support::verdict_of("linux.userns", &decision.record), verdict);
    }
}

/// The layers' mappings come with containerd's request and not with the specification.
#[test]
fn layers_are_shown_as_the_containers_users_or_as_nobodys() {
    let options = |uids: &str, gids: &str| vec![format!("uidmap={uids}"), format!("gidmap={gids}")];
    let own = "0:1048576:65536";
    for (what, options, verdict) in [
        ("its own", options(own, own), Clean),
        ("another pod's", options("0:2097152:65536", own), Denied),
        ("users of the host", options("0:0:65536", "0:0:65536"), Denied),
        ("a user of the host as its root", options("1000:1048576:1", own), Denied),
        ("an id twice", options("0:1048576:10,5:1048581:1", own), Denied),
        ("beyond the last number", options("0:4294967295:65536", own), Denied),
        ("users alone", vec![format!("uidmap={own}")], Denied),
        ("said twice", vec![format!("uidmap={own}"), format!("uidmap={own}"), format!("gidmap={own}")], Denied),
    ] {
        let mut spec = support::golden("cri-app");
        spec["root"]["path"] = json!("rootfs");
        remap(&mut spec, 1_048_576);
        let mut task = support::Task::of(&support::id_of(&spec));
        let layers = ["lowerdir=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs".to_owned()];
        task.rootfs = vec![("overlay".into(), "overlay".into(), layers.into_iter().chain(options).collect())];
        let decision = support::create_task(&spec, &task, &Policy::builtin());
        assert_eq!(support::verdict_of("linux.userns", &decision.record), verdict, "{what}");
    }
    let mut spec = support::golden("cri-app");
    spec["root"]["path"] = json!("rootfs");
    let mut task = support::Task::of(&support::id_of(&spec));
    task.rootfs = vec![("overlay".into(), "overlay".into(), options(own, own))];
    let decision = support::create_task(&spec, &task, &Policy::builtin());
    assert_eq!(support::verdict_of("linux.userns", &decision.record), Denied, "no user namespace");
}

#[test]
fn a_profile_can_require_a_user_namespace() {
    let policy = Policy::from_toml("[profiles.restricted.rules.\"linux.userns.require\"]\naction = \"deny\"").unwrap();
    for (own, verdict) in [(true, Clean), (false, Denied)] {
        let mut spec = support::golden("cri-app");
        spec["root"]["path"] = json!("rootfs");
        if own {
            remap(&mut spec, 65_536);
        }
        let decision = support::create(&spec, &policy);
        assert_eq!(support::verdict_of("linux.userns.require", &decision.record), verdict);
        if !own {
            let line = decision.outcome.denial().unwrap().to_string();
            assert!(line.contains("hostUsers: false"), "{line}");
        }
    }
    // Nobody asks unless the admin does.
    let decision = support::create(&support::golden("cri-app"), &Policy::builtin());
    assert_eq!(support::verdict_of("linux.userns.require", &decision.record), Clean);
}

/// A runtime gets the idmapped mount itself, and nothing in the document that would have it mapped again.
#[test]
fn what_the_shim_idmaps_the_runtime_is_not_told_of() {
    let mut spec = support::golden("cri-app");
    spec["root"]["path"] = json!("rootfs");
    remap(&mut spec, 1_048_576);
    let map = json!([{"containerID": 0, "hostID": 1_048_576, "size": 65_536}]);
    let at = spec["mounts"].as_array().unwrap().iter().position(|mount| mount["type"] == "bind").unwrap();
    spec["mounts"][at]["uidMappings"] = map.clone();
    spec["mounts"][at]["gidMappings"] = map;
    push(&mut spec["mounts"][at]["options"], json!("ridmap"));
    let (hardened, _) = support::admitted(support::create(&spec, &Policy::builtin()));
    let [idmapped] = hardened.idmapped() else { panic!("{:?}", hardened.idmapped()) };
    assert_eq!((idmapped.mount, idmapped.recursive), (at, true));
    assert_eq!(idmapped.maps.uids, [IdRange { inside: 0, outside: 1_048_576, count: 65_536 }]);
    let kept = support::json(hardened.as_bytes());
    assert!(kept["mounts"][at]["uidMappings"].is_array(), "what was decided says it");
    let shown = hardened.with_paths(&[(at, "/view/0".into())], &[], ProfilePlace::Document).unwrap();
    let shown = support::json(&shown);
    assert_eq!(shown["mounts"][at]["source"], json!("/view/0"));
    assert!(shown["mounts"][at].get("uidMappings").is_none() && shown["mounts"][at].get("gidMappings").is_none());
    let options = shown["mounts"][at]["options"].as_array().unwrap();
    assert!(options.contains(&json!("rbind")) && !options.contains(&json!("ridmap")), "{options:?}");
}

#[test]
fn user_groups_and_range() {
    table(
        "user.root-group",
        &[
            ("group root", Mutated, |s| s["process"]["user"]["gid"] = json!(0)),
            ("disk for its own", Mutated, |s| s["process"]["user"]["gid"] = json!(6)),
            ("shadow for its own and beside it", Mutated, |s| {
                s["process"]["user"]["gid"] = json!(42);
                s["process"]["user"]["additionalGids"] = json!([42]);
            }),
            ("disk", Mutated, |s| s["process"]["user"]["additionalGids"] = json!([6])),
            ("additional group root", Mutated, |s| s["process"]["user"]["additionalGids"] = json!([7, 0])),
            ("a volume's group", Clean, |s| s["process"]["user"]["additionalGids"] = json!([2000])),
            ("a system group of its own", Clean, |s| {
                s["process"]["user"]["gid"] = json!(33);
                s["process"]["user"]["additionalGids"] = json!([33]);
            }),
        ],
    );
    table(
        "user.range",
        &[
            ("the largest", Clean, |s| s["process"]["user"]["uid"] = json!(2_147_483_647_u32)),
            ("uid beyond", Denied, |s| s["process"]["user"]["uid"] = json!(2_147_483_648_u32)),
            ("gid beyond", Denied, |s| s["process"]["user"]["gid"] = json!(u32::MAX)),
            ("additional gid beyond", Denied, |s| s["process"]["user"]["additionalGids"] = json!([u32::MAX])),
        ],
    );
}

#[test]
fn capabilities() {
    table(
        "caps.allow-list",
        &[
            ("the one allowed", Clean, |s| every_set(s, &["CAP_NET_BIND_SERVICE"])),
            ("containerd's defaults", Mutated, |s| every_set(s, &["CAP_CHOWN", "CAP_NET_RAW"])),
            ("inheritable", Mutated, |s| s["process"]["capabilities"]["inheritable"] = json!(["CAP_NET_BIND_SERVICE"])),
            ("ambient", Mutated, |s| s["process"]["capabilities"]["ambient"] = json!(["CAP_NET_BIND_SERVICE"])),
            ("effective beyond permitted", Mutated, |s| {
                s["process"]["capabilities"]["effective"] = json!(["CAP_NET_BIND_SERVICE"])
            }),
        ],
    );
    table(
        "caps.never",
        &[
            ("containerd's defaults", Clean, |s| every_set(s, &["CAP_CHOWN", "CAP_MKNOD"])),
            ("SYS_ADMIN", Denied, |s| every_set(s, &["CAP_SYS_ADMIN"])),
            ("NET_ADMIN", Denied, |s| every_set(s, &["CAP_NET_ADMIN"])),
            ("in one set only", Denied, |s| s["process"]["capabilities"]["ambient"] = json!(["CAP_SYS_PTRACE"])),
        ],
    );
}

#[test]
fn process_fields() {
    table(
        "process.nnp",
        &[
            ("false", Mutated, |s| s["process"]["noNewPrivileges"] = json!(false)),
            ("absent is false", Mutated, |s| drop(s["process"].as_object_mut().unwrap().remove("noNewPrivileges"))),
        ],
    );
    table(
        "process.cwd",
        &[
            ("a directory", Clean, |s| s["process"]["cwd"] = json!("/srv/app")),
            ("named like proc", Clean, |s| s["process"]["cwd"] = json!("/process")),
            ("a descriptor of the runtime", Denied, |s| s["process"]["cwd"] = json!("/proc/self/fd/7")),
            ("proc", Denied, |s| s["process"]["cwd"] = json!("/proc")),
            ("dots", Denied, |s| s["process"]["cwd"] = json!("/srv/../proc/self/fd/7")),
            ("relative", Denied, |s| s["process"]["cwd"] = json!("srv")),
        ],
    );
    table(
        "process.args",
        &[
            ("a name", Clean, |s| s["process"]["args"] = json!(["sh"])),
            ("a file of proc", Clean, |s| s["process"]["args"] = json!(["cat", "/proc/self/exe"])),
            ("the runtime itself", Denied, |s| s["process"]["args"] = json!(["/proc/self/exe"])),
            ("the runtime's thread", Denied, |s| s["process"]["args"] = json!(["/proc/thread-self/exe"])),
            ("a directory of no process", Clean, |s| s["process"]["args"] = json!(["/proc/tty/exe"])),
            ("another root", Denied, |s| s["process"]["args"] = json!(["//proc//1/root/bin/sh"])),
        ],
    );
    table(
        "process.rlimits",
        &[
            ("files", Clean, |s| {
                push(&mut s["process"]["rlimits"], json!({"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}))
            }),
            ("nothing said of core dumps", Mutated, |s| s["process"]["rlimits"] = json!([])),
            ("core dumps", Mutated, |s| {
                s["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}])
            }),
            ("queues", Mutated, |s| {
                s["process"]["rlimits"] = json!([{"type": "RLIMIT_MSGQUEUE", "soft": 0, "hard": 819_201},
                    {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])
            }),
            ("tasks", Mutated, |s| {
                s["process"]["rlimits"] = json!([{"type": "RLIMIT_NPROC", "soft": 0, "hard": 4_097},
                    {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])
            }),
            ("as many as there may be", Clean, |s| {
                s["process"]["rlimits"] = json!([{"type": "RLIMIT_MSGQUEUE", "soft": 0, "hard": 819_200},
                    {"type": "RLIMIT_NPROC", "soft": 0, "hard": 4_096},
                    {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])
            }),
            ("real-time", Mutated, |s| {
                push(&mut s["process"]["rlimits"], json!({"type": "RLIMIT_RTPRIO", "soft": 0, "hard": 9}))
            }),
            ("as nice as others", Clean, |s| {
                push(&mut s["process"]["rlimits"], json!({"type": "RLIMIT_NICE", "soft": 20, "hard": 20}))
            }),
            ("less nice", Mutated, |s| {
                push(&mut s["process"]["rlimits"], json!({"type": "RLIMIT_NICE", "soft": 20, "hard": 21}))
            }),
            ("as many files as there may be", Clean, |s| {
                push(&mut s["process"]["rlimits"], json!({"type": "RLIMIT_NOFILE", "soft": 0, "hard": 1 << 20}))
            }),
            ("more files", Mutated, |s| {
                push(&mut s["process"]["rlimits"], json!({"type": "RLIMIT_NOFILE", "soft": 0, "hard": (1 << 20) + 1}))
            }),
        ],
    );
    table(
        "process.oom",
        &[
            ("the kubelet's -997", Audited, |s| s["process"]["oomScoreAdj"] = json!(-997)),
            ("zero", Clean, |s| s["process"]["oomScoreAdj"] = json!(0)),
        ],
    );
    table(
        "process.sched",
        &[
            ("ordinary", Clean, |s| s["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5})),
            ("as nice as others", Clean, |s| s["process"]["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": 0})),
            ("real-time", Mutated, |s| s["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 5})),
            ("negative nice", Mutated, |s| s["process"]["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": -5})),
            ("real-time disk", Mutated, |s| {
                s["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_RT", "priority": 0})
            }),
        ],
    );
    table(
        "process.apparmor",
        &[
            ("none", Clean, |s| s["process"]["apparmorProfile"] = json!("")),
            ("any that confines", Clean, |s| s["process"]["apparmorProfile"] = json!("mine")),
            ("two words", Denied, |s| s["process"]["apparmorProfile"] = json!("mine (complain)")),
            ("unconfined", Denied, |s| s["process"]["apparmorProfile"] = json!("unconfined")),
        ],
    );
    table(
        "process.selinux",
        &[
            ("container_t", Clean, |s| s["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2")),
            ("spc_t", Denied, |s| s["process"]["selinuxLabel"] = json!("system_u:system_r:spc_t:s0")),
            ("not a label", Denied, |s| s["process"]["selinuxLabel"] = json!("container_t")),
        ],
    );
    table(
        "linux.mount-label",
        &[
            ("container_file_t", Clean, |s| s["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0")),
            ("etc_t", Denied, |s| s["linux"]["mountLabel"] = json!("system_u:object_r:etc_t:s0")),
        ],
    );
}
