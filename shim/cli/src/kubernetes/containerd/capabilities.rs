//! Capabilities: containerd's default set, with what is added and taken away.

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

/// Every capability of Linux 5.9 and later (`linux/capability.h`).
const ALL: &[&str] = &[
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

/// Those of a sandbox.
pub(super) fn of_sandbox() -> Vec<String> {
    DEFAULT.iter().map(|&name| name.to_owned()).collect()
}

/// Those of every process that is privileged.
pub(super) fn all() -> Vec<String> {
    ALL.iter().map(|&name| name.to_owned()).collect()
}

/// A capability as the kernel's headers write it.
pub(in crate::kubernetes) fn full_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

/// Whether the kernel has a capability of this name, or it stands for all.
pub(in crate::kubernetes) fn is_known(name: &str) -> bool {
    is_all(name) || ALL.contains(&full_name(name).as_str())
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
