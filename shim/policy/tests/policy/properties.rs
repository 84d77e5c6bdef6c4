//! Properties over generated specifications: real ones to which anything may have been done.

use std::collections::BTreeSet;

use palisade_policy::{Policy, Taken};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use crate::support::{self, golden};

const STARTS: &[&str] = &["ctr-default", "cri-app", "cri-pause", "cri-userns", "cri-plain-cgroup-v1"];

const CAPABILITIES: &[&str] =
    &["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETUID", "CAP_SYS_CHROOT", "CAP_SYS_ADMIN"];

const SOURCES: &[&str] = &[
    "/",
    "/etc",
    "/srv/data",
    "/link/to/etc",
    "/missing/x",
    "/run/containerd/containerd.sock",
    "/var/lib/kubelet/pods/4d6d1f5e-8f5b-4f0c-9a3e-3a4f0f1b2c3d/volumes/kubernetes.io~csi/pvc-2/mount",
];

const OPTIONS: &[&str] = &["rbind", "ro", "rw", "suid", "dev", "nosuid", "nodev", "rslave", "rprivate", "size=1m"];

/// Something that is done to a specification.
#[derive(Debug, Clone)]
enum Change {
    Uid(u32),
    Gid(u32),
    Gids(Vec<u32>),
    Capabilities(&'static str, Vec<&'static str>),
    NoNewPrivileges(bool),
    Oom(i32),
    Core(u64),
    Memory(i64, i64),
    Cpu(i64, u64),
    Pids(i64),
    Unified(&'static str, &'static str),
    Mount(&'static str, &'static str, Vec<&'static str>),
    Annotation(&'static str),
    Sysctl(&'static str),
    Masked(Vec<&'static str>),
    NoSeccomp,
    NoNamespace(&'static str),
    HostNamespace(&'static str),
    Device(i64, i64),
    DeviceRule(Option<i64>),
    Hook,
    Slave,
}

fn change() -> impl Strategy<Value = Change> {
    let id = || prop_oneof![Just(0), Just(1000), Just(65_532), Just(u32::MAX), any::<u32>()];
    let set = select(&["bounding", "effective", "permitted", "inheritable", "ambient"][..]);
    let amount = || prop_oneof![Just(-1), Just(0), 1..=1_000_000_i64, Just(1 << 30), Just(i64::MAX)];
    prop_oneof![
        id().prop_map(Change::Uid),
        id().prop_map(Change::Gid),
        prop::collection::vec(id(), 0..4).prop_map(Change::Gids),
        (set, subsequence(CAPABILITIES, 0..CAPABILITIES.len())).prop_map(|(set, caps)| Change::Capabilities(set, caps)),
        any::<bool>().prop_map(Change::NoNewPrivileges),
        (-1000..=1000).prop_map(Change::Oom),
        any::<u64>().prop_map(Change::Core),
        (amount(), amount()).prop_map(|(limit, swap)| Change::Memory(limit, swap)),
        (amount(), 1_000..=1_000_000_u64).prop_map(|(quota, period)| Change::Cpu(quota, period)),
        amount().prop_map(Change::Pids),
        (
            select(&["memory.max", "pids.max", "memory.swap.max", "cpu.max", "memory.high", "cgroup.procs"][..]),
            select(&["max", "1", "99999999999999"][..])
        )
            .prop_map(|(file, value)| Change::Unified(file, value)),
        (select(&["bind", "tmpfs", "sysfs", "debugfs"][..]), select(SOURCES), subsequence(OPTIONS, 0..OPTIONS.len()))
            .prop_map(|(kind, source, options)| Change::Mount(kind, source, options)),
        select(&["run.oci.handler", "io.kubernetes.cri.image-name", "x"][..]).prop_map(Change::Annotation),
        select(&["net.ipv4.tcp_syncookies", "kernel.msgmax"][..]).prop_map(Change::Sysctl),
        subsequence(&["/proc/kcore", "/proc/acpi", "/proc/more"][..], 0..3).prop_map(Change::Masked),
        Just(Change::NoSeccomp),
        additive(),
    ]
}

/// Changes that only add power, each at a place of its own.
fn additive() -> impl Strategy<Value = Change> {
    let namespace = || select(&["pid", "ipc", "uts", "network", "cgroup"][..]);
    prop_oneof![
        namespace().prop_map(Change::NoNamespace),
        namespace().prop_map(Change::HostNamespace),
        (0..20_i64, 0..20_i64).prop_map(|(major, minor)| Change::Device(major, minor)),
        prop::option::of(0..20_i64).prop_map(Change::DeviceRule),
        Just(Change::Hook),
        Just(Change::Slave),
        Just(Change::Mount("bind", "/etc", vec!["rbind"])),
    ]
}

fn append(list: &mut Value, item: Value) {
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut().unwrap().push(item);
}

fn apply(spec: &mut Value, change: &Change) {
    let namespaces = |spec: &mut Value| spec["linux"]["namespaces"].as_array().cloned().unwrap_or_default();
    match change {
        Change::Uid(uid) => spec["process"]["user"]["uid"] = json!(uid),
        Change::Gid(gid) => spec["process"]["user"]["gid"] = json!(gid),
        Change::Gids(gids) => spec["process"]["user"]["additionalGids"] = json!(gids),
        Change::Capabilities(set, names) => spec["process"]["capabilities"][*set] = json!(names),
        Change::NoNewPrivileges(set) => spec["process"]["noNewPrivileges"] = json!(set),
        Change::Oom(score) => spec["process"]["oomScoreAdj"] = json!(score),
        Change::Core(limit) => {
            append(&mut spec["process"]["rlimits"], json!({"type": "RLIMIT_CORE", "soft": limit, "hard": limit}))
        }
        Change::Memory(limit, swap) => spec["linux"]["resources"]["memory"] = json!({"limit": limit, "swap": swap}),
        Change::Cpu(quota, period) => spec["linux"]["resources"]["cpu"] = json!({"quota": quota, "period": period}),
        Change::Pids(limit) => spec["linux"]["resources"]["pids"] = json!({"limit": limit}),
        Change::Unified(file, value) => spec["linux"]["resources"]["unified"] = json!({*file: value}),
        Change::Mount(kind, source, options) => append(
            &mut spec["mounts"],
            json!({"destination": "/extra", "type": kind, "source": source, "options": options}),
        ),
        Change::Annotation(name) => spec["annotations"][*name] = json!("x"),
        Change::Sysctl(name) => spec["linux"]["sysctl"][*name] = json!("1"),
        Change::Masked(paths) => spec["linux"]["maskedPaths"] = json!(paths),
        Change::NoSeccomp => spec["linux"]["seccomp"] = Value::Null,
        Change::NoNamespace(kind) => {
            let kept: Vec<Value> = namespaces(spec).into_iter().filter(|one| one["type"] != *kind).collect();
            spec["linux"]["namespaces"] = json!(kept);
        }
        Change::HostNamespace(kind) => {
            let shared = namespaces(spec).into_iter().map(|mut one| {
                if one["type"] == *kind {
                    one["path"] = json!(format!("/proc/1/ns/{kind}"));
                }
                one
            });
            spec["linux"]["namespaces"] = shared.collect();
        }
        Change::Device(major, minor) => append(
            &mut spec["linux"]["devices"],
            json!({"path": "/dev/x", "type": "b", "major": major, "minor": minor}),
        ),
        Change::DeviceRule(major) => append(
            &mut spec["linux"]["resources"]["devices"],
            json!({"allow": true, "type": "b", "major": major, "access": "rwm"}),
        ),
        Change::Hook => spec["hooks"] = json!({"createRuntime": [{"path": "/usr/bin/x"}]}),
        Change::Slave => spec["linux"]["rootfsPropagation"] = json!("rslave"),
    }
}

fn spec_of(start: &str, changes: &[Change]) -> Value {
    let mut spec = golden(start);
    changes.iter().for_each(|change| apply(&mut spec, change));
    spec
}

fn any_spec() -> impl Strategy<Value = Value> {
    (select(STARTS), prop::collection::vec(change(), 0..6)).prop_map(|(start, changes)| spec_of(start, &changes))
}

fn profiles() -> impl Strategy<Value = &'static str> {
    select(&["restricted", "baseline"][..])
}

fn policy_of(profile: &str) -> Policy {
    Policy::from_toml(&format!("profile = \"{profile}\"")).unwrap()
}

fn names(value: &Value) -> BTreeSet<String> {
    let list = value.as_array().into_iter().flatten();
    list.map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
}

fn limit(spec: &Value, pointer: &str) -> u64 {
    spec.pointer(pointer)
        .and_then(Value::as_i64)
        .and_then(|n| u64::try_from(n).ok())
        .filter(|n| *n > 0)
        .unwrap_or(u64::MAX)
}

/// What of `after` is more than `before` had.
fn gains(before: &Value, after: &Value) -> Vec<String> {
    let mut gains = Vec::new();
    let mut check = |what: &str, fine: bool| {
        if !fine {
            gains.push(what.to_owned())
        }
    };
    for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        let place = format!("/process/capabilities/{set}");
        let of = |spec: &Value| spec.pointer(&place).map(names).unwrap_or_default();
        check(&place, of(after).is_subset(&of(before)));
        check("capability sets are written", after.pointer(&place).is_some());
    }
    for path in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
        let of = |spec: &Value| spec.pointer(path).map(names).unwrap_or_default();
        check(path, of(after).is_superset(&of(before)));
    }
    let set = |spec: &Value| spec["process"]["noNewPrivileges"].as_bool().unwrap_or(false);
    check("no_new_privs", set(after) || !set(before));
    check(
        "uid",
        after["process"]["user"]["uid"] != json!(0) || before["process"]["user"]["uid"].as_u64().unwrap_or(0) == 0,
    );
    let kinds = |spec: &Value| -> BTreeSet<String> {
        spec["linux"]["namespaces"].as_array().into_iter().flatten().map(|n| n["type"].to_string()).collect()
    };
    check("namespaces", kinds(after).is_superset(&kinds(before)));
    for list in ["/linux/devices", "/linux/sysctl"] {
        let count = |spec: &Value| {
            spec.pointer(list)
                .map_or(0, |v| v.as_array().map_or_else(|| v.as_object().map_or(0, serde_json::Map::len), Vec::len))
        };
        check(list, count(after) <= count(before));
    }
    for pointer in ["/linux/resources/memory/limit", "/linux/resources/memory/swap", "/linux/resources/pids/limit"] {
        check(pointer, limit(after, pointer) <= limit(before, pointer));
    }
    let cpu = |spec: &Value| {
        let quota = limit(spec, "/linux/resources/cpu/quota");
        let period = spec.pointer("/linux/resources/cpu/period").and_then(Value::as_u64).unwrap_or(100_000);
        u128::from(quota) * 1_000_000 / u128::from(period)
    };
    // The kernel takes no quota below a thousand microseconds.
    check("cpu", cpu(after) <= cpu(before).max(1_000));
    let mounts = |spec: &Value| spec["mounts"].as_array().cloned().unwrap_or_default();
    check("mounts", mounts(after).len() == mounts(before).len());
    for (old, new) in mounts(before).iter().zip(mounts(after)) {
        let has = |mount: &Value, option: &str| names(&mount["options"]).contains(option);
        check("destination", old["destination"] == new["destination"]);
        for kept in ["ro", "nosuid", "nodev", "noexec"] {
            check(kept, !has(old, kept) || has(&new, kept));
        }
        for added in ["suid", "dev", "exec", "rw", "rshared", "shared"] {
            check(added, has(old, added) || !has(&new, added));
        }
    }
    gains
}

#[test]
fn a_gain_is_seen() {
    let before = golden("ctr-default");
    let (hardened, _) = support::admitted(support::create(&before, &Policy::builtin()));
    let gained = gains(&support::json(hardened.as_bytes()), &before);
    for what in ["uid", "/process/capabilities/bounding", "/linux/maskedPaths", "namespaces", "nodev", "cpu"] {
        assert!(gained.iter().any(|gain| gain == what), "{what} in {gained:?}");
    }
}

/// Few enough for a debug build; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(32)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_reader_takes_any_bytes(start in select(STARTS), at in any::<prop::sample::Index>(), with in any::<Vec<u8>>()) {
        let mut bytes = golden(start).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes.splice(at..(at + with.len()).min(bytes.len()), with);
        if let Ok(spec) = palisade_policy::ParsedSpec::parse(&bytes) {
            // What is read is also what every other reader of JSON reads.
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
            prop_assert!(spec.bind_sources().len() <= bytes.len());
        }
    }

    #[test]
    fn what_was_hardened_is_found_clean_and_stays_as_it_is(spec in any_spec(), profile in profiles()) {
        let policy = policy_of(profile);
        let decision = support::create(&spec, &policy);
        if !support::is_denied(&decision) {
            let (hardened, _) = support::admitted(decision);
            let (again, record) = support::admitted(support::create(&support::json(hardened.as_bytes()), &policy));
            let found: Vec<_> = record.findings.iter().filter(|finding| finding.action != Taken::Audited).collect();
            prop_assert!(found.is_empty(), "{found:#?}");
            prop_assert_eq!(support::json(hardened.as_bytes()), support::json(again.as_bytes()));
        }
    }

    #[test]
    fn hardening_gains_nothing(spec in any_spec(), profile in profiles()) {
        let policy = policy_of(profile);
        let decision = support::create(&spec, &policy);
        if !support::is_denied(&decision) {
            let (hardened, _) = support::admitted(decision);
            let gains = gains(&spec, &support::json(hardened.as_bytes()));
            prop_assert!(gains.is_empty(), "{gains:?}");
        }
    }

    #[test]
    fn more_power_does_not_undo_a_refusal(start in select(STARTS), changes in prop::collection::vec(change(), 1..5), more in prop::collection::vec(additive(), 1..4)) {
        let policy = Policy::builtin();
        let spec = spec_of(start, &changes);
        if support::is_denied(&support::create(&spec, &policy)) {
            let mut stronger = spec;
            more.iter().for_each(|change| apply(&mut stronger, change));
            prop_assert!(support::is_denied(&support::create(&stronger, &policy)));
        }
    }

    #[test]
    fn an_exec_has_no_more_than_its_container(spec in any_spec(), asked in any_spec(), profile in profiles()) {
        let policy = policy_of(profile);
        let decision = support::create(&spec, &policy);
        if !support::is_denied(&decision) {
            let (hardened, _) = support::admitted(decision);
            let init = support::json(hardened.as_bytes());
            let decision = support::exec(&asked["process"], hardened.grant(), &policy);
            if !support::is_denied(&decision) {
                let (process, _) = support::admitted(decision);
                let process = support::json(process.as_bytes());
                for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
                    let own = names(&init["process"]["capabilities"][set]);
                    prop_assert!(names(&process["capabilities"][set]).is_subset(&own), "{set}");
                }
                let root = init["process"]["user"]["uid"] == json!(0);
                prop_assert!(root || process["user"]["uid"] == init["process"]["user"]["uid"]);
                prop_assert!(process["noNewPrivileges"] == json!(true) || init["process"]["noNewPrivileges"] == json!(false));
                prop_assert_eq!(&process["apparmorProfile"], &init["process"]["apparmorProfile"]);
            }
        }
    }

    #[test]
    fn an_update_stays_within_what_create_admits(asked in any_spec()) {
        let policy = Policy::builtin();
        let (hardened, _) = support::admitted(support::create(&golden("cri-app"), &policy));
        let decision = support::update(&asked["linux"]["resources"], hardened.grant(), &policy);
        if !support::is_denied(&decision) {
            let (resources, _) = support::admitted(decision);
            let mut spec = golden("cri-app");
            let resources = support::json(resources.as_bytes());
            prop_assert!(resources.get("devices").is_none());
            for key in ["memory", "cpu", "pids", "unified"] {
                if let Some(value) = resources.get(key).filter(|value| value.as_object().is_some_and(|o| !o.is_empty())) {
                    spec["linux"]["resources"][key] = value.clone();
                }
            }
            let (created, _) = support::admitted(support::create(&spec, &policy));
            let created = support::json(created.as_bytes());
            for pointer in ["/memory/limit", "/pids/limit", "/cpu/quota"] {
                if let Some(value) = resources.pointer(pointer) {
                    prop_assert_eq!(created["linux"]["resources"].pointer(pointer), Some(value), "{}", pointer);
                }
            }
        }
    }
}
