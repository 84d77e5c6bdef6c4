//! The field ledger: what becomes of every field of the OCI runtime specification that oci-spec knows. The fields are
//! found by walking the type itself, so a new one in oci-spec fails here until somebody has said what becomes of it.

use std::collections::BTreeSet;

use oci_spec::runtime as oci;
use palisade_policy::{ParsedSpec, Policy, RuleId};
use serde_json::{Value, json};

use crate::support::{self, verdict_of};
use crate::{fields, tables};

/// What becomes of a field.
enum Class {
    /// Its being there at all makes the document unreadable.
    Refused,
    /// A rule looks at it, and refuses or changes what is not allowed.
    Checked(&'static str),
    /// The hand-off or a rule writes it anew, whatever stood there.
    Overwritten(&'static str),
    /// It holds others, which have rows of their own.
    Section,
    /// No rule needs to look: it is handed on as it is, such as this value; and why that does no harm.
    Passed(&'static str, &'static str),
}

use Class::{Checked, Overwritten, Passed, Refused, Section};

/// `/**` stands for a field and everything in it, where it is treated as a whole.
const LEDGER: &[(&str, Class)] = &[
    ("/annotations/**", Checked("annotations")),
    ("/domainname", Checked("uts.hostname")),
    ("/gidMappings/**", Refused),
    ("/hooks", Section),
    ("/hooks/createContainer/**", Checked("hooks")),
    ("/hooks/createRuntime/**", Checked("hooks")),
    ("/hooks/poststart/**", Checked("hooks")),
    ("/hooks/poststop/**", Checked("hooks")),
    ("/hooks/prestart/**", Checked("hooks")),
    ("/hooks/startContainer/**", Checked("hooks")),
    ("/hostname", Checked("uts.hostname")),
    ("/linux", Section),
    ("/linux/cgroupsPath", Checked("linux.cgroups-path")),
    ("/linux/devices", Section),
    ("/linux/devices/*", Section),
    (
        "/linux/devices/*/fileMode",
        Passed("438", "the node is the container's own; the device cgroup decides who gets through"),
    ),
    ("/linux/devices/*/gid", Passed("1000", "an id within the container")),
    ("/linux/devices/*/uid", Passed("1000", "an id within the container")),
    ("/linux/devices/*/major", Checked("linux.devices")),
    ("/linux/devices/*/minor", Checked("linux.devices")),
    ("/linux/devices/*/path", Checked("linux.devices")),
    ("/linux/devices/*/type", Checked("linux.devices")),
    ("/linux/gidMappings/**", Checked("linux.userns")),
    ("/linux/intelRdt/**", Checked("linux.intel-rdt")),
    ("/linux/maskedPaths/**", Checked("linux.masked")),
    ("/linux/memoryPolicy/**", Checked("linux.memory-policy")),
    ("/linux/mountLabel", Checked("linux.mount-label")),
    ("/linux/namespaces/**", Checked("linux.ns")),
    ("/linux/netDevices/**", Checked("linux.net-devices")),
    ("/linux/personality/**", Checked("linux.personality")),
    ("/linux/readonlyPaths/**", Checked("linux.readonly")),
    ("/linux/resources", Section),
    ("/linux/resources/blockIO", Section),
    ("/linux/resources/blockIO/leafWeight", Checked("res.io")),
    ("/linux/resources/blockIO/weight", Checked("res.io")),
    ("/linux/resources/blockIO/weightDevice/**", Checked("res.io")),
    ("/linux/resources/blockIO/throttleReadBpsDevice/**", Checked("res.io")),
    ("/linux/resources/blockIO/throttleReadIOPSDevice/**", Checked("res.io")),
    ("/linux/resources/blockIO/throttleWriteBpsDevice/**", Checked("res.io")),
    ("/linux/resources/blockIO/throttleWriteIOPSDevice/**", Checked("res.io")),
    ("/linux/resources/cpu", Section),
    ("/linux/resources/cpu/burst", Checked("res.cpu")),
    ("/linux/resources/cpu/cpus", Checked("res.cpuset")),
    ("/linux/resources/cpu/idle", Passed("1", "makes a group give way")),
    ("/linux/resources/cpu/mems", Checked("res.cpuset")),
    ("/linux/resources/cpu/period", Checked("res.cpu")),
    ("/linux/resources/cpu/quota", Checked("res.cpu")),
    ("/linux/resources/cpu/realtimePeriod", Checked("res.cpu")),
    ("/linux/resources/cpu/realtimeRuntime", Checked("res.cpu")),
    ("/linux/resources/cpu/shares", Passed("512", "a share within the pod's cgroup")),
    ("/linux/resources/devices/**", Checked("res.devices")),
    ("/linux/resources/hugepageLimits/**", Checked("res.hugepages")),
    ("/linux/resources/memory", Section),
    ("/linux/resources/memory/checkBeforeUpdate", Passed("true", "makes an update fail rather than kill")),
    ("/linux/resources/memory/disableOOMKiller", Checked("res.memory")),
    (
        "/linux/resources/memory/kernel",
        Passed("1048576", "a limit beside the one that is checked; gone from the kernel"),
    ),
    ("/linux/resources/memory/kernelTCP", Passed("1048576", "a limit beside the one that is checked")),
    ("/linux/resources/memory/limit", Checked("res.memory")),
    ("/linux/resources/memory/reservation", Passed("1048576", "a soft limit below the one that is checked")),
    ("/linux/resources/memory/swap", Checked("res.memory")),
    ("/linux/resources/memory/swappiness", Passed("10", "of memory that is limited already")),
    ("/linux/resources/memory/useHierarchy", Passed("true", "the kernel knows no other way any more")),
    ("/linux/resources/network/**", Checked("res.network")),
    ("/linux/resources/pids/**", Checked("res.pids")),
    ("/linux/resources/rdma/**", Passed("{}", "limits only take away; the kernel has none by default")),
    ("/linux/resources/unified/**", Checked("res.unified")),
    ("/linux/rootfsPropagation", Checked("mount.propagation")),
    ("/linux/seccomp/**", Checked("linux.seccomp")),
    ("/linux/sysctl/**", Checked("linux.sysctl")),
    ("/linux/timeOffsets/**", Checked("linux.time-offsets")),
    ("/linux/uidMappings/**", Checked("linux.userns")),
    ("/mounts", Section),
    ("/mounts/*", Section),
    ("/mounts/*/destination", Checked("mount.dest")),
    ("/mounts/*/gidMappings/**", Checked("linux.userns")),
    ("/mounts/*/options/**", Checked("mount.options")),
    ("/mounts/*/source", Checked("mount.host-path")),
    ("/mounts/*/type", Checked("mount.type")),
    ("/mounts/*/uidMappings/**", Checked("linux.userns")),
    ("/ociVersion", Passed("\"1.2.1\"", "the runtime refuses a version that it does not know")),
    ("/process", Section),
    ("/process/apparmorProfile", Checked("process.apparmor")),
    ("/process/args/**", Checked("process.args")),
    ("/process/capabilities/**", Checked("caps.allow-list")),
    ("/process/commandLine", Refused),
    ("/process/consoleSize/**", Passed("{\"height\":24,\"width\":80}", "the size of a window")),
    ("/process/cwd", Checked("process.cwd")),
    ("/process/env/**", Checked("process.env")),
    ("/process/execCPUAffinity/**", Passed("{\"initial\":\"0\"}", "the kernel keeps it within the pod's CPUs")),
    ("/process/ioPriority/**", Checked("process.sched")),
    ("/process/noNewPrivileges", Checked("process.nnp")),
    ("/process/oomScoreAdj", Checked("process.oom")),
    ("/process/rlimits/**", Checked("process.rlimits")),
    ("/process/scheduler/**", Checked("process.sched")),
    ("/process/selinuxLabel", Checked("process.selinux")),
    ("/process/terminal", Overwritten("the terminal of the request")),
    ("/process/user", Section),
    ("/process/user/additionalGids/**", Checked("user.root-group")),
    ("/process/user/gid", Checked("user.root-group")),
    ("/process/user/uid", Checked("user.non-root")),
    ("/process/user/umask", Checked("user.umask")),
    ("/process/user/username", Refused),
    ("/root", Section),
    ("/root/path", Overwritten("the bundle's absolute path")),
    ("/root/readonly", Checked("root.readonly")),
    ("/solaris/**", Refused),
    ("/uidMappings/**", Refused),
    ("/vm/**", Refused),
    ("/windows/**", Refused),
    ("/zos/**", Refused),
];

fn covers(row: &str, field: &str) -> bool {
    match row.strip_suffix("/**") {
        Some(whole) => field == whole || field.strip_prefix(whole).is_some_and(|rest| rest.starts_with('/')),
        None => row == field,
    }
}

/// Whether no document with this field is read at all.
pub(crate) fn is_refused(field: &str) -> bool {
    LEDGER.iter().any(|(row, class)| covers(row, field) && matches!(class, Refused))
}

#[test]
fn every_field_has_one_row_and_every_row_a_field() {
    let (known, _) = fields::of::<oci::Spec>();
    assert!(known.len() > 300, "the walk found {} fields only", known.len());
    for field in &known {
        let rows: Vec<&str> = LEDGER.iter().map(|(row, _)| *row).filter(|row| covers(row, field)).collect();
        assert_eq!(rows.len(), 1, "{field} has the rows {rows:?}: say in the ledger what becomes of it");
    }
    for (row, _) in LEDGER {
        assert!(known.iter().any(|field| covers(row, field)), "{row} is no field any more");
    }
    let rows: BTreeSet<&str> = LEDGER.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows.len(), LEDGER.len());
}

#[test]
fn a_document_with_every_field_is_walked_as_it_is_written() {
    let (known, spec) = fields::of::<oci::Spec>();
    let document = serde_json::to_value(&spec).unwrap();
    for field in known.iter().filter(|field| !field.contains('*')) {
        // oci-spec writes the two lists of the top level away under /linux; they never were part of the specification.
        let written = document.pointer(field).is_some();
        assert!(
            written,
            "{field} is read but not written back, so a document with it could not be told from one without"
        );
    }
}

/// The pod's specification with a value at a place; a `*` is the first item.
fn with(field: &str, value: Value) -> Value {
    let mut spec = tables::pod();
    spec["root"]["path"] = json!("rootfs");
    tables::push(&mut spec["linux"]["devices"], json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3}));
    let mut place = &mut spec;
    for name in field.trim_start_matches('/').split('/') {
        place = match name {
            "*" => place.get_mut(0).unwrap(),
            name => {
                if place.is_null() {
                    *place = json!({});
                }
                place.as_object_mut().unwrap().entry(name).or_insert(Value::Null)
            }
        };
    }
    *place = value;
    spec
}

/// Go's `encoding/json` takes a key in any case and lets the last one count, so runc could read what nobody judged.
#[test]
fn a_key_in_another_case_is_not_understood() {
    fn keys(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
        // In these the keys are data.
        if ["/annotations", "/linux/sysctl", "/linux/resources/unified"].contains(&at) {
            return;
        }
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                found.push((at.to_owned(), key.clone()));
                keys(value, &format!("{at}/{key}"), found);
            }),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(i, value)| keys(value, &format!("{at}/{i}"), found))
            }
            _ => {}
        }
    }
    let spec = tables::pod();
    let mut found = Vec::new();
    keys(&spec, "", &mut found);
    // One system call entry is as good as three hundred.
    found.retain(|(at, _)| !at.starts_with("/linux/seccomp/syscalls/") || at.starts_with("/linux/seccomp/syscalls/0"));
    assert!(found.len() > 100, "{} keys only", found.len());
    for (at, key) in found {
        let (mut beside, other) = (spec.clone(), key.to_uppercase());
        let map = beside.pointer_mut(&at).unwrap().as_object_mut().unwrap();
        let value = map[&key].clone();
        map.insert(other.clone(), value);
        let mut instead = beside.clone();
        instead.pointer_mut(&at).unwrap().as_object_mut().unwrap().remove(&key);
        for document in [beside, instead] {
            assert!(ParsedSpec::parse(document.to_string().as_bytes()).is_err(), "{at}: {other}");
        }
    }
}

#[test]
fn what_is_refused_is_refused() {
    let (_, whole) = fields::of::<oci::Spec>();
    let whole = serde_json::to_value(&whole).unwrap();
    for (row, _) in LEDGER.iter().filter(|(_, class)| matches!(class, Refused)) {
        let field = row.trim_end_matches("/**");
        let spec = with(field, whole.pointer(field).unwrap().clone());
        let error = ParsedSpec::parse(spec.to_string().as_bytes()).expect_err(field);
        assert_eq!(error.pointer(), field);
    }
}

#[test]
fn what_is_passed_is_handed_on_unchanged_and_nobody_objects() {
    let policy = Policy::builtin();
    let clean = support::create(&with("/root/path", json!("rootfs")), &policy).record.findings.len();
    for (row, class) in LEDGER {
        let Passed(sample, why) = class else { continue };
        assert!(why.len() > 10, "{row}: say why");
        let field = row.trim_end_matches("/**");
        let sample: Value = serde_json::from_str(sample).unwrap();
        let (hardened, record) = support::admitted(support::create(&with(field, sample.clone()), &policy));
        let handed_on = support::json(hardened.as_bytes());
        let place = field.replace('*', "0");
        assert_eq!(handed_on.pointer(&place), Some(&sample), "{row}");
        assert_eq!(record.findings.len(), clean, "{row}: {:?}", record.findings);
    }
}

#[test]
fn what_is_checked_or_overwritten_says_by_what() {
    for (row, class) in LEDGER {
        match class {
            Checked(rule) => assert!(RuleId::named(rule).is_some(), "{row}: {rule} is no rule"),
            Overwritten(by) => assert!(by.len() > 10, "{row}: say by what"),
            Refused | Section | Passed(..) => {}
        }
    }
    let (hardened, _) = support::admitted(support::create(&with("/process/terminal", json!(true)), &Policy::builtin()));
    let handed_on = support::json(hardened.as_bytes());
    assert_eq!(handed_on["process"]["terminal"], json!(false), "the request has no terminal");
    assert!(handed_on["root"]["path"].as_str().unwrap().starts_with(support::BUNDLE));
}

#[test]
fn an_idmapped_mount_maps_to_nobody_of_the_host() {
    let mapping = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1000}]);
    for kind in ["uidMappings", "gidMappings"] {
        for (host, denied) in [(0, true), (1000, true), (100_000, true), (1_114_000, true), (1_048_576, false)] {
            let mut spec = with("/root/path", json!("rootfs"));
            crate::process::remap(&mut spec, 1_048_576);
            let mounts = spec["mounts"].as_array().unwrap();
            let at = mounts.iter().position(|mount| mount["type"] == "bind").unwrap();
            for both in ["uidMappings", "gidMappings"] {
                spec["mounts"][at][both] = mapping(1_048_576);
            }
            spec["mounts"][at][kind] = mapping(host);
            let record = support::create(&spec, &Policy::builtin()).record;
            let expected = if denied { support::Verdict::Denied } else { support::Verdict::Clean };
            assert_eq!(verdict_of("linux.userns", &record), expected, "{kind} {host}");
        }
        let mut spec = with("/root/path", json!("rootfs"));
        spec["mounts"][0][kind] = mapping(1_048_576);
        let record = support::create(&spec, &Policy::builtin()).record;
        assert_eq!(verdict_of("linux.userns", &record), support::Verdict::Denied, "{kind}, no user namespace");
    }
}
