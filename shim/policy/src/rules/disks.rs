//! `res.io`.

use oci_spec::runtime as oci;
use serde_json::json;

use crate::profile::{Disk, DiskLimits, Throttle};
use crate::rules::ResourceScope;
use crate::sheet::{Found, Sheet};

const PLACE: &str = "/linux/resources/blockIO";

/// Rates of disks and the share of them. CRI has no field for either.
pub(super) fn judge(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let before = resources.block_io().clone();
    let mut settled = before.clone().unwrap_or_default();
    for throttle in Throttle::ALL {
        rates(&mut settled, throttle, scope, sheet);
    }
    if let Some(most) = scope.settings.disk_weight {
        weights(&mut settled, most, sheet);
    }
    if settled != before.unwrap_or_default() {
        resources.set_block_io(Some(settled));
    }
}

/// The list of one kind of throttle, and its key in the specification.
pub(super) fn list(
    block_io: &oci::LinuxBlockIo,
    throttle: Throttle,
) -> (&'static str, &Option<Vec<oci::LinuxThrottleDevice>>) {
    match throttle {
        Throttle::ReadBytes => ("throttleReadBpsDevice", block_io.throttle_read_bps_device()),
        Throttle::WriteBytes => ("throttleWriteBpsDevice", block_io.throttle_write_bps_device()),
        Throttle::Reads => ("throttleReadIOPSDevice", block_io.throttle_read_iops_device()),
        Throttle::Writes => ("throttleWriteIOPSDevice", block_io.throttle_write_iops_device()),
    }
}

pub(super) fn disk_of(device: &oci::LinuxThrottleDevice) -> Disk {
    (device.major(), device.minor())
}

/// Whether numbers name a disk: the kernel cuts larger ones, to those of another. Source: Linux `include/linux/kdev_t.h`.
pub(super) fn is_disk((major, minor): &Disk) -> bool {
    (0..1 << 12).contains(major) && (0..1 << 20).contains(minor)
}

fn rates(block_io: &mut oci::LinuxBlockIo, throttle: Throttle, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let (key, asked) = list(block_io, throttle);
    let asked = asked.clone().unwrap_or_default();
    if asked.iter().any(|device| !is_disk(&disk_of(device))) {
        sheet.refuses(
            Found::new(format!("{PLACE}/{key}"), json!(asked), "no numbers of a disk"),
            "major up to 4095, minor up to 1048575",
        );
        return;
    }
    let settled = within(&asked, throttle, &scope.settings.disks, scope.fills_in);
    if settled == asked {
        return;
    }
    let found = Found::new(format!("{PLACE}/{key}"), json!(asked), "a rate above the maximum, or none");
    if !sheet.mends(found, json!(settled)) {
        return;
    }
    let settled = Some(settled);
    match throttle {
        Throttle::ReadBytes => block_io.set_throttle_read_bps_device(settled),
        Throttle::WriteBytes => block_io.set_throttle_write_bps_device(settled),
        Throttle::Reads => block_io.set_throttle_read_iops_device(settled),
        Throttle::Writes => block_io.set_throttle_write_iops_device(settled),
    };
}

/// Each rate at most the limit of its disk, where zero is none; and, at a create, the disks that the profile names.
fn within(
    asked: &[oci::LinuxThrottleDevice],
    throttle: Throttle,
    limits: &DiskLimits,
    fills_in: bool,
) -> Vec<oci::LinuxThrottleDevice> {
    let mut settled = asked.to_vec();
    for device in &mut settled {
        if let Some(most) = limits.most(disk_of(device), throttle) {
            let rate = Some(device.rate()).filter(|rate| *rate > 0);
            *device = throttled(disk_of(device), rate.map_or(most, |rate| rate.min(most)));
        }
    }
    let absent = limits.named(throttle).filter(|(disk, _)| !asked.iter().any(|device| disk_of(device) == *disk));
    if fills_in {
        settled.extend(absent.map(|(disk, rate)| throttled(disk, rate)));
    }
    settled
}

fn throttled((major, minor): Disk, rate: u64) -> oci::LinuxThrottleDevice {
    let device = oci::LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(rate);
    // Every field has a value, so there is nothing that could be missing.
    device.build().unwrap_or_default()
}

/// Weights are shares of what the disk can do: a container that asks for none has the kernel's.
fn weights(block_io: &mut oci::LinuxBlockIo, most: u16, sheet: &mut Sheet) {
    let reason = "a weight above the maximum";
    let lowered = |weight: Option<u16>| weight.map(|weight| weight.min(most));
    for (key, weight) in [("weight", block_io.weight()), ("leafWeight", block_io.leaf_weight())] {
        let settled = lowered(weight);
        if settled != weight && sheet.mends(Found::new(format!("{PLACE}/{key}"), json!(weight), reason), json!(settled))
        {
            match key {
                "weight" => block_io.set_weight(settled),
                _ => block_io.set_leaf_weight(settled),
            };
        }
    }
    let asked = block_io.weight_device().clone().unwrap_or_default();
    let mut settled = asked.clone();
    for device in &mut settled {
        let mut weighed = oci::LinuxWeightDeviceBuilder::default().major(device.major()).minor(device.minor());
        if let Some(weight) = lowered(device.weight()) {
            weighed = weighed.weight(weight);
        }
        if let Some(weight) = lowered(device.leaf_weight()) {
            weighed = weighed.leaf_weight(weight);
        }
        *device = weighed.build().unwrap_or_default();
    }
    let found = || Found::new(format!("{PLACE}/weightDevice"), json!(asked), reason);
    if settled != asked && sheet.mends(found(), json!(settled)) {
        block_io.set_weight_device(Some(settled));
    }
}
