//! The small parts of the Linux section.

use serde_json::json;

use super::parts::{Json, Temper, absent, list, map, maybe, numbers, object, pick, truth, words};

pub(super) fn of(temper: Temper) -> Json {
    object(vec![
        ("sysctl", maybe(40, sysctl(temper))),
        ("maskedPaths", maybe(85, masked(temper))),
        ("readonlyPaths", maybe(85, readonly())),
        ("rootfsPropagation", maybe(30, propagation(temper))),
        ("mountLabel", maybe(20, mount_label(temper))),
        ("personality", personality(temper)),
        ("intelRdt", temper.mix(absent(), rdt())),
        ("memoryPolicy", temper.mix(absent(), memory_policy())),
        ("timeOffsets", time_offsets(temper)),
        ("netDevices", net_devices(temper)),
    ])
}

fn sysctl(temper: Temper) -> Json {
    let safe = map(
        &[
            "net.ipv4.ip_unprivileged_port_start",
            "net.ipv4.ping_group_range",
            "net.ipv4.tcp_syncookies",
            "kernel.shm_rmid_forced",
        ],
        words(&["0", "1", "0 2147483647", "", "1,2-3"]),
        3,
    );
    let unsafe_ = map(
        &["kernel.core_pattern", "net/ipv4/ip_forward", "kernel.msgmax", "net.ipv4.tcp_rmem"],
        words(&["1", "|/x", "1+kernel.core_pattern=|/x"]),
        2,
    );
    temper.mix(safe, unsafe_)
}

fn masked(temper: Temper) -> Json {
    let paths =
        words(&["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/scsi", "/sys/firmware", "/proc/bus", "/proc/own"]);
    // With no path in either list the container looks privileged, if anything else does as well.
    temper.mix(list(paths, 7), pick(vec![json!([])]))
}

fn readonly() -> Json {
    list(words(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/srv/own"]), 7)
}

fn propagation(temper: Temper) -> Json {
    temper.mix(words(&["", "private", "rprivate", "slave", "rslave", "unbindable"]), words(&["shared", "rshared"]))
}

fn mount_label(temper: Temper) -> Json {
    temper.mix(
        words(&["", "system_u:object_r:container_file_t:s0:c1,c2", "system_u:object_r:container_ro_file_t:s0"]),
        words(&["system_u:object_r:etc_t:s0", "x"]),
    )
}

fn personality(temper: Temper) -> Json {
    let plain = pick(vec![json!({"domain": "LINUX"}), json!({"domain": "LINUX", "flags": []})]);
    let other = pick(vec![json!({"domain": "LINUX32"}), json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]})]);
    temper.mix(maybe(10, plain), other)
}

fn rdt() -> Json {
    object(vec![
        ("closID", maybe(60, words(&["a", "../x"]))),
        ("schemata", maybe(40, list(words(&["L3:0=f", "MB:0=10"]), 2))),
        ("l3CacheSchema", maybe(40, words(&["L3:0=f"]))),
        ("memBwSchema", maybe(40, words(&["MB:0=20"]))),
        ("enableCmt", maybe(40, truth())),
        ("enableMbm", maybe(40, truth())),
        ("enableMonitoring", maybe(40, truth())),
    ])
}

fn memory_policy() -> Json {
    object(vec![
        ("mode", words(&["MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_PREFERRED_MANY", "MPOL_LOCAL"])),
        ("nodes", maybe(70, words(&["0", "0-1", ""]))),
        ("flags", maybe(40, list(words(&["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"]), 2))),
    ])
}

fn time_offsets(temper: Temper) -> Json {
    let offset = object(vec![
        ("secs", maybe(80, numbers(&[0_i64, 1, -1, i64::MAX]))),
        ("nanosecs", maybe(50, numbers(&[0_u32, 999_999_999]))),
    ]);
    temper.mix(maybe(5, pick(vec![json!({})])), map(&["boottime", "monotonic"], offset, 2))
}

fn net_devices(temper: Temper) -> Json {
    let device = object(vec![("name", maybe(70, words(&["eth0", "", "lo"])))]);
    temper.mix(maybe(5, pick(vec![json!({})])), map(&["eth0", "wlan0"], device, 2))
}
