//! What the suite does not try, and why.

/// Not tried here.
pub(super) const REASONS: &[(&str, &str)] = &[
    (
        "§6.7 NRI plugins",
        "Their changes arrive in the specification and in updates: the entries of those stand for them.",
    ),
    (
        "§6.4 a checkpoint named as an image",
        "Needs CRIU on the node. The create request that containerd makes of it is the entry `restore`.",
    ),
    (
        "§6.18, §6.19 a sandbox or a group of another pod's",
        "A made-up pod leaves its shim's socket behind, under runc's shim as well. The rule `task.identity` has unit tests.",
    ),
    (
        "§6.20 a bundle of the caller's choice",
        "containerd chooses it; unit tests of `shim/bundle` open it without following links.",
    ),
    ("§6.23 the bundle's `runtime` file", "The shim does not read it."),
    ("§6.24 another RuntimeClass, §6.25 benign verbs", "Outside of what a shim can decide."),
    (
        "§6.25 the sandbox service",
        "The shim has none; containerd's own (podsandbox) creates the pause container by the task service.",
    ),
    (
        "§6.9 file systems on disks and in the network",
        "Would need a disk or a server; `mount.type` refuses every type that it does not list.",
    ),
    (
        "§6.12 execCPUAffinity, consoleSize",
        "The kernel keeps the one within the pod's CPUs; the other is the size of a window.",
    ),
    (
        "§6.13 SPEC_ALLOW",
        "What it shows depends on the processor; kept only where both profiles have it, by unit tests of the seccomp crate.",
    ),
    (
        "§6.15 cgroup files by `unified` at create",
        "Needs cgroup v2 for all controllers; the rule `res.unified` has unit tests.",
    ),
    ("§6.22 a NaN, depth, size, invalid UTF-8", "The parser's own tests and fuzz targets."),
    (
        "CVE-2019-5736 in full, CVE-2025-31133, CVE-2025-52565, CVE-2024-45310",
        "Would be exploits; the ways to them are entries (`init-runtime-binary`, `image-link-*`, `over-proc-*`).",
    ),
    (
        "CVE-2022-23648, CVE-2026-53489, CVE-2026-50195",
        "containerd's own handling of images and logs, before the shim is asked.",
    ),
    ("CVE-2024-10220, CVE-2025-1767", "The kubelet's, before containerd is asked."),
    (
        "CVE-2024-0132, CVE-2025-23267",
        "Need a vendor's hook and device; hooks are refused unless the admin lists them.",
    ),
    ("A log, an inotify or a disk that is filled", "Quotas of the node; no field of a specification limits them."),
];
