//! What is known to be open: not counted among what is stopped, and written down in `docs/bypasses.md`.

use super::ways::Way::Test;
use super::{Bypass, namespaces, refused};

/// Entries as they should hold, each with why it does not yet. Their tests are ignored; `--ignored bypass` runs them. One that passes
/// moves to the table.
pub(super) const ENTRIES: &[(Bypass, &str)] = &[(
    refused(
        "join-another-container",
        "§6.11",
        "the network namespace of another container, by its path, for a container without a pod",
        Test("create, with a path below another container's process", |world, runtime| {
            namespaces::neighbour(world, runtime, "network", "net")
        }),
        "linux.ns",
    ),
    "A container of a pod is held to its pod's namespaces (`pod: a container joins its own pod's network and cgroup alone` tries it). One without a pod joins what its caller names, except the host's.",
)];

/// Without a test of their own.
pub(super) const OTHERS: &[(&str, &str)] = &[
    (
        "§6.12: oomScoreAdj -999 at create",
        "`process.oom` is `audit`: the kubelet gives -997 to every Guaranteed pod, so a change would have the OOM killer take the wrong ones.",
    ),
    (
        "CVE-2016-5195, CVE-2022-0847 and other faults of the kernel in calls that every program needs (splice, madvise)",
        "No policy of calls can keep them; `vmsplice` and `ptrace` alone are refused.",
    ),
    (
        "CVE-2026-43284: a netlink socket of IPsec's or netfilter's can be opened",
        "A filter does not say which netlink protocol is spoken; what is asked there needs CAP_NET_ADMIN, and is refused (entries `netlink-xfrm` and `netlink-netfilter`).",
    ),
];
