//! The pods: each a manifest, and by hand what the kubelet asks CRI for it beyond what it always asks.

use std::fs;

use k8s_cri::v1 as api;
use libtest_mimic::Failed;
use palisade_integration::cri::Cri;
use palisade_integration::image;

use super::{ContainerChange, POD_UID, PodChange};

/// A pod.
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) manifest: &'static str,
    pod: PodChange,
    containers: &'static [(&'static str, ContainerChange)],
    /// The rules that refuse it under the default policy.
    pub(super) refused: &'static [&'static str],
    /// Places that the model cannot know, each with the reason.
    pub(super) unknown: &'static [(&'static str, &'static str)],
}

const NODE: i32 = api::NamespaceMode::Node as i32;
const POD: i32 = api::NamespaceMode::Pod as i32;
const CONTAINER: i32 = api::NamespaceMode::Container as i32;

/// What Kubernetes masks in every container (`pkg/securitycontext`).
const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

impl Row {
    /// What the kubelet asks for first, with the directories that it has made by then.
    pub(super) fn pod(&self, cri: &Cri) -> Result<api::PodSandboxConfig, Failed> {
        let mut config = cri.pod_config();
        let name = format!("modelled-{}", self.what.replace([' ', ','], "-"));
        config.hostname.clone_from(&name);
        if let Some(metadata) = config.metadata.as_mut() {
            metadata.name = name;
            metadata.uid = POD_UID.to_owned();
        }
        let linux = config.linux.get_or_insert_default();
        linux.resources =
            Some(api::LinuxContainerResources { cpu_period: 100_000, cpu_shares: 2, ..Default::default() });
        linux.overhead = Some(api::LinuxContainerResources::default());
        let security = linux.security_context.get_or_insert_default();
        security.namespace_options = Some(namespaces());
        security.seccomp = Some(default_profile());
        (self.pod)(&mut config);
        let folder = format!("/var/lib/kubelet/pods/{POD_UID}");
        fs::create_dir_all(&folder)?;
        fs::write(format!("{folder}/etc-hosts"), "127.0.0.1 localhost\n")?;
        Ok(config)
    }

    /// What it asks for next, one after the other.
    pub(super) fn containers(&self) -> impl Iterator<Item = api::ContainerConfig> + '_ {
        self.containers.iter().map(|(name, change)| {
            let mut config = usual(name);
            change(&mut config);
            config
        })
    }
}

fn namespaces() -> api::NamespaceOption {
    api::NamespaceOption { network: POD, pid: CONTAINER, ipc: POD, ..Default::default() }
}

fn default_profile() -> api::SecurityProfile {
    api::SecurityProfile {
        profile_type: api::security_profile::ProfileType::RuntimeDefault as i32,
        localhost_ref: String::new(),
    }
}

fn unconfined() -> api::SecurityProfile {
    api::SecurityProfile {
        profile_type: api::security_profile::ProfileType::Unconfined as i32,
        localhost_ref: String::new(),
    }
}

/// The container of a pod that asks for nothing.
fn usual(name: &str) -> api::ContainerConfig {
    let own = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
    let pod = format!("/var/lib/kubelet/pods/{POD_UID}");
    let message = format!("{pod}/containers/{name}/1a2b3c4d");
    fs::create_dir_all(format!("{pod}/containers/{name}")).ok();
    fs::write(&message, "").ok();
    api::ContainerConfig {
        metadata: Some(api::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(api::ImageSpec { image: image::WORKLOAD.to_owned(), ..Default::default() }),
        command: vec!["/probe".to_owned(), "sleep".to_owned()],
        log_path: format!("{name}.log"),
        mounts: vec![
            mount("/etc/hosts", &format!("{pod}/etc-hosts"), false),
            mount("/dev/termination-log", &message, false),
        ],
        linux: Some(api::LinuxContainerConfig {
            resources: Some(api::LinuxContainerResources {
                cpu_period: 100_000,
                cpu_shares: 2,
                oom_score_adj: 1000,
                ..Default::default()
            }),
            security_context: Some(api::LinuxContainerSecurityContext {
                masked_paths: own(MASKED),
                readonly_paths: own(READONLY),
                namespace_options: Some(namespaces()),
                seccomp: Some(unconfined()),
                ..Default::default()
            }),
        }),
        ..Default::default()
    }
}

fn mount(to: &str, from: &str, readonly: bool) -> api::Mount {
    api::Mount { container_path: to.to_owned(), host_path: from.to_owned(), readonly, ..Default::default() }
}

/// A volume of the pod, with its directory; volumes come before the files that the kubelet adds.
fn volume(config: &mut api::ContainerConfig, at: usize, to: &str, path: &str, readonly: bool) {
    let from = format!("/var/lib/kubelet/pods/{POD_UID}/{path}");
    fs::create_dir_all(&from).ok();
    config.mounts.insert(at, mount(to, &from, readonly));
}

fn security(config: &mut api::ContainerConfig) -> &mut api::LinuxContainerSecurityContext {
    config.linux.get_or_insert_default().security_context.get_or_insert_default()
}

fn resources(config: &mut api::ContainerConfig) -> &mut api::LinuxContainerResources {
    config.linux.get_or_insert_default().resources.get_or_insert_default()
}

fn of_pod(config: &mut api::PodSandboxConfig) -> &mut api::LinuxSandboxSecurityContext {
    config.linux.get_or_insert_default().security_context.get_or_insert_default()
}

fn pod_resources(config: &mut api::PodSandboxConfig) -> &mut api::LinuxContainerResources {
    config.linux.get_or_insert_default().resources.get_or_insert_default()
}

fn id(value: i64) -> Option<api::Int64Value> {
    Some(api::Int64Value { value })
}

fn capabilities(add: &[&str], drop: &[&str]) -> Option<api::Capability> {
    let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Some(api::Capability { add_capabilities: own(add), drop_capabilities: own(drop), ..Default::default() })
}

fn same<T>(_: &mut T) {}

pub(super) const ROWS: &[Row] = &[
    Row {
        what: "nothing asked for",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-nothing-asked-for}\nspec:\n  automountServiceAccountToken: false\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep]}\n",
        pod: same,
        containers: &[("app", same)],
        refused: &[],
        unknown: &[],
    },
    Row {
        what: "a restricted security context",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-a-restricted-security-context}\nspec:\n  automountServiceAccountToken: false\n  \
            securityContext: {runAsUser: 2100, runAsGroup: 3000, fsGroup: 2000, supplementalGroups: [4000, 4001], seccompProfile: {type: RuntimeDefault}}\n  \
            containers:\n  - name: app\n    image: palisade.test/workload:1\n    command: [/probe, sleep]\n    \
            securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}\n  \
            - name: other\n    image: palisade.test/workload:1\n    command: [/probe, sleep]\n    \
            securityContext: {runAsUser: 2101, capabilities: {drop: [CHOWN, NET_RAW]}, seccompProfile: {type: Unconfined}}\n",
        pod: |config| {
            let security = of_pod(config);
            (security.run_as_user, security.run_as_group) = (id(2100), id(3000));
            security.supplemental_groups = vec![2000, 4000, 4001];
        },
        containers: &[
            ("app", |config| {
                let security = security(config);
                (security.run_as_user, security.run_as_group) = (id(2100), id(3000));
                security.supplemental_groups = vec![2000, 4000, 4001];
                security.seccomp = Some(default_profile());
                security.no_new_privs = true;
                security.readonly_rootfs = true;
                security.capabilities = capabilities(&["NET_BIND_SERVICE"], &["ALL"]);
            }),
            ("other", |config| {
                let security = security(config);
                (security.run_as_user, security.run_as_group) = (id(2101), id(3000));
                security.supplemental_groups = vec![2000, 4000, 4001];
                security.capabilities = capabilities(&[], &["CHOWN", "NET_RAW"]);
            }),
        ],
        refused: &[],
        unknown: &[],
    },
    Row {
        what: "burstable resources, variables and words",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-burstable-resources--variables-and-words, labels: {tier: front}}\nspec:\n  \
            automountServiceAccountToken: false\n  containers:\n  - name: app\n    image: palisade.test/workload:1\n    command: [/probe]\n    args: [sleep, '$(A)-$(NONE)-$$(A)']\n    \
            workingDir: /tmp\n    env:\n    - {name: A, value: one}\n    - {name: B, value: 'two $(A)'}\n    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}\n    \
            - {name: TIER, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['tier']\"}}}\n    - {name: PATH, value: /own}\n    \
            resources: {requests: {cpu: 250m, memory: 160Mi}, limits: {cpu: 500m, memory: 256Mi}}\n",
        pod: |config| {
            let resources = pod_resources(config);
            (resources.cpu_shares, resources.cpu_quota, resources.memory_limit_in_bytes) = (256, 50_000, 256 << 20);
        },
        containers: &[("app", |config| {
            let resources = resources(config);
            (resources.cpu_shares, resources.cpu_quota, resources.memory_limit_in_bytes) = (256, 50_000, 256 << 20);
            // 1000 less the share of 16 GiB, in thousandths.
            resources.oom_score_adj = 991;
            config.command = vec!["/probe".to_owned()];
            config.args = vec!["sleep".to_owned(), "one-$(NONE)-$(A)".to_owned()];
            config.working_dir = "/tmp".to_owned();
            let name = "modelled-burstable-resources--variables-and-words";
            let pairs = [("A", "one"), ("B", "two one"), ("NAME", name), ("TIER", "front"), ("PATH", "/own")];
            config.envs =
                pairs.map(|(key, value)| api::KeyValue { key: key.to_owned(), value: value.to_owned() }).to_vec();
        })],
        refused: &[],
        unknown: &[],
    },
    Row {
        what: "guaranteed resources",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-guaranteed-resources}\nspec:\n  automountServiceAccountToken: false\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep], resources: {limits: {cpu: 1, memory: 128Mi}}}\n",
        pod: |config| {
            let resources = pod_resources(config);
            (resources.cpu_shares, resources.cpu_quota, resources.memory_limit_in_bytes) = (1024, 100_000, 128 << 20);
        },
        containers: &[("app", |config| {
            let resources = resources(config);
            (resources.cpu_shares, resources.cpu_quota, resources.memory_limit_in_bytes) = (1024, 100_000, 128 << 20);
            resources.oom_score_adj = -997;
        })],
        refused: &[],
        unknown: &[],
    },
    Row {
        what: "privileged",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-privileged}\nspec:\n  automountServiceAccountToken: false\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep], securityContext: {privileged: true}}\n",
        pod: |config| of_pod(config).privileged = true,
        containers: &[("app", |config| security(config).privileged = true)],
        refused: &["priv.heuristic"],
        unknown: &[("/linux/devices", "every device of the machine")],
    },
    Row {
        what: "network of the node",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-network-of-the-node}\nspec:\n  hostNetwork: true\n  automountServiceAccountToken: false\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep]}\n",
        pod: |config| {
            config.hostname = String::new();
            of_pod(config).namespace_options.get_or_insert_default().network = NODE;
        },
        containers: &[("app", |config| security(config).namespace_options.get_or_insert_default().network = NODE)],
        refused: &["linux.ns"],
        unknown: &[],
    },
    Row {
        what: "processes and IPC of the node",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-processes-and-IPC-of-the-node}\nspec:\n  hostPID: true\n  hostIPC: true\n  automountServiceAccountToken: false\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep]}\n",
        pod: |config| {
            let options = of_pod(config).namespace_options.get_or_insert_default();
            (options.pid, options.ipc) = (NODE, NODE);
        },
        containers: &[("app", |config| {
            let options = security(config).namespace_options.get_or_insert_default();
            (options.pid, options.ipc) = (NODE, NODE);
        })],
        refused: &["linux.ns"],
        unknown: &[],
    },
    Row {
        what: "processes shared in the pod",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-processes-shared-in-the-pod}\nspec:\n  shareProcessNamespace: true\n  automountServiceAccountToken: false\n  hostname: own\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep], tty: true, terminationMessagePath: /tmp/message}\n",
        pod: |config| {
            config.hostname = "own".to_owned();
            of_pod(config).namespace_options.get_or_insert_default().pid = POD;
        },
        containers: &[("app", |config| {
            security(config).namespace_options.get_or_insert_default().pid = POD;
            config.tty = true;
            config.mounts.iter_mut().filter(|mount| mount.container_path == "/dev/termination-log").for_each(|mount| {
                mount.container_path = "/tmp/message".to_owned();
            });
        })],
        refused: &[],
        unknown: &[],
    },
    Row {
        what: "volumes of the pod",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-volumes-of-the-pod}\nspec:\n  automountServiceAccountToken: false\n  \
            containers:\n  - name: app\n    image: palisade.test/workload:1\n    command: [/probe, sleep]\n    securityContext: {readOnlyRootFilesystem: true}\n    volumeMounts:\n    \
            - {name: scratch, mountPath: /mnt/scratch}\n    - {name: config, mountPath: /etc/app}\n    - {name: secret, mountPath: /mnt/a/b/secret, readOnly: true}\n    \
            - {name: claim, mountPath: /data, readOnly: true}\n    - {name: info, mountPath: /info}\n    - {name: token, mountPath: /token}\n  \
            volumes:\n  - {name: scratch, emptyDir: {}}\n  - {name: config, configMap: {name: c}}\n  - {name: secret, secret: {secretName: s}}\n  \
            - {name: claim, persistentVolumeClaim: {claimName: p}}\n  - {name: info, downwardAPI: {items: []}}\n  \
            - {name: token, projected: {sources: [{configMap: {name: c}}]}}\n",
        pod: same,
        containers: &[("app", |config| {
            security(config).readonly_rootfs = true;
            volume(config, 0, "/mnt/scratch", "volumes/kubernetes.io~empty-dir/scratch", false);
            volume(config, 1, "/etc/app", "volumes/kubernetes.io~configmap/config", true);
            volume(config, 2, "/mnt/a/b/secret", "volumes/kubernetes.io~secret/secret", true);
            volume(config, 3, "/data", "volumes/kubernetes.io~csi/claim/mount", true);
            volume(config, 4, "/info", "volumes/kubernetes.io~downward-api/info", true);
            volume(config, 5, "/token", "volumes/kubernetes.io~projected/token", true);
        })],
        refused: &[],
        unknown: &[],
    },
    Row {
        what: "shared memory and hosts of its own",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-shared-memory-and-hosts-of-its-own}\nspec:\n  automountServiceAccountToken: false\n  \
            containers:\n  - name: app\n    image: palisade.test/workload:1\n    command: [/probe, sleep]\n    volumeMounts:\n    \
            - {name: shm, mountPath: /dev/shm}\n    - {name: deep, mountPath: /mnt/x/y}\n    - {name: high, mountPath: /mnt}\n  \
            volumes:\n  - {name: shm, emptyDir: {medium: Memory}}\n  - {name: deep, emptyDir: {}}\n  - {name: high, emptyDir: {}}\n",
        pod: same,
        containers: &[("app", |config| {
            volume(config, 0, "/dev/shm", "volumes/kubernetes.io~empty-dir/shm", false);
            volume(config, 1, "/mnt/x/y", "volumes/kubernetes.io~empty-dir/deep", false);
            volume(config, 2, "/mnt", "volumes/kubernetes.io~empty-dir/high", false);
        })],
        refused: &[],
        unknown: &[],
    },
    Row {
        what: "a path of the node",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-a-path-of-the-node}\nspec:\n  automountServiceAccountToken: false\n  \
            containers:\n  - name: app\n    image: palisade.test/workload:1\n    command: [/probe, sleep]\n    volumeMounts:\n    \
            - {name: etc, mountPath: /mnt/etc, readOnly: true}\n    - {name: shared, mountPath: /mnt/shared}\n  \
            volumes:\n  - {name: etc, hostPath: {path: /etc}}\n  - {name: shared, hostPath: {path: /usr/share, type: Directory}}\n",
        pod: same,
        containers: &[("app", |config| {
            config.mounts.insert(0, mount("/mnt/etc", "/etc", true));
            config.mounts.insert(1, mount("/mnt/shared", "/usr/share", false));
        })],
        refused: &["mount.host-path", "mount.deny-always"],
        unknown: &[],
    },
    Row {
        what: "safe sysctls",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-safe-sysctls}\nspec:\n  automountServiceAccountToken: false\n  \
            securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: '1'}, {name: net.ipv4.ip_unprivileged_port_start, value: '80'}]}\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep]}\n",
        pod: |config| {
            let sysctls = [("kernel.shm_rmid_forced", "1"), ("net.ipv4.ip_unprivileged_port_start", "80")];
            config.linux.get_or_insert_default().sysctls =
                sysctls.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        },
        containers: &[("app", same)],
        refused: &[],
        unknown: &[],
    },
    Row {
        what: "a sysctl that is not safe",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-a-sysctl-that-is-not-safe}\nspec:\n  automountServiceAccountToken: false\n  \
            securityContext: {sysctls: [{name: kernel.msgmax, value: '8192'}]}\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep]}\n",
        pod: |config| {
            let sysctl = ("kernel.msgmax".to_owned(), "8192".to_owned());
            config.linux.get_or_insert_default().sysctls = [sysctl].into();
        },
        containers: &[("app", same)],
        refused: &["linux.sysctl"],
        unknown: &[],
    },
    Row {
        what: "capabilities by name",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-capabilities-by-name}\nspec:\n  automountServiceAccountToken: false\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep], securityContext: {capabilities: {add: [SYS_ADMIN, NET_ADMIN], drop: [MKNOD]}}}\n",
        pod: same,
        containers: &[("app", |config| {
            security(config).capabilities = capabilities(&["SYS_ADMIN", "NET_ADMIN"], &["MKNOD"])
        })],
        refused: &["caps.never"],
        unknown: &[],
    },
    Row {
        what: "all capabilities but one, and nothing masked",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-all-capabilities-but-one--and-nothing-masked}\nspec:\n  automountServiceAccountToken: false\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep], securityContext: {procMount: Unmasked, capabilities: {add: [ALL], drop: [SYS_MODULE]}}}\n",
        pod: same,
        containers: &[("app", |config| {
            let security = security(config);
            security.capabilities = capabilities(&["ALL"], &["SYS_MODULE"]);
            security.masked_paths.clear();
            security.readonly_paths.clear();
        })],
        refused: &["priv.heuristic"],
        unknown: &[],
    },
    Row {
        what: "user of the image",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-user-of-the-image}\nspec:\n  automountServiceAccountToken: false\n  \
            initContainers:\n  - {name: beside, image: 'palisade.test/user:1', restartPolicy: Always, args: ['-c', 'exec /probe sleep']}\n  \
            containers:\n  - {name: app, image: 'palisade.test/user:1', command: [/probe, sleep]}\n",
        pod: same,
        containers: &[
            ("beside", |config| {
                of_user(config);
                config.command.clear();
                config.args = vec!["-c".to_owned(), "exec /probe sleep".to_owned()];
            }),
            ("app", of_user),
        ],
        refused: &[],
        unknown: &[
            ("/process/user/gid", "the image's /etc/passwd has the user's group"),
            ("/process/user/additionalGids", "the image's /etc/group has more"),
        ],
    },
    Row {
        what: "the token of the service account",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: modelled-the-token-of-the-service-account}\nspec:\n  \
            containers:\n  - {name: app, image: 'palisade.test/workload:1', command: [/probe, sleep]}\n",
        pod: same,
        containers: &[("app", |config| {
            let volumes = "volumes/kubernetes.io~projected/kube-api-access-x7k2p";
            volume(config, 0, "/var/run/secrets/kubernetes.io/serviceaccount", volumes, true);
        })],
        refused: &[],
        unknown: &[],
    },
];

/// The kubelet reads the image's user, and passes on its number.
fn of_user(config: &mut api::ContainerConfig) {
    config.image = Some(api::ImageSpec { image: image::USER.to_owned(), ..Default::default() });
    security(config).run_as_user = id(1000);
}
