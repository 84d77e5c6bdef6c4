//! The table of attempts: where plain runc lets each through, so that a refusal under palisade means something.

use palisade_probe::{Outcome, Verdict};

/// The setting under plain runc in which an attempt must be let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// `ctr run` without further flags.
    Plain,
    /// A privileged container, of a pod or of `ctr run --privileged`: they differ in what `/sys` and the cgroups are.
    Privileged,
}

use Control::{Plain, Privileged};

/// An attempt of the probe and its control.
pub(crate) struct Row {
    pub(crate) attempt: &'static str,
    pub(crate) control: Control,
    /// The error of a kernel that was built without the feature, with which the control passes as well.
    pub(crate) without_feature: Option<i32>,
    /// What `baseline` leaves to a container, as the Pod Security Standards do.
    pub(crate) in_baseline: bool,
}

const fn row(attempt: &'static str, control: Control) -> Row {
    Row { attempt, control, without_feature: None, in_baseline: false }
}

impl Row {
    /// Whether the attempt got where it wanted to, or the kernel has no such place.
    pub(crate) fn is_reached_by(&self, outcome: &Outcome) -> bool {
        outcome.result == Verdict::Reached || self.without_feature == Some(outcome.errno)
    }

    const fn unless(self, errno: i32) -> Self {
        Self { without_feature: Some(errno), ..self }
    }

    const fn baseline(self) -> Self {
        Self { in_baseline: true, ..self }
    }
}

const ENOENT: i32 = 2;
/// The signal with which the interrupt of 32-bit programs ends where the kernel does not have it.
const SIGSEGV: i32 = 11;
const EIO: i32 = 5;
const ENXIO: i32 = 6;
const ENODEV: i32 = 19;
const ENOSYS: i32 = 38;
const EPROTONOSUPPORT: i32 = 93;
const EAFNOSUPPORT: i32 = 97;

/// Every attempt that `probe list` names stands here once.
pub(crate) const ROWS: &[Row] = &[
    row("setuid-zero", Plain).baseline(),
    row("setgid-zero", Plain).baseline(),
    row("setgroups-zero", Plain).baseline(),
    row("read-file-of-root", Plain).baseline(),
    row("chown-to-other", Plain).baseline(),
    row("chmod-set-uid", Plain).baseline(),
    row("openat2-set-uid", Plain).baseline(),
    row("user-namespace", Plain),
    row("mount-namespace", Privileged),
    row("clone-user-namespace", Plain),
    row("clone3-user-namespace", Plain),
    row("setns", Privileged),
    row("mount-tmpfs", Privileged),
    row("mount-proc", Privileged),
    row("mount-cgroup", Privileged),
    row("remount-proc-sys", Privileged),
    row("fsopen", Privileged),
    row("open-tree", Privileged),
    row("chroot", Plain).baseline(),
    row("pivot-root", Privileged),
    row("open-by-handle", Privileged),
    row("name-to-handle", Plain).baseline(),
    row("fanotify", Privileged).unless(ENOSYS),
    row("mknod-block", Plain).baseline(),
    row("mknod-char", Plain).baseline(),
    row("open-kmsg-node", Privileged),
    row("open-mem-node", Privileged).unless(ENXIO),
    row("open-console-node", Plain).unless(ENODEV),
    row("iopl", Privileged).unless(ENOSYS),
    row("ioperm", Privileged).unless(ENOSYS),
    row("sethostname", Privileged),
    row("settimeofday", Privileged),
    row("reboot", Privileged),
    row("init-module", Privileged).unless(ENOSYS),
    row("finit-module", Privileged).unless(ENOSYS),
    row("kexec", Privileged).unless(ENOSYS),
    row("acct", Privileged).unless(ENOSYS),
    row("swapon", Privileged).unless(ENOSYS),
    row("syslog", Privileged),
    row("setpriority", Privileged),
    row("net-admin", Privileged),
    row("bpf", Privileged).unless(ENOSYS),
    row("perf-event-open", Privileged).unless(ENOSYS),
    row("keyctl", Plain),
    row("add-key", Plain),
    row("request-key", Plain),
    row("io-uring", Plain).unless(ENOSYS),
    row("userfaultfd", Plain).unless(ENOSYS),
    row("ptrace", Plain).baseline(),
    row("process-vm-readv", Plain).baseline(),
    row("pidfd-getfd", Plain).unless(ENOSYS),
    row("modify-ldt", Plain).unless(ENOSYS).baseline(),
    row("vmsplice", Plain).baseline(),
    row("personality", Plain),
    row("kcmp", Plain).unless(ENOSYS),
    row("quotactl", Plain).unless(ENOSYS),
    row("push-terminal-input", Privileged).unless(EIO).baseline(),
    row("push-input-upper-half", Privileged).unless(EIO).baseline(),
    row("call-32-bit", Plain).unless(SIGSEGV).baseline(),
    row("call-x32", Plain).unless(ENOSYS),
    row("socket-alg", Plain).unless(EAFNOSUPPORT),
    row("socket-alg-upper-half", Plain).unless(EAFNOSUPPORT),
    row("socket-packet", Plain).unless(EAFNOSUPPORT).baseline(),
    row("socket-raw", Plain).baseline(),
    row("socket-vsock", Plain).unless(EAFNOSUPPORT),
    row("socket-key", Privileged).unless(EAFNOSUPPORT),
    row("socket-rxrpc", Plain).unless(EAFNOSUPPORT).baseline(),
    row("netlink-xfrm", Privileged).unless(EPROTONOSUPPORT),
    row("netlink-netfilter", Privileged).unless(EPROTONOSUPPORT),
    row("write-sysrq-trigger", Privileged).unless(ENOENT),
    row("write-core-pattern", Privileged),
    row("write-modprobe", Privileged).unless(ENOENT),
    row("write-binfmt", Privileged).unless(ENOENT),
    row("write-irq-affinity", Privileged),
    row("write-sysfs", Privileged).unless(ENOENT),
    row("write-uevent-helper", Privileged).unless(ENOENT),
    row("write-cgroup", Privileged),
    row("read-kcore", Privileged).unless(ENOENT),
    row("read-keys", Privileged).unless(ENOENT),
    row("read-timer-list", Privileged).unless(ENOENT),
    row("list-firmware", Privileged),
];
