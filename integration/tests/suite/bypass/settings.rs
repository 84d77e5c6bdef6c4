//! What a specification sets of the kernel: sysctls, cgroups, limits, hidden files (contract §6.14 to §6.16).

use palisade_integration::cgroup::Limits;
use serde_json::{Value, json};

use super::ways::Way::{Init, Inside, Spec};
use super::{Bypass, powerless, refused};
use crate::spec_edits::{mount_options, set};

const NEVER_ALONE: &str = "each mark of privileged mode falls to its own rule";

pub(super) const ENTRIES: &[Bypass] = &[
    refused(
        "sysctl-core-pattern",
        "§6.14",
        "the host's handler of core dumps",
        Spec(|spec| sysctl(spec, "kernel.core_pattern", "|/bin/false")),
        "linux.sysctl",
    )
    .stops_too("runc sets namespaced sysctls only"),
    refused(
        "sysctl-smuggled",
        "CVE-2022-0811",
        "a sysctl in the value of another",
        Spec(|spec| sysctl(spec, "kernel.shm_rmid_forced", "1+kernel.core_pattern=|/bin/false")),
        "linux.sysctl",
    )
    .stops_too("runc writes the value to one file"),
    refused(
        "sysctl-unsafe",
        "§6.14, PSS sysctls",
        "forwarding of packets",
        Spec(|spec| sysctl(spec, "net.ipv4.ip_forward", "1")),
        "linux.sysctl",
    ),
    refused(
        "cgroup-of-system",
        "§6.15",
        "a cgroup of the system's, by dots",
        Spec(|spec| set(spec, "/linux/cgroupsPath", json!("/../../system.slice"))),
        "linux.cgroups-path",
    ),
    refused(
        "cgroup-of-another",
        "§6.15",
        "a cgroup that is named after another container",
        Spec(|spec| {
            let own = spec["linux"]["cgroupsPath"].as_str().unwrap_or_default().to_owned();
            set(spec, "/linux/cgroupsPath", json!(format!("{own}-neighbour")));
        }),
        "linux.cgroups-path",
    ),
    refused(
        "cgroup-of-root-slice",
        "§6.15",
        "systemd's root slice",
        Spec(|spec| set(spec, "/linux/cgroupsPath", json!("-.slice:palisade:other"))),
        "linux.cgroups-path",
    )
    .untried("needs systemd"),
    powerless(
        "no-limits",
        "§6.15",
        "no limit of memory and tasks",
        Init {
            make: |spec| set(spec, "/linux/resources", json!({})),
            shown: |pid| Limits::of(pid).is_ok_and(|limits| limits.memory.is_none() || limits.pids.is_none()),
        },
        "res.memory and res.pids",
    ),
    powerless(
        "fork-bomb",
        "controls §3",
        "three thousand processes",
        Inside {
            make: |_| (),
            args: &["/probe", "forks", "3000"],
            shown: |output| output.contains("\"started\":3000"),
        },
        "res.pids",
    ),
    powerless(
        "unmasked-paths",
        "§6.16, PSS procMount",
        "no masked paths",
        Inside {
            make: |spec| set(spec, "/linux/maskedPaths", json!([])),
            args: &["/probe", "try", "read-keys", "list-firmware"],
            shown: any,
        },
        "linux.masked",
    ),
    powerless(
        "writable-paths",
        "§6.16, PSS procMount",
        "no read-only paths",
        Inside {
            make: |spec| set(spec, "/linux/readonlyPaths", json!([])),
            args: &["/probe", "try", "write-core-pattern", "write-irq-affinity", "write-modprobe"],
            shown: any,
        },
        "linux.readonly",
    ),
    refused(
        "privileged-marks",
        "PSS privileged",
        "privileged mode by its marks",
        Spec(|spec| {
            set(spec, "/linux/maskedPaths", json!([]));
            set(spec, "/linux/readonlyPaths", json!([]));
            mount_options(spec, "/sys", json!(["nosuid", "noexec", "nodev", "rw"]));
        }),
        "priv.heuristic",
    ),
    powerless(
        "writable-sysfs",
        "§6.9",
        "a writable /sys",
        Inside {
            make: |spec| mount_options(spec, "/sys", json!(["nosuid", "noexec", "nodev", "rw"])),
            args: &["/probe", "try", "write-sysfs"],
            shown: any,
        },
        NEVER_ALONE,
    ),
    refused(
        "mount-label",
        "§6.16",
        "an SELinux file type of the host's for the mounts",
        Spec(|spec| set(spec, "/linux/mountLabel", json!("system_u:object_r:etc_t:s0"))),
        "linux.mount-label",
    )
    .untried("needs a node with SELinux"),
    refused(
        "cache-class",
        "§6.16",
        "a cache allocation class of another's",
        Spec(|spec| set(spec, "/linux/intelRdt", json!({ "closID": "system" }))),
        "linux.intel-rdt",
    )
    .untried("needs a processor with cache allocation"),
];

/// Some attempt was let through.
fn any(output: &str) -> bool {
    output.contains("\"reached\"")
}

fn sysctl(spec: &mut Value, name: &str, value: &str) {
    let mut all = json!({});
    all[name] = json!(value);
    set(spec, "/linux/sysctl", all);
}
