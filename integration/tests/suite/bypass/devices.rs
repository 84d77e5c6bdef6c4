//! Which devices a specification asks for (contract §6.8).

use serde_json::{Value, json};

use super::ways::Way::Spec;
use super::{Bypass, refused};
use crate::spec_edits::{push, set};

pub(super) const ENTRIES: &[Bypass] = &[
    refused(
        "device-node",
        "§6.8",
        "a device node of the host",
        Spec(|spec| device(spec, json!({ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }))),
        "linux.devices",
    ),
    refused(
        "device-block",
        "§6.8",
        "a block device of the host",
        Spec(|spec| device(spec, json!({ "path": "/dev/disk", "type": "b", "major": 7, "minor": 250 }))),
        "linux.devices",
    ),
    refused(
        "device-disguised",
        "§6.8",
        "/dev/null with the numbers of the kernel's log",
        Spec(|spec| device(spec, json!({ "path": "/dev/null", "type": "c", "major": 1, "minor": 11 }))),
        "linux.devices",
    )
    .stops_too("runc makes its own /dev/null first"),
    refused(
        "device-rule-all",
        "§6.8",
        "access to every device, by a rule without numbers",
        Spec(|spec| rule(spec, json!({ "allow": true, "access": "rwm" }))),
        "res.devices",
    ),
    refused(
        "device-rule-type-a",
        "§6.8",
        "access to every device, by type a",
        Spec(|spec| rule(spec, json!({ "allow": true, "type": "a", "access": "rwm" }))),
        "res.devices",
    ),
    refused(
        "device-rule-block",
        "§6.8, CDK mount-disk",
        "access to every disk",
        Spec(|spec| rule(spec, json!({ "allow": true, "type": "b", "access": "rwm" }))),
        "res.devices",
    ),
    refused(
        "device-rule-node-of-image",
        "§6.8",
        "access to a node that the image brings",
        Spec(|spec| rule(spec, json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw" }))),
        "res.devices",
    ),
    refused(
        "network-device",
        "§6.8",
        "a network interface of the host",
        Spec(|spec| set(spec, "/linux/netDevices", json!({ "lo": {} }))),
        "linux.net-devices",
    )
    .untried("would take an interface from the machine"),
];

fn device(spec: &mut Value, node: Value) {
    push(spec, "/linux/devices", node);
}

fn rule(spec: &mut Value, rule: Value) {
    push(spec, "/linux/resources/devices", rule);
}
