//! Limits that a profile has only where an admin gives them: CPU and memory sets, `memory.high`, whom the OOM killer ends, huge
//! pages, disks. Each in create and update, by name and by `unified`.

use oci_spec::runtime::LinuxResources;
use palisade_policy::{Grant, HostFacts, Policy, Record, UpdateRequest, judge_update};
use serde_json::{Value, json};

use crate::support::{self, Task, Verdict, Verdict::*, verdict_of};
use crate::tables::pod;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn policy(rules: &str) -> Policy {
    Policy::from_toml(&rules.replace("[rules.", "[profiles.restricted.rules.")).unwrap()
}

fn of_v2(host: &mut HostFacts) {
    host.cgroup_v2 = true;
    host.huge_page_sizes = vec!["2MB".into(), "1GB".into()];
}

/// The grant of a container with these resources and those that it got; `None` where it was refused.
fn created(asked: &Value, policy: &Policy, host: fn(&mut HostFacts)) -> (Option<(Grant, Value)>, Record) {
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    let resources = spec["linux"]["resources"].as_object_mut().unwrap();
    resources.remove("unified");
    resources.extend(asked.as_object().unwrap().clone());
    let decision = support::create_with(&spec, &Task::of(&support::id_of(&spec)), policy, host);
    if support::is_denied(&decision) {
        return (None, decision.record);
    }
    let (hardened, record) = support::admitted(decision);
    let resources = support::json(hardened.as_bytes())["linux"]["resources"].clone();
    (Some((hardened.grant().clone(), resources)), record)
}

/// The resources to hand on, at a place; null where the request is refused.
fn updated(asked: &Value, now: &Value, grant: &Grant, policy: &Policy, at: &str) -> Value {
    let now: LinuxResources = serde_json::from_value(now.clone()).unwrap();
    let annotations = std::collections::BTreeMap::new();
    let bytes = asked.to_string();
    let request = UpdateRequest {
        resources: bytes.as_bytes(),
        annotations: &annotations,
        in_force: Some(&now),
        today: support::today(),
    };
    let decision = judge_update(request, grant, policy);
    if support::is_denied(&decision) {
        return json!("refused");
    }
    let (hardened, _) = support::admitted(decision);
    support::json(hardened.as_bytes()).pointer(at).cloned().unwrap_or_default()
}

/// What is asked for, what becomes of it at create and at update, and the place that is looked at.
struct Row(Value, Verdict, Value, Value);

fn table(rule: &str, policy: &Policy, at: &str, rows: &[Row]) {
    for Row(asked, verdict, at_create, at_update) in rows {
        let (created, record) = created(asked, policy, of_v2);
        assert_eq!(verdict_of(rule, &record), *verdict, "{asked}");
        let got = created.map_or_else(|| json!("refused"), |(_, got)| got.pointer(at).cloned().unwrap_or_default());
        assert_eq!(got, *at_create, "create with {asked}");
        let (given, _) = self::created(&json!({}), policy, of_v2);
        let (grant, now) = given.unwrap();
        assert_eq!(updated(asked, &now, &grant, policy, at), *at_update, "update with {asked}");
    }
}

#[test]
fn cpus_and_nodes_are_those_of_the_profile() {
    let policy = policy("[rules.\"res.cpuset\"]\ncpus = \"0-3,8\"\nmems = \"0\"\n");
    let list = |list: Value| json!({"cpu": {"cpus": list, "quota": 50_000, "period": 100_000}});
    let whole = json!("0-3,8");
    let rows = [
        Row(json!({}), Mutated, whole.clone(), json!(null)),
        Row(list(json!("")), Mutated, whole.clone(), json!("")),
        Row(list(json!("1,3")), Mutated, json!("1,3"), json!("1,3")),
        Row(list(json!("0-7")), Mutated, json!("0-3"), json!("0-3")),
        Row(list(json!("3,8-9")), Mutated, json!("3,8"), json!("3,8")),
        Row(list(json!("4-7")), Denied, json!("refused"), json!("refused")),
        Row(list(json!("0-31:2/16")), Denied, json!("refused"), json!("refused")),
        Row(list(json!("all")), Denied, json!("refused"), json!("refused")),
    ];
    table("res.cpuset", &policy, "/cpu/cpus", &rows);
    let both =
        |cpus: &str, mems: &str| json!({"cpu": {"cpus": cpus, "mems": mems, "quota": 50_000, "period": 100_000}});
    let rows = [
        Row(both("0-3,8", "0"), Clean, json!("0"), json!("0")),
        Row(both("0-3,8", "0-1"), Mutated, json!("0"), json!("0")),
        Row(both("0-3,8", "1"), Denied, json!("refused"), json!("refused")),
    ];
    table("res.cpuset", &policy, "/cpu/mems", &rows);
    let (free, record) = created(&list(json!("4-7")), &Policy::builtin(), of_v2);
    assert_eq!((free.unwrap().1["cpu"]["cpus"].clone(), verdict_of("res.cpuset", &record)), (json!("4-7"), Clean));
}

#[test]
fn an_admin_can_have_them_refused_instead() {
    for (rule, settings, asked) in [
        ("res.cpuset", "cpus = \"0\"", json!({"cpu": {"cpus": "0-1"}})),
        ("res.hugepages", "max = 0", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]})),
        ("res.io", "weight = 100", json!({"blockIO": {"weight": 101}})),
        ("res.memory", "high = \"50%\"", json!({"unified": {"memory.high": "max"}})),
    ] {
        let policy = policy(&format!("[rules.\"{rule}\"]\naction = \"deny\"\n{settings}\n"));
        let (created, record) = created(&asked, &policy, of_v2);
        assert!(created.is_none() && verdict_of(rule, &record) == Denied, "{rule}: {asked}");
    }
}

fn memory(limit: u64, high: Option<&str>) -> Value {
    let mut resources = json!({"memory": {"limit": limit, "swap": limit}});
    if let Some(high) = high {
        resources["unified"] = json!({"memory.high": high});
    }
    resources
}

#[test]
fn memory_high_is_at_most_the_share_of_the_limit() {
    let policy = policy("[rules.\"res.memory\"]\nhigh = \"50%\"\n");
    let half = json!((GIB / 2).to_string());
    let rows = [
        Row(memory(GIB, None), Mutated, half.clone(), half.clone()),
        Row(memory(GIB, Some("max")), Mutated, half.clone(), half.clone()),
        Row(memory(GIB, Some(&GIB.to_string())), Mutated, half.clone(), half.clone()),
        Row(memory(GIB, Some(&(GIB / 2).to_string())), Clean, half.clone(), half),
        Row(memory(GIB, Some("4096")), Clean, json!("4096"), json!("4096")),
        Row(memory(GIB, Some("1k")), Clean, json!("refused"), json!("refused")),
    ];
    table("res.memory", &policy, "/unified/memory.high", &rows);
}

/// The files of v2 mean nothing to v1, and runtimes refuse them there.
#[test]
fn files_of_v2_are_left_alone_under_v1() {
    let policy = policy("[rules.\"res.memory\"]\nhigh = \"50%\"\noom_group = true\n");
    let (created, record) = created(&memory(GIB, None), &policy, |_| {});
    let (grant, now) = created.unwrap();
    assert_eq!((now["unified"].clone(), verdict_of("res.memory", &record)), (json!(null), Clean));
    assert_eq!(updated(&memory(2 * GIB, None), &now, &grant, &policy, "/unified"), json!(null));
}

#[test]
fn memory_high_goes_with_the_limit_and_stays_where_the_container_wanted_it() {
    let policy = policy("[rules.\"res.memory\"]\nhigh = \"50%\"\n");
    let high_after = |at_create: Option<&str>, update: Value| {
        let (grant, now) = created(&memory(GIB, at_create), &policy, of_v2).0.unwrap();
        updated(&update, &now, &grant, &policy, "/unified/memory.high")
    };
    let half = |limit: u64| json!((limit / 2).to_string());
    assert_eq!(high_after(None, memory(2 * GIB, None)), half(2 * GIB), "raised with its limit");
    assert_eq!(high_after(None, memory(GIB / 2, None)), half(GIB / 2), "lowered with its limit");
    assert_eq!(high_after(Some("8192"), memory(2 * GIB, None)), json!(null), "the container's own stays");
    assert_eq!(high_after(Some(&(300 * MIB).to_string()), memory(GIB / 2, None)), half(GIB / 2), "as far as it may");
    assert_eq!(high_after(None, json!({"cpu": {"shares": 2}})), json!(null), "nothing is said of memory");
    let lifted = json!({"unified": {"memory.high": "max"}});
    assert_eq!(high_after(None, lifted), half(GIB), "the limit that is in force counts");
}

#[test]
fn bytes_of_memory_high_are_never_above_the_limit() {
    let policy = policy("[rules.\"res.memory\"]\nhigh = \"512MiB\"\n");
    let (_, now) = created(&memory(256 * MIB, None), &policy, of_v2).0.unwrap();
    assert_eq!(now["unified"]["memory.high"], json!((256 * MIB).to_string()));
    let (_, now) = created(&memory(GIB, None), &policy, of_v2).0.unwrap();
    assert_eq!(now["unified"]["memory.high"], json!((512 * MIB).to_string()));
}

#[test]
fn who_is_killed_is_what_the_profile_says() {
    let asked = |value: &str| json!({"unified": {"memory.oom.group": value}});
    for (whole, rows) in [
        (
            true,
            [
                (json!({}), json!("1"), json!(null)),
                (asked("0"), json!("1"), json!("1")),
                (asked("1"), json!("1"), json!("1")),
            ],
        ),
        (
            false,
            [
                (json!({}), json!(null), json!(null)),
                (asked("0"), json!("0"), json!("0")),
                (asked("1"), json!("0"), json!("0")),
            ],
        ),
    ] {
        let policy = policy(&format!("[rules.\"res.memory\"]\noom_group = {whole}\n"));
        for (asked, at_create, at_update) in rows {
            let (grant, now) = created(&asked, &policy, of_v2).0.unwrap();
            let at = "/unified/memory.oom.group";
            assert_eq!(now.pointer(at).cloned().unwrap_or_default(), at_create, "{whole}: {asked}");
            assert_eq!(updated(&asked, &now, &grant, &policy, at), at_update, "{whole}: {asked}");
        }
    }
    let (free, record) = created(&asked("0"), &Policy::builtin(), of_v2);
    assert_eq!(
        (free.unwrap().1["unified"].clone(), verdict_of("res.memory", &record)),
        (json!({"memory.oom.group": "0"}), Clean)
    );
}

#[test]
fn huge_pages_of_every_size_are_bounded() {
    let page = |size: &str, limit: i64| json!({"pageSize": size, "limit": limit});
    let asked = |pages: &[Value]| json!({"hugepageLimits": pages});
    let policy = policy("[rules.\"res.hugepages\"]\ndefault = 0\nmax = \"64MiB\"\n");
    let most = 64 << 20;
    let (two, one) = (page("2MB", 0), page("1GB", 0));
    let rows = [
        Row(json!({}), Mutated, json!([two, one]), json!(null)),
        Row(asked(&[two.clone(), one.clone()]), Clean, json!([two, one]), json!([two, one])),
        Row(
            asked(&[page("2MB", most), one.clone()]),
            Clean,
            json!([page("2MB", most), one]),
            json!([page("2MB", most), one]),
        ),
        Row(asked(&[page("2MB", most + 1)]), Mutated, json!([page("2MB", most), one]), json!([page("2MB", most)])),
        Row(asked(&[page("2MB", i64::MAX)]), Mutated, json!([page("2MB", most), one]), json!([page("2MB", most)])),
        // A size that the machine has not: the runtime says so.
        Row(asked(&[page("64KB", 1)]), Mutated, json!([page("64KB", 1), two, one]), json!([page("64KB", 1)])),
    ];
    table("res.hugepages", &policy, "/hugepageLimits", &rows);
    let (free, record) = created(&json!({}), &Policy::builtin(), of_v2);
    assert_eq!((free.unwrap().1["hugepageLimits"].clone(), verdict_of("res.hugepages", &record)), (json!(null), Clean));
}

#[test]
fn rates_of_disks_are_bounded_by_disk_and_for_the_others() {
    let policy = policy("[rules.\"res.io\"]\nlimits = [\"8:0 rbps=1MiB\", \"* rbps=2MiB wiops=100\"]\n");
    let disk = |minor: u64, rate: u64| json!({"major": 8, "minor": minor, "rate": rate});
    let reads = |disks: &[Value]| json!({"blockIO": {"throttleReadBpsDevice": disks}});
    let list = |disks: &[Value]| Value::from(disks.to_vec());
    let rows = [
        Row(json!({}), Mutated, list(&[disk(0, MIB)]), json!(null)),
        Row(reads(&[disk(0, 7)]), Clean, list(&[disk(0, 7)]), list(&[disk(0, 7)])),
        Row(reads(&[disk(0, 0)]), Mutated, list(&[disk(0, MIB)]), list(&[disk(0, MIB)])),
        Row(reads(&[disk(0, MIB + 1)]), Mutated, list(&[disk(0, MIB)]), list(&[disk(0, MIB)])),
        // The kernel takes 12 and 20 bits: these would be 8:0.
        Row(reads(&[disk(1 << 20, MIB + 1)]), Denied, json!("refused"), json!("refused")),
        Row(
            reads(&[json!({"major": (1_u64 << 32) + 8, "minor": 0, "rate": MIB + 1})]),
            Denied,
            json!("refused"),
            json!("refused"),
        ),
        Row(reads(&[disk(16, 9 * MIB)]), Mutated, list(&[disk(16, 2 * MIB), disk(0, MIB)]), list(&[disk(16, 2 * MIB)])),
    ];
    table("res.io", &policy, "/blockIO/throttleReadBpsDevice", &rows);
    let writes = |rate: u64| json!({"blockIO": {"throttleReadBpsDevice": [disk(0, 1)], "throttleWriteIOPSDevice": [disk(3, rate)]}});
    let rows = [
        Row(writes(100), Clean, list(&[disk(3, 100)]), list(&[disk(3, 100)])),
        Row(writes(101), Mutated, list(&[disk(3, 100)]), list(&[disk(3, 100)])),
    ];
    table("res.io", &policy, "/blockIO/throttleWriteIOPSDevice", &rows);
    let (free, record) = created(&reads(&[disk(0, u64::MAX)]), &Policy::builtin(), of_v2);
    assert_eq!(free.unwrap().1["blockIO"], reads(&[disk(0, u64::MAX)])["blockIO"]);
    assert_eq!(verdict_of("res.io", &record), Clean);
}

#[test]
fn weights_of_disks_are_bounded() {
    let policy = policy("[rules.\"res.io\"]\nweight = 500\n");
    let block = |block: Value| json!({"blockIO": block});
    let rows = [
        Row(json!({}), Clean, json!(null), json!(null)),
        Row(block(json!({"weight": 500})), Clean, json!({"weight": 500}), json!({"weight": 500})),
        Row(block(json!({"weight": 501})), Mutated, json!({"weight": 500}), json!({"weight": 500})),
        Row(block(json!({"leafWeight": 501})), Mutated, json!({"leafWeight": 500}), json!({"leafWeight": 500})),
        Row(
            block(json!({"weightDevice": [{"major": 8, "minor": 0, "weight": 900, "leafWeight": 1000}]})),
            Mutated,
            json!({"weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 500}]}),
            json!({"weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 500}]}),
        ),
    ];
    table("res.io", &policy, "/blockIO", &rows);
}

#[test]
fn disks_by_the_names_of_files_are_held_to_the_same() {
    let limited = policy("[rules.\"res.io\"]\nlimits = [\"8:0 rbps=1MiB\", \"* wiops=100\"]\nweight = 500\n");
    let free = Policy::builtin();
    let refused = json!("refused");
    for (file, asked, by_limits, by_nobody) in [
        ("io.max", "8:0 rbps=max wbps=max", json!("8:0 rbps=1048576 wbps=max"), json!("8:0 rbps=max wbps=max")),
        ("io.max", "8:0 rbps=5 wiops=200", json!("8:0 rbps=5 wiops=100"), json!("8:0 rbps=5 wiops=200")),
        ("io.max", "8:1048576 rbps=1", refused.clone(), refused.clone()),
        ("io.max", "4294967304:0 rbps=1", refused.clone(), refused.clone()),
        ("io.max", "8:0", refused.clone(), refused.clone()),
        ("io.max", "8:0 rbps=x", refused.clone(), refused.clone()),
        ("io.max", "8:0 latency=1", refused.clone(), refused.clone()),
        ("io.max", "sda rbps=1", refused.clone(), refused.clone()),
        ("io.max", "8: rbps=1", refused.clone(), refused.clone()),
        ("io.max", "8:0 rbps=1\n8:0 rbps=max", refused.clone(), refused.clone()),
        ("io.max", "", refused.clone(), refused.clone()),
        ("io.weight", "default 100", json!("default 100"), json!("default 100")),
        ("io.weight", "default 10000", json!("default 4950"), json!("default 10000")),
        ("io.weight", "10000", json!("4950"), json!("10000")),
        ("io.weight", "8:0 10000", json!("8:0 4950"), json!("8:0 10000")),
        ("io.weight", "10001", refused.clone(), refused.clone()),
        ("io.weight", "0", refused.clone(), refused.clone()),
        ("io.weight", "sda 5", refused.clone(), refused.clone()),
        ("io.bfq.weight", "1000", json!("500"), json!("1000")),
        ("io.bfq.weight", "1001", refused.clone(), refused.clone()),
        ("io.latency", "8:0 target=1", refused.clone(), refused.clone()),
    ] {
        for (policy, wanted) in [(&limited, by_limits), (&free, by_nobody)] {
            let asked = json!({"unified": {file: asked}});
            let (created, _) = created(&asked, policy, of_v2);
            let got = created.map_or_else(|| refused.clone(), |(_, got)| got["unified"][file].clone());
            assert_eq!(got, wanted, "{asked}");
        }
    }
}

/// What `unified` says is written last, over what the typed limits are.
#[test]
fn a_file_lifts_no_typed_rate() {
    let asked = json!({
        "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 9}, {"major": 8, "minor": 0, "rate": 5}]},
        "unified": {"io.max": "8:0 rbps=max riops=max"},
    });
    let (created, _) = created(&asked, &Policy::builtin(), of_v2);
    assert_eq!(created.unwrap().1["unified"], json!({"io.max": "8:0 rbps=5 riops=max"}));
}
