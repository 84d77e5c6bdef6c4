//! The model of the kubelet (Kubernetes 1.34, `pkg/kubelet`): from a pod's specification to what it asks containerd for.

mod environment;
mod expansion;
mod mounts;
mod remapping;
mod resources;
mod security;
mod volumes;

use std::collections::BTreeSet;

use expansion::Budget;

use super::cdi::Plugins;
use super::cri;
use super::image::{ImageConfig, Images};
use super::node::Node;
use super::objects::{Workload, WrongField};
use super::place::Place;
use super::pod::{Container, PodSpec};

/// The pod's id on the node; any will do.
pub(super) const POD_UID: &str = "5d1f3c1e-7a52-4c1b-9a3e-3a4f0f1b2c3d";

/// What the names of annotations that palisade goes by begin with.
const OWN_ANNOTATIONS: &str = "palisade.io/";

/// What a manifest is judged with beside itself.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) node: Node,
    pub(super) images: Images,
    pub(super) plugins: Plugins,
    /// The namespace of objects that name none.
    pub(super) namespace: String,
}

/// A pod as containerd hears of it.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) sandbox: cri::Sandbox,
    pub(super) containers: Vec<cri::Container>,
    pub(super) assumptions: Assumptions,
    pub(super) refusals: Vec<NodeRefusal>,
}

/// What the node can't do for a pod, whatever the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeRefusal {
    /// Index of the container; `None` for the sandbox.
    pub(super) container: Option<usize>,
    /// The field that asks for it.
    pub(super) place: Place,
    pub(super) reason: String,
}

/// What the manifest does not say and was taken for granted: each once, in the order in which it came up.
#[derive(Debug, Clone, Default)]
pub(super) struct Assumptions {
    list: Vec<String>,
    known: BTreeSet<String>,
}

impl Assumptions {
    pub(super) fn add(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.known.insert(text.clone()) {
            self.list.push(text);
        }
    }

    pub(super) fn list(&self) -> &[String] {
        &self.list
    }
}

/// Where a container stands in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Init,
    /// An init container that runs beside the others.
    Sidecar,
    App,
    Ephemeral,
}

/// The containers of a pod, in the order in which they are made, with the list that each is in.
pub(super) fn parts(spec: &PodSpec) -> impl Iterator<Item = (Part, &'static str, usize, &Container)> {
    let init = spec.init_containers.iter().enumerate().map(|(i, container)| {
        let beside = container.restart_policy.as_deref() == Some("Always");
        (if beside { Part::Sidecar } else { Part::Init }, "initContainers", i, container)
    });
    let app = spec.containers.iter().enumerate().map(|(i, container)| (Part::App, "containers", i, container));
    let ephemeral = spec.ephemeral_containers.iter().enumerate();
    init.chain(app).chain(ephemeral.map(|(i, container)| (Part::Ephemeral, "ephemeralContainers", i, container)))
}

/// What the kubelet makes of a workload's pod. Fails at the field whose references come to more text than anybody can use.
pub(super) fn pod(workload: &Workload, around: &Surroundings) -> Result<Pod, WrongField> {
    let mut assumptions = Assumptions::default();
    let mut budget = Budget::new();
    let sandbox = sandbox(workload, around);
    let containers = parts(&workload.spec)
        .map(|(part, list, index, container)| {
            let seat = Seat { workload, around, part, list, index, container };
            seat.container(&mut assumptions, &mut budget)
        })
        .collect::<Result<_, _>>()?;
    general(workload, &around.node, &mut assumptions);
    let refusals = remapping::refusals(workload, &around.node, &mut assumptions);
    Ok(Pod { sandbox, containers, assumptions, refusals })
}

fn general(workload: &Workload, node: &Node, assumptions: &mut Assumptions) {
    let spec = &workload.spec;
    let own = workload.metadata.annotations.keys().filter(|name| name.starts_with(OWN_ANNOTATIONS));
    for name in own.filter(|name| !node.passes(name)) {
        assumptions.add(format!(
            "annotation {name:?} does not reach palisade: containerd hands on what the runtime handler's pod_annotations lists; \
             --node pod-annotations=palisade.io/profile if it lists that"
        ));
    }
    if spec.automount_service_account_token.is_none() {
        let account = spec.service_account_name.as_ref().or(spec.service_account.as_ref());
        let account = account.map_or("default", String::as_str);
        assumptions.add(format!(
            "the service account {account:?} does not say automountServiceAccountToken: false, so its token is mounted"
        ));
    }
    if !spec.resource_claims.is_empty() {
        assumptions.add("what resourceClaims (DRA) add is not known, and not judged");
    }
    if let Some(node) = &spec.node_name {
        assumptions.add(format!("node {node:?} is as other nodes are"));
    }
}

fn sandbox(workload: &Workload, around: &Surroundings) -> cri::Sandbox {
    let (spec, node) = (&workload.spec, &around.node);
    let security = spec.security_context.clone().unwrap_or_default();
    let namespace = workload.namespace.clone().unwrap_or_else(|| around.namespace.clone());
    let name = workload.pod_name.clone();
    let hostname = if spec.host_network == Some(true) { String::new() } else { hostname(spec, &name) };
    let class = resources::quality(spec);
    let privileged = |container: &Container| {
        container.security_context.as_ref().and_then(|security| security.privileged) == Some(true)
    };
    cri::Sandbox {
        log_directory: format!("/var/log/pods/{namespace}_{name}_{POD_UID}"),
        cgroup_parent: resources::cgroup_parent(class, POD_UID, node.systemd),
        uid: POD_UID.to_owned(),
        hostname,
        sysctls: security.sysctls.iter().map(|one| (one.name.clone(), one.value.clone())).collect(),
        annotations: workload.metadata.annotations.clone().into_iter().collect(),
        privileged: parts(spec).any(|(.., container)| privileged(container)),
        namespaces: security::namespaces(spec, None),
        user: security.run_as_user,
        group: security.run_as_group,
        se_linux: security.se_linux_options.clone().filter(|_| node.has_se_linux(true)),
        resources: resources::of_sandbox(spec),
        namespace,
        name,
    }
}

/// RFC 1123: the kubelet cuts a name to 63 characters, without a dash or a dot at its end.
fn hostname(spec: &PodSpec, pod_name: &str) -> String {
    let name = spec.hostname_override.as_deref().or(spec.hostname.as_deref()).unwrap_or(pod_name);
    let short: String = name.chars().take(63).collect();
    short.trim_end_matches(['-', '.']).to_owned()
}

/// A container within its pod.
struct Seat<'a> {
    workload: &'a Workload,
    around: &'a Surroundings,
    part: Part,
    list: &'static str,
    index: usize,
    container: &'a Container,
}

impl Seat<'_> {
    fn image(&self, assumptions: &mut Assumptions) -> ImageConfig {
        let reference = self.container.image.as_deref().unwrap_or_default();
        match self.around.images.of(reference) {
            Some(config) => config.clone(),
            None => {
                let root = if self.has_user() { "" } else { "USER (so root), " };
                assumptions.add(format!(
                    "image {reference:?} has no {root}volumes, variables or working directory; --image-config {reference}=FILE tells"
                ));
                ImageConfig::default()
            }
        }
    }

    /// The manifest says who the process is.
    fn has_user(&self) -> bool {
        let own = self.container.security_context.as_ref().and_then(|security| security.run_as_user);
        let pod = self.workload.spec.security_context.as_ref().and_then(|security| security.run_as_user);
        own.or(pod).is_some()
    }

    fn place(&self) -> Place {
        self.workload.spec_place.field(self.list).item(self.index, &self.container.name)
    }

    fn container(&self, assumptions: &mut Assumptions, budget: &mut Budget) -> Result<cri::Container, WrongField> {
        let (container, spec) = (self.container, &self.workload.spec);
        let image = self.image(assumptions);
        let place = self.place();
        let env = environment::variables(self, assumptions, budget)?;
        let mut expand = |words: &[String], field: &str| -> Result<Vec<String>, WrongField> {
            let list = place.field(field);
            words.iter().enumerate().map(|(i, word)| budget.expand(word, &env, &list.item(i, ""))).collect()
        };
        let (command, args) = (expand(&container.command, "command")?, expand(&container.args, "args")?);
        let mut devices = volumes::devices(self, assumptions);
        let mut mounts = mounts::of(self, &env, budget)?;
        let mut env_added = Vec::new();
        let mut hooks = Vec::new();
        for (resource, count) in resources::extended(container) {
            let Some(edits) = self.around.plugins.edits(&resource, count) else {
                assumptions.add(format!(
                    "what the device plugin of {resource} adds is not judged; --cdi {resource}=FILE tells"
                ));
                continue;
            };
            for edit in edits {
                devices.extend(edit.devices());
                hooks.extend(edit.hooks());
                mounts.extend(edit.mounts(&resource));
                let pairs = edit.env.iter().filter_map(|pair| pair.split_once('='));
                env_added.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
        }
        Ok(cri::Container {
            place,
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            command,
            args,
            working_dir: container.working_dir.clone().unwrap_or_default(),
            resources: resources::of_container(spec, self.part, container, &self.around.node, assumptions),
            security: security::of(self, &image, assumptions),
            env: environment::ordered(self, env).into_iter().chain(env_added).collect(),
            mounts,
            devices,
            hooks,
            tty: container.tty.unwrap_or_default(),
            requests_memory: resources::requests(container).0,
            requests_cpu: resources::requests(container).1,
            image_config: image,
        })
    }
}
