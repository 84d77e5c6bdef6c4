//! Capabilities as the kernel numbers them. Source: linux/capability.h of Linux 6.18.

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use palisade_policy::CapabilityName;

use super::status::SETS;

/// Every capability of Linux 5.9 and later by its name in the kernel's headers, in the order of their numbers.
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// May change user ids.
pub(super) const SETUID: u64 = 1 << 7;
/// May change group ids.
pub(super) const SETGID: u64 = 1 << 6;

fn bit(capability: Capability) -> u64 {
    let name = CapabilityName::from(capability).to_string();
    CAPABILITIES.iter().position(|one| *one == name).map_or(0, |number| 1 << number)
}

/// The five sets in the order of [`SETS`]. An absent one is empty, as in runc.
pub(super) fn sets(capabilities: &LinuxCapabilities) -> [u64; 5] {
    let bits = |set: &Option<Capabilities>| set.iter().flatten().fold(0, |all, one| all | bit(*one));
    SETS.map(|(name, _)| match name {
        "inheritable" => bits(capabilities.inheritable()),
        "permitted" => bits(capabilities.permitted()),
        "effective" => bits(capabilities.effective()),
        "bounding" => bits(capabilities.bounding()),
        // The kernel takes no other ones, and runc leaves out what it does not take. Source: capabilities(7).
        _ => bits(capabilities.ambient()) & bits(capabilities.permitted()) & bits(capabilities.inheritable()),
    })
}

/// Names, or numbers where there are none.
pub(super) fn names(bits: u64) -> String {
    let name = |number: usize| {
        CAPABILITIES.get(number).map_or_else(|| format!("capability {number}"), |name| (*name).to_owned())
    };
    let names: Vec<String> = (0..64).filter(|number| bits >> number & 1 == 1).map(name).collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcontainer::capabilities::CapabilityExt as _;

    #[test]
    fn the_numbers_are_the_kernels() {
        for (number, name) in CAPABILITIES.iter().enumerate() {
            let capability: Capability = serde_json::from_value((*name).into()).unwrap();
            assert_eq!(capability.to_cap().bitmask(), 1 << number, "{name}");
            assert_eq!(bit(capability), 1 << number, "{name}");
        }
        assert_eq!(names(SETUID | SETGID | 1 << 50), "CAP_SETGID CAP_SETUID capability 50");
    }
}
