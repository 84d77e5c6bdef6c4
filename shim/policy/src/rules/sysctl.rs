//! `linux.sysctl`.

use crate::draft::Draft;
use crate::pointer;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// PSS baseline, rules of v1.37. containerd itself sets ip_unprivileged_port_start and ping_group_range.
const SAFE: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Longest value: ip_local_reserved_ports takes a list of ranges.
const MAX_VALUE_BYTES: usize = 256;

/// Only names that belong to a namespace, with values of digits: `1+kernel.core_pattern=...` as a value
/// was CVE-2022-0811.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (name, value) in &draft.linux.sysctl {
        let listed = SAFE.contains(&name.as_str()) || case.settings.sysctls.contains(name);
        let plain = value.len() <= MAX_VALUE_BYTES
            && value.bytes().all(|byte| byte.is_ascii_digit() || b" \t-,".contains(&byte));
        let (reason, allowed) = if !listed {
            (format!("{name:?} is not a sysctl that is safe to set"), "the safe sysctls of Kubernetes")
        } else if !plain {
            (format!("{value:?} is not a list of numbers"), "digits, spaces, commas and dashes")
        } else {
            continue;
        };
        sheet.refuses(Found::new(pointer::join("/linux/sysctl", name), value.as_str(), reason), allowed);
    }
}
