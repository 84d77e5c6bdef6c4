//! Mounts: the kernel's own filesystems, memory, volumes of the pod, and what a container may not have.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::annotations::{POD_UID, SANDBOX};
use super::namespaces::{mappings, wild_mappings};
use super::parts::{Json, Temper, absent, joined, list, maybe, object, pick, row, words};
use super::{ID, Role};

/// The kernel's own: type, place, options.
const KERNEL: &[(&str, &str, &[&str])] = &[
    ("proc", "/proc", &["nosuid", "noexec", "nodev"]),
    ("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
    ("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
    ("cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
];

/// Every option word that the policy knows, but for those that make a mount shared or read-write.
const WORDS: &[&str] = &[
    "async",
    "atime",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rdev",
    "rdiratime",
    "relatime",
    "rexec",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "unbindable",
];

const WRITABLE: &[&str] = &["rw", "rrw"];

const KEYED: &[&str] = &[
    "gid=5",
    "hidepid=2",
    "huge=never",
    "inode64",
    "mode=1777",
    "mpol=local",
    "nr_inodes=9",
    "subset=pid",
    "uid=0",
    "noswap",
];

const SIZES: &[&str] = &["size=1m", "size=64k", "size=0", "size=8g", "size=536870912", "size=4294967297"];

const REFUSED: &[&str] = &[
    "rshared",
    "shared",
    "lowerdir=/etc",
    "ro,rw",
    "context=x",
    "size=50%",
    "nr_blocks=9",
    "size=0x10",
    "idmap",
    "ridmap",
];

pub(super) fn of(role: Role, temper: Temper) -> Json {
    let kernel =
        row(KERNEL.iter().map(|(kind, place, options)| maybe(92, kernels(kind, place, options, temper))).collect());
    let volumes = match role {
        Role::Standalone => list(memory(temper), 2),
        Role::Sandbox | Role::Container => list(prop_oneof![3 => volume(role, temper), 1 => memory(temper)].boxed(), 4),
    };
    let others = temper.mix(row(vec![absent()]), list(refused(), 2));
    maybe(98, joined(kernel, joined(volumes, others)))
}

/// One of the kernel's own, with more words among its options.
fn kernels(kind: &'static str, place: &'static str, options: &'static [&'static str], temper: Temper) -> Json {
    let usual = prop::sample::subsequence(options, options.len().saturating_sub(1)..=options.len());
    let more = prop::collection::vec(one_word(temper, kind == "tmpfs"), 0..2);
    let chosen = (usual, more, 0..8_u8).prop_map(move |(usual, more, often)| {
        let more = if often == 0 { more } else { Vec::new() };
        json!({"destination": place, "type": kind, "source": kind, "options": usual.into_iter().chain(more).collect::<Vec<_>>()})
    });
    chosen.boxed()
}

fn one_word(temper: Temper, sized: bool) -> BoxedStrategy<&'static str> {
    let tame = if sized {
        prop_oneof![8 => select(WORDS), 2 => select(WRITABLE), 3 => select(KEYED), 3 => select(SIZES)].boxed()
    } else {
        prop_oneof![8 => select(WORDS), 3 => select(KEYED)].boxed()
    };
    prop_oneof![100 - temper.wild() => tame, temper.wild() => select(REFUSED)].boxed()
}

fn memory(temper: Temper) -> Json {
    let options = prop::collection::vec(one_word(temper, true), 0..5).prop_map(|words| json!(words)).boxed();
    object(vec![
        ("destination", words(&["/tmp", "/run", "/cache/a", "/dev/shm", "/run/lock"])),
        ("type", words(&["tmpfs"])),
        ("source", maybe(80, words(&["tmpfs", "shm", ""]))),
        ("options", maybe(90, options)),
    ])
}

/// A volume of the pod itself.
fn volume(role: Role, temper: Temper) -> Json {
    let bind = select(&["rbind", "bind"][..]);
    let more = prop_oneof![9 => one_word(temper, false), 3 => select(WRITABLE).boxed()];
    let options = (bind, prop::collection::vec(more, 0..5));
    let options = options.prop_map(|(bind, more)| json!(std::iter::once(bind).chain(more).collect::<Vec<_>>())).boxed();
    let place = words(&[
        "/etc/hosts",
        "/etc/hostname",
        "/data",
        "/data/sub",
        "/dev/shm",
        "/dev/termination-log",
        "/dev/hugepages/a",
    ]);
    object(vec![
        (
            "destination",
            temper.mix(place, words(&["/", "/proc/x", "/sys/firmware", "/dev/null", "relative", "/a/../b", "/proc"])),
        ),
        ("type", maybe(85, words(&["bind", "none", "rbind"]))),
        ("source", temper.mix(own_sources(role), sources())),
        ("options", options),
        ("uidMappings", maybe(3, temper.mix(mappings(), wild_mappings()))),
        ("gidMappings", maybe(3, temper.mix(mappings(), wild_mappings()))),
    ])
}

fn own_sources(role: Role) -> Json {
    let pod = format!("/var/lib/kubelet/pods/{POD_UID}");
    let sandbox = if role == Role::Sandbox { ID } else { SANDBOX };
    let cri = "io.containerd.grpc.v1.cri/sandboxes";
    pick(vec![
        json!(format!("{pod}/etc-hosts")),
        json!(format!("{pod}/containers/app/0c9e2b1a")),
        json!(format!("{pod}/volumes/kubernetes.io~projected/token")),
        json!(format!("{pod}/volumes/kubernetes.io~secret/tls")),
        json!(format!("{pod}/volumes/kubernetes.io~csi/pvc-1/mount")),
        json!(format!("{pod}/volumes/kubernetes.io~empty-dir/cache")),
        json!(format!("/var/lib/containerd/{cri}/{sandbox}/hostname")),
        json!(format!("/run/containerd/{cri}/{sandbox}/shm")),
    ])
}

fn sources() -> Json {
    words(&[
        "/",
        "/etc",
        "/srv/data",
        "/link/to/etc",
        "/missing/x",
        "",
        "/dev/sda",
        "/run/containerd/containerd.sock",
        "relative",
    ])
}

/// Host paths and filesystems that are not for containers.
fn refused() -> Json {
    let bind: Json = object(vec![
        ("destination", words(&["/host", "/proc", "/sys/kernel/debug"])),
        ("type", maybe(80, words(&["bind"]))),
        ("source", maybe(90, sources())),
        ("options", maybe(80, list(words(&["rbind", "ro", "rw", "rshared"]), 3))),
    ]);
    let other: Json = object(vec![
        ("destination", words(&["/host", "/proc/sys/fs/binfmt_misc", "/sys/kernel/debug", "/sys"])),
        (
            "type",
            maybe(95, words(&["debugfs", "bpf", "tracefs", "ext4", "overlay", "nfs", "proc", "sysfs", "cgroup2"])),
        ),
        ("source", maybe(80, sources())),
        ("options", maybe(80, list(words(&["ro", "rw", "lowerdir=/etc"]), 2))),
    ]);
    prop_oneof![bind, other].prop_map(Value::from).boxed()
}
