//! Reading: fixture files into messages, and every malformed one an error.

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::{cgroups::metrics as v1, cgroups_v2::metrics as v2};

use super::Fixture;
use crate::cgroup::directory::Directory;
use crate::cgroup::{CgroupError, LimitHits, Version};

fn v1_metrics(fixture: &Fixture) -> v1::Metrics {
    let any = fixture.cgroup(Version::V1).metrics().unwrap();
    assert_eq!(any.type_url, "io.containerd.cgroups.v1.Metrics");
    v1::Metrics::parse_from_bytes(&any.value).unwrap()
}

fn v2_metrics(fixture: &Fixture) -> v2::Metrics {
    let any = fixture.cgroup(Version::V2).metrics().unwrap();
    assert_eq!(any.type_url, "io.containerd.cgroups.v2.Metrics");
    v2::Metrics::parse_from_bytes(&any.value).unwrap()
}

#[test]
fn v2_files_become_the_message() {
    let fixture = Fixture::new(&[
        ("pids.current", "7\n"),
        ("pids.max", "max\n"),
        (
            "cpu.stat",
            "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 3\nnr_throttled 2\nthrottled_usec 9\ncore_sched.force_idle_usec 1\n",
        ),
        (
            "cpu.pressure",
            "some avg10=0.50 avg60=1.25 avg300=0.00 total=42\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
        ),
        (
            "memory.stat",
            "anon 100\nfile 200\ninactive_file 150\npgfault 5\npgmajfault 1\nworkingset_refault_anon 8\nworkingset_refault_file 9\n",
        ),
        ("memory.current", "4096\n"),
        ("memory.max", "8192\n"),
        ("memory.swap.current", "0\n"),
        ("memory.swap.max", "max\n"),
        ("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 0\n"),
        ("io.stat", "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n254:0 \n"),
        ("rdma.current", "mlx4_0 hca_handle=2 hca_object=2000\n"),
        ("rdma.max", "mlx4_0 hca_handle=3 hca_object=max\n"),
        ("hugetlb.2MB.current", "2097152\n"),
        ("hugetlb.2MB.max", "max\n"),
        ("hugetlb.2MB.events", "max 11\n"),
        ("hugetlb.2MB.rsvd.current", "0\n"),
    ]);
    let metrics = v2_metrics(&fixture);
    assert_eq!((metrics.pids.current, metrics.pids.limit), (7, u64::MAX));
    let cpu = &metrics.cpu;
    assert_eq!((cpu.usage_usec, cpu.user_usec, cpu.system_usec), (30, 20, 10));
    assert_eq!((cpu.nr_periods, cpu.nr_throttled, cpu.throttled_usec), (3, 2, 9));
    assert_eq!((cpu.psi.some.avg10, cpu.psi.some.avg60, cpu.psi.some.total, cpu.psi.full.total), (0.5, 1.25, 42, 7));
    let memory = &metrics.memory;
    assert_eq!((memory.usage, memory.usage_limit, memory.swap_usage, memory.swap_limit), (4096, 8192, 0, u64::MAX));
    assert_eq!((memory.anon, memory.file, memory.inactive_file), (100, 200, 150));
    assert_eq!((memory.pgfault, memory.pgmajfault, memory.workingset_refault), (5, 1, 9));
    let events = &metrics.memory_events;
    assert_eq!(
        [events.low, events.high, events.max, events.oom, events.oom_kill, events.oom_group_kill],
        [1, 2, 3, 4, 5, 6]
    );
    let io: Vec<_> =
        metrics.io.usage.iter().map(|it| (it.major, it.minor, it.rbytes, it.wbytes, it.rios, it.wios)).collect();
    assert_eq!(io, [(8, 16, 1, 2, 3, 4), (254, 0, 0, 0, 0, 0)]);
    assert_eq!((metrics.rdma.current[0].hca_objects, metrics.rdma.limit[0].hca_objects), (2000, u32::MAX));
    let huge = &metrics.hugetlb;
    assert_eq!(huge.len(), 1);
    assert_eq!(
        (huge[0].pagesize.as_str(), huge[0].current, huge[0].max, huge[0].failcnt),
        ("2MB", 2_097_152, u64::MAX, 11)
    );
}

#[test]
fn v1_files_become_the_message() {
    let fixture = Fixture::new(&[
        ("pids.current", "7\n"),
        ("pids.max", "max\n"),
        ("cpuacct.usage", "3000000000\n"),
        ("cpuacct.stat", "user 200\nsystem 100\n"),
        ("cpuacct.usage_percpu", "1000000000 2000000000 \n"),
        ("cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 9\n"),
        (
            "memory.stat",
            "cache 1\nrss 2\npgpgin 3\ninactive_file 4\nhierarchical_memsw_limit 5\ntotal_inactive_file 6\ntotal_rss 7\nshmem 0\n",
        ),
        ("memory.usage_in_bytes", "10\n"),
        ("memory.limit_in_bytes", "11\n"),
        ("memory.max_usage_in_bytes", "12\n"),
        ("memory.failcnt", "13\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ("blkio.bfq.io_serviced_recursive", "Total 0\n"),
        ("blkio.throttle.io_serviced_recursive", "4095:1 Read 5\n4095:1 Write 6\n4095:1 Total 11\nTotal 11\n"),
        ("blkio.throttle.io_service_bytes_recursive", "4095:1 Read 500\nTotal 500\n"),
        ("hugetlb.2MB.usage_in_bytes", "1\n"),
        ("hugetlb.2MB.max_usage_in_bytes", "2\n"),
        ("hugetlb.2MB.failcnt", "3\n"),
    ]);
    let metrics = v1_metrics(&fixture);
    assert_eq!((metrics.pids.current, metrics.pids.limit), (7, 0));
    let usage = &metrics.cpu.usage;
    assert_eq!((usage.total, usage.user, usage.kernel), (3_000_000_000, 2_000_000_000, 1_000_000_000));
    assert_eq!(usage.per_cpu, [1_000_000_000, 2_000_000_000]);
    let throttling = &metrics.cpu.throttling;
    assert_eq!((throttling.periods, throttling.throttled_periods, throttling.throttled_time), (3, 2, 9));
    let memory = &metrics.memory;
    assert_eq!([memory.cache, memory.rss, memory.pg_pg_in, memory.inactive_file], [1, 2, 3, 4]);
    assert_eq!([memory.hierarchical_swap_limit, memory.total_inactive_file, memory.total_rss], [5, 6, 7]);
    assert_eq!([memory.usage.usage, memory.usage.limit, memory.usage.max, memory.usage.failcnt], [10, 11, 12, 13]);
    assert!(memory.swap.is_none() && memory.kernel.is_none());
    assert_eq!(metrics.memory_oom_control.oom_kill, 2);
    let serviced: Vec<_> =
        metrics.blkio.io_serviced_recursive.iter().map(|it| (it.op.as_str(), it.major, it.minor, it.value)).collect();
    assert_eq!(serviced, [("Read", 4095, 1, 5), ("Write", 4095, 1, 6), ("Total", 4095, 1, 11)]);
    assert_eq!(metrics.blkio.io_service_bytes_recursive[0].value, 500);
    assert_eq!((metrics.hugetlb[0].pagesize.as_str(), metrics.hugetlb[0].failcnt), ("2MB", 3));
}

#[test]
fn what_the_kernel_lacks_is_absent() {
    let v1 = v1_metrics(&Fixture::new(&[]));
    assert!(v1.cpu.is_none() && v1.memory.is_none() && v1.pids.is_none() && v1.blkio.is_none() && v1.rdma.is_none());
    let v2 = v2_metrics(&Fixture::new(&[]));
    assert!(
        v2.cpu.is_none() && v2.memory.is_none() && v2.pids.is_none() && v2.io.is_none() && v2.memory_events.is_none()
    );
}

#[test]
fn a_malformed_file_is_an_error_that_names_it() {
    let v2 = [
        ("pids.current", "seven"),
        ("cpu.stat", "usage_usec -1"),
        ("cpu.stat", "usage_usec"),
        ("cpu.stat", "usage_usec 1\nfuture_counter x"),
        ("memory.stat", "anon\t5"),
        ("memory.events", "oom_kill 99999999999999999999"),
        ("io.stat", "8 rbytes=1"),
        ("io.stat", "8:0 rbytes"),
        ("io.stat", "8:0 rbytes=x"),
        ("rdma.current", "mlx hca_handle=x"),
        ("hugetlb.2MB.current", ""),
    ];
    let v1 = [
        ("pids.max", "unlimited"),
        ("cpuacct.usage_percpu", "1 x"),
        ("memory.oom_control", "oom_kill"),
        ("blkio.throttle.io_serviced_recursive", "8:0 Read"),
        ("blkio.throttle.io_serviced_recursive", "8:0 Read 1 2"),
    ];
    let needed = [("pids.current", "1"), ("cpuacct.usage", "1"), ("memory.stat", "")];
    let cases = v2.iter().map(|case| (Version::V2, case)).chain(v1.iter().map(|case| (Version::V1, case)));
    for (version, (name, text)) in cases {
        let fixture = Fixture::new(&[]);
        needed.iter().for_each(|(name, text)| fixture.write(name, text));
        assert!(fixture.cgroup(version).metrics().is_ok(), "control: {name}");
        fixture.write(name, text);
        match fixture.cgroup(version).metrics() {
            Err(CgroupError::Malformed { path, .. }) => assert_eq!(path, fixture.path.join(name)),
            other => panic!("{name} `{text}`: {other:?}"),
        }
    }
}

#[test]
fn a_removed_cgroup_is_gone_rather_than_empty() {
    let fixture = Fixture::new(&[("pids.current", "1\n")]);
    let cgroup = fixture.cgroup(Version::V2);
    std::fs::remove_file(fixture.path.join("cgroup.procs")).unwrap();
    assert!(cgroup.metrics().unwrap_err().is_gone());
    assert!(cgroup.pids().unwrap_err().is_gone());
    assert!(cgroup.oom_kills().unwrap_err().is_gone());
}

#[test]
fn pids_of_sub_cgroups_are_listed_once_and_in_order() {
    let fixture =
        Fixture::new(&[("cgroup.procs", "30\n2\n"), ("a/cgroup.procs", "5\n"), ("a/b/cgroup.procs", "4\n2\n")]);
    assert_eq!(fixture.cgroup(Version::V2).pids().unwrap(), [2, 4, 5, 30]);
    fixture.write("a/cgroup.procs", "0\n");
    assert!(matches!(fixture.cgroup(Version::V2).pids(), Err(CgroupError::Malformed { .. })));
}

#[test]
fn oom_kills_count_kills_and_on_v1_the_sub_cgroups_too() {
    let v2 = Fixture::new(&[("memory.events", "oom 9\noom_kill 2\n")]);
    assert_eq!(v2.cgroup(Version::V2).oom_kills().unwrap(), 2);
    let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n";
    let v1 = Fixture::new(&[("memory.oom_control", control), ("a/memory.oom_control", control)]);
    assert_eq!(v1.cgroup(Version::V1).oom_kills().unwrap(), 2);
    v1.write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n");
    assert!(matches!(v1.cgroup(Version::V1).oom_kills(), Err(CgroupError::Malformed { .. })));
}

#[test]
fn a_sub_cgroup_that_vanishes_is_not_the_end_of_the_container() {
    let fixture = Fixture::new(&[("a/cgroup.procs", ""), ("b/cgroup.procs", "")]);
    let top = Directory::open(fixture.path.clone()).unwrap();
    let ends_at = |gone: &str| {
        let mut seen = 0;
        let walked = top.walk(&mut |directory| {
            seen += 1;
            let path = directory.path().to_path_buf();
            if path == fixture.path.join(gone) { Err(CgroupError::Gone { path }) } else { Ok(()) }
        });
        (walked.is_ok(), seen)
    };
    assert_eq!(ends_at("a"), (true, 3));
    assert_eq!(ends_at(""), (false, 1));
}

#[test]
fn what_met_a_limit_is_counted_under_both_versions() {
    let v1 = Fixture::new(&[
        ("pids.events", "max 4\n"),
        ("cpu.stat", "nr_periods 9\nnr_throttled 3\nthrottled_time 7000999\n"),
        ("memory.failcnt", "1\n"),
        ("memory.memsw.failcnt", "4\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
    ]);
    let v2 = Fixture::new(&[
        ("pids.events", "max 4\n"),
        ("cpu.stat", "usage_usec 1\nnr_periods 9\nnr_throttled 3\nthrottled_usec 7000\n"),
        ("memory.events", "low 1\nhigh 6\nmax 5\noom 1\noom_kill 2\n"),
    ]);
    let hits = LimitHits {
        pids_refused: 4,
        cpu_throttled_periods: 3,
        cpu_throttled_us: 7000,
        memory_high: 0,
        memory_max: 5,
        oom_kills: 2,
    };
    assert_eq!(v1.cgroup(Version::V1).limit_hits().unwrap(), hits);
    assert_eq!(v2.cgroup(Version::V2).limit_hits().unwrap(), LimitHits { memory_high: 6, ..hits });
    let none =
        Fixture::new(&[("pids.events", "max 0\n"), ("cpu.stat", "usage_usec 1\n")]).cgroup(Version::V2).limit_hits();
    assert!(!none.unwrap().any() && hits.any());
    assert!(Fixture::new(&[("pids.events", "max x\n")]).cgroup(Version::V2).limit_hits().is_err());
}
