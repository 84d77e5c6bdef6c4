//! Writing: which text each resource puts into which file.

use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};

use super::Fixture;
use crate::cgroup::{CgroupError, Version};

/// Applies to files that all exist and are empty but for `cpu.max` and the like, and gives back what was written.
fn applied(version: Version, resources: Value, files: &[(&str, &str)]) -> (Fixture, Result<(), CgroupError>) {
    let fixture = Fixture::new(files);
    let resources: LinuxResources = serde_json::from_value(resources).unwrap();
    let outcome = fixture.cgroup(version).apply(&resources);
    (fixture, outcome)
}

fn written(version: Version, resources: Value, files: &[(&str, &str)]) -> Fixture {
    let (fixture, outcome) = applied(version, resources, files);
    outcome.unwrap();
    fixture
}

fn refused(version: Version, resources: Value, files: &[(&str, &str)]) -> &'static str {
    match applied(version, resources, files).1 {
        Err(CgroupError::Refused { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn v2_swap_is_the_sum_less_memory() {
    let files = [("memory.max", ""), ("memory.swap.max", ""), ("memory.low", "")];
    let cases = [
        (json!({"limit": 1000, "swap": 1500}), "1000", "500"),
        (json!({"limit": 1000, "swap": 1000}), "1000", "0"),
        (json!({"limit": 1000, "swap": -1}), "1000", "max"),
        (json!({"limit": -1}), "max", "max"),
        (json!({"limit": 1000}), "1000", ""),
        (json!({"limit": 0, "swap": 0}), "", ""),
    ];
    for (memory, max, swap) in cases {
        let fixture = written(Version::V2, json!({ "memory": memory }), &files);
        assert_eq!((fixture.read("memory.max").as_str(), fixture.read("memory.swap.max").as_str()), (max, swap));
    }
    let fixture = written(Version::V2, json!({"memory": {"reservation": 77}}), &files);
    assert_eq!(fixture.read("memory.low"), "77");
}

#[test]
fn v2_swap_without_its_file_is_only_fine_when_there_is_none_to_limit() {
    let files = [("memory.max", "")];
    written(Version::V2, json!({"memory": {"limit": 1000, "swap": 1000}}), &files);
    written(Version::V2, json!({"memory": {"limit": 1000, "swap": -1}}), &files);
    let (_fixture, outcome) = applied(Version::V2, json!({"memory": {"limit": 1000, "swap": 1500}}), &files);
    assert!(matches!(outcome, Err(CgroupError::NoSuchLimit { .. })));
}

#[test]
fn impossible_memory_is_refused_on_both() {
    for version in [Version::V1, Version::V2] {
        assert_eq!(refused(version, json!({"memory": {"limit": 1000, "swap": 999}}), &[]), "memory.swap");
        assert_eq!(refused(version, json!({"memory": {"limit": -1, "swap": 999}}), &[]), "memory.swap");
        assert_eq!(refused(version, json!({"memory": {"limit": -2}}), &[]), "memory.limit");
        assert_eq!(refused(version, json!({"network": {"classID": 5}}), &[]), "network");
        assert_eq!(
            refused(version, json!({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}), &[]),
            "hugepageLimits.pageSize"
        );
        assert_eq!(refused(version, json!({"blockIO": {"leafWeight": 5}}), &[]), "blockIO.leafWeight");
    }
    assert_eq!(refused(Version::V2, json!({"memory": {"swap": 999}}), &[]), "memory.swap");
    assert_eq!(refused(Version::V2, json!({"memory": {"disableOOMKiller": true}}), &[]), "memory.disableOOMKiller");
}

#[test]
fn check_before_update_refuses_a_limit_below_the_usage() {
    for (version, usage, limit) in
        [(Version::V1, "memory.usage_in_bytes", "memory.limit_in_bytes"), (Version::V2, "memory.current", "memory.max")]
    {
        let files = [(usage, "500\n"), (limit, "")];
        let resources = |limit: i64| json!({"memory": {"limit": limit, "checkBeforeUpdate": true}});
        assert_eq!(refused(version, resources(400), &files), "memory.limit");
        assert_eq!(written(version, resources(600), &files).read(limit), "600");
        // As asked before somebody else writes.
        let fixture = Fixture::new(&files);
        let asked =
            |limit| fixture.cgroup(version).refuse_below_usage(&serde_json::from_value(resources(limit)).unwrap());
        assert!(matches!(asked(400), Err(CgroupError::Refused { field: "memory.limit", .. })));
        asked(600).unwrap();
        assert_eq!(fixture.read(limit), "", "nothing is written");
    }
}

#[test]
fn the_quota_in_force_is_read_with_its_period() {
    let quota = |text: &str| Fixture::new(&[("cpu.max", text)]).cgroup(Version::V2).cpu_quota();
    assert_eq!(quota("20000 100000\n").unwrap(), Some((20_000, 100_000)));
    assert_eq!(quota("max 100000\n").unwrap(), None);
    assert!(quota("20000\n").is_err() && quota("x 1\n").is_err());
    assert_eq!(Fixture::new(&[]).cgroup(Version::V2).cpu_quota().unwrap(), None);
}

#[test]
fn v2_cpu_max_keeps_the_value_that_was_not_given() {
    let files = [("cpu.max", "50000 100000\n"), ("cpu.weight", ""), ("cpu.max.burst", ""), ("cpu.idle", "")];
    let cases = [
        (json!({"quota": 20000}), "20000 100000"),
        (json!({"quota": -1}), "max 100000"),
        (json!({"period": 200000}), "50000 200000"),
        (json!({"quota": 1000, "period": 2000}), "1000 2000"),
    ];
    for (cpu, max) in cases {
        assert_eq!(written(Version::V2, json!({ "cpu": cpu }), &files).read("cpu.max"), max);
    }
    let all = json!({"cpu": {"burst": 5, "idle": 1, "shares": 1024}});
    let fixture = written(Version::V2, all, &files);
    assert_eq!(fixture.read("cpu.max.burst"), "5");
    assert_eq!(fixture.read("cpu.idle"), "1");
    assert_eq!(fixture.read("cpu.weight"), "100");
    assert_eq!(refused(Version::V2, json!({"cpu": {"realtimeRuntime": 5}}), &files), "cpu.realtimeRuntime");
}

#[test]
fn v2_weight_follows_the_curve_that_keeps_the_defaults() {
    for (shares, weight) in [
        (1, "1"),
        (2, "1"),
        (512, "59"),
        (1024, "100"),
        (2048, "174"),
        (262_143, "10000"),
        (262_144, "10000"),
        (u64::MAX, "10000"),
    ] {
        let fixture = written(Version::V2, json!({"cpu": {"shares": shares}}), &[("cpu.weight", "")]);
        assert_eq!(fixture.read("cpu.weight"), weight, "{shares} shares");
    }
    assert_eq!(written(Version::V2, json!({"cpu": {"shares": 0}}), &[("cpu.weight", "")]).read("cpu.weight"), "");
}

#[test]
fn v2_others_and_unified() {
    let files = [
        "cpuset.cpus",
        "cpuset.mems",
        "pids.max",
        "io.max",
        "io.weight",
        "hugetlb.2MB.max",
        "hugetlb.2MB.rsvd.max",
        "memory.high",
    ];
    let files: Vec<_> = files.iter().map(|name| (*name, "")).collect();
    let resources = json!({
        "cpu": {"cpus": "0-1", "mems": "0"}, "pids": {"limit": -1},
        "blockIO": {"weight": 1000, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
        "devices": [{"allow": true, "access": "rwm"}],
        "unified": {"memory.high": "12"},
    });
    let fixture = written(Version::V2, resources, &files);
    let texts: Vec<_> = files.iter().map(|(name, _)| fixture.read(name)).collect();
    assert_eq!(texts, ["0-1", "0", "max", "8:0 rbps=max", "default 10000", "4096", "4096", "12"]);
    for name in ["cgroup.kill", "../x/memory.high", "memory", ".memory"] {
        assert_eq!(refused(Version::V2, json!({"unified": {name: "1"}}), &[("cgroup.kill", "")]), "unified");
    }
}

#[test]
fn v1_files() {
    let names = [
        "memory.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
        "memory.soft_limit_in_bytes",
        "cpu.shares",
        "cpu.cfs_quota_us",
        "cpu.cfs_period_us",
        "cpuset.cpus",
        "pids.max",
        "hugetlb.2MB.limit_in_bytes",
        "blkio.bfq.weight",
        "blkio.throttle.write_iops_device",
        "rdma.max",
    ];
    let files: Vec<_> = names.iter().map(|name| (*name, "")).collect();
    let resources = json!({
        "memory": {"limit": 1000, "swap": -1, "reservation": 500},
        "cpu": {"shares": 512, "quota": -1, "period": 100000, "cpus": "1"},
        "pids": {"limit": 20}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
        "blockIO": {"weight": 300, "throttleWriteIOPSDevice": [{"major": 8, "minor": 1, "rate": 60}]},
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}},
    });
    let fixture = written(Version::V1, resources, &files);
    let texts: Vec<_> = names.iter().map(|name| fixture.read(name)).collect();
    assert_eq!(
        texts,
        [
            "1000",
            "-1",
            "500",
            "512",
            "-1",
            "100000",
            "1",
            "20",
            "4096",
            "300",
            "8:1 60",
            "mlx5_1 hca_handle=3 hca_object=10"
        ]
    );
    assert_eq!(refused(Version::V1, json!({"unified": {"memory.high": "1"}}), &[]), "unified");
}

#[test]
fn a_limit_without_its_file_is_an_error_and_an_empty_request_is_none() {
    for version in [Version::V1, Version::V2] {
        let (_fixture, outcome) = applied(version, json!({"pids": {"limit": 5}}), &[]);
        assert!(matches!(outcome, Err(CgroupError::NoSuchLimit { .. })));
        written(version, json!({"memory": {}, "cpu": {"cpus": ""}, "pids": {"limit": 0}, "unified": {}}), &[]);
    }
}

/// Whether it stands still can't be told, and it is not left so.
#[test]
fn a_container_that_could_not_be_seen_to_freeze_is_told_to_go_on() {
    let fixture = Fixture::new(&[("cgroup.freeze", "0"), ("cgroup.events", "populated 1\nfrozen x\n")]);
    assert!(matches!(fixture.cgroup(Version::V2).freeze(), Err(CgroupError::Malformed { .. })));
    assert_eq!(fixture.read("cgroup.freeze"), "0");
    // On v1 the state is written where it is read: a file that can only be written tells nothing.
    let fixture = Fixture::new(&[("freezer.state", "THAWED")]);
    assert!(fixture.cgroup(Version::V1).freeze().is_ok(), "control");
    assert_eq!(fixture.read("freezer.state"), "FROZEN");
}
