//! Security contexts: the container's own before the pod's.

use super::{Assumptions, Seat};
use crate::kubernetes::cri::{Mode, Namespaces, Seccomp, Security};
use crate::kubernetes::image::ImageConfig;
use crate::kubernetes::pod::{ConfinementProfile, Container, PodSecurity, PodSpec};

/// The first host id that the kubelet gives away, and how many to a pod.
const REMAPPED: (u32, u32) = (65536, 65536);

/// Kubernetes' `securitycontext.defaultMaskedPaths`.
pub(super) const MASKED: &[&str] = &[
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

/// Kubernetes' `securitycontext.defaultReadonlyPaths`.
pub(super) const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Before Kubernetes 1.30 a pod chose its AppArmor profile so, one annotation a container.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Whose namespaces a pod's containers have; of the sandbox without a container.
pub(super) fn namespaces(spec: &PodSpec, container: Option<&Container>) -> Namespaces {
    let of_node = |asked: Option<bool>| if asked == Some(true) { Mode::Node } else { Mode::Pod };
    let target = container.and_then(|container| container.target_container_name.as_ref());
    let pid = match (spec.host_pid, spec.share_process_namespace, target) {
        (_, _, Some(_)) => Mode::Target,
        (Some(true), ..) => Mode::Node,
        (_, Some(true), None) => Mode::Pod,
        (_, _, None) => Mode::Container,
    };
    Namespaces {
        network: of_node(spec.host_network),
        pid,
        ipc: of_node(spec.host_ipc),
        users: (spec.host_users == Some(false)).then_some(REMAPPED),
    }
}

/// The further groups of a pod's processes: that of its volumes first.
fn groups(security: &PodSecurity) -> Vec<i64> {
    security.fs_group.into_iter().chain(security.supplemental_groups.iter().copied()).collect()
}

pub(super) fn of(seat: &Seat<'_>, image: &ImageConfig, assumptions: &mut Assumptions) -> Security {
    let spec = &seat.workload.spec;
    let pod = spec.security_context.clone().unwrap_or_default();
    let own = seat.container.security_context.clone().unwrap_or_default();
    let capabilities = own.capabilities.clone().unwrap_or_default();
    if pod.supplemental_groups_policy.as_deref() != Some("Strict") {
        assumptions.add("no image's /etc/group puts its user into further groups");
    }
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let paths =
        |paths: &[&str]| if unmasked { Vec::new() } else { paths.iter().map(|&path| path.to_owned()).collect() };
    let user = own.run_as_user.or(pod.run_as_user);
    if user.is_none()
        && own.run_as_non_root.or(pod.run_as_non_root) == Some(true)
        && !image.user.is_empty()
        && image_uid(image) == Some(0)
    {
        assumptions.add(format!(
            "container {:?} has runAsNonRoot and an image of root: the kubelet refuses it by itself",
            seat.container.name
        ));
    }
    Security {
        privileged: own.privileged == Some(true),
        add: capabilities.add,
        drop: capabilities.drop,
        namespaces: namespaces(spec, Some(seat.container)),
        se_linux: own
            .se_linux_options
            .or_else(|| pod.se_linux_options.clone())
            .filter(|_| seat.around.node.has_se_linux(true)),
        user: user.or_else(|| image_uid(image)).or_else(|| named_user(seat, image, assumptions)),
        group: own.run_as_group.or(pod.run_as_group),
        groups: groups(&pod),
        read_only_root: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        masked: paths(MASKED),
        readonly: paths(READONLY),
        seccomp: seccomp(own.seccomp_profile.or(pod.seccomp_profile), seat, assumptions),
        app_armor: app_armor(own.app_armor_profile.or(pod.app_armor_profile), seat),
    }
}

/// The kubelet passes the image's user on, without its group.
fn image_uid(image: &ImageConfig) -> Option<i64> {
    image.user.split(':').next().and_then(|user| user.parse().ok())
}

fn named_user(seat: &Seat<'_>, image: &ImageConfig, assumptions: &mut Assumptions) -> Option<i64> {
    let name = image.user.split(':').next().filter(|name| !name.is_empty() && *name != "root")?;
    assumptions
        .add(format!("user {name:?} of image {:?} has id 1000", seat.container.image.as_deref().unwrap_or_default()));
    Some(1000)
}

fn seccomp(profile: Option<ConfinementProfile>, seat: &Seat<'_>, assumptions: &mut Assumptions) -> Seccomp {
    match profile {
        None if seat.around.node.seccomp_default => Seccomp::RuntimeDefault,
        None => Seccomp::Unconfined,
        Some(profile) => match profile.kind.as_str() {
            "RuntimeDefault" => Seccomp::RuntimeDefault,
            "Localhost" => {
                let file = profile.localhost_profile.unwrap_or_default();
                assumptions
                    .add(format!("the seccomp profile {file:?} of the node tightens nothing: its text is not known"));
                Seccomp::Localhost(file)
            }
            _ => Seccomp::Unconfined,
        },
    }
}

fn app_armor(profile: Option<ConfinementProfile>, seat: &Seat<'_>) -> Option<ConfinementProfile> {
    let annotation = format!("{APP_ARMOR}{}", seat.container.name);
    let of_text = |text: &String| match text.as_str() {
        "unconfined" => ConfinementProfile { kind: "Unconfined".to_owned(), localhost_profile: None },
        other => match other.strip_prefix("localhost/") {
            Some(name) => ConfinementProfile { kind: "Localhost".to_owned(), localhost_profile: Some(name.to_owned()) },
            None => ConfinementProfile { kind: "RuntimeDefault".to_owned(), localhost_profile: None },
        },
    };
    profile.or_else(|| seat.workload.metadata.annotations.get(&annotation).map(of_text))
}
