//! Pods through CRI, with both ways to configure the handler, and beside them runc's.

use std::fs;

use k8s_cri::v1 as api;
use libtest_mimic::{Failed, Trial};
use palisade_integration::cgroup::Limits;
use palisade_integration::containerd::Runtime;
use palisade_integration::cri::{self, Cri, Pod};
use palisade_integration::ctr::unique;
use palisade_integration::invocation::Invocation;
use palisade_integration::{Failure, image, poll};
use palisade_probe::ProcessReport;

use crate::isolation::expect_weak;
use crate::support::{Check, RuntimeTest, World, expect_denial, trial, trial_under};

const LIFE: &[(&str, RuntimeTest)] = &[
    ("pod: runs, executes, logs, stops and is removed", life),
    ("pod: statistics of a container", statistics),
    ("pod: two containers have one shim", one_shim),
    ("pod: exit code and reason", exit_code),
    ("pod: environment, working directory and a volume", volume),
];

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let every = [Runtime::Runc, Runtime::Palisade, Runtime::PalisadeByPath];
    let life = every
        .into_iter()
        .flat_map(|runtime| LIFE.iter().map(move |(name, test)| trial_under(world, runtime, name, *test)));
    let placed = trial(world, "pod: a container joins its own pod's network and cgroup alone", joins);
    life.chain(under_palisade(world)).chain(refusals(world)).chain([placed]).collect()
}

fn under_palisade(world: &'static World) -> Vec<Trial> {
    let tests: [(&str, RuntimeTest); 4] = [
        ("pod: user of the image, and root forced away", users),
        ("pod: RuntimeDefault, Unconfined and unset seccomp are all filtered", seccomp_profiles),
        ("pod: update lowers, and cannot exceed the policy", update),
        ("pod: a Secret's volume is mounted", secret),
    ];
    [Runtime::Palisade, Runtime::PalisadeByPath]
        .into_iter()
        .flat_map(|runtime| tests.map(|(name, test)| trial_under(world, runtime, name, test)))
        .collect()
}

/// A security context, a pod's or a container's, that is refused; plain runc takes it.
pub(crate) struct Refusal {
    pub(crate) name: &'static str,
    rule: &'static str,
    pod: fn(&mut api::LinuxSandboxSecurityContext),
    container: fn(&mut api::ContainerConfig),
}

pub(crate) const REFUSALS: &[Refusal] = &[
    Refusal {
        name: "hostNetwork",
        rule: "linux.ns",
        pod: |pod| host(pod, |options| options.network = NODE),
        container: |_| (),
    },
    Refusal {
        name: "hostPID",
        rule: "linux.ns",
        pod: |pod| host(pod, |options| options.pid = NODE),
        container: |_| (),
    },
    Refusal {
        name: "hostIPC",
        rule: "linux.ns",
        pod: |pod| host(pod, |options| options.ipc = NODE),
        container: |_| (),
    },
    Refusal {
        name: "privileged",
        rule: "priv.heuristic",
        pod: |pod| pod.privileged = true,
        container: |config| *config = cri::privileged(config.clone()),
    },
    Refusal {
        name: "hostPath /etc",
        rule: "mount.deny-always",
        pod: |_| (),
        container: |config| mount(config, "/etc"),
    },
    Refusal { name: "hostPath /srv", rule: "mount.host-path", pod: |_| (), container: |config| mount(config, "/srv") },
    Refusal {
        name: "CAP_SYS_ADMIN",
        rule: "caps.never",
        pod: |_| (),
        container: |config| {
            if let Some(security) = security(config) {
                security.capabilities =
                    Some(api::Capability { add_capabilities: vec!["SYS_ADMIN".to_owned()], ..Default::default() });
            }
        },
    },
    Refusal {
        name: "a device",
        rule: "linux.devices",
        pod: |_| (),
        container: |config| {
            config.devices.push(api::Device {
                container_path: "/dev/kmsg".to_owned(),
                host_path: "/dev/kmsg".to_owned(),
                permissions: "rw".to_owned(),
            });
        },
    },
];

const NODE: i32 = api::NamespaceMode::Node as i32;

fn host(pod: &mut api::LinuxSandboxSecurityContext, change: impl FnOnce(&mut api::NamespaceOption)) {
    change(pod.namespace_options.get_or_insert_default());
}

pub(crate) fn security(config: &mut api::ContainerConfig) -> Option<&mut api::LinuxContainerSecurityContext> {
    config.linux.as_mut()?.security_context.as_mut()
}

pub(crate) fn mount(config: &mut api::ContainerConfig, source: &str) {
    config.mounts.push(api::Mount {
        container_path: "/mnt/volume".to_owned(),
        host_path: source.to_owned(),
        readonly: true,
        ..Default::default()
    });
}

fn refusals(world: &'static World) -> Vec<Trial> {
    let every = REFUSALS
        .iter()
        .map(|refusal| Trial::test(format!("pod: refuses {}", refusal.name), move || refuses(world, refusal)));
    every.chain([trial(world, "pod: an annotation of the pod does not loosen", annotation)]).collect()
}

fn refuses(world: &World, refusal: &Refusal) -> Check {
    let cri = world.cri()?;
    match start_refusable(&cri, Runtime::Palisade, refusal) {
        Ok(_) => return Err("the container was started".into()),
        Err(failure) => expect_denial(&failure.to_string(), refusal.rule)?,
    }
    let pod = start_refusable(&cri, Runtime::Runc, refusal)
        .map_err(|failure| Failed::from(format!("control: runc refuses it as well: {failure}")))?;
    Ok(pod.remove()?)
}

pub(crate) fn start_refusable<'a>(cri: &'a Cri, runtime: Runtime, refusal: &Refusal) -> Result<Pod<'a>, Failure> {
    let mut config = cri.pod_config();
    let mut namespaces = None;
    if let Some(security) = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut()) {
        (refusal.pod)(security);
        namespaces = security.namespace_options.clone();
    }
    if namespaces.as_ref().is_some_and(|options| options.network == NODE) {
        config.hostname = String::new();
    }
    let pod = cri.run_pod(runtime, config)?;
    let mut container = cri::sleeper();
    if let Some(security) = security(&mut container) {
        security.namespace_options = namespaces;
    }
    (refusal.container)(&mut container);
    cri.start(&pod, container)?;
    Ok(pod)
}

fn annotation(world: &World) -> Check {
    let cri = world.cri()?;
    let mut config = cri.pod_config();
    for name in
        ["palisade.io/profile", "io.palisade.profile", "io.containerd.runc.v2.group", "run.oci.keep_original_groups"]
    {
        config.annotations.insert(name.to_owned(), "privileged".to_owned());
    }
    let pod = cri.run_pod(Runtime::Palisade, config)?;
    let container = cri.start(&pod, cri::sleeper())?;
    expect_weak(&report(&cri, &container)?)?;
    Ok(pod.remove()?)
}

fn report(cri: &Cri, container: &str) -> Result<ProcessReport, Failed> {
    Ok(serde_json::from_str(&cri.exec(container, &["/probe", "report"])?.stdout)?)
}

fn life(world: &World, runtime: Runtime) -> Check {
    let cri = world.cri()?;
    let pod = cri.run_pod(runtime, cri.pod_config())?;
    let config = cri::container(image::WORKLOAD, &["sh", "-c", "echo to the log; exec /probe sleep"]);
    let log = pod.log(&config);
    let container = cri.start(&pod, config)?;
    let executed = cri.exec(&container, &["sh", "-c", "echo out; echo err >&2; exit 3"])?;
    expect_eq!((executed.code, executed.stdout.as_str(), executed.stderr.as_str()), (3, "out\n", "err\n"), "exec");
    poll::eventually("the line in the log", 20, || {
        let text = fs::read_to_string(&log).map_err(|error| error.to_string())?;
        if text.contains("stdout F to the log") { Ok(()) } else { Err(text) }
    })?;
    cri.stop(&container, 5)?;
    expect_eq!(cri.status(&container)?.0.state(), api::ContainerState::ContainerExited, "state");
    cri.remove(&container)?;
    Ok(pod.remove()?)
}

fn statistics(world: &World, runtime: Runtime) -> Check {
    let cri = world.cri()?;
    let pod = cri.run_pod(runtime, cri.pod_config())?;
    let container = cri.start(&pod, cri::container(image::WORKLOAD, &["/probe", "hold", "8"]))?;
    let (memory, cpu) = poll::eventually("8 MiB in the statistics", 20, || {
        let stats = cri.stats(&container).map_err(|failure| failure.to_string())?;
        let memory = stats.memory.as_ref().and_then(|memory| memory.working_set_bytes).map_or(0, |bytes| bytes.value);
        let cpu =
            stats.cpu.as_ref().and_then(|cpu| cpu.usage_core_nano_seconds).map_or(0, |nanoseconds| nanoseconds.value);
        if memory >= 8 << 20 { Ok((memory, cpu)) } else { Err(format!("{stats:?}")) }
    })?;
    expect!(memory < 1 << 30 && cpu > 0, "memory {memory}, cpu {cpu}");
    Ok(pod.remove()?)
}

fn one_shim(world: &World, runtime: Runtime) -> Check {
    let cri = world.cri()?;
    let pod = cri.run_pod(runtime, cri.pod_config())?;
    let containers = [cri.start(&pod, cri::sleeper())?, cri.start(&pod, cri::sleeper())?];
    let mut shims = Vec::new();
    for id in containers.iter().chain([&pod.id]) {
        let pid = init_pid(world, id)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        shims.push(status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default().trim().to_owned());
    }
    shims.sort();
    shims.dedup();
    expect_eq!(shims.len(), 1, "parents of pause and containers {shims:?}");
    Ok(pod.remove()?)
}

fn init_pid(world: &World, id: &str) -> Result<u32, Failed> {
    let list = world.containerd.ctr_in("k8s.io", &["task", "ls"])?.success()?;
    let pid = list.lines().filter_map(|line| line.strip_prefix(id)).find_map(|rest| rest.split_whitespace().next());
    Ok(pid.ok_or_else(|| Failed::from(format!("{id} is not in {list}")))?.parse()?)
}

/// CRI names the pod's namespaces and cgroup itself; whoever edits the spec after it could name another's.
fn joins(world: &World) -> Check {
    let cri = world.cri()?;
    let (own, other) =
        (cri.run_pod(Runtime::Palisade, cri.pod_config())?, cri.run_pod(Runtime::Palisade, cri.pod_config())?);
    let parent = format!("/{}", world.containerd.tag());
    let join = |runtime, pod: &Pod<'_>, parent: &str| -> Result<Invocation, Failed> {
        let metadata = own.config.metadata.clone().unwrap_or_default();
        let mut annotations = vec![("container-type", "container")];
        if runtime == Runtime::Palisade {
            annotations.extend([
                ("sandbox-id", own.id.as_str()),
                ("sandbox-namespace", &metadata.namespace),
                ("sandbox-name", &metadata.name),
                ("sandbox-uid", &metadata.uid),
            ]);
        }
        let id = unique("joins");
        let network = format!("network:/proc/{}/ns/net", init_pid(world, &pod.id)?);
        let runtime = world.containerd.runtime_name(runtime);
        let cgroup = format!("{parent}/{id}");
        let mut words = vec!["run", "--rm", "--runtime", &runtime, "--with-ns", &network, "--cgroup", &cgroup];
        let annotations: Vec<String> =
            annotations.iter().map(|(name, value)| format!("io.kubernetes.cri.{name}={value}")).collect();
        words.extend(annotations.iter().flat_map(|annotation| ["--annotation", annotation]));
        words.extend([image::WORKLOAD, &id, "true"]);
        let ended = world.containerd.ctr_in("k8s.io", &words)?;
        if !ended.status.success() {
            world.containerd.ctr_in("k8s.io", &["containers", "rm", &id])?;
        }
        Ok(ended)
    };
    let elsewhere = format!("{parent}-elsewhere");
    for pod in [&own, &other] {
        join(Runtime::Runc, pod, &elsewhere)?.success()?;
    }
    join(Runtime::Palisade, &own, &parent)?.success()?;
    let other_network = join(Runtime::Palisade, &other, &parent)?.refusal()?;
    let other_cgroup = join(Runtime::Palisade, &own, &elsewhere)?.refusal()?;
    own.remove()?;
    other.remove()?;
    expect_denial(&other_network, "linux.ns")?;
    expect_denial(&other_cgroup, "linux.cgroups-path")
}

fn exit_code(world: &World, runtime: Runtime) -> Check {
    let cri = world.cri()?;
    let pod = cri.run_pod(runtime, cri.pod_config())?;
    for (command, code, reason) in [("exit 0", 0, "Completed"), ("exit 11", 11, "Error")] {
        let container = cri.start(&pod, cri::container(image::WORKLOAD, &["sh", "-c", command]))?;
        let status = poll::eventually("the end of the container", 20, || match cri.status(&container) {
            Ok((status, _)) if status.state() == api::ContainerState::ContainerExited => Ok(status),
            other => Err(format!("{other:?}")),
        })?;
        expect_eq!((status.exit_code, status.reason.as_str()), (code, reason), "exit");
    }
    Ok(pod.remove()?)
}

/// A folder as the kubelet makes it for a volume of this pod.
pub(crate) fn kubelet_volume(config: &api::PodSandboxConfig, kind: &str) -> Result<String, Failed> {
    use std::os::unix::fs::PermissionsExt as _;
    let uid = config.metadata.as_ref().map(|metadata| metadata.uid.clone()).unwrap_or_default();
    let folder = format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~{kind}/v");
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
    fs::write(format!("{folder}/key"), "value")?;
    Ok(folder)
}

fn volume(world: &World, runtime: Runtime) -> Check {
    let cri = world.cri()?;
    let pod_config = cri.pod_config();
    let folder = kubelet_volume(&pod_config, "empty-dir")?;
    let pod = cri.run_pod(runtime, pod_config)?;
    let mut config = cri::sleeper();
    mount(&mut config, &folder);
    config.mounts.iter_mut().for_each(|mount| mount.readonly = false);
    config.working_dir = "/tmp".to_owned();
    config.envs.push(api::KeyValue { key: "COLOUR".to_owned(), value: "blue".to_owned() });
    let container = cri.start(&pod, config)?;
    let executed =
        cri.exec(&container, &["sh", "-c", "pwd; echo $COLOUR; cat /mnt/volume/key; echo written > /mnt/volume/new"])?;
    expect_eq!(executed.stdout, "/tmp\nblue\nvalue", "output ({})", executed.stderr);
    expect_eq!(fs::read_to_string(format!("{folder}/new"))?, "written\n", "file in the volume");
    Ok(pod.remove()?)
}

fn secret(world: &World, runtime: Runtime) -> Check {
    let cri = world.cri()?;
    let pod_config = cri.pod_config();
    let folder = kubelet_volume(&pod_config, "secret")?;
    let pod = cri.run_pod(runtime, pod_config)?;
    let mut config = cri::sleeper();
    mount(&mut config, &folder);
    let container = cri.start(&pod, config)?;
    expect_eq!(cri.exec(&container, &["cat", "/mnt/volume/key"])?.stdout, "value", "content");
    let written = cri.exec(&container, &["sh", "-c", "echo x > /mnt/volume/key"])?;
    expect!(written.code != 0, "a read-only volume was written");
    Ok(pod.remove()?)
}

fn users(world: &World, runtime: Runtime) -> Check {
    let cri = world.cri()?;
    let pod = cri.run_pod(runtime, cri.pod_config())?;
    for (image, uid) in [(image::WORKLOAD, 65_532), (image::ROOT, 65_532), (image::USER, 1000)] {
        let container = cri.start(&pod, cri::container(image, &["/probe", "sleep"]))?;
        let report = report(&cri, &container)?;
        expect_eq!(report.numbers("Uid"), [uid; 4], "user ids of {image}");
        expect_eq!(report.text("Seccomp"), "2", "seccomp mode of {image}");
    }
    let mut config = cri::sleeper();
    if let Some(security) = security(&mut config) {
        security.run_as_user = Some(api::Int64Value { value: 0 });
        security.run_as_group = Some(api::Int64Value { value: 0 });
        security.supplemental_groups = vec![0, 4000];
    }
    let container = cri.start(&pod, config)?;
    let report = report(&cri, &container)?;
    expect_weak(&report)?;
    expect!(report.numbers("Groups").contains(&4000), "groups {}", report.text("Groups"));
    Ok(pod.remove()?)
}

fn seccomp_profiles(world: &World, runtime: Runtime) -> Check {
    use api::security_profile::ProfileType::{RuntimeDefault, Unconfined};
    let cri = world.cri()?;
    let pod = cri.run_pod(runtime, cri.pod_config())?;
    for profile in [None, Some(RuntimeDefault), Some(Unconfined)] {
        let mut config = cri::sleeper();
        if let Some(security) = security(&mut config) {
            security.seccomp =
                profile.map(|kind| api::SecurityProfile { profile_type: kind as i32, localhost_ref: String::new() });
        }
        let container = cri.start(&pod, config)?;
        let executed = cri.exec(&container, &["/probe", "try", "keyctl", "personality", "io-uring"])?;
        let outcomes = palisade_probe::Outcome::parse_lines(&executed.stdout)?;
        let reached: Vec<_> =
            outcomes.values().filter(|outcome| outcome.result == palisade_probe::Verdict::Reached).collect();
        expect!(outcomes.len() == 3 && reached.is_empty(), "under {profile:?} reached {reached:?}");
        expect_weak(&report(&cri, &container)?)?;
    }
    Ok(pod.remove()?)
}

fn update(world: &World, runtime: Runtime) -> Check {
    let cri = world.cri()?;
    let pod = cri.run_pod(runtime, cri.pod_config())?;
    let container = cri.start(&pod, cri::sleeper())?;
    let pid = init_pid(world, &container)?;
    cri.update(
        &container,
        api::LinuxContainerResources {
            memory_limit_in_bytes: 100 << 20,
            cpu_quota: 30_000,
            cpu_period: 100_000,
            ..Default::default()
        },
    )?;
    let limits = Limits::of(pid)?;
    expect_eq!((limits.memory, limits.cpu_per_second), (Some(100 << 20), Some(300_000)), "limits");
    let answer =
        cri.update(&container, api::LinuxContainerResources { memory_limit_in_bytes: 1 << 40, ..Default::default() });
    let limits = Limits::of(pid)?;
    expect!(
        limits.memory.is_some_and(|bytes| bytes <= 64 << 30),
        "{limits:?} after a raise that was answered {answer:?}"
    );
    Ok(pod.remove()?)
}
