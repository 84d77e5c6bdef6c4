//! Capabilities: containerd's default set, with what is added and taken away.

use palisade::attest::CAPABILITIES;

/// `oci.defaultUnixCaps`.
const DEFAULT: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Those of a sandbox.
pub(super) fn of_sandbox() -> Vec<String> {
    DEFAULT.iter().map(|&name| name.to_owned()).collect()
}

/// Those of every process that is privileged.
pub(super) fn all() -> Vec<String> {
    CAPABILITIES.iter().map(|&name| name.to_owned()).collect()
}

/// A capability as the kernel's headers write it.
pub(in crate::kubernetes) fn full_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

/// Whether the kernel has a capability of this name, or it stands for all.
pub(in crate::kubernetes) fn is_known(name: &str) -> bool {
    is_all(name) || CAPABILITIES.contains(&full_name(name).as_str())
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL")
}

/// In containerd's order: first all or none, then what is added, then what is dropped.
pub(super) fn asked(add: &[String], drop: &[String]) -> Vec<String> {
    let mut set = of_sandbox();
    if add.iter().any(|name| is_all(name)) {
        set = all();
    }
    if drop.iter().any(|name| is_all(name)) {
        set.clear();
    }
    for name in add.iter().filter(|name| !is_all(name)).map(|name| full_name(name)) {
        if !set.contains(&name) {
            set.push(name);
        }
    }
    for name in drop.iter().filter(|name| !is_all(name)).map(|name| full_name(name)) {
        set.retain(|one| *one != name);
    }
    set
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists_are_worked_through_in_containerds_order() {
        let asked = |add: &[&str], drop: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
            super::asked(&own(add), &own(drop))
        };
        assert_eq!(asked(&[], &[]).len(), 14);
        assert_eq!(asked(&["all"], &[]).len(), 41);
        assert_eq!(asked(&["NET_ADMIN"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(asked(&["ALL"], &["ALL"]), [""; 0]);
        assert_eq!(asked(&["CAP_SYS_TIME"], &["SYS_TIME", "MKNOD"]).len(), 13);
    }
}
