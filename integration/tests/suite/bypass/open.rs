//! What is known to be open: not counted among what is stopped, and written down in `docs/bypasses.md`.

use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::tasks::CreateOptions;
use serde_json::json;

use super::container::{Container, SLEEP};
use super::ways::Way::Test;
use super::ways::{Meeting, seen};
use super::{Bypass, Met, namespaces, powerless, race, refused};
use crate::lifecycle::waits_for_signal;
use crate::support::World;

/// Entries as they should hold, each with why it does not yet. Their tests are ignored; `--ignored bypass` runs them. One that passes
/// moves to the table.
pub(super) const ENTRIES: &[(Bypass, &str)] = &[
    (
        powerless(
            "pod-swapped-directory",
            "§6.20, CVE-2021-25741",
            "a directory of the pod's own volume that a thread exchanges for a link to the host, while it is looked at and mounted",
            Test("pods through CRI, again and again", race::exchanged),
            "the runtime gets what was judged",
        ),
        "The source is judged by a descriptor, but the runtime gets its path and looks it up again: 7 of 100 tries had the host's directory (80 under runc). The kubelet names no directory below a volume as a source except by the bind mount that it makes of a subPath, so this needs a caller that does.",
    ),
    (
        refused(
            "join-another-container",
            "§6.11",
            "the network namespace of another container, by its path",
            Test("create, with a path below another container's process", |world, runtime| {
                namespaces::neighbour(world, runtime, "network", "net")
            }),
            "linux.ns",
        ),
        "`linux.ns` compares with the shim's own namespaces only; a caller of containerd can name any other. A pod's author cannot: CRI writes these paths.",
    ),
    (
        powerless(
            "exec-oom-unset",
            "§6.1",
            "a process that the OOM killer spares, of a container that has no adjustment",
            Test("exec; the process as the host sees it", exec_oom),
            "exec.oom",
        )
        .untried("needs CAP_SYS_RESOURCE, which a test machine may keep from root"),
        "`exec.oom` holds an exec to the container's own adjustment and does nothing where there is none. A container of CRI's always has one.",
    ),
];

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

/// A machine that keeps the capability from root has the runtime fail where the rule should have taken the adjustment away.
fn exec_oom(world: &World, runtime: Runtime) -> Meeting {
    let container = Container::make(world, runtime, SLEEP, |_| ())?;
    container.start(CreateOptions::default())?;
    let mut process = bundle_spec::process(SLEEP);
    process["oomScoreAdj"] = json!(-999);
    container.tasks.exec(&container.id, "e1", &process)?;
    let pid = match container.tasks.start(&container.id, "e1") {
        Err(failure) => return Ok(Met::Refused(failure)),
        Ok(pid) => pid,
    };
    waits_for_signal(pid)?;
    let score = super::seen::oom_score(pid);
    container.tasks.kill(&container.id, "e1", 9)?;
    container.tasks.wait(&container.id, "e1")?;
    container.tasks.delete_exec(&container.id, "e1")?;
    Ok(seen(score < 0, format!("adjusted by {score}")))
}
