//! containerd: its version, who may talk to it, and settings that take barriers away.

use toml::Value;

use super::check::Severity::{Critical, High, Low, Medium};
use super::check::{Check, Found, check};
use super::config::{Config, Handler, matches};
use super::node::Node;
use super::runtimes::judge;
use super::version::Flaw;

/// Where image verifiers are, unless configured. Source: containerd docs/image-verification.md.
pub(super) const VERIFIERS: &str = "/opt/containerd/image-verifier/bin";
/// Where NRI plugins are, unless configured.
pub(super) const NRI_PLUGINS: &str = "/opt/nri/plugins";
const CRI_DOCS: &str = "containerd docs/cri/config.md";

pub(super) const CHECKS: &[Check] = &[
    check(
        "host.containerd.version",
        Critical,
        "containerd has the fixes of known flaws",
        "An image or a pod reaches the node through containerd itself, before any shim is asked.",
        "CVE-2020-15257, CVE-2022-23648, CVE-2024-25621, CVE-2024-40635, CVE-2026-53488 and others",
        "install containerd 1.7.33, 2.0.10, 2.2.5, 2.3.5 or newer",
        |node| match (&node.containerd.program, node.containerd.present) {
            (Some(program), _) => judge(program, FLAWS),
            (None, true) => Found::unknown("containerd is configured, its program was not found"),
            (None, false) => Found::none("no containerd"),
        },
    ),
    check(
        "host.containerd.config",
        High,
        "containerd's configuration can be read, with all that it imports",
        "What can't be read can't be judged; and a drop-in of containerd 1.x takes away every setting of the plugin that it names, palisade's handlers among them.",
        "containerd docs/man/containerd-config.toml.5.md, imports",
        "put the whole section of the plugin into the last file that names it; see containerd config dump",
        |node| with_config(node, config),
    ),
    check(
        "host.containerd.socket",
        Critical,
        "containerd's sockets are root's alone",
        "Whoever reaches one makes containers with any runtime and any right: root of the node.",
        "CIS Docker 3.15, 3.16; docs/controls.md, mount.deny-always",
        "chown root:root SOCKET; chmod 660 SOCKET",
        sockets_are_roots,
    ),
    check(
        "host.containerd.tcp",
        Critical,
        "containerd does not listen on TCP",
        "Whoever reaches the port makes containers with any right.",
        "CIS Docker 2.7",
        "remove grpc.tcp_address and tcp addresses of debug and ttrpc",
        |node| with_config(node, |config, _| Found::all(&tcp(config), "sockets only")),
    ),
    check(
        "host.containerd.metrics",
        Low,
        "Metrics of containerd are not given to other machines",
        "They name every container, and the port answers anybody.",
        "containerd docs/ops.md",
        "set metrics.address = \"127.0.0.1:1338\"",
        |node| with_config(node, metrics),
    ),
    check(
        "host.containerd.debug",
        Low,
        "containerd does not log at debug level",
        "The log then has specifications with the environment of containers.",
        "containerd docs/ops.md",
        "set debug.level = \"info\"",
        |node| with_config(node, debug),
    ),
    check(
        "host.containerd.streaming",
        High,
        "The streaming server is not reached from other machines",
        "It carries exec, attach and port-forward; without TLS anybody on the way takes part.",
        CRI_DOCS,
        "set stream_server_address = \"127.0.0.1\"",
        |node| with_config(node, streaming),
    ),
    check(
        "host.containerd.apparmor",
        Medium,
        "AppArmor is not switched off for containers",
        "Containers run without a profile, whatever the pod asks for.",
        "CIS Docker 5.2",
        "remove disable_apparmor",
        |node| with_config(node, |config, _| off(config, "disable_apparmor")),
    ),
    check(
        "host.containerd.selinux",
        Medium,
        "Containers have SELinux labels where SELinux is active",
        "Without them all containers have one label, which reaches the others.",
        "CIS Docker 5.3",
        "set enable_selinux = true",
        selinux,
    ),
    check(
        "host.containerd.proc-mount",
        Medium,
        "Masked and read-only paths of /proc are not switched off",
        "A container reads and writes settings of the node.",
        CRI_DOCS,
        "remove disable_proc_mount",
        |node| with_config(node, |config, _| off(config, "disable_proc_mount")),
    ),
    check(
        "host.containerd.seccomp",
        Low,
        "A container for which nobody asks for a filter gets one",
        "It runs without a filter under every handler that is not palisade's.",
        "CIS Docker 5.22; CIS Kubernetes 5.6.2",
        "set unset_seccomp_profile = \"runtime/default\"",
        |node| with_config(node, seccomp),
    ),
    check(
        "host.containerd.oom-score",
        Low,
        "Containers get the OOM score that the kubelet gives them",
        "With restrict_oom_score_adj a pod that should go first stays, and the node's own programs go.",
        CRI_DOCS,
        "remove restrict_oom_score_adj, which is for containerd without root",
        |node| with_config(node, |config, _| warned(off(config, "restrict_oom_score_adj"))),
    ),
    check(
        "host.containerd.annotations",
        High,
        "No annotation of a pod reaches the runtime that steers it",
        "A pattern of pod_annotations or container_annotations lets a pod's author choose another pod's shim, systemd properties or the runtime's handler.",
        "CVE-2024-3154; io.containerd.runc.v2.group; run.oci.*",
        "name each annotation that is needed in place of the pattern",
        |node| with_config(node, annotations),
    ),
    check(
        "host.containerd.privileged-devices",
        Low,
        "Privileged containers don't get all of the node's devices",
        "privileged_without_host_devices = false gives them every disk; with privileged_without_host_devices_all_devices_allowed they may make the nodes themselves.",
        CRI_DOCS,
        "set privileged_without_host_devices = true for each handler, and remove privileged_without_host_devices_all_devices_allowed",
        |node| with_config(node, privileged_devices),
    ),
    check(
        "host.containerd.device-ownership",
        Low,
        "Devices do not become a pod's user's",
        "With device_ownership_from_security_context a device node is of the user that the pod names.",
        CRI_DOCS,
        "remove device_ownership_from_security_context",
        |node| with_config(node, |config, _| warned(off(config, "device_ownership_from_security_context"))),
    ),
    check(
        "host.containerd.registries",
        High,
        "Registries' certificates are checked",
        "Whoever is on the way gives the node another image.",
        "containerd docs/hosts.md; CIS Docker 2.5",
        "remove skip_verify and insecure_skip_verify",
        |node| with_config(node, registries),
    ),
    check(
        "host.containerd.image-verifier",
        Low,
        "Image verifiers are there",
        "Without a program in bin_dir every image is allowed.",
        "containerd docs/image-verification.md; CIS Kubernetes 5.5.1",
        "put a verifier into bin_dir; palisade's image rules hold when a container is created in any case",
        |node| with_config(node, verifiers),
    ),
    check(
        "host.containerd.image-verifier-bypassed",
        High,
        "Image verifiers that are there are asked",
        "CRI pulls images itself, without asking them, when it is told to, and when settings are used that the transfer service does not have.",
        "containerd docs/cri/config.md, use_local_image_pull",
        "remove the settings that are named",
        |node| with_config(node, verifiers_bypassed),
    ),
    check(
        "host.containerd.nri",
        Low,
        "Only plugins of root's talk to NRI",
        "An NRI plugin changes every specification, and one that is gone is not missed. palisade judges after it.",
        "containerd docs/NRI.md; docs/architecture.md",
        "set disable_connections = true for io.containerd.nri.v1.nri, or disable = true",
        |node| with_config(node, nri),
    ),
    check(
        "host.containerd.deprecations",
        Low,
        "Warnings of settings that go away are not hidden",
        "A setting that is dropped later takes its barrier with it.",
        CRI_DOCS,
        "remove ignore_deprecation_warnings",
        |node| with_config(node, deprecations),
    ),
];

const fn flaw(id: &'static str, what: &'static str, since: &'static str, fixed: &'static [&'static str]) -> Flaw {
    Flaw { id, what, since, fixed }
}

/// Sources: the advisories of containerd/containerd.
pub(super) const FLAWS: &[Flaw] = &[
    flaw("CVE-2020-15257", "shims reached from the host's network", "", &["1.3.9", "1.4.3"]),
    flaw("CVE-2022-23648", "files of the node by an image's volume", "", &["1.4.13", "1.5.10", "1.6.1"]),
    flaw("CVE-2023-25173", "supplementary groups", "", &["1.5.18", "1.6.18"]),
    flaw("CVE-2024-40635", "a large user id is root", "", &["1.6.38", "1.7.27", "2.0.4"]),
    flaw("CVE-2025-47290", "files of the node by an image's layers", "2.1.0", &["2.1.1"]),
    flaw(
        "CVE-2024-25621, CVE-2025-64329",
        "directories that others get into",
        "",
        &["1.7.29", "2.0.7", "2.1.5", "2.2.0"],
    ),
    flaw("CVE-2026-46680", "runAsNonRoot is passed by", "", &["1.7.32", "2.0.9", "2.2.4", "2.3.1"]),
    flaw(
        "CVE-2026-53488",
        "commands on the node by an image's labels",
        "",
        &["1.7.33", "2.0.10", "2.1.9", "2.2.5", "2.3.2"],
    ),
    flaw(
        "CVE-2026-50195, CVE-2026-53489, CVE-2026-53492",
        "poisoned tags, links and devices of checkpoints",
        "2.1.0",
        &["2.1.9", "2.2.5", "2.3.2"],
    ),
    flaw("CVE-2026-53495", "advisory of September 2026", "2.3.0", &["2.3.5"]),
];

fn with_config(node: &Node, look: fn(&Config, &Node) -> Found) -> Found {
    match &node.containerd.config {
        _ if !node.containerd.present => Found::none("no containerd"),
        Ok(config) => look(config, node),
        Err(why) => Found::unknown(why.clone()),
    }
}

fn config(config: &Config, node: &Node) -> Found {
    if config.files.is_empty() {
        return Found::pass(format!("no {}: containerd's defaults", node.containerd.config_path));
    }
    let wrong: Vec<String> = config.replaced.iter().chain(&config.problems).cloned().collect();
    Found::all(&wrong, config.files.join(", "))
}

/// The sockets that containerd makes.
pub(super) fn sockets(node: &Node) -> Vec<String> {
    let Ok(config) = &node.containerd.config else { return vec!["/run/containerd/containerd.sock".to_owned()] };
    let of = |keys: &[&str], default: &str| {
        let configured = config.at(keys).and_then(Value::as_str).filter(|path| !path.is_empty());
        configured.unwrap_or(default).to_owned()
    };
    let main = of(&["grpc", "address"], "/run/containerd/containerd.sock");
    let ttrpc = of(&["ttrpc", "address"], &format!("{main}.ttrpc"));
    let nri = of(&["plugins", "io.containerd.nri.v1.nri", "socket_path"], "/var/run/nri/nri.sock");
    let all = [main, ttrpc, of(&["debug", "address"], ""), nri];
    all.into_iter().filter(|path| path.starts_with('/')).collect()
}

fn sockets_are_roots(node: &Node) -> Found {
    if !node.containerd.present {
        return Found::none("no containerd");
    }
    let mut there = 0;
    let (mut wrong, mut shared) = (Vec::new(), Vec::new());
    for path in sockets(node) {
        match node.stat(&path) {
            Err(why) => return Found::unknown(why),
            Ok(None) => {}
            Ok(Some(step)) => {
                there += 1;
                let seen = format!("{} is of {}:{} with mode {:04o}", step.path, step.uid, step.gid, step.mode);
                if step.uid != 0 || step.mode & 0o002 != 0 {
                    wrong.push(seen);
                } else if step.gid != 0 && step.mode & 0o020 != 0 {
                    shared.push(seen);
                }
            }
        }
    }
    match (wrong.as_slice(), there) {
        ([], 0) => Found::none("none is there; containerd does not run"),
        ([], _) => Found::warn_all(&shared, format!("{there} looked at")),
        (wrong, _) => Found::all(wrong, ""),
    }
}

fn tcp(config: &Config) -> Vec<String> {
    let set = |keys: [&str; 2]| {
        let value = config.at(&keys)?.as_str().filter(|text| !text.is_empty())?;
        let is_tcp = keys == ["grpc", "tcp_address"] || (!value.starts_with('/') && !value.starts_with("unix:"));
        is_tcp.then(|| format!("{}.{} is {value}", keys[0], keys[1]))
    };
    [["grpc", "tcp_address"], ["grpc", "address"], ["ttrpc", "address"], ["debug", "address"]]
        .into_iter()
        .filter_map(set)
        .collect()
}

/// Whether an address is of this machine alone.
fn is_loopback(address: &str) -> bool {
    let host =
        address.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_own = |text: &str| text.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    host == "localhost" || is_own(address) || is_own(host)
}

fn metrics(config: &Config, _: &Node) -> Found {
    match config.at(&["metrics", "address"]).and_then(Value::as_str).unwrap_or_default() {
        "" => Found::pass("none"),
        address if is_loopback(address) => Found::pass(address),
        address => Found::fail(format!("metrics.address is {address}")),
    }
}

fn debug(config: &Config, _: &Node) -> Found {
    match config.at(&["debug", "level"]).and_then(Value::as_str).unwrap_or_default() {
        level @ ("debug" | "trace") => Found::fail(format!("debug.level is {level}")),
        level => Found::pass(if level.is_empty() { "info" } else { level }),
    }
}

fn streaming(config: &Config, _: &Node) -> Found {
    let address = config.cri_text("stream_server_address");
    if config.cri_is("enable_tls_streaming") || address.is_empty() || is_loopback(address) {
        let shown = if address.is_empty() { "127.0.0.1" } else { address };
        return Found::pass(format!("stream_server_address is {shown}"));
    }
    Found::fail(format!("stream_server_address is {address}, without TLS"))
}

/// Fails where something is switched on that should be off.
fn off(config: &Config, key: &str) -> Found {
    if config.cri_is(key) { Found::fail(format!("{key} is true")) } else { Found::pass(format!("{key} is not set")) }
}

fn warned(found: Found) -> Found {
    use super::check::Outcome::{Fail, Warn};
    if found.outcome == Fail { Found { outcome: Warn, ..found } } else { found }
}

fn selinux(node: &Node) -> Found {
    match node.text("/sys/fs/selinux/enforce") {
        Err(why) => Found::unknown(why),
        Ok(None) => Found::none("no SELinux"),
        Ok(Some(_)) => with_config(node, |config, _| {
            if config.cri_is("enable_selinux") {
                Found::pass("enable_selinux is true")
            } else {
                Found::fail("enable_selinux is not set")
            }
        }),
    }
}

fn seccomp(config: &Config, _: &Node) -> Found {
    match config.cri_text("unset_seccomp_profile") {
        "" | "unconfined" => Found::warn("unset_seccomp_profile is not set"),
        profile => Found::pass(format!("unset_seccomp_profile is {profile}")),
    }
}

/// Annotations that steer a runtime, one for each of their kinds.
const STEERING: [&str; 8] = [
    "io.containerd.runc.v2.group",
    "io.kubernetes.cri.sandbox-id",
    "org.systemd.property.ExecStartPre",
    "run.oci.handler",
    "run.oci.hooks.stdout",
    "org.criu.config",
    "io.katacontainers.config.hypervisor.path",
    "dev.gvisor.flag.network",
];

fn annotations(config: &Config, _: &Node) -> Found {
    let mut wrong = Vec::new();
    for handler in config.handlers() {
        for key in ["pod_annotations", "container_annotations"] {
            let patterns = handler.table.get(key).map(super::config::texts).unwrap_or_default();
            for pattern in patterns {
                // containerd compares like a path: its `*` does not stand for a slash, of which these have none.
                if let Some(one) = STEERING.iter().find(|name| matches(&pattern, name)) {
                    wrong.push(format!("{key} {pattern:?} of handler {} takes in {one}", handler.name));
                }
            }
        }
    }
    Found::all(&wrong, "none that steers")
}

fn privileged_devices(config: &Config, _: &Node) -> Found {
    let is = |handler: &Handler, key: &str| handler.table.get(key).and_then(Value::as_bool).unwrap_or(false);
    let handlers = config.handlers();
    let all = "privileged_without_host_devices_all_devices_allowed";
    let named = |list: Vec<&Handler>| list.iter().map(|handler| handler.name.clone()).collect::<Vec<_>>().join(", ");
    let open: Vec<&Handler> = handlers.iter().filter(|handler| is(handler, all)).collect();
    let given: Vec<&Handler> =
        handlers.iter().filter(|handler| !is(handler, "privileged_without_host_devices")).collect();
    if !open.is_empty() {
        Found::fail(format!("{all} is true for {}", named(open)))
    } else if !given.is_empty() {
        Found::warn(format!("privileged_without_host_devices is not set for {}", named(given)))
    } else {
        Found::pass("set for every handler")
    }
}

fn registries(config: &Config, node: &Node) -> Found {
    let mut wrong = match &node.containerd.unchecked {
        Ok(files) => files.iter().map(|file| format!("skip_verify in {file}")).collect::<Vec<_>>(),
        Err(why) => return Found::unknown(why.clone()),
    };
    for (host, settings) in config.cri(&["registry", "configs"]).and_then(Value::as_table).into_iter().flatten() {
        let skips = settings.get("tls").and_then(|tls| tls.get("insecure_skip_verify")?.as_bool());
        wrong.extend((skips == Some(true)).then(|| format!("insecure_skip_verify for {host}")));
    }
    Found::all(&wrong, "none is unchecked")
}

fn verifiers(config: &Config, node: &Node) -> Found {
    if !config.deep {
        return Found::none("containerd 1.x does not ask any for CRI");
    }
    match &node.containerd.verifiers {
        Err(why) => Found::unknown(why.clone()),
        Ok(None) => Found::warn("bin_dir is not there: every image is allowed"),
        Ok(Some(names)) if names.is_empty() => Found::warn("bin_dir is empty: every image is allowed"),
        Ok(Some(names)) => Found::pass(names.join(", ")),
    }
}

/// Source: containerd docs/cri/config.md and internal/cri/config, checkLocalImagePullConfigs.
fn verifiers_bypassed(config: &Config, node: &Node) -> Found {
    let there = match &node.containerd.verifiers {
        Err(why) => return Found::unknown(why.clone()),
        Ok(names) => names.as_ref().is_some_and(|names| !names.is_empty()),
    };
    if !there {
        return Found::none("no image verifiers");
    }
    if !config.deep {
        return Found::fail("containerd 1.x does not ask image verifiers for CRI")
            .mend("update to containerd 2.1 or newer");
    }
    let mut why: Vec<String> = ["use_local_image_pull", "discard_unpacked_layers", "image_pull_with_sync_fs"]
        .iter()
        .filter(|key| config.cri_is(key) || config.cri(&["containerd", key]).and_then(Value::as_bool) == Some(true))
        .map(|key| format!("{key} is true"))
        .collect();
    let tables = ["mirrors", "configs", "auths"];
    let set = tables
        .iter()
        .filter(|key| config.cri(&["registry", key]).and_then(Value::as_table).is_some_and(|table| !table.is_empty()));
    why.extend(set.map(|key| format!("registry.{key} is set")));
    let downloads = config.cri(&["max_concurrent_downloads"]).and_then(Value::as_integer).filter(|number| *number != 3);
    why.extend(downloads.map(|number| format!("max_concurrent_downloads is {number}")));
    Found::all(&why, "the transfer service pulls images")
}

fn nri(config: &Config, node: &Node) -> Found {
    let empty = toml::Table::new();
    let table = config.plugin("io.containerd.nri.v1.nri").unwrap_or(&empty);
    let flag = |key: &str| table.get(key).and_then(Value::as_bool);
    // Off by default up to 1.7, on from 2.0.
    if flag("disable").unwrap_or(!config.deep) {
        return Found::pass("off");
    }
    let plugins = match &node.containerd.nri_plugins {
        Err(why) => return Found::unknown(why.clone()),
        Ok(plugins) => plugins.clone().unwrap_or_default(),
    };
    let open = !flag("disable_connections").unwrap_or(false);
    match (open, plugins.as_slice()) {
        (false, []) => Found::pass("no plugin, no connections"),
        (false, plugins) => Found::warn(format!("plugins {}", plugins.join(", "))),
        (true, []) => Found::warn("on, and whoever opens its socket is a plugin"),
        (true, plugins) => Found::warn(format!("plugins {}, and whoever opens its socket", plugins.join(", "))),
    }
}

fn deprecations(config: &Config, _: &Node) -> Found {
    match config.cri_list(&["ignore_deprecation_warnings"]) {
        Some(list) if !list.is_empty() => Found::fail(format!("ignore_deprecation_warnings has {}", list.join(", "))),
        _ => Found::pass("none"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Outcome;
    use super::super::node::Program;
    use super::super::version::Version;
    use super::*;

    #[test]
    fn versions_are_judged() {
        for (text, outcome) in [
            ("1.6.38", Outcome::Fail),
            ("1.7.32", Outcome::Fail),
            ("1.7.33", Outcome::Pass),
            ("v2.0.10", Outcome::Pass),
            ("v2.1.8", Outcome::Fail),
            ("v2.1.9", Outcome::Warn),
            ("v2.2.4", Outcome::Fail),
            ("v2.2.5", Outcome::Pass),
            ("v2.3.4", Outcome::Fail),
            ("v2.3.5", Outcome::Pass),
            ("2.4.0-beta.0", Outcome::Pass),
            ("1.7.24~ds1-6+deb13u1", Outcome::Warn),
        ] {
            let program = Program { path: "/x".into(), version: Ok(Version::parse(text).unwrap()) };
            let found = judge(&program, FLAWS);
            assert_eq!(found.outcome, outcome, "{text}: {}", found.seen);
        }
    }

    #[test]
    fn an_address_is_this_machines_or_not() {
        for (address, is) in [
            ("127.0.0.1", true),
            ("127.0.0.1:1338", true),
            ("[::1]:1338", true),
            ("::1", true),
            ("localhost:1", true),
            ("0.0.0.0", false),
            (":1338", false),
            ("10.0.0.1:1338", false),
            ("127.0.0.1.example.org", false),
        ] {
            assert_eq!(is_loopback(address), is, "{address}");
        }
    }
}
