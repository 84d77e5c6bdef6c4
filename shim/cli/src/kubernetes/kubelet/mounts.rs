//! Mounts: those of volumes in their order, then /etc/hosts, then the file for the last message.

use std::collections::BTreeMap;

use super::expansion::Budget;
use super::volumes::{Placed, place, pod_directory, position};
use super::{Part, Seat};
use crate::kubernetes::cri::{FileKind, Mount, Origin, Propagation, Shows};
use crate::kubernetes::objects::WrongField;
use crate::kubernetes::pod::VolumeMount;

/// Where admission mounts the token of a pod's service account.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The volume that it adds; Kubernetes appends five characters.
const TOKEN_VOLUME: &str = "kube-api-access-x7k2p";

pub(super) fn of(
    seat: &Seat<'_>,
    env: &BTreeMap<String, String>,
    budget: &mut Budget,
) -> Result<Vec<Mount>, WrongField> {
    let container = seat.container;
    let each = container.volume_mounts.iter().enumerate();
    let mut mounts: Vec<Mount> =
        each.map(|(index, mount)| volume(seat, index, mount, env, budget)).collect::<Result<_, _>>()?;
    let has = |mounts: &[Mount], path: &str| mounts.iter().any(|mount| mount.container_path == path);
    if takes_token(seat) && !has(&mounts, TOKEN_PATH) {
        let path = format!("{}/volumes/kubernetes.io~projected/{TOKEN_VOLUME}", pod_directory(&seat.around.node));
        let shows = Shows { filled: Some(true), ..Shows::default() };
        mounts.push(seat.mount(TOKEN_PATH, path, true, Origin::Token, shows));
    }
    let file = Shows { kind: FileKind::File, ..Shows::default() };
    if !has(&mounts, "/etc/hosts") {
        let path = format!("{}/etc-hosts", pod_directory(&seat.around.node));
        mounts.push(seat.mount("/etc/hosts", path, false, Origin::Hosts, file.clone()));
    }
    let message = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    if !message.is_empty() {
        let path = format!("{}/containers/{}/0c9e2b1a", pod_directory(&seat.around.node), container.name);
        mounts.push(seat.mount(message, path, false, Origin::TerminationLog, file));
    }
    Ok(mounts)
}

/// Admission adds the token when a pod is made; ephemeral containers come later.
fn takes_token(seat: &Seat<'_>) -> bool {
    seat.part != Part::Ephemeral && seat.workload.spec.automount_service_account_token != Some(false)
}

fn volume(
    seat: &Seat<'_>,
    index: usize,
    mount: &VolumeMount,
    env: &BTreeMap<String, String>,
    budget: &mut Budget,
) -> Result<Mount, WrongField> {
    let volumes = &seat.workload.spec.volumes;
    let at = position(seat.workload, &mount.name);
    let Placed { path, shows, read_only } = place(at.and_then(|at| volumes.get(at)), &mount.name, &seat.around.node);
    let own = seat.place().field("volumeMounts").item(index, &mount.name);
    let expand = |text: &String| budget.expand(text, env, &own.field("subPathExpr"));
    let expanded = mount.sub_path_expr.as_ref().map(expand).transpose()?;
    let inner = expanded.or_else(|| mount.sub_path.clone()).filter(|inner| !inner.is_empty());
    let (host_path, shows) = match inner {
        None => (path, shows),
        Some(inner) => {
            let shown = format!("{}/{}", path.trim_end_matches('/'), inner.trim_end_matches('/'));
            let bound = format!(
                "{}/volume-subpaths/{}/{}/{index}",
                pod_directory(&seat.around.node),
                mount.name,
                seat.container.name
            );
            (bound, Shows { location: Some(shown), ..shows })
        }
    };
    // Each mount has the whole path of its volume.
    budget.take(host_path.len() + shows.location.as_ref().map_or(0, String::len), &own)?;
    let origin = Origin::Volume { mount: index, volume: at };
    let read_only = mount.read_only == Some(true) || read_only;
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => Propagation::HostToContainer,
        Some("Bidirectional") => Propagation::Bidirectional,
        _ => Propagation::Private,
    };
    // IfPossible: the kernels that containerd 2 is used with can.
    let recursively = matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"));
    let mount = seat.mount(&absolute(&mount.mount_path), host_path, read_only, origin, shows);
    Ok(Mount { propagation, recursively, ..mount })
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

impl Seat<'_> {
    fn mount(&self, to: &str, host_path: String, read_only: bool, origin: Origin, shows: Shows) -> Mount {
        Mount {
            container_path: to.to_owned(),
            host_path,
            read_only,
            recursively: false,
            propagation: Propagation::Private,
            remapped: self.workload.spec.host_users == Some(false),
            origin,
            verbatim: None,
            shows,
        }
    }
}
