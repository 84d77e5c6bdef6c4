//! What stands in a document once a rule has changed it, and what the record says why.

use palisade_policy::Policy;
use serde_json::{Value, json};

use crate::support::{self, Task, Verdict::*, verdict_of};
use crate::tables::{judged, mount, pod, push};

/// One row: what is asked for, what is handed on, and how the reason begins; an empty one where nobody objects.
type Row = (Value, Value, &'static str);

fn limits_table(rule: &str, section: &str, policy: &Policy, rows: &[Row]) {
    for (asked, expected, reason) in rows {
        let mut spec = pod();
        spec["root"]["path"] = json!("rootfs");
        spec["linux"]["resources"][section] = asked.clone();
        let (hardened, record) = support::admitted(support::create(&spec, policy));
        let hardened = support::json(hardened.as_bytes());
        assert_eq!(hardened["linux"]["resources"][section], *expected, "{asked}");
        let reasons: Vec<&str> =
            record.findings.iter().filter(|found| found.rule.as_str() == rule).map(|found| &*found.reason).collect();
        match reasons.as_slice() {
            [] => assert_eq!(*reason, "", "{asked}"),
            [one] => assert!(!reason.is_empty() && one.starts_with(reason), "{asked}: {one}"),
            more => panic!("{asked}: {more:?}"),
        }
    }
}

#[test]
fn cpu() {
    let policy =
        Policy::from_toml("[profiles.restricted.rules.\"res.cpu\"]\ndefault = \"1000m\"\nmax = \"4000m\"\n").unwrap();
    let (none, above) =
        ("there would be no CPU quota", "the CPU quota is above the maximum, or its period is not told");
    let more = "time beyond the quota";
    let quota = |quota: i64| json!({"quota": quota, "period": 100_000});
    limits_table(
        "res.cpu",
        "cpu",
        &policy,
        &[
            (quota(400_000), quota(400_000), ""),
            (quota(400_001), quota(400_000), above),
            (quota(0), quota(100_000), none),
            (quota(-1), quota(400_000), none),
            (json!({}), quota(100_000), none),
            (json!({"quota": 50_000}), quota(50_000), above),
            (json!({"quota": 50_000, "period": 0}), quota(50_000), above),
            (
                json!({"quota": 50_000, "period": 100_000, "burst": 0}),
                json!({"quota": 50_000, "period": 100_000, "burst": 0}),
                "",
            ),
            (json!({"quota": 50_000, "period": 100_000, "burst": 9}), quota(50_000), more),
            (
                json!({"quota": 50_000, "period": 100_000, "realtimeRuntime": 1, "realtimePeriod": 2}),
                quota(50_000),
                more,
            ),
        ],
    );
}

#[test]
fn memory() {
    const GIB: i64 = 1 << 30;
    let policy =
        Policy::from_toml("[profiles.restricted.rules.\"res.memory\"]\ndefault = \"1GiB\"\nmax = \"4GiB\"\n").unwrap();
    let (none, above) =
        ("there would be no memory limit", "the memory limit is above the maximum, or above that of swap");
    let swap = "swap is not bound to the memory limit";
    let memory = |limit: i64, swap: i64| json!({"limit": limit, "swap": swap});
    limits_table(
        "res.memory",
        "memory",
        &policy,
        &[
            (memory(4 * GIB, 4 * GIB), memory(4 * GIB, 4 * GIB), ""),
            (memory(5 * GIB, 5 * GIB), memory(4 * GIB, 4 * GIB), above),
            (memory(3 * GIB, 2 * GIB), memory(2 * GIB, 2 * GIB), above),
            (memory(-1, -1), memory(4 * GIB, 4 * GIB), none),
            (memory(0, 0), memory(GIB, GIB), none),
            (json!({}), memory(GIB, GIB), none),
            (memory(2 * GIB, 3 * GIB), memory(2 * GIB, 2 * GIB), swap),
            (memory(2 * GIB, 0), memory(2 * GIB, 2 * GIB), swap),
            (memory(2 * GIB, -1), memory(2 * GIB, 2 * GIB), swap),
        ],
    );
}

/// runc tells systemd nothing of swap that is zero.
#[test]
fn systemd_is_told_of_no_swap_by_the_name_of_the_file() {
    let files = |by_name: bool, unified: Value| {
        let mut spec = pod();
        spec["root"]["path"] = json!("rootfs");
        spec["linux"]["resources"]["unified"] = unified;
        let facts = |host: &mut palisade_policy::HostFacts| host.swap_by_name = by_name;
        let task = Task::of(&support::id_of(&spec));
        let (hardened, _) = support::admitted(support::create_with(&spec, &task, &Policy::builtin(), facts));
        support::json(hardened.as_bytes())["linux"]["resources"]["unified"].clone()
    };
    assert_eq!(files(true, json!({})), json!({"memory.swap.max": "0"}));
    assert_eq!(files(true, json!({"memory.high": "1"})), json!({"memory.high": "1", "memory.swap.max": "0"}));
    assert_eq!(files(true, json!({"memory.swap.max": "max"})), json!({"memory.swap.max": "0"}));
    assert_eq!(files(false, json!({"memory.high": "1"})), json!({"memory.high": "1"}));
}

/// It says nothing that the limits do not say, so it is no finding: an admin who refuses what `res.memory` finds refuses nothing here.
#[test]
fn what_systemd_is_told_is_no_finding() {
    let policy = Policy::from_toml("[profiles.restricted.rules.\"res.memory\"]\naction = \"deny\"\n").unwrap();
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    spec["linux"]["resources"]["unified"] = json!({});
    spec["linux"]["resources"]["memory"] = json!({ "limit": 100 << 20, "swap": 100 << 20 });
    let task = Task::of(&support::id_of(&spec));
    let (hardened, record) =
        support::admitted(support::create_with(&spec, &task, &policy, |host| host.swap_by_name = true));
    let unified = &support::json(hardened.as_bytes())["linux"]["resources"]["unified"];
    assert_eq!(unified["memory.swap.max"], "0");
    // A rule that only watches changes nothing.
    let watching = Policy::from_toml("[profiles.restricted.rules.\"res.memory\"]\naction = \"audit\"\n").unwrap();
    let (watched, _) =
        support::admitted(support::create_with(&spec, &task, &watching, |host| host.swap_by_name = true));
    assert!(!String::from_utf8_lossy(watched.as_bytes()).contains("memory.swap.max"));
    assert!(!format!("{record:?}").contains("memory.swap.max"), "{record:?}");
}

#[test]
fn a_sandbox_without_a_quota_of_the_pod_has_the_profiles() {
    let quota = |quota: &str, period: &str| {
        let mut spec = support::golden("cri-pause");
        spec["annotations"]["io.kubernetes.cri.sandbox-cpu-quota"] = json!(quota);
        spec["annotations"]["io.kubernetes.cri.sandbox-cpu-period"] = json!(period);
        spec["linux"]["resources"].as_object_mut().unwrap().remove("cpu");
        let (hardened, _) = support::admitted(support::create(&spec, &Policy::builtin()));
        support::json(hardened.as_bytes())["linux"]["resources"]["cpu"]["quota"].clone()
    };
    assert_eq!(quota("50000", "100000"), json!(50_000), "the pod's");
    for (none, period) in [("0", "100000"), ("-1", "100000"), ("50000", "0"), ("50000", "")] {
        assert_eq!(quota(none, period), json!(800_000), "{none} in {period}");
    }
}

#[test]
fn options_of_a_tmpfs() {
    let policy =
        Policy::from_toml("[profiles.restricted.rules.\"mount.size\"]\ndefault = \"1MiB\"\nmax = \"2MiB\"\n").unwrap();
    for (asked, expected, reason) in [
        (json!(["nosuid", "nodev", "rw"]), json!(["nosuid", "nodev", "rw", "size=1048576"]), "a tmpfs without a size"),
        (json!(["nosuid", "nodev", "size=3m"]), json!(["nosuid", "nodev", "size=2097152"]), "a tmpfs above the limit"),
        (
            json!(["size=1m", "nosuid", "nodev", "size=4k"]),
            json!(["nosuid", "nodev", "size=4096"]),
            "a tmpfs with several sizes",
        ),
    ] {
        let mut spec = pod();
        spec["root"]["path"] = json!("rootfs");
        mount(&mut spec, "/t", "tmpfs", asked.clone());
        let (hardened, record) = support::admitted(support::create(&spec, &policy));
        let mounts = support::json(hardened.as_bytes())["mounts"].clone();
        assert_eq!(mounts.as_array().unwrap().last().unwrap()["options"], expected, "{asked}");
        let place = format!("/mounts/{}/options", mounts.as_array().unwrap().len() - 1);
        let found = record.findings.iter().find(|found| found.rule.as_str() == "mount.size" && found.pointer == place);
        assert_eq!(found.unwrap().reason, reason, "{asked}");
    }
}

#[test]
fn a_variable_is_found_where_it_stood() {
    let policy = Policy::from_toml("[profiles.restricted.rules.hooks]\nallow = [\"/usr/bin/x\"]\n").unwrap();
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    spec["hooks"] = json!({"createContainer": [{"path": "/usr/bin/x"}]});
    spec["process"]["env"] = json!(["PATH=/bin", "LD_AUDIT=/a", "KEPT=1", "LD_PRELOAD=/b"]);
    let (hardened, record) = support::admitted(support::create(&spec, &policy));
    assert_eq!(support::json(hardened.as_bytes())["process"]["env"], json!(["PATH=/bin", "KEPT=1"]));
    let places: Vec<&str> = record.findings.iter().map(|found| &*found.pointer).collect();
    assert_eq!(places, ["/process/env/1", "/process/env/3"]);
}

#[test]
fn devices_of_the_list_are_known_by_type_path_and_both_numbers() {
    let policy = Policy::from_toml(
        "[profiles.restricted.rules.\"linux.devices\"]\nallow = [\"/dev/gpu c 195:1\", \"/dev/disk b 8:16\"]\n",
    )
    .unwrap();
    for (path, kind, major, minor, expected) in [
        ("/dev/gpu", "c", 195, 1, Clean),
        ("/dev/gpu", "c", 195, 2, Denied),
        ("/dev/gpu", "c", 196, 1, Denied),
        ("/dev/gpu", "b", 195, 1, Denied),
        ("/dev/other", "c", 195, 1, Denied),
        ("/dev/disk", "b", 8, 16, Clean),
        ("/dev/disk", "c", 8, 16, Denied),
        ("/dev/disk", "b", 8, 0, Denied),
    ] {
        let mut spec = pod();
        spec["root"]["path"] = json!("rootfs");
        let device = json!({"path": path, "type": kind, "major": major, "minor": minor});
        push(&mut spec["linux"]["devices"], device.clone());
        let record = support::create(&spec, &policy).record;
        assert_eq!(verdict_of("linux.devices", &record), expected, "{device}");
    }
}

#[test]
fn a_list_lets_its_own_names_pass_and_no_other() {
    let of = |rule: &str, entry: &str| {
        Policy::from_toml(&format!("[profiles.restricted.rules.\"{rule}\"]\nallow = [\"{entry}\"]\n")).unwrap()
    };
    let annotation = of("annotations", "shop.example/tier");
    assert_eq!(judged("annotations", &annotation, |s| s["annotations"]["shop.example/tiers"] = json!("x")), Mutated);
    let apparmor = of("process.apparmor", "mine");
    assert_eq!(judged("process.apparmor", &apparmor, |s| s["process"]["apparmorProfile"] = json!("mine")), Clean);
    assert_eq!(judged("process.apparmor", &apparmor, |s| s["process"]["apparmorProfile"] = json!("other")), Denied);
    let selinux = of("process.selinux", "mine_t");
    assert_eq!(judged("process.selinux", &selinux, |s| s["process"]["selinuxLabel"] = json!("u:r:mine_t:s0")), Clean);
    assert_eq!(judged("process.selinux", &selinux, |s| s["process"]["selinuxLabel"] = json!("u:r:spc_t:s0")), Denied);
}

#[test]
fn a_container_of_a_pod_that_names_no_cgroup_is_not_put_elsewhere() {
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    let task = Task::of(&support::id_of(&spec));
    spec["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    let decision = support::create_with(&spec, &task, &Policy::builtin(), |host| {
        host.pod_cgroup = Some("/kubepods/pod1/sandbox".to_owned());
    });
    assert_eq!(verdict_of("linux.cgroups-path", &decision.record), Denied);
}

/// The cause of a refusal is told with what led to it.
#[test]
fn a_profile_that_cannot_be_combined_says_where() {
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]});
    let record = support::create(&spec, &Policy::builtin()).record;
    let found = record.findings.iter().find(|found| found.rule.as_str() == "linux.seccomp").unwrap();
    assert!(found.reason.contains("NOTIFY"), "{}", found.reason);
}

/// cgroup v2's own file counts against the typed limit, in the period that it names.
#[test]
fn cpu_as_a_file_of_cgroup_v2() {
    let cpu = |quota: i64, period: u64, file: &str, policy: &Policy| {
        let mut spec = pod();
        spec["root"]["path"] = json!("rootfs");
        spec["linux"]["resources"]["cpu"] = json!({"quota": quota, "period": period});
        spec["linux"]["resources"]["unified"] = json!({"cpu.max": file});
        let (hardened, _) = support::admitted(support::create(&spec, policy));
        support::json(hardened.as_bytes())["linux"]["resources"]["unified"]["cpu.max"].clone()
    };
    let builtin = Policy::builtin();
    assert_eq!(cpu(200_000, 100_000, "max 50000", &builtin), json!("100000 50000"));
    assert_eq!(cpu(200_000, 100_000, "90000 50000", &builtin), json!("90000 50000"));
    assert_eq!(cpu(50_000, 25_000, "max", &builtin), json!("200000 100000"));
    // A period of 0 is none. `res.cpu` writes the kernel's, unless it only watches.
    let watching = Policy::from_toml("[profiles.restricted.rules.\"res.cpu\"]\naction = \"audit\"\n").unwrap();
    assert_eq!(cpu(200_000, 0, "max 100000", &watching), json!("800000 100000"));
}
