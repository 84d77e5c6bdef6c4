//! What a pod's author can write (contract §6.1, §6.6, §6.9, §6.24), through CRI as the kubelet speaks it.

use std::fs;

use k8s_cri::v1 as api;
use palisade_integration::containerd::Runtime;
use palisade_integration::cri;
use palisade_integration::ctr::unique;
use palisade_probe::ProcessReport;
use serde_json::json;

use super::ways::Way::{Pod, PodTries, Test};
use super::ways::{Meeting, seen};
use super::{Bypass, Met, powerless, race, refused};
use crate::pods::{kubelet_volume, mount, security};
use crate::support::World;

const HOW: &str = "pod through CRI";

pub(super) const ENTRIES: &[Bypass] = &[
    powerless(
        "pod-swapped-directory",
        "§6.20, CVE-2021-25741",
        "a directory of the pod's own volume that a thread exchanges for a link to the host, while it is looked at and mounted",
        Test("pods through CRI, again and again", race::exchanged),
        "the runtime gets what was judged",
    ),
    refused(
        "pod-volume-link",
        "§6.9, CVE-2021-30465",
        "a link in a volume, which leads another volume below it into /sys",
        Test(HOW, link_below_volume),
        "root.links",
    ),
    refused("pod-host-network", "PSS hostNetwork", "hostNetwork", Pod("hostNetwork"), "linux.ns"),
    refused("pod-host-pid", "PSS hostPID", "hostPID", Pod("hostPID"), "linux.ns"),
    refused("pod-host-ipc", "PSS hostIPC", "hostIPC", Pod("hostIPC"), "linux.ns"),
    refused("pod-privileged", "PSS privileged", "privileged", Pod("privileged"), "priv.heuristic"),
    refused("pod-host-path-etc", "PSS hostPath", "hostPath: /etc", Pod("hostPath /etc"), "mount.deny-always"),
    refused("pod-host-path", "PSS hostPath", "hostPath: /srv", Pod("hostPath /srv"), "mount.host-path"),
    refused("pod-capability", "PSS capabilities", "capabilities.add: SYS_ADMIN", Pod("CAP_SYS_ADMIN"), "caps.never"),
    refused("pod-device", "§6.8", "a device", Pod("a device"), "linux.devices"),
    powerless(
        "pod-seccomp-unconfined",
        "PSS seccompProfile",
        "seccompProfile: Unconfined",
        PodTries {
            make: |config| {
                let profile = api::security_profile::ProfileType::Unconfined as i32;
                with_security(config, |security| {
                    security.seccomp = Some(api::SecurityProfile { profile_type: profile, ..Default::default() });
                });
            },
            attempts: &["keyctl", "personality", "user-namespace"],
        },
        "linux.seccomp",
    ),
    powerless(
        "pod-proc-unmasked",
        "PSS procMount",
        "procMount: Unmasked",
        PodTries {
            make: |config| {
                with_security(config, |security| {
                    security.masked_paths.clear();
                    security.readonly_paths.clear();
                });
            },
            attempts: &["read-keys", "write-core-pattern"],
        },
        "linux.masked, linux.readonly",
    ),
    powerless(
        "pod-exec-root",
        "§6.1",
        "kubectl exec, for which containerd sends the process as it was before it was hardened",
        Test(HOW, exec_root),
        "exec is judged again and clamped to the container's own process",
    ),
    refused(
        "pod-ephemeral",
        "§6.24",
        "a container added later with SYS_PTRACE, as kubectl debug does",
        Test(HOW, ephemeral),
        "caps.never",
    ),
    powerless(
        "pod-annotations",
        "§6.10",
        "annotations that crun, a shim or palisade could act on",
        Test(HOW, annotations),
        "containerd hands on those that its configuration lists, and of them annotations takes away the rest",
    )
    .stops_too("containerd hands on none that its configuration does not list"),
    refused("pod-sysctl", "§6.14, PSS sysctls", "an unsafe sysctl of the pod", Test(HOW, sysctl), "linux.sysctl"),
    refused("pod-other-volume", "§6.9", "a volume of another pod's", Test(HOW, other_volume), "mount.deny-always"),
    refused(
        "pod-link-in-volume",
        "CVE-2021-25741, CVE-2017-1002101",
        "a link in its own volume, mounted as a source",
        Test(HOW, link_in_volume),
        "mount.deny-always",
    ),
    refused(
        "pod-subpath-of-host",
        "CVE-2021-25741",
        "a file of the host where the kubelet binds what a subPath names",
        Test(HOW, subpath_of_host),
        "mount.deny-always",
    ),
    refused(
        "pod-cdi",
        "§6.6, CVE-2025-23266",
        "a CDI device that brings a hook",
        Test("pod through CRI, with a CDI file on the node", cdi),
        "hooks",
    ),
];

fn with_security(config: &mut api::ContainerConfig, change: impl FnOnce(&mut api::LinuxContainerSecurityContext)) {
    if let Some(security) = security(config) {
        change(security);
    }
}

/// Starts a container in a pod of these configurations.
fn start(world: &World, runtime: Runtime, pod: api::PodSandboxConfig, container: api::ContainerConfig) -> Meeting {
    let cri = world.cri()?;
    let pod = match cri.run_pod(runtime, pod) {
        Ok(pod) => pod,
        Err(failure) => return Ok(Met::Refused(failure)),
    };
    let met = cri.start(&pod, container).map_or_else(Met::Refused, |_| Met::Through);
    pod.remove()?;
    Ok(met)
}

/// A pod and a container that reports what its process is.
fn report(
    world: &World,
    runtime: Runtime,
    pod: api::PodSandboxConfig,
    config: api::ContainerConfig,
) -> Result<ProcessReport, libtest_mimic::Failed> {
    let cri = world.cri()?;
    let pod = cri.run_pod(runtime, pod)?;
    let container = cri.start(&pod, config)?;
    let report = serde_json::from_str(&cri.exec(&container, &["/probe", "report"])?.stdout)?;
    pod.remove()?;
    Ok(report)
}

fn exec_root(world: &World, runtime: Runtime) -> Meeting {
    let report = report(world, runtime, world.cri()?.pod_config(), cri::sleeper())?;
    let capable = report.capabilities("CapBnd").is_none_or(|set| set & !(1 << 10) != 0);
    Ok(seen(report.numbers("Uid").contains(&0) || capable, format!("{:?}", report.numbers("Uid"))))
}

fn ephemeral(world: &World, runtime: Runtime) -> Meeting {
    let cri = world.cri()?;
    let pod = cri.run_pod(runtime, cri.pod_config())?;
    cri.start(&pod, cri::sleeper())?;
    let mut later = cri::sleeper();
    with_security(&mut later, |security| {
        let capabilities = api::Capability { add_capabilities: vec!["SYS_PTRACE".to_owned()], ..Default::default() };
        security.capabilities = Some(capabilities);
    });
    let met = cri.start(&pod, later).map_or_else(Met::Refused, |_| Met::Through);
    pod.remove()?;
    Ok(met)
}

fn annotations(world: &World, runtime: Runtime) -> Meeting {
    let mut pod = world.cri()?.pod_config();
    let mut config = cri::sleeper();
    for name in ["run.oci.keep_original_groups", "palisade.io/profile", "io.containerd.runc.v2.group"] {
        pod.annotations.insert(name.to_owned(), "privileged".to_owned());
        config.annotations.insert(name.to_owned(), "privileged".to_owned());
    }
    with_security(&mut config, |security| security.run_as_user = Some(api::Int64Value { value: 1000 }));
    let report = report(world, runtime, pod, config)?;
    Ok(seen(report.numbers("Uid") != [1000; 4], format!("{:?}", report.numbers("Uid"))))
}

fn sysctl(world: &World, runtime: Runtime) -> Meeting {
    let mut pod = world.cri()?.pod_config();
    if let Some(linux) = pod.linux.as_mut() {
        linux.sysctls.insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
    }
    start(world, runtime, pod, cri::sleeper())
}

fn other_volume(world: &World, runtime: Runtime) -> Meeting {
    let theirs = kubelet_volume(&world.cri()?.pod_config(), "secret")?;
    let mut config = cri::sleeper();
    mount(&mut config, &theirs);
    start(world, runtime, world.cri()?.pod_config(), config)
}

fn link_in_volume(world: &World, runtime: Runtime) -> Meeting {
    let pod = world.cri()?.pod_config();
    let volume = kubelet_volume(&pod, "empty-dir")?;
    let link = format!("{volume}/link");
    std::os::unix::fs::symlink("/etc", &link)?;
    let mut config = cri::sleeper();
    mount(&mut config, &link);
    start(world, runtime, pod, config)
}

fn link_below_volume(world: &World, runtime: Runtime) -> Meeting {
    let pod = world.cri()?.pod_config();
    let volume = kubelet_volume(&pod, "empty-dir")?;
    std::os::unix::fs::symlink("/sys/fs", format!("{volume}/link"))?;
    fs::create_dir(format!("{volume}/other"))?;
    let mut config = cri::sleeper();
    mount(&mut config, &volume);
    mount(&mut config, &format!("{volume}/other"));
    if let Some(second) = config.mounts.last_mut() {
        second.container_path.push_str("/link");
    }
    start(world, runtime, pod, config)
}

fn subpath_of_host(world: &World, runtime: Runtime) -> Meeting {
    let pod = world.cri()?.pod_config();
    let uid = pod.metadata.as_ref().map(|metadata| metadata.uid.clone()).unwrap_or_default();
    let place = format!("/var/lib/kubelet/pods/{uid}/volume-subpaths/v/main/0");
    fs::create_dir_all(&place)?;
    let nothing = None::<&str>;
    nix::mount::mount(Some("/etc"), place.as_str(), nothing, nix::mount::MsFlags::MS_BIND, nothing)?;
    let mut config = cri::sleeper();
    mount(&mut config, &place);
    let met = start(world, runtime, pod, config);
    nix::mount::umount(place.as_str())?;
    met
}

/// As a device plugin's vendor installs it.
fn cdi(world: &World, runtime: Runtime) -> Meeting {
    let name = unique("device");
    let canary = world.containerd.layout().base.join(unique("canary"));
    let hook = json!({ "hookName": "createRuntime", "path": "/usr/bin/touch", "args": ["touch", canary] });
    let device = json!({ "name": "one", "containerEdits": { "env": ["DEVICE=one"], "hooks": [hook] } });
    let file = json!({ "cdiVersion": "0.5.0", "kind": format!("palisade.test/{name}"), "devices": [device] });
    let folder = world.containerd.layout().base.join("cdi");
    fs::create_dir_all(&folder)?;
    let place = folder.join(format!("{name}.json"));
    fs::write(&place, file.to_string())?;
    let mut config = cri::sleeper();
    config.cdi_devices.push(api::CdiDevice { name: format!("palisade.test/{name}=one") });
    let met = start(world, runtime, world.cri()?.pod_config(), config);
    fs::remove_file(&place)?;
    Ok(match met? {
        Met::Through => seen(canary.exists(), "the hook did not run"),
        Met::Refused(_) if canary.exists() => return Err("refused, and the hook has run".into()),
        met => met,
    })
}
