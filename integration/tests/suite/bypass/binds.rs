//! What of the host a specification mounts (contract §6.9).

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::mount::{MsFlags, mount, umount};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::unique;
use palisade_integration::tasks::CreateOptions;
use serde_json::json;

use super::container::Container;
use super::ways::Meeting;
use super::ways::Way::{Spec, Test};
use super::{Bypass, Met, refused};
use crate::spec_edits::{bind, push};
use crate::support::World;

const NO_SUCH: &str = "not on every machine";

pub(super) const ENTRIES: &[Bypass] = &[
    refused("bind-root", "§6.9", "/ of the host", Spec(|spec| bind(spec, "/")), "mount.deny-always"),
    refused("bind-etc", "§6.9", "/etc", Spec(|spec| bind(spec, "/etc")), "mount.deny-always"),
    refused("bind-etc-file", "§6.9", "one file of /etc", Spec(|spec| bind(spec, "/etc/passwd")), "mount.deny-always"),
    refused("bind-home-of-root", "§6.9", "/root", Spec(|spec| bind(spec, "/root")), "mount.deny-always"),
    refused("bind-proc", "§6.9, CDK mount-procfs", "/proc", Spec(|spec| bind(spec, "/proc")), "mount.deny-always"),
    refused("bind-proc-of-init", "§6.9", "/proc/1/root", Spec(|spec| bind(spec, "/proc/1/root")), "mount.deny-always")
        .untried("a test machine may keep process 1 from root as well"),
    refused("bind-sys", "§6.9", "/sys", Spec(|spec| bind(spec, "/sys")), "mount.deny-always"),
    refused(
        "bind-cgroups",
        "CVE-2022-0492, CDK mount-cgroup",
        "the cgroups of the host",
        Spec(|spec| bind(spec, "/sys/fs/cgroup")),
        "mount.deny-always",
    ),
    refused("bind-dev", "§6.9", "/dev", Spec(|spec| bind(spec, "/dev")), "mount.deny-always"),
    refused(
        "bind-device",
        "§6.8",
        "a device node, as a mount",
        Spec(|spec| bind(spec, "/dev/full")),
        "mount.deny-always",
    ),
    refused("bind-boot", "§6.9", "/boot", Spec(|spec| bind(spec, "/boot")), "mount.deny-always").untried(NO_SUCH),
    refused("bind-run", "§6.9", "/run", Spec(|spec| bind(spec, "/run")), "mount.deny-always"),
    refused(
        "bind-containerd-socket",
        "§6.9, CDK shim-pwn",
        "containerd's socket",
        Spec(|spec| bind(spec, "/run/containerd/containerd.sock")),
        "mount.deny-always",
    ),
    refused(
        "bind-shim-sockets",
        "§6.9, CVE-2020-15257",
        "the shims' sockets",
        Spec(|spec| bind(spec, "/run/containerd/s")),
        "mount.deny-always",
    ),
    refused(
        "bind-containerd-state",
        "§6.20",
        "the bundles of all containers",
        Spec(|spec| bind(spec, "/run/containerd")),
        "mount.deny-always",
    ),
    refused(
        "bind-containerd-root",
        "§6.9",
        "the layers of all images",
        Spec(|spec| bind(spec, "/var/lib/containerd")),
        "mount.deny-always",
    ),
    refused(
        "bind-docker-socket",
        "§6.9, CDK docker-sock",
        "the socket of another daemon",
        Test("create, with a socket of the host", docker_socket),
        "mount.deny-always",
    ),
    refused(
        "bind-kubelet",
        "§6.9, CVE-2021-25741",
        "the kubelet's directory",
        Test("create, with a directory of the host", kubelet_directory),
        "mount.deny-always",
    ),
    refused("bind-log", "CVE-2017-1002101", "/var/log", Spec(|spec| bind(spec, "/var/log")), "mount.host-path"),
    refused(
        "bind-plain",
        "§6.9, PSS hostPath",
        "an ordinary directory",
        Spec(|spec| bind(spec, "/srv")),
        "mount.host-path",
    ),
    refused(
        "bind-without-type",
        "§6.9",
        "a bind that says so by its options alone",
        Spec(|spec| {
            let options = json!(["rbind", "ro"]);
            push(spec, "/mounts", json!({ "destination": "/mnt/host", "source": "/etc", "options": options }));
        }),
        "mount.deny-always",
    ),
    refused(
        "bind-in-disguise",
        "§6.9",
        "a bind whose type says tmpfs",
        Spec(|spec| {
            let options = json!(["rbind", "ro"]);
            push(
                spec,
                "/mounts",
                json!({ "destination": "/mnt/host", "type": "tmpfs", "source": "/etc", "options": options }),
            );
        }),
        "mount.deny-always",
    ),
    refused(
        "bind-dots",
        "§6.9",
        "/etc by a path with dots",
        Spec(|spec| bind(spec, "/srv/../etc")),
        "mount.deny-always",
    ),
    refused(
        "bind-link",
        "§6.9",
        "/etc behind a link",
        Test("create, with a link on the host", link),
        "mount.deny-always",
    ),
    refused(
        "bind-alias",
        "§6.9",
        "/etc mounted elsewhere",
        Test("create, with a bind mount on the host", alias),
        "mount.deny-always",
    ),
];

fn from_source(world: &World, runtime: Runtime, source: &Path) -> Meeting {
    let source = source.display().to_string();
    let container = Container::make(world, runtime, &["true"], |spec| bind(spec, &source))?;
    Ok(container.start(CreateOptions::default()).map_or_else(Met::Refused, |_| Met::Through))
}

fn docker_socket(world: &World, runtime: Runtime) -> Meeting {
    let socket = Path::new("/run").join(unique("docker")).with_extension("sock");
    let listener = UnixListener::bind(&socket)?;
    let met = from_source(world, runtime, &socket);
    drop(listener);
    fs::remove_file(&socket)?;
    met
}

fn kubelet_directory(world: &World, runtime: Runtime) -> Meeting {
    let pods = Path::new("/var/lib/kubelet/pods");
    fs::create_dir_all(pods)?;
    from_source(world, runtime, pods)
}

fn link(world: &World, runtime: Runtime) -> Meeting {
    let link = world.containerd.layout().base.join(unique("link"));
    symlink("/etc", &link)?;
    from_source(world, runtime, &link)
}

fn alias(world: &World, runtime: Runtime) -> Meeting {
    let alias = world.containerd.layout().base.join(unique("alias"));
    fs::create_dir(&alias)?;
    let nothing = None::<&str>;
    // The shims' mount namespace is the suite's, so they see this mount.
    mount(Some("/etc"), &alias, nothing, MsFlags::MS_BIND, nothing)?;
    let met = from_source(world, runtime, &alias);
    umount(&alias)?;
    met
}
