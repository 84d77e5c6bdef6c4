//! Volumes: where the kubelet has them on the node (`pods/<uid>/volumes/<plugin>/<name>`, Kubernetes `pkg/volume`).

use super::{Assumptions, POD_UID, Seat};
use crate::kubernetes::containerd::ids;
use crate::kubernetes::cri::{Device, FileKind, Shows};
use crate::kubernetes::node::Node;
use crate::kubernetes::objects::Workload;
use crate::kubernetes::pod::{HostPath, Projected, Volume};

/// A volume on the node.
pub(super) struct Placed {
    pub(super) path: String,
    pub(super) shows: Shows,
    /// No container may write it, whatever its mount says.
    pub(super) read_only: bool,
}

/// The directory of this pod.
pub(super) fn pod_directory(node: &Node) -> String {
    format!("{}/pods/{POD_UID}", node.kubelet_root)
}

/// Which of the pod's volumes a name means; none where a StatefulSet claims it for each pod, which takes the place of a volume of its name.
pub(super) fn position(workload: &Workload, name: &str) -> Option<usize> {
    let claimed = workload.claimed.iter().any(|one| one == name);
    workload.spec.volumes.iter().position(|volume| volume.name == name).filter(|_| !claimed)
}

/// Where a volume is; one that is claimed for each pod is a persistent one.
pub(super) fn place(volume: Option<&Volume>, name: &str, node: &Node) -> Placed {
    let below = |plugin: &str| format!("{}/volumes/kubernetes.io~{plugin}/{name}", pod_directory(node));
    let plain = |plugin: &str| Placed { path: below(plugin), shows: Shows::default(), read_only: false };
    let csi = |read_only| Placed { path: format!("{}/mount", below("csi")), shows: Shows::default(), read_only };
    let filled = |plugin: &str, token| Placed {
        path: below(plugin),
        shows: Shows { filled: token, ..Shows::default() },
        read_only: true,
    };
    let Some(volume) = volume else { return csi(false) };
    if let Some(host) = &volume.host_path {
        return Placed {
            path: host.path.clone(),
            shows: Shows { kind: kind(host), ..Shows::default() },
            read_only: false,
        };
    }
    if volume.secret.is_some() {
        return filled("secret", Some(false));
    }
    if let Some(projected) = &volume.projected {
        return filled("projected", Some(has_token(projected)));
    }
    if volume.config_map.is_some() {
        return filled("configmap", None);
    }
    if volume.downward_api.is_some() {
        return filled("downward-api", None);
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return csi(claim.read_only == Some(true));
    }
    if let Some(inline) = &volume.csi {
        return csi(inline.read_only == Some(true));
    }
    if volume.image.is_some() {
        let path = format!("{}/image-volumes/{}/{name}", ids::cri_state(node), ids::SANDBOX);
        return Placed { path, shows: Shows::default(), read_only: true };
    }
    if volume.ephemeral.is_some() {
        return csi(false);
    }
    let others = [
        (&volume.nfs, "nfs"),
        (&volume.iscsi, "iscsi"),
        (&volume.fc, "fc"),
        (&volume.cephfs, "cephfs"),
        (&volume.rbd, "rbd"),
        (&volume.glusterfs, "glusterfs"),
        (&volume.flex_volume, "flexvolume"),
        (&volume.flocker, "flocker"),
        (&volume.git_repo, "git-repo"),
        (&volume.quobyte, "quobyte"),
        (&volume.storageos, "storageos"),
        (&volume.scale_io, "scaleio"),
        (&volume.photon_persistent_disk, "photon-pd"),
    ];
    if let Some((_, plugin)) = others.iter().find(|(source, _)| source.is_some()) {
        return plain(plugin);
    }
    // Volumes of clouds are CSI's since Kubernetes 1.31; none at all is an emptyDir by the API's default.
    let clouds = [
        &volume.cinder,
        &volume.azure_disk,
        &volume.azure_file,
        &volume.aws_elastic_block_store,
        &volume.gce_persistent_disk,
        &volume.vsphere_volume,
        &volume.portworx_volume,
    ];
    if clouds.iter().any(|source| source.is_some()) { csi(false) } else { plain("empty-dir") }
}

fn kind(host: &HostPath) -> FileKind {
    match host.kind.as_deref().unwrap_or_default() {
        "File" | "FileOrCreate" => FileKind::File,
        "Socket" => FileKind::Socket,
        "CharDevice" => FileKind::CharDevice,
        "BlockDevice" => FileKind::BlockDevice,
        _ if host.path.ends_with(".sock") => FileKind::Socket,
        _ => FileKind::Directory,
    }
}

fn has_token(projected: &Projected) -> bool {
    projected.sources.iter().any(|source| source.get("serviceAccountToken").is_some())
}

/// Raw block volumes: each is a device node of the host.
pub(super) fn devices(seat: &Seat<'_>, assumptions: &mut Assumptions) -> Vec<Device> {
    let each = seat.container.volume_devices.iter().enumerate().map(|(index, device)| {
        assumptions.add(format!("the block volume {:?} is device 259:0 of the node", device.name));
        let claim = seat.workload.spec.volumes.iter().find(|volume| volume.name == device.name);
        let read_only =
            claim.and_then(|volume| volume.persistent_volume_claim.as_ref()).and_then(|claim| claim.read_only);
        Device {
            path: device.device_path.clone(),
            block: true,
            major: 259,
            minor: 0,
            access: if read_only == Some(true) { "r".to_owned() } else { "mrw".to_owned() },
            volume_device: Some(index),
        }
    });
    each.collect()
}
