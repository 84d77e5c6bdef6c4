//! Resources: shares and quota, limits, the quality of service and what follows from it.

use std::collections::BTreeMap;

use super::{Assumptions, Part, parts};
use crate::kubernetes::cri::LinuxResources;
use crate::kubernetes::node::Node;
use crate::kubernetes::pod::{Amount, Container, PodSpec, Resources};
use crate::kubernetes::quantity::Quantity;

/// `cpu.cfs_period_us`, unless the kubelet is told otherwise.
const PERIOD: i64 = 100_000;
/// Limits of `cpu.shares` (kernel `Documentation/scheduler/sched-bwc.rst`; the kubelet's `helpers_linux.go`).
const SHARES: std::ops::RangeInclusive<i64> = 2..=262_144;
/// The least quota that the kernel takes, in microseconds.
const LEAST_QUOTA: i64 = 1000;

/// The quality of service of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quality {
    Guaranteed,
    Burstable,
    BestEffort,
}

/// What a container asks for and may have at most, by the names of Kubernetes.
#[derive(Debug, Clone, Default)]
struct Asked {
    requests: BTreeMap<String, Quantity>,
    limits: BTreeMap<String, Quantity>,
}

impl Asked {
    fn of(resources: Option<&Resources>) -> Self {
        let Some(resources) = resources else { return Self::default() };
        let read = |amounts: &BTreeMap<String, Amount>| -> BTreeMap<String, Quantity> {
            amounts.iter().filter_map(|(name, amount)| Some((name.clone(), Quantity::parse(&amount.text())?))).collect()
        };
        let limits = read(&resources.limits);
        // The API server's default: who has a limit and names no request requests that.
        let mut requests = limits.clone();
        requests.extend(read(&resources.requests));
        Self { requests, limits }
    }

    fn request(&self, name: &str) -> Quantity {
        self.requests.get(name).copied().unwrap_or_default()
    }

    fn limit(&self, name: &str) -> Quantity {
        self.limits.get(name).copied().unwrap_or_default()
    }
}

/// Kubernetes' `qos.ComputePodQOS`.
pub(super) fn quality(spec: &PodSpec) -> Quality {
    let asked: Vec<Asked> = match &spec.resources {
        Some(whole) => vec![Asked::of(Some(whole))],
        None => {
            let counted = parts(spec).filter(|(part, ..)| *part != Part::Ephemeral);
            counted.map(|(.., container)| Asked::of(container.resources.as_ref())).collect()
        }
    };
    let named = |one: &Asked, name: &str| !one.request(name).is_zero() || !one.limit(name).is_zero();
    let exact = |one: &Asked, name: &str| !one.limit(name).is_zero() && one.request(name) == one.limit(name);
    if asked.iter().all(|one| !named(one, "cpu") && !named(one, "memory")) {
        Quality::BestEffort
    } else if asked.iter().all(|one| exact(one, "cpu") && exact(one, "memory")) {
        Quality::Guaranteed
    } else {
        Quality::Burstable
    }
}

/// The cgroup above a pod's containers, as the kubelet names it for the driver.
pub(super) fn cgroup_parent(quality: Quality, uid: &str, systemd: bool) -> String {
    let class = match quality {
        Quality::Guaranteed => "",
        Quality::Burstable => "burstable",
        Quality::BestEffort => "besteffort",
    };
    if systemd {
        let name = if class.is_empty() { "kubepods".to_owned() } else { format!("kubepods-{class}") };
        let above = if class.is_empty() { String::new() } else { format!("/{name}.slice") };
        format!("/kubepods.slice{above}/{name}-pod{}.slice", uid.replace('-', "_"))
    } else {
        let above = if class.is_empty() { String::new() } else { format!("/{class}") };
        format!("/kubepods{above}/pod{uid}")
    }
}

/// What a container's cgroup gets.
pub(super) fn of_container(
    spec: &PodSpec,
    part: Part,
    container: &Container,
    node: &Node,
    assumptions: &mut Assumptions,
) -> LinuxResources {
    let asked = Asked::of(container.resources.as_ref());
    let mut unified = Vec::new();
    if node.unified {
        unified.push(("memory.oom.group".to_owned(), "1".to_owned()));
        if node.swap {
            unified.push(("memory.swap.max".to_owned(), "0".to_owned()));
        }
    }
    LinuxResources {
        oom_score: oom_score(spec, part, &asked, node, assumptions),
        huge_pages: node.huge_pages.iter().map(|size| (size.clone(), huge_pages(&asked, size))).collect(),
        unified,
        ..linux(asked.requests.get("cpu").copied(), asked.limit("cpu"), asked.limit("memory"))
    }
}

/// Bytes of memory and thousandths of a CPU that a container asks for.
pub(super) fn requests(container: &Container) -> (i64, i64) {
    let asked = Asked::of(container.resources.as_ref());
    (asked.request("memory").value(), asked.request("cpu").milli())
}

/// What the pod as a whole asks for; containerd writes it into annotations only.
pub(super) fn of_sandbox(spec: &PodSpec) -> LinuxResources {
    let total = |pick: &dyn Fn(&Asked) -> Option<Quantity>| {
        let whole = spec.resources.as_ref().map(|whole| Asked::of(Some(whole)));
        if let Some(amount) = whole.as_ref().and_then(pick) {
            return Some(amount);
        }
        let of = |container: &Container| pick(&Asked::of(container.resources.as_ref()));
        let mut beside: Option<Quantity> = None;
        let mut most: Option<Quantity> = None;
        for (part, .., container) in parts(spec) {
            let own = of(container);
            match part {
                Part::Sidecar | Part::App => {
                    beside = own.map_or(beside, |own| Some(own.plus(beside.unwrap_or_default())));
                    most = most.max(beside);
                }
                // One that runs alone, beside the sidecars before it.
                Part::Init => most = most.max(own.map(|own| own.plus(beside.unwrap_or_default()))),
                Part::Ephemeral => {}
            }
        }
        most
    };
    let limit = |name: &'static str| total(&|asked: &Asked| asked.limits.get(name).copied()).unwrap_or_default();
    linux(total(&|asked: &Asked| asked.requests.get("cpu").copied()), limit("cpu"), limit("memory"))
}

fn linux(request: Option<Quantity>, limit: Quantity, memory: Quantity) -> LinuxResources {
    // No request, but a limit: that is the request. The kubelet repeats here what the API server does.
    let shared = request.filter(|request| !request.is_zero() || limit.is_zero()).unwrap_or(limit);
    let quota = if limit.is_zero() { 0 } else { (limit.milli().saturating_mul(PERIOD) / 1000).max(LEAST_QUOTA) };
    LinuxResources {
        cpu_period: PERIOD,
        cpu_quota: quota,
        cpu_shares: (shared.milli().saturating_mul(1024) / 1000).clamp(*SHARES.start(), *SHARES.end()),
        memory: memory.value(),
        ..LinuxResources::default()
    }
}

/// Kubernetes' `qos.GetContainerOOMScoreAdjust`.
fn oom_score(spec: &PodSpec, part: Part, asked: &Asked, node: &Node, assumptions: &mut Assumptions) -> i64 {
    const GUARANTEED: i64 = -997;
    if spec.priority_class_name.as_deref() == Some("system-node-critical") {
        return GUARANTEED;
    }
    match quality(spec) {
        Quality::Guaranteed => return GUARANTEED,
        Quality::BestEffort => return 1000,
        Quality::Burstable => {}
    }
    let own = asked.request("memory").value();
    let memory = match part {
        // A sidecar is not to go before the containers that it serves.
        Part::Sidecar => {
            let others = spec.containers.iter().map(|app| Asked::of(app.resources.as_ref()).request("memory").value());
            own.max(others.min().unwrap_or_default())
        }
        Part::Init | Part::App | Part::Ephemeral => own,
    };
    assumptions
        .add(format!("the node has {} GiB of memory (for OOM scores); --node memory=… tells", node.memory >> 30));
    let score = 1000 - 1000_i64.saturating_mul(memory) / node.memory.max(1);
    // Between what is guaranteed and what is not asked for.
    if score < 1000 + GUARANTEED { 3 } else { score.min(999) }
}

fn huge_pages(asked: &Asked, size: &str) -> u64 {
    let limit = asked.limits.iter().find_map(|(name, amount)| {
        let given = Quantity::parse(name.strip_prefix("hugepages-")?)?;
        (oci_size(given.value()) == size).then(|| amount.value())
    });
    limit.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default()
}

/// How OCI names a size of huge page.
fn oci_size(bytes: i64) -> String {
    match bytes {
        bytes if bytes >= 1 << 30 => format!("{}GB", bytes >> 30),
        bytes if bytes >= 1 << 20 => format!("{}MB", bytes >> 20),
        bytes => format!("{}KB", bytes >> 10),
    }
}

/// Resources of device plugins: names with a domain that is not Kubernetes' own.
pub(super) fn extended(container: &Container) -> Vec<(String, i64)> {
    let asked = Asked::of(container.resources.as_ref());
    let own =
        |name: &str| !name.contains('/') || name.starts_with("kubernetes.io/") || name.contains(".kubernetes.io/");
    asked
        .limits
        .iter()
        .filter(|(name, count)| !own(name) && !count.is_zero())
        .map(|(name, count)| (name.clone(), count.value()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> PodSpec {
        let document = crate::yaml::documents(yaml).unwrap().remove(0);
        serde_json::from_value(document.value).unwrap()
    }

    /// Source: Kubernetes `pkg/apis/core/v1/helper/qos/qos.go`, `pkg/kubelet/qos/policy.go`, `pkg/kubelet/kuberuntime/helpers_linux.go`.
    #[test]
    fn classes_shares_quotas_and_scores_are_the_kubelets() {
        let node = Node::default();
        let cases = [
            ("{}", Quality::BestEffort, 2, 0, 0, 1000),
            ("{limits: {cpu: 1, memory: 1Gi}}", Quality::Guaranteed, 1024, 100_000, 1 << 30, -997),
            ("{requests: {memory: 8Gi}}", Quality::Burstable, 2, 0, 0, 500),
            ("{requests: {memory: 16Gi}}", Quality::Burstable, 2, 0, 0, 3),
            ("{requests: {memory: 1}}", Quality::Burstable, 2, 0, 0, 999),
            ("{limits: {cpu: 5m}}", Quality::Burstable, 5, 1000, 0, 999),
            (
                "{requests: {cpu: 250m}, limits: {cpu: 1500m, memory: 256Mi}}",
                Quality::Burstable,
                256,
                150_000,
                256 << 20,
                985,
            ),
            ("{requests: {cpu: 1000}}", Quality::Burstable, 262_144, 0, 0, 999),
            ("{requests: {cpu: 0}, limits: {cpu: 2}}", Quality::Burstable, 2048, 200_000, 0, 999),
        ];
        for (resources, class, shares, quota, memory, score) in cases {
            let spec = spec(&format!("containers: [{{name: a, image: b, resources: {resources}}}]"));
            let of = of_container(&spec, Part::App, &spec.containers[0], &node, &mut Assumptions::default());
            assert_eq!(quality(&spec), class, "{resources}");
            assert_eq!(
                (of.cpu_shares, of.cpu_quota, of.memory, of.oom_score),
                (shares, quota, memory, score),
                "{resources}"
            );
            assert_eq!(of.cpu_period, 100_000);
        }
    }

    #[test]
    fn a_sidecar_is_spared_as_much_as_what_it_serves() {
        let spec = spec(
            "initContainers: [{name: s, image: b, restartPolicy: Always}]\ncontainers: [{name: a, image: b, resources: {requests: {memory: 4Gi}}}]",
        );
        let of =
            of_container(&spec, Part::Sidecar, &spec.init_containers[0], &Node::default(), &mut Assumptions::default());
        assert_eq!(of.oom_score, 750);
    }

    #[test]
    fn the_sandbox_is_told_the_sum_and_the_largest_init_container() {
        let spec = spec(
            "initContainers:\n- {name: i, image: b, resources: {limits: {cpu: 4}}}\n- {name: s, image: b, restartPolicy: Always, resources: {limits: {cpu: 1}}}\n\
             containers:\n- {name: a, image: b, resources: {limits: {cpu: 1, memory: 1Gi}}}\n- {name: c, image: b, resources: {limits: {cpu: 1, memory: 1Gi}}}",
        );
        let of = of_sandbox(&spec);
        assert_eq!((of.cpu_quota, of.cpu_shares, of.memory), (400_000, 4096, 2 << 30));
    }

    #[test]
    fn cgroups_are_named_as_the_driver_has_them() {
        let uid = "a-b";
        for (class, systemd, wanted) in [
            (Quality::Guaranteed, true, "/kubepods.slice/kubepods-poda_b.slice"),
            (Quality::Burstable, true, "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice"),
            (Quality::BestEffort, false, "/kubepods/besteffort/poda-b"),
            (Quality::Guaranteed, false, "/kubepods/poda-b"),
        ] {
            assert_eq!(cgroup_parent(class, uid, systemd), wanted);
        }
    }

    #[test]
    fn huge_pages_are_none_unless_asked_for() {
        let spec = spec(
            "containers: [{name: a, image: b, resources: {limits: {hugepages-2Mi: 64Mi, nvidia.com/gpu: 2, memory: 1Gi}}}]",
        );
        let of = of_container(&spec, Part::App, &spec.containers[0], &Node::default(), &mut Assumptions::default());
        assert_eq!(of.huge_pages, [("2MB".to_owned(), 64 << 20), ("1GB".to_owned(), 0)]);
        assert_eq!(extended(&spec.containers[0]), [("nvidia.com/gpu".to_owned(), 2)]);
    }
}
