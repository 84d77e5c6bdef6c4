//! The kubelet: the node part of the CIS benchmark that bears on containers.

use super::check::Severity::{Critical, High, Low, Medium};
use super::check::{Check, Found, check};
use super::node::Node;

/// kubeadm's place.
pub(super) const CONFIG: &str = "/var/lib/kubelet/config.yaml";
/// Files whose owner and mode matter.
pub(super) const FILES: &[&str] = &[
    CONFIG,
    "/etc/kubernetes/kubelet.conf",
    "/etc/kubernetes/pki/ca.crt",
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
];

pub(super) const CHECKS: &[Check] = &[
    check(
        "host.kubelet.anonymous",
        Critical,
        "Requests without credentials are refused",
        "The kubelet's port runs commands in every container of the node.",
        "CIS Kubernetes 4.2.1",
        "set authentication.anonymous.enabled: false",
        |node| {
            with(node, |node| value(node, "authentication.anonymous.enabled", "anonymous-auth", "false", &["false"]))
        },
    ),
    check(
        "host.kubelet.authorization",
        Critical,
        "Requests are authorised",
        "With AlwaysAllow whoever has any credential does everything.",
        "CIS Kubernetes 4.2.2",
        "set authorization.mode: Webhook",
        |node| with(node, |node| value(node, "authorization.mode", "authorization-mode", "Webhook", &["Webhook"])),
    ),
    check(
        "host.kubelet.client-ca",
        High,
        "Certificates of callers are checked",
        "Without an authority the API server can't prove who it is.",
        "CIS Kubernetes 4.2.3",
        "set authentication.x509.clientCAFile",
        |node| with(node, client_ca),
    ),
    check(
        "host.kubelet.read-only-port",
        High,
        "The port without authentication is off",
        "It shows all pods with their environment to whoever asks.",
        "CIS Kubernetes 4.2.4",
        "set readOnlyPort: 0",
        |node| with(node, |node| value(node, "readOnlyPort", "read-only-port", "0", &["0"])),
    ),
    check(
        "host.kubelet.kernel-defaults",
        Low,
        "The kubelet does not change the kernel's settings",
        "It sets them back to its own otherwise.",
        "CIS Kubernetes 4.2.6, in editions up to 1.6",
        "set protectKernelDefaults: true",
        |node| with(node, |node| value(node, "protectKernelDefaults", "protect-kernel-defaults", "false", &["true"])),
    ),
    check(
        "host.kubelet.seccomp-default",
        Low,
        "Pods that ask for no filter get the runtime's default",
        "They run without one under every handler that is not palisade's.",
        "CIS Kubernetes 5.6.2",
        "set seccompDefault: true",
        |node| with(node, |node| value(node, "seccompDefault", "seccomp-default", "false", &["true"])),
    ),
    check(
        "host.kubelet.runtime",
        Medium,
        "The kubelet's containers are containerd's",
        "Of another engine none is palisade's.",
        "docs/cri.md",
        "set containerRuntimeEndpoint: unix:///run/containerd/containerd.sock",
        |node| with(node, runtime),
    ),
];

fn with(node: &Node, look: fn(&Node) -> Found) -> Found {
    let kubelet = &node.kubelet;
    match (&kubelet.config, &kubelet.process) {
        (Some(Err(why)), _) => Found::unknown(why.clone()),
        (Some(Ok(_)), _) | (None, Some(_)) => look(node),
        (None, None) => match &node.processes {
            // Not seen, and not known to be absent: on most nodes without a kubelet there is no process of it.
            Ok(_) => Found::none("no kubelet"),
            Err(_) => Found::none(format!("no {}", kubelet.config_path)),
        },
    }
}

/// What is in force: a flag goes before the file. Source: kubelet docs, "Configuring each kubelet using a config file".
fn in_force<'a>(node: &'a Node, key: &str, flag: &str) -> Option<&'a str> {
    let by_flag = node.kubelet.process.as_ref().and_then(|process| process.flag(flag));
    // A flag without a value is true.
    let by_flag = by_flag.map(|value| if value.is_empty() { "true" } else { value });
    by_flag.or_else(|| node.kubelet.config.as_ref()?.as_ref().ok()?.get(key).map(String::as_str))
}

fn value(node: &Node, key: &str, flag: &str, default: &str, good: &[&str]) -> Found {
    let found = in_force(node, key, flag);
    let shown = found.unwrap_or(default);
    let seen = format!("{key} is {shown}{}", if found.is_some() { "" } else { " by default" });
    if good.contains(&shown) { Found::pass(seen) } else { Found::fail(seen) }
}

fn client_ca(node: &Node) -> Found {
    match in_force(node, "authentication.x509.clientCAFile", "client-ca-file") {
        Some(path) if !path.is_empty() => Found::pass(path),
        _ => Found::fail("no clientCAFile"),
    }
}

fn runtime(node: &Node) -> Found {
    let endpoint = in_force(node, "containerRuntimeEndpoint", "container-runtime-endpoint");
    let Some(endpoint) = endpoint else { return Found::pass("containerd by default") };
    let path = endpoint.trim_start_matches("unix://");
    if path.contains("containerd") {
        Found::pass(path)
    } else {
        Found::fail(format!("containerRuntimeEndpoint is {endpoint}"))
    }
}
