//! Users, capabilities, and the other fields of a process.

use serde_json::{Value, json};

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
            ("mappings without the namespace", Mutated, |s| {
                s["process"]["user"]["uid"] = json!(0);
                let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
                s["linux"]["uidMappings"] = mapping.clone();
                s["linux"]["gidMappings"] = mapping;
            }),
        ],
    );
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
        ],
    );
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
