//! `runtime-default` against the facts of containerd's own default, in `tests/containerd.json`.
#![cfg(target_arch = "x86_64")]

use std::collections::BTreeMap;

use oci_spec::runtime::{Capabilities, Capability};
use syscalls::Sysno;

use super::file::Reader;
use super::{BuiltinProfile, KernelVersion};

const CONTAINERD: &str = include_str!("../../tests/containerd.json");

/// What `runtime-default` does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// It runs here, with some capabilities and arguments with which containerd refuses it.
    Allowed,
    /// The other way round.
    Refused,
}
use Difference::{Allowed, Refused};

/// Every difference, and why it is one.
const DIFFERENCES: &[(&str, Difference, &str)] = &[
    ("epoll_ctl_old", Refused, "a number that was never given to a call"),
    ("epoll_wait_old", Refused, "a number that was never given to a call"),
    (
        "file_getattr",
        Allowed,
        "what ioctl(FS_IOC_FSGETXATTR) does, on Linux 6.17 and later; cp and chattr begin to use it",
    ),
    ("file_setattr", Allowed, "what ioctl(FS_IOC_FSSETXATTR) does, on Linux 6.17 and later"),
    ("open_tree_attr", Allowed, "with CAP_SYS_ADMIN, as open_tree and mount_setattr, which it joins"),
    ("personality", Allowed, "asked by the lower half: what is in the upper one the kernel does not see"),
    (
        "socket",
        Refused,
        "families that no kernel has, and AF_ALG and AF_VSOCK with an upper half that the kernel does not see",
    ),
    ("socketpair", Refused, "the same families as socket: no pair of AF_ALG or AF_VSOCK has a use"),
    ("uprobe", Allowed, "as uretprobe, from Linux 6.18 on: refusing it kills a process that the host traces"),
];

/// Values that the conditions of both tell apart, with neighbours.
const VALUES: [u64; 18] = [
    0,
    1,
    8,
    16,
    37,
    38,
    39,
    40,
    41,
    46,
    0x2_0000,
    0x2_0008,
    0x4_0000,
    0x7e02_0000,
    0x1000_0000,
    0xffff_ffff,
    0x1_0000_0026,
    u64::MAX,
];

#[test]
fn runtime_default_is_containerds_default_but_for_differences_with_a_reason() {
    let text = |name: &str| (name == "containerd").then_some(CONTAINERD);
    let kernel = KernelVersion::of_release("6.18");
    let theirs = Reader { text: &text, kernel }.read("containerd").unwrap();
    let ours = BuiltinProfile::RuntimeDefault.file().unwrap();
    let gates: Vec<Capability> = theirs.entries.iter().flat_map(|entry| entry.with.clone()).collect();
    assert!(gates.len() >= 13 && theirs.entries.iter().any(|entry| entry.names.len() == 363), "the facts are complete");
    let alone = gates.iter().map(|one| Capabilities::from([*one]));
    let held: Vec<Capabilities> = alone.chain([Capabilities::new(), gates.iter().copied().collect()]).collect();
    let mut found: BTreeMap<(&str, Difference), u64> = BTreeMap::new();
    for bounding in held {
        let (ours, theirs) = (ours.resolve(&bounding).unwrap(), theirs.resolve(&bounding).unwrap());
        for name in Sysno::iter().chain([Sysno::last()]).map(|syscall| syscall.name()) {
            for value in VALUES {
                match (ours.verdict(name, [value; 6]).runs(), theirs.verdict(name, [value; 6]).runs()) {
                    (true, false) => drop(found.insert((name, Allowed), value)),
                    (false, true) => drop(found.insert((name, Refused), value)),
                    _ => {}
                }
            }
        }
    }
    let known: Vec<(&str, Difference)> = DIFFERENCES.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    let unexplained: Vec<_> = found.iter().filter(|(difference, _)| !known.contains(difference)).collect();
    assert!(unexplained.is_empty(), "differences without a reason: {unexplained:?}");
    let gone: Vec<_> = known.iter().filter(|difference| !found.contains_key(difference)).collect();
    assert!(gone.is_empty(), "no longer a difference: {gone:?}");
}
