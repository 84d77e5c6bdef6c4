//! What else a specification mounts, where, and what an image makes of its mounts (contract §6.9).

use std::fs;
use std::os::unix::fs::symlink;

use palisade_integration::containerd::Runtime;
use palisade_integration::tasks::CreateOptions;
use serde_json::{Value, json};

use super::container::Container;
use super::ways::Meeting;
use super::ways::Way::{Inside, Spec, Test};
use super::{Bypass, Met, powerless, refused};
use crate::spec_edits::{mount_options, push, set};
use crate::support::World;

const IMAGE: &str = "create, image with a link";
const NO_SUCH: &str = "not on every machine";

pub(super) const ENTRIES: &[Bypass] = &[
    refused(
        "type-proc",
        "§6.9, CDK mount-procfs",
        "a second procfs, with nothing masked",
        Spec(|spec| of_type(spec, "proc", &[])),
        "mount.dest",
    ),
    refused("type-sysfs", "§6.9", "a second, writable sysfs", Spec(|spec| of_type(spec, "sysfs", &[])), "mount.dest"),
    refused(
        "type-cgroup",
        "§6.9, CVE-2022-0492",
        "the cgroup file system in another place",
        Spec(|spec| of_type(spec, "cgroup", &[])),
        "mount.dest",
    ),
    refused(
        "type-devtmpfs",
        "§6.9",
        "all device nodes, by devtmpfs",
        Spec(|spec| of_type(spec, "devtmpfs", &[])),
        "mount.type",
    ),
    refused("type-debugfs", "§6.9", "debugfs", Spec(|spec| of_type(spec, "debugfs", &[])), "mount.type")
        .untried(NO_SUCH),
    refused("type-tracefs", "§6.9", "tracefs", Spec(|spec| of_type(spec, "tracefs", &[])), "mount.type")
        .untried(NO_SUCH),
    refused("type-bpf", "§6.9", "a bpf file system", Spec(|spec| of_type(spec, "bpf", &[])), "mount.type")
        .untried(NO_SUCH),
    refused(
        "type-overlay",
        "§6.9",
        "an overlay of a directory of the host",
        Spec(|spec| of_type(spec, "overlay", &["lowerdir=/etc:/srv"])),
        "mount.type",
    ),
    refused(
        "option-unknown",
        "§6.9",
        "an option that only some runtimes know",
        Spec(|spec| tmpfs(spec, &["copy-symlink"])),
        "mount.options",
    )
    .stops_too("the kernel refuses it"),
    powerless(
        "option-suid-dev",
        "§6.9, PSS",
        "set-uid programs and devices on a volume",
        Inside {
            make: |spec| tmpfs(spec, &["suid", "dev", "size=1m"]),
            args: &["/bin/grep", " /mnt/volume ", "/proc/self/mountinfo"],
            shown: |output| ["nosuid", "nodev"].iter().any(|option| !output.contains(option)),
        },
        "mount.options",
    ),
    powerless(
        "tmpfs-boundless",
        "controls §3",
        "a tmpfs without a size",
        Inside {
            make: |spec| tmpfs(spec, &[]),
            args: &["/bin/grep", " /mnt/volume ", "/proc/self/mountinfo"],
            shown: |output| !output.is_empty() && !output.contains("size="),
        },
        "mount.size",
    ),
    powerless(
        "proc-exec",
        "CVE-2019-5736",
        "programs run through /proc",
        Inside {
            make: |spec| mount_options(spec, "/proc", json!(["nosuid", "nodev"])),
            args: &["/bin/grep", " /proc ", "/proc/self/mountinfo"],
            shown: |output| !output.is_empty() && !output.contains("noexec"),
        },
        "mount.proc",
    ),
    powerless(
        "writable-cgroups",
        "CVE-2022-0492, §6.26",
        "writable cgroups",
        Inside {
            make: |spec| {
                let options = json!(["nosuid", "noexec", "nodev", "rw"]);
                let place = "/sys/fs/cgroup";
                push(
                    spec,
                    "/mounts",
                    json!({ "destination": place, "type": "cgroup", "source": "cgroup", "options": options }),
                );
            },
            args: &["/probe", "try", "write-cgroup"],
            shown: |output| output.contains("\"reached\""),
        },
        "mount.cgroup",
    ),
    refused(
        "propagation-shared",
        "§6.9",
        "mounts that reach the host, by rootfsPropagation",
        Spec(|spec| set(spec, "/linux/rootfsPropagation", json!("shared"))),
        "mount.propagation",
    ),
    refused(
        "propagation-shared-mount",
        "§6.9",
        "mounts that reach the host, by an option",
        Spec(|spec| tmpfs(spec, &["rshared"])),
        "mount.propagation",
    ),
    refused(
        "over-proc",
        "CVE-2019-19921, CVE-2025-62596",
        "a volume over /proc",
        Spec(|spec| over(spec, "/proc")),
        "mount.dest",
    )
    .stops_too("runc refuses it since CVE-2019-19921"),
    refused(
        "over-proc-sys",
        "CVE-2023-27561, CVE-2025-52881",
        "a volume over a directory of /proc/sys",
        Spec(|spec| over(spec, "/proc/sys/kernel")),
        "mount.dest",
    ),
    refused(
        "over-proc-self-attr",
        "CVE-2019-16884",
        "a volume where labels are written",
        Spec(|spec| over(spec, "/proc/self/attr")),
        "mount.dest",
    ),
    refused("over-sys", "controls §3", "a volume over /sys", Spec(|spec| over(spec, "/sys")), "mount.dest"),
    refused("over-root", "§6.9", "a volume over /", Spec(|spec| over(spec, "/")), "mount.dest")
        .untried("what runc makes of it differs by version"),
    refused(
        "over-dots",
        "§6.9",
        "a volume over /proc by a path with dots",
        Spec(|spec| over(spec, "/mnt/../proc/sys/kernel")),
        "mount.dest",
    ),
    refused(
        "image-link-dev",
        "CVE-2026-41579, CVE-2026-47766",
        "a link in place of /dev",
        Test(IMAGE, |world, runtime| linked(world, runtime, "dev")),
        "root.links",
    ),
    refused(
        "image-link-proc",
        "CVE-2025-54867",
        "a link in place of /proc",
        Test(IMAGE, |world, runtime| linked(world, runtime, "proc")),
        "root.links",
    )
    .stops_too("runc mounts procfs on no link"),
    refused(
        "image-link-sys",
        "CVE-2025-54867",
        "a link in place of /sys",
        Test(IMAGE, |world, runtime| linked(world, runtime, "sys")),
        "root.links",
    )
    .stops_too("runc mounts sysfs on no link"),
    refused(
        "image-link-volume",
        "§6.9, CVE-2021-30465",
        "a link that leads a volume into /proc",
        Test(IMAGE, |world, runtime| volume_led(world, runtime, "/proc/self/attr")),
        "root.links",
    ),
    refused(
        "image-link-root",
        "CVE-2026-41579, CVE-2019-16884",
        "a link that leads a volume to the root, over all that is mounted there",
        Test(IMAGE, |world, runtime| volume_led(world, runtime, "/")),
        "root.links",
    )
    .stops_too("runc looks for the mount at a name that is covered then"),
];

/// Mounts a filesystem by its type.
fn of_type(spec: &mut Value, kind: &str, options: &[&str]) {
    push(spec, "/mounts", json!({ "destination": "/mnt/other", "type": kind, "source": kind, "options": options }));
}

fn tmpfs(spec: &mut Value, options: &[&str]) {
    push(
        spec,
        "/mounts",
        json!({ "destination": "/mnt/volume", "type": "tmpfs", "source": "tmpfs", "options": options }),
    );
}

fn over(spec: &mut Value, destination: &str) {
    let options = json!(["nosuid", "nodev", "size=1m"]);
    push(
        spec,
        "/mounts",
        json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options }),
    );
}

/// The link leads to another place of the same image: with an absolute one the runtime would follow it on the host.
fn linked(world: &World, runtime: Runtime, place: &str) -> Meeting {
    let container = Container::make(world, runtime, &["true"], |_| ())?;
    let upper = container.upper()?;
    symlink("elsewhere", upper.join(place))?;
    fs::create_dir(upper.join("elsewhere"))?;
    Ok(container.start(CreateOptions::default()).map_or_else(Met::Refused, |_| Met::Through))
}

fn volume_led(world: &World, runtime: Runtime, to: &str) -> Meeting {
    let container = Container::make(world, runtime, &["true"], |spec| over(spec, "/data"))?;
    symlink(to, container.upper()?.join("data"))?;
    Ok(container.start(CreateOptions::default()).map_or_else(Met::Refused, |_| Met::Through))
}
