//! Sources, destinations and options of mounts.

use palisade_policy::{Decision, HardenedSpec, HostFacts, MountBelow, Policy, SourceKind};
use serde_json::{Value, json};

use crate::support::{self, Task, Verdict, Verdict::*, verdict_of};
use crate::tables::{bind, mount, options_at, pod, push, table};

#[test]
fn bind_sources() {
    table(
        "mount.host-path",
        &[
            ("a volume of the pod", Clean, |s| {
                bind(s, &format!("{KUBELET}/volumes/kubernetes.io~secret/tls"), json!(["rbind"]))
            }),
            ("another pod's volume", Denied, |s| {
                bind(s, "/var/lib/kubelet/pods/other/volumes/kubernetes.io~secret/tls", json!(["rbind"]))
            }),
            ("a directory of the host", Denied, |s| bind(s, "/srv", json!(["rbind", "ro"]))),
            ("a link to a directory of the host", Denied, |s| bind(s, "/link/to/srv", json!(["rbind", "ro"]))),
            ("nothing there", Denied, |s| bind(s, "/missing/volume", json!(["rbind"]))),
            ("a bind by option alone", Denied, |s| {
                push(
                    &mut s["mounts"],
                    json!({"destination": "/x", "type": "tmpfs", "source": "/srv", "options": ["bind"]}),
                )
            }),
        ],
    );
    table(
        "mount.deny-always",
        &[
            ("an ordinary directory", Clean, |s| bind(s, "/srv", json!(["rbind"]))),
            ("root", Denied, |s| bind(s, "/", json!(["rbind", "ro"]))),
            ("etc", Denied, |s| bind(s, "/etc", json!(["rbind", "ro"]))),
            ("a file in etc", Denied, |s| bind(s, "/etc/passwd", json!(["rbind", "ro"]))),
            ("what holds the kubelet's files", Denied, |s| bind(s, "/var", json!(["rbind", "ro"]))),
            ("etc by another name", Denied, |s| bind(s, "/link/to/etc", json!(["rbind", "ro"]))),
            ("containerd's socket", Denied, |s| bind(s, "/run/containerd/containerd.sock", json!(["rbind"]))),
            ("a socket elsewhere", Denied, |s| bind(s, "/srv/app.sock", json!(["rbind"]))),
            ("a disk", Denied, |s| bind(s, "/dev/sda", json!(["rbind"]))),
            ("the kubelet's keys", Denied, |s| bind(s, "/var/lib/kubelet/pki", json!(["rbind"]))),
            ("logs", Denied, |s| bind(s, "/var/log", json!(["rbind"]))),
        ],
    );
}

const KUBELET: &str = "/var/lib/kubelet/pods/4d6d1f5e-8f5b-4f0c-9a3e-3a4f0f1b2c3d";

#[test]
fn mounts() {
    table(
        "mount.type",
        &[
            ("tmpfs", Clean, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev"]))),
            ("bpf", Denied, |s| mount(s, "/t", "bpf", json!([]))),
            ("debugfs", Denied, |s| mount(s, "/t", "debugfs", json!([]))),
            ("overlay", Denied, |s| mount(s, "/t", "overlay", json!(["lowerdir=/"]))),
            ("ext4", Denied, |s| mount(s, "/t", "ext4", json!([]))),
            ("none at all", Denied, |s| push(&mut s["mounts"], json!({"destination": "/t"}))),
        ],
    );
    table(
        "mount.dest",
        &[
            ("a volume", Clean, |s| mount(s, "/cache", "tmpfs", json!([]))),
            ("over proc", Denied, |s| mount(s, "/proc", "tmpfs", json!([]))),
            ("below proc", Denied, |s| mount(s, "/proc/sys", "proc", json!([]))),
            ("below sys", Denied, |s| mount(s, "/sys/kernel", "tmpfs", json!([]))),
            ("over a device", Denied, |s| mount(s, "/dev/null", "tmpfs", json!([]))),
            ("a bind over a device", Denied, |s| bind_at(s, "/dev/null")),
            ("huge pages", Clean, |s| bind_at(s, "/dev/hugepages-2Mi")),
            ("a second proc", Denied, |s| mount(s, "/foo", "proc", json!([]))),
            ("a second sysfs", Denied, |s| mount(s, "/foo", "sysfs", json!(["ro"]))),
            ("proc twice", Denied, |s| mount(s, "/proc", "proc", json!([]))),
            ("the root", Denied, |s| mount(s, "/", "tmpfs", json!([]))),
            ("dots", Denied, |s| mount(s, "/a/../proc", "tmpfs", json!([]))),
            ("relative", Denied, |s| mount(s, "a", "tmpfs", json!([]))),
        ],
    );
    table(
        "mount.options",
        &[
            ("complete", Clean, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "size=1m"]))),
            ("without nosuid", Mutated, |s| mount(s, "/t", "tmpfs", json!(["nodev"]))),
            ("suid after nosuid", Mutated, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "suid"]))),
            ("dev after nodev", Mutated, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "dev"]))),
            ("unknown", Denied, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "remount"]))),
            ("filled from the image", Denied, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "tmpcopyup"]))),
            ("two in one", Denied, |s| mount(s, "/t", "tmpfs", json!(["nosuid", "nodev", "size=1m,suid"]))),
        ],
    );
    table(
        "mount.propagation",
        &[
            ("private", Clean, |s| push(options_at(s, "/data"), json!("rprivate"))),
            ("slave", Mutated, |s| push(options_at(s, "/data"), json!("rslave"))),
            ("private but for what is mounted below", Mutated, |s| push(options_at(s, "/data"), json!("private"))),
            ("a bind that says nothing", Mutated, |s| bind(s, "/srv", json!(["rbind"]))),
            ("a bind that can't be bound again", Clean, |s| bind(s, "/srv", json!(["rbind", "runbindable"]))),
            ("a tmpfs that says nothing", Clean, |s| mount(s, "/t", "tmpfs", json!([]))),
            ("shared", Denied, |s| push(options_at(s, "/data"), json!("rshared"))),
            ("a shared root", Denied, |s| s["linux"]["rootfsPropagation"] = json!("shared")),
            ("a private root", Clean, |s| s["linux"]["rootfsPropagation"] = json!("rprivate")),
            ("a root private but for what is mounted on it", Mutated, |s| {
                s["linux"]["rootfsPropagation"] = json!("private")
            }),
            ("a slave root", Mutated, |s| s["linux"]["rootfsPropagation"] = json!("rslave")),
        ],
    );
    table(
        "mount.sys",
        &[
            ("writable", Mutated, |s| *options_at(s, "/sys") = json!(["nosuid", "rw"])),
            ("ro, then rw", Mutated, |s| *options_at(s, "/sys") = json!(["ro", "rw"])),
            ("rw, then ro", Mutated, |s| *options_at(s, "/sys") = json!(["rw", "ro"])),
            ("recursively rw, then ro", Mutated, |s| *options_at(s, "/sys") = json!(["rrw", "ro"])),
        ],
    );
    table(
        "mount.cgroup",
        &[
            ("writable", Mutated, |s| *options_at(s, "/sys/fs/cgroup") = json!(["nosuid"])),
            ("read-only", Clean, |s| *options_at(s, "/sys/fs/cgroup") = json!(["rro"])),
        ],
    );
}

fn bind_at(spec: &mut serde_json::Value, destination: &str) {
    let source = format!("{KUBELET}/volumes/kubernetes.io~empty-dir/v");
    let mount = json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind"]});
    push(&mut spec["mounts"], mount);
}

/// A volume of the pod may hold what a container makes there, but a device node in it is the host's all the same.
#[test]
fn the_kind_of_a_source_counts_in_a_volume_too() {
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    bind(&mut spec, &format!("{KUBELET}/volumes/kubernetes.io~csi/pv/mount"), json!(["rbind"]));
    let task = Task::of(&support::id_of(&spec));
    for (kind, expected) in [
        (SourceKind::Directory, Clean),
        (SourceKind::File, Clean),
        (SourceKind::Socket, Clean),
        (SourceKind::BlockDevice, Denied),
        (SourceKind::CharDevice, Denied),
    ] {
        let shown = |host: &mut HostFacts| host.sources.last_mut().unwrap().kind = kind;
        let record = support::create_with(&spec, &task, &Policy::builtin(), shown).record;
        assert_eq!(verdict_of("mount.deny-always", &record), expected, "{kind:?}");
    }
}

/// What the rule says of a bind at the kubelet's place for subPaths that shows these locations.
fn subpath(rule: &str, policy: &Policy, locations: &[&str]) -> Verdict {
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    bind(&mut spec, &format!("{KUBELET}/volume-subpaths/v/app/0"), json!(["rbind", "rw"]));
    let task = Task::of(&support::id_of(&spec));
    let decision = support::create_with(&spec, &task, policy, |host| {
        let fact = host.sources.last_mut().unwrap();
        fact.locations = locations.iter().map(std::path::PathBuf::from).collect();
    });
    verdict_of(rule, &decision.record)
}

#[test]
fn a_subpath_counts_for_what_it_shows() {
    let policy = Policy::builtin();
    let secret = format!("{KUBELET}/volumes/kubernetes.io~secret/tls/key");
    let plugin = "/var/lib/kubelet/plugins/kubernetes.io/csi/pv/globalmount/key";
    for rule in ["mount.host-path", "mount.deny-always"] {
        assert_eq!(subpath(rule, &policy, &[&secret]), Clean, "{rule}: of a volume of the pod");
        assert_eq!(subpath(rule, &policy, &[plugin, &secret]), Clean, "{rule}: of a volume that is mounted twice");
        assert_eq!(subpath(rule, &policy, &["/etc/kubernetes/pki"]), Denied, "{rule}: of a hostPath volume");
        assert_eq!(subpath(rule, &policy, &[]), Denied, "{rule}: of nobody knows what");
        let other = "/var/lib/kubelet/pods/other/volumes/kubernetes.io~secret/tls";
        assert_eq!(subpath(rule, &policy, &[other]), Denied, "{rule}: of another pod's volume");
    }
}

/// A host path that the policy lists, with something mounted below it on the host.
fn with_below(allow: &str, options: &Value, below: (&str, Option<&str>)) -> Decision<HardenedSpec> {
    let policy = format!("version = 1\n[profiles.restricted.rules.\"mount.host-path\"]\nallow = [{allow:?}]\n");
    let mut spec = pod();
    spec["root"]["path"] = json!("rootfs");
    bind(&mut spec, "/srv", options.clone());
    let task = Task::of(&support::id_of(&spec));
    support::create_with(&spec, &task, &Policy::from_toml(&policy).unwrap(), |host| {
        let below = MountBelow { path: below.0.into(), same_as: below.1.map(str::to_owned) };
        host.sources.last_mut().unwrap().below = vec![below];
    })
}

#[test]
fn what_is_mounted_below_a_listed_path_gets_the_same_flags() {
    let disk = ("/srv/disk", None);
    for (allow, before, after) in [
        ("/srv", json!(["rprivate", "rbind"]), json!(["rprivate", "rbind", "nosuid", "nodev", "rnosuid", "rnodev"])),
        (
            "/srv:ro",
            json!(["rprivate", "rbind", "ro"]),
            json!(["rprivate", "rbind", "ro", "nosuid", "nodev", "rnosuid", "rnodev", "rro"]),
        ),
        (
            "/srv",
            json!(["rprivate", "rbind", "ro"]),
            json!(["rprivate", "rbind", "ro", "nosuid", "nodev", "rnosuid", "rnodev"]),
        ),
        ("/srv", json!(["rprivate", "bind"]), json!(["rprivate", "bind", "nosuid", "nodev"])),
        ("/srv", json!(["rprivate", "rw"]), json!(["rprivate", "rw", "nosuid", "nodev", "rnosuid", "rnodev"])),
        (
            "/srv",
            json!(["rprivate", "bind", "rbind", "rsuid"]),
            json!(["rprivate", "bind", "rbind", "nosuid", "nodev", "rnosuid", "rnodev"]),
        ),
    ] {
        let (hardened, _) = support::admitted(with_below(allow, &before, disk));
        assert_eq!(*options_at(&mut support::json(hardened.as_bytes()), "/extra"), after, "{allow} {before}");
    }
}

#[test]
fn nothing_comes_along_that_no_source_may_be() {
    for (below, options, expected) in [
        (("/srv/disk", None), json!(["rbind"]), Clean),
        (("/srv/host", Some("/etc")), json!(["rbind"]), Denied),
        (("/srv/host", Some("/etc")), json!([]), Denied),
        (("/srv/host", Some("/etc")), json!(["bind"]), Clean),
        (("/srv/docker.sock", None), json!(["rbind"]), Denied),
    ] {
        let record = with_below("/srv", &options, below).record;
        assert_eq!(verdict_of("mount.deny-always", &record), expected, "{below:?} {options}");
    }
}
