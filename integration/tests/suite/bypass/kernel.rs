//! What a process inside tries of the kernel (contract §6.26 and the rows of controls §3 that are calls): the probe's attempts.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use libtest_mimic::Failed;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_probe::{Outcome, Verdict};

use super::container::SLEEP;
use super::ways::{Meeting, Way, seen};
use super::{Bypass, Met, powerless};
use crate::isolation;
use crate::probes::{Control, ROWS};
use crate::support::World;

/// An attempt under its own name.
const fn tries(attempt: &'static str, source: &'static str, what: &'static str, means: &'static str) -> Bypass {
    powerless(attempt, source, what, Way::Attempt(attempt), means)
}

pub(super) const ENTRIES: &[Bypass] = &[
    tries("setuid-zero", "§6.26", "to become root", "user.non-root, caps.allow-list"),
    tries("setgid-zero", "§6.26", "to become root's group", "user.root-group, caps.allow-list"),
    tries("setgroups-zero", "§6.26", "to take root's group as well", "caps.allow-list"),
    tries("read-file-of-root", "§6.26", "to read a file of root's in the image", "user.non-root"),
    tries("chown-to-other", "§6.26", "to give a file away", "caps.allow-list"),
    tries(
        "chmod-set-uid",
        "controls §3",
        "to make a set-uid program, for whoever finds it on a shared volume",
        "linux.seccomp",
    ),
    tries("openat2-set-uid", "controls §3", "the same by a call whose mode is in memory", "linux.seccomp"),
    tries(
        "user-namespace",
        "CVE-2022-0492, CVE-2024-1086, CVE-2022-0185",
        "a user namespace of its own, by unshare",
        "linux.seccomp",
    ),
    tries("clone-user-namespace", "CVE-2024-1086, CVE-2023-32233", "the same by clone", "linux.seccomp"),
    tries(
        "clone3-user-namespace",
        "CVE-2024-1086, CVE-2021-22555",
        "the same by clone3, whose flags no filter sees",
        "linux.seccomp",
    ),
    tries("mount-namespace", "§6.26", "a mount namespace of its own", "linux.seccomp, caps.allow-list"),
    tries("setns", "§6.11", "to enter a namespace", "linux.seccomp, caps.allow-list"),
    tries("mount-tmpfs", "§6.26", "to mount a tmpfs", "linux.seccomp, caps.allow-list"),
    tries("mount-proc", "CDK mount-procfs", "to mount a procfs with nothing masked", "linux.seccomp, caps.allow-list"),
    tries("mount-cgroup", "CVE-2022-0492, CDK mount-cgroup", "to mount the cgroups", "linux.seccomp, caps.allow-list"),
    tries("remount-proc-sys", "§6.26", "to make /proc/sys writable again", "linux.seccomp, caps.allow-list"),
    tries("fsopen", "CVE-2022-0185", "to configure a filesystem", "linux.seccomp, caps.allow-list"),
    tries("open-tree", "§6.26", "to copy a tree of mounts", "linux.seccomp, caps.allow-list"),
    tries("chroot", "§6.26", "to change its root", "linux.seccomp, caps.allow-list"),
    tries("pivot-root", "§6.26", "to exchange its root", "linux.seccomp, caps.allow-list"),
    tries(
        "open-by-handle",
        "Shocker, CDK cap-dac-read-search",
        "to open a file of the filesystem by its number",
        "linux.seccomp, caps.allow-list",
    ),
    tries("name-to-handle", "Shocker", "to learn such a number", "linux.seccomp"),
    tries(
        "fanotify",
        "controls §3",
        "to see every file that is opened on a filesystem",
        "linux.seccomp, caps.allow-list",
    ),
    tries("mknod-block", "CDK mount-disk", "to make the node of a disk", "linux.seccomp, caps.allow-list"),
    tries("mknod-char", "§6.8", "to make the node of the memory", "linux.seccomp, caps.allow-list"),
    tries(
        "open-kmsg-node",
        "§6.8",
        "to open a node of the kernel's log that the image brings",
        "the device cgroup (res.devices)",
    ),
    tries(
        "open-mem-node",
        "§6.8",
        "to open a node of the memory that the image brings",
        "the device cgroup (res.devices)",
    ),
    tries(
        "open-console-node",
        "§6.8",
        "to open a node of the host's console that the image brings",
        "the device cgroup (res.devices)",
    ),
    tries("iopl", "controls §3", "access to the I/O ports", "linux.seccomp, caps.allow-list"),
    tries("ioperm", "controls §3", "access to one I/O port", "linux.seccomp, caps.allow-list"),
    tries("sethostname", "controls §3", "to change the host name", "linux.seccomp, caps.allow-list"),
    tries("settimeofday", "controls §3", "to set the clock", "linux.seccomp, caps.allow-list"),
    tries("reboot", "controls §3", "to restart the machine", "linux.seccomp, caps.allow-list"),
    tries("kexec", "controls §3", "to load another kernel", "linux.seccomp, caps.allow-list"),
    tries("init-module", "controls §3", "to load a module", "linux.seccomp, caps.allow-list"),
    tries("finit-module", "controls §3", "to load a module from a file", "linux.seccomp, caps.allow-list"),
    tries("swapon", "controls §3", "to add swap", "linux.seccomp, caps.allow-list"),
    tries("acct", "controls §3", "process accounting into a file", "linux.seccomp, caps.allow-list"),
    tries("syslog", "controls §3", "to read the kernel's log", "linux.seccomp, caps.allow-list"),
    tries("setpriority", "§6.12", "a higher priority", "caps.allow-list"),
    tries("net-admin", "CVE-2024-1086", "to configure a network interface", "caps.allow-list"),
    tries("bpf", "controls §3", "to load a BPF object", "linux.seccomp, caps.allow-list"),
    tries("perf-event-open", "controls §3", "to count all processes' events", "linux.seccomp, caps.allow-list"),
    tries("keyctl", "controls §3", "the keyring that containers of a user share", "linux.seccomp"),
    tries("add-key", "controls §3", "a key in it", "linux.seccomp"),
    tries("request-key", "controls §3", "a key, for which the kernel starts a program on the host", "linux.seccomp"),
    tries("io-uring", "controls §3", "to do by io_uring what a filter does not see", "linux.seccomp"),
    tries("userfaultfd", "controls §3", "to hold the kernel at a page fault", "linux.seccomp"),
    tries("ptrace", "controls §3", "to trace", "linux.seccomp"),
    tries("process-vm-readv", "controls §3", "to read another process's memory", "linux.seccomp"),
    tries("pidfd-getfd", "controls §3", "to take another process's descriptor", "linux.seccomp"),
    tries("personality", "controls §3", "a memory layout that is no secret", "linux.seccomp"),
    tries("kcmp", "controls §3", "to learn the order of kernel addresses", "linux.seccomp"),
    tries("modify-ldt", "controls §3", "segments", "linux.seccomp"),
    tries("vmsplice", "CVE-2022-0847", "pages in a pipe without a copy", "linux.seccomp"),
    tries("quotactl", "controls §3", "quotas", "linux.seccomp"),
    tries("push-terminal-input", "CVE-2017-5226", "to type into a terminal", "linux.seccomp"),
    tries(
        "push-input-upper-half",
        "CVE-2019-10063",
        "the same with a number that a 64-bit comparison takes for another",
        "linux.seccomp",
    ),
    tries("socket-alg", "CVE-2026-31431", "the kernel's cryptography", "linux.seccomp"),
    tries(
        "socket-alg-upper-half",
        "CVE-2026-31431",
        "the same with a number that a 64-bit comparison takes for another",
        "linux.seccomp",
    ),
    tries("call-32-bit", "CVE-2026-31431", "a 32-bit system call, which has other numbers", "linux.seccomp.arch"),
    tries("call-x32", "CVE-2026-31431", "a system call of x32, which has other numbers", "linux.seccomp.arch"),
    tries(
        "socket-packet",
        "CVE-2020-14386, CVE-2017-7308, CVE-2026-53223",
        "packets below IP",
        "linux.seccomp, caps.allow-list",
    ),
    tries("socket-raw", "CVE-2020-14386", "packets of its own making", "caps.allow-list"),
    tries("socket-vsock", "controls §3", "the hypervisor, past every network policy", "linux.seccomp"),
    tries("socket-key", "CVE-2026-43284", "the old interface of IPsec", "linux.seccomp, caps.allow-list"),
    tries("socket-rxrpc", "CVE-2026-43500", "rxrpc", "linux.seccomp"),
    tries(
        "netlink-xfrm",
        "CVE-2026-43284, CVE-2026-46300",
        "to ask IPsec something by netlink",
        "linux.seccomp, caps.allow-list",
    ),
    tries(
        "netlink-netfilter",
        "CVE-2024-1086, CVE-2026-23272",
        "to ask nf_tables something by netlink",
        "linux.seccomp, caps.allow-list",
    ),
    tries("write-sysrq-trigger", "controls §3", "magic requests to the kernel", "linux.readonly"),
    tries("write-core-pattern", "controls §3", "the program that gets core dumps", "linux.readonly"),
    tries("write-modprobe", "controls §3", "the program that loads modules", "linux.readonly"),
    tries("write-binfmt", "controls §3", "an interpreter for all programs", "linux.readonly"),
    tries("write-irq-affinity", "controls §3", "where interrupts go", "linux.readonly"),
    tries("write-sysfs", "controls §3", "settings of the kernel in /sys", "mount.sys"),
    tries("write-uevent-helper", "controls §3", "the program that hears of devices", "mount.sys"),
    tries("write-cgroup", "§6.26, CVE-2022-0492", "its cgroup", "mount.cgroup"),
    tries("read-kcore", "controls §3", "the kernel's memory", "linux.masked"),
    tries("read-keys", "controls §3", "the list of keys", "linux.masked"),
    tries("read-timer-list", "controls §3", "the list of timers", "linux.masked"),
    tries("list-firmware", "controls §3", "the firmware's tables", "linux.masked"),
];

type Outcomes = BTreeMap<String, Outcome>;

/// What all attempts met; each set of them is run once for all entries.
static UNDER_PALISADE: OnceLock<Result<[Outcomes; 2], String>> = OnceLock::new();
static UNDER_RUNC: OnceLock<Result<[Outcomes; 2], String>> = OnceLock::new();

fn once(
    cell: &'static OnceLock<Result<[Outcomes; 2], String>>,
    run: impl FnOnce() -> Result<[Outcomes; 2], Failed>,
) -> Result<&'static [Outcomes; 2], Failed> {
    let kept = cell.get_or_init(|| run().map_err(|failed| failed.message().unwrap_or("no message").to_owned()));
    kept.as_ref().map_err(|message| Failed::from(message.clone()))
}

/// Through where init or exec reached it.
pub(super) fn meet(world: &World, attempt: &str) -> Meeting {
    let both = once(&UNDER_PALISADE, || {
        let container = world.containerd.detach(&Run::new(Runtime::Palisade, SLEEP))?;
        let exec = Outcome::parse_lines(&container.exec(&[], &["/probe", "try"])?.success()?)?;
        container.remove()?;
        Ok([world.attempts(Runtime::Palisade, &[])?, exec])
    })?;
    let mut met = Vec::new();
    for outcomes in both {
        met.push(outcomes.get(attempt).ok_or_else(|| Failed::from(format!("{attempt} was not tried")))?);
    }
    Ok(seen(met.iter().any(|outcome| outcome.result == Verdict::Reached), format!("{met:?}")))
}

/// Whether plain runc stops it as well, unless the container is privileged.
pub(super) fn needs_privilege(attempt: &str) -> bool {
    ROWS.iter().any(|row| row.attempt == attempt && row.control == Control::Privileged)
}

/// Plain runc, or a privileged container where only that reaches it.
pub(super) fn meet_control(world: &World, attempt: &str) -> Meeting {
    let [plain, privileged] =
        once(&UNDER_RUNC, || Ok([world.attempts(Runtime::Runc, &[])?, isolation::privileged_outcomes(world)?]))?;
    let row = ROWS.iter().find(|row| row.attempt == attempt).ok_or("no row")?;
    let outcomes = if row.control == Control::Plain { plain } else { privileged };
    let outcome = outcomes.get(attempt).ok_or("not tried")?;
    Ok(match outcome.result {
        Verdict::Reached => Met::Through,
        _ if row.is_reached_by(outcome) => Met::NoFeature,
        _ => Met::Powerless(format!("{outcome:?}")),
    })
}
