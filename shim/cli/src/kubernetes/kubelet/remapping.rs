//! What `hostUsers: false` needs of the node: containerd with user namespaces, and volumes whose files can be shown as the pod's users'.

use super::{Assumptions, NodeRefusal, parts, volumes};
use crate::kubernetes::node::Node;
use crate::kubernetes::objects::Workload;
use crate::kubernetes::pod::Volume;

/// Whether a filesystem can be idmapped (mount_setattr(2)).
enum Idmapped {
    Can,
    /// The source's field, and what the filesystem is called.
    Never(&'static str, &'static str),
    /// What the volume is: its filesystem is not the manifest's to say.
    Unknown(&'static str),
}

/// What the node refuses whatever the policy says.
pub(super) fn refusals(workload: &Workload, node: &Node, assumptions: &mut Assumptions) -> Vec<NodeRefusal> {
    let spec = &workload.spec;
    if spec.host_users != Some(false) {
        return Vec::new();
    }
    if node.one_seven {
        let place = workload.spec_place.field("hostUsers");
        let reason = "containerd 1.7 has no user namespaces for pods".to_owned();
        return vec![NodeRefusal { container: None, place, reason }];
    }
    let mut all: Vec<NodeRefusal> = Vec::new();
    for (number, (.., container)) in parts(spec).enumerate() {
        for mount in &container.volume_mounts {
            let at = volumes::position(workload, &mount.name);
            match idmapped(at.and_then(|at| spec.volumes.get(at))) {
                Idmapped::Can => {}
                Idmapped::Never(field, filesystem) => {
                    let place = workload.spec_place.field("volumes").item(at.unwrap_or_default(), &mount.name);
                    let reason = format!(
                        "can't show its files as those of the pod's users (idmapped mount, for hostUsers: false): {filesystem} has no such mounts"
                    );
                    let refusal = NodeRefusal { container: Some(number), place: place.field(field), reason };
                    if !all.contains(&refusal) {
                        all.push(refusal);
                    }
                }
                Idmapped::Unknown(what) => assumptions.add(format!(
                    "volume {:?} ({what}) is on a filesystem that can be idmapped, as hostUsers: false needs; the node refuses the container \
                     where it is on NFS, SMB or another that can't",
                    mount.name
                )),
            }
        }
    }
    all
}

/// Source: `FS_ALLOW_IDMAP` in Linux (6.3 for tmpfs; CephFS has it from 6.7 on, of FUSE only servers that ask for it from 6.12 on). Volumes of block
/// devices have ext4 or xfs.
fn idmapped(volume: Option<&Volume>) -> Idmapped {
    let Some(volume) = volume else { return Idmapped::Unknown("claimed for each pod") };
    let never = [
        (&volume.nfs, "nfs", "NFS"),
        (&volume.azure_file, "azureFile", "SMB"),
        (&volume.glusterfs, "glusterfs", "GlusterFS"),
    ];
    if let Some((_, field, filesystem)) = never.into_iter().find(|(source, ..)| source.is_some()) {
        return Idmapped::Never(field, filesystem);
    }
    let unknown = [
        (volume.persistent_volume_claim.is_some(), "a persistent volume claim"),
        (volume.csi.is_some(), "CSI"),
        (volume.ephemeral.is_some(), "claimed for each pod"),
        (volume.image.is_some(), "an image"),
        (volume.host_path.is_some(), "a path of the node"),
        (volume.cephfs.is_some(), "CephFS, from Linux 6.7 on"),
        (volume.flex_volume.is_some(), "a FlexVolume"),
        (volume.quobyte.is_some(), "Quobyte"),
        (volume.portworx_volume.is_some(), "Portworx"),
        (volume.storageos.is_some(), "StorageOS"),
        (volume.flocker.is_some(), "Flocker"),
    ];
    unknown.into_iter().find(|(is, _)| *is).map_or(Idmapped::Can, |(_, what)| Idmapped::Unknown(what))
}
