//! Whose the files are that palisade and containerd trust.

use super::check::Severity::{Critical, High, Medium};
use super::check::{Check, Fix, Found, Look, check as row};
use super::config::Config;
use super::containerd;
use super::kubelet;
use super::node::Node;
use super::read::directories;
use super::tree::Step;
use toml::Value;

const REFERENCE: &str = "CIS Docker 3.x (files of the daemon are root's)";
const WHY: &str =
    "Whoever can write it, or a directory above it, decides what root runs or what containers are allowed.";
const MEND: &str = "chown root:root FILE; chmod go-w FILE";

const fn check(
    id: &'static str,
    severity: super::check::Severity,
    demand: &'static str,
    reference: &'static str,
    look: fn(&Node) -> Found,
) -> Check {
    row(id, severity, demand, WHY, reference, MEND, look)
}

pub(super) const CHECKS: &[Check] = &[
    check(
        "host.files.shim",
        Critical,
        "palisade's shim is root's alone to write, and every directory above it",
        REFERENCE,
        |node| all(node, &shims(node), true),
    ),
    check("host.files.tool", High, "The tool palisade is root's alone to write", REFERENCE, |node| {
        all(node, &tool(node), true)
    }),
    check(
        "host.files.policy",
        Critical,
        "The policy, its drop-ins, profiles and mitigations are root's alone to write",
        REFERENCE,
        |node| all(node, &node.policy_files, true),
    ),
    check(
        "host.files.audit-log",
        High,
        "The audit log and its directory are root's alone to write",
        REFERENCE,
        |node| match log(node) {
            Ok(paths) => private(node, &paths),
            Err(why) => Found::unknown(why),
        },
    ),
    check("host.files.state", High, "palisade's own directories are root's alone to write", REFERENCE, |node| {
        all(node, &state(node), true)
    }),
    check("host.files.runtimes", Critical, "OCI runtimes are root's alone to write", REFERENCE, |node| {
        all(node, &runtimes(node), false)
    }),
    check(
        "host.files.containerd",
        Critical,
        "containerd's program is root's alone to write",
        "CIS Docker 3.x",
        |node| all(node, &containerd_program(node), false),
    ),
    check(
        "host.files.containerd-config",
        Critical,
        "containerd's configuration, and what it imports, is root's alone to write",
        "CIS Docker 3.17, 3.18",
        |node| all(node, &configs(node), false),
    ),
    check(
        "host.files.containerd-state",
        High,
        "containerd's directories of data and state are no place for other users",
        "CVE-2024-25621",
        containerd_state,
    ),
    check(
        "host.files.plugins",
        Critical,
        "Programs that containerd runs as root (CNI, NRI, image verifiers), CDI's files, specifications that handlers begin with and the kubelet's system call profiles are root's alone to write",
        "containerd docs/NRI.md, docs/image-verification.md",
        |node| all(node, &plugins(node), false),
    ),
    Check {
        id: "host.files.containerd-mount",
        severity: super::check::Severity::Low,
        demand: "Images and containers have a file system of their own",
        why: "A container that fills its layer fills the node's root file system.",
        reference: "CIS Docker 1.1.1",
        mend: "mount a file system at /var/lib/containerd",
        look: Look::At(own_file_system),
    },
    Check {
        id: "host.files.kubelet-config",
        severity: Medium,
        demand: "The kubelet's configuration and credentials are root's, and not for others to read or write",
        why: "Whoever can write it makes the kubelet run anything; its credentials are the node's in the cluster.",
        reference: "CIS Kubernetes 4.1.5, 4.1.6, 4.1.9, 4.1.10",
        mend: "chown root:root FILE; chmod 600 FILE",
        look: Look::At(kubelet_files),
    },
];

/// What is wrong on the way to something, if anything is. In a sticky directory of root's what is root's stays so.
pub(crate) fn first_fault(steps: &[Step]) -> Option<String> {
    let last = steps.len().saturating_sub(1);
    let fault = |(number, step): (usize, &Step)| {
        let sticky = number != last && step.uid == 0 && step.mode & 0o1000 != 0;
        (step.others_write() && !sticky)
            .then(|| format!("{} is of {}:{} with mode {:04o}", step.path, step.uid, step.gid, step.mode))
    };
    steps.iter().enumerate().find_map(fault)
}

/// Every path that any check asks for.
pub(super) fn paths(node: &Node) -> Vec<String> {
    let mut all = shims(node);
    all.extend(tool(node));
    all.extend(node.policy_files.iter().cloned());
    all.extend(log(node).unwrap_or_default());
    all.extend(state(node));
    all.extend(runtimes(node));
    all.extend(containerd_program(node));
    all.extend(configs(node));
    all.extend(containerd_directories(node));
    all.extend(plugins(node));
    all.extend(kubelet::FILES.iter().map(|path| (*path).to_owned()));
    all.push(node.kubelet.config_path.clone());
    all.extend(containerd::sockets(node));
    all.extend(super::engines::SOCKETS.iter().map(|(path, _)| (*path).to_owned()));
    all.extend(super::kernel::core_handler(node));
    all.extend(super::kernel::PLACES.iter().map(|path| (*path).to_owned()));
    all
}

fn shims(node: &Node) -> Vec<String> {
    node.containerd.shims.iter().filter_map(|shim| shim.path.clone().ok()).collect()
}

fn tool(node: &Node) -> Vec<String> {
    node.tool.iter().cloned().collect()
}

fn log(node: &Node) -> Result<Vec<String>, String> {
    let policy = node.policy.as_ref().map_err(Clone::clone)?;
    let Some(path) = &policy.log else { return Ok(Vec::new()) };
    let directory = path.parent().map(|parent| parent.to_string_lossy().into_owned());
    Ok(directory.into_iter().chain([path.to_string_lossy().into_owned()]).collect())
}

fn state(node: &Node) -> Vec<String> {
    let mut all = vec!["/run/palisade".to_owned(), "/var/lib/palisade".to_owned()];
    all.extend(node.policy.iter().map(|policy| policy.records.to_string_lossy().into_owned()));
    all
}

fn runtimes(node: &Node) -> Vec<String> {
    let found = node.runtimes.iter().map(|(_, program)| program.path.clone());
    found.chain(node.policy.iter().filter_map(|policy| policy.runtime.clone())).collect()
}

fn containerd_program(node: &Node) -> Vec<String> {
    node.containerd.program.iter().map(|program| program.path.clone()).collect()
}

fn configs(node: &Node) -> Vec<String> {
    match &node.containerd.config {
        Ok(config) => config.files.clone(),
        Err(_) => vec![node.containerd.config_path.clone()],
    }
}

/// `root` and `state` of the configuration, then what is private below the latter.
fn containerd_directories(node: &Node) -> Vec<String> {
    let of = |key: &str, default: &str| {
        let configured = node.containerd.config.as_ref().ok().and_then(|config| config.at(&[key])?.as_str());
        configured.filter(|path| !path.is_empty()).unwrap_or(default).to_owned()
    };
    let (root, state) = (of("root", "/var/lib/containerd"), of("state", "/run/containerd"));
    let below = ["io.containerd.grpc.v1.cri", "io.containerd.sandbox.controller.v1.shim"];
    let below = below.map(|name| format!("{state}/{name}"));
    [root, state].into_iter().chain(below).collect()
}

/// What containerd runs or goes by without asking.
fn plugins(node: &Node) -> Vec<String> {
    let Ok(config) = &node.containerd.config else { return Vec::new() };
    let mut all = directories(config, &["cni", "bin_dirs"], &[]);
    all.extend(directories(config, &["cni", "bin_dir"], &["/opt/cni/bin"]));
    all.extend(directories(config, &["cni", "conf_dir"], &["/etc/cni/net.d"]));
    all.extend(directories(config, &["cdi_spec_dirs"], &["/etc/cdi", "/var/run/cdi"]));
    let of = |plugin: &str, key: &str, default: &str| {
        let configured = config.plugin(plugin).and_then(|table| table.get(key)?.as_str());
        configured.filter(|path| !path.is_empty()).unwrap_or(default).to_owned()
    };
    let verifiers = of("io.containerd.image-verifier.v1.bindir", "bin_dir", containerd::VERIFIERS);
    let nri = of("io.containerd.nri.v1.nri", "plugin_path", containerd::NRI_PLUGINS);
    for (directory, names) in [(&verifiers, &node.containerd.verifiers), (&nri, &node.containerd.nri_plugins)] {
        all.extend(names.iter().flatten().flatten().map(|name| format!("{directory}/{name}")));
    }
    all.extend([verifiers, nri, of("io.containerd.nri.v1.nri", "plugin_config_path", "/etc/nri/conf.d")]);
    all.extend(base_specs(config));
    all.push("/var/lib/kubelet/seccomp".to_owned());
    all
}

fn base_specs(config: &Config) -> Vec<String> {
    let of = |handler: super::config::Handler| {
        let path = handler.table.get("base_runtime_spec").and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(path).filter(|path| !path.is_empty())
    };
    config.handlers().into_iter().filter_map(of).collect()
}

/// Each of them root's alone with everything above, where it is there.
fn all(node: &Node, paths: &[String], fixable: bool) -> Found {
    let mut there = 0;
    let (mut wrong, mut fixes, mut unseen) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        match node.way(path) {
            Err(why) => unseen.push(why),
            Ok(None) => {}
            Ok(Some(steps)) => {
                there += 1;
                wrong.extend(first_fault(steps));
                // Not through a link: what it points to may be anybody's.
                let own = steps.last().filter(|step| step.path == *path && step.uid == 0 && step.mode & 0o022 != 0);
                fixes.extend(own.map(|step| Fix::TakeWriting(step.path.clone())));
            }
        }
    }
    wrong.dedup();
    let mut found = match (wrong.first(), unseen.first(), there) {
        (None, None, 0) => return Found::none("none is there"),
        (None, None, _) => return Found::pass(format!("{there} looked at")),
        (None, Some(why), _) => return Found::unknown(why.clone()),
        (Some(first), ..) => {
            let path = first.split(" is of ").next().unwrap_or_default();
            Found::fail(wrong.join("; ")).mend(format!("chown root:root {path}; chmod go-w {path}"))
        }
    };
    if fixable {
        found.fixes = fixes;
    }
    found
}

/// The same, and nobody else reads it either.
fn private(node: &Node, paths: &[String]) -> Found {
    let found = all(node, paths, true);
    let readable = |path: &String| {
        let step = node.stat(path).ok()??;
        (step.kind == rustix::fs::FileType::RegularFile && step.mode & 0o004 != 0)
            .then(|| Found::fail(format!("{path} can be read by everybody")).mend(format!("chmod o-r {path}")))
    };
    if found.outcome == super::check::Outcome::Pass { paths.iter().find_map(readable).unwrap_or(found) } else { found }
}

/// Before the fix they were 0711 with 0711 below: a user of the node reached what containers have on the disk.
fn containerd_state(node: &Node) -> Found {
    if !node.containerd.present {
        return Found::none("no containerd");
    }
    let directories = containerd_directories(node);
    let found = all(node, &directories, false);
    if found.outcome != super::check::Outcome::Pass {
        return found;
    }
    // containerd's own `state` is passed through by those who talk to its sockets.
    let private = directories.iter().enumerate().filter(|(number, _)| *number != 1);
    let open = private.map(|(_, path)| closed(node, path)).find(|found| found.outcome != super::check::Outcome::Pass);
    open.unwrap_or(found)
}

/// Passes where nobody but root gets into a directory, or it is not there.
fn closed(node: &Node, root: &str) -> Found {
    match node.stat(root) {
        Ok(Some(step)) if step.mode & 0o077 != 0 => {
            Found::fail(format!("{root} has mode {:04o}, others get into it", step.mode))
                .mend(format!("chmod 700 {root}"))
        }
        Ok(_) => Found::pass(root),
        Err(why) => Found::unknown(why),
    }
}

fn own_file_system(node: &Node) -> Found {
    let directories = containerd_directories(node);
    let Some(root) = directories.first() else { return Found::unknown("no path") };
    if !matches!(node.stat(root), Ok(Some(_))) {
        return Found::none(format!("no {root}"));
    }
    let table = match node.text("/proc/1/mountinfo") {
        Ok(Some(table)) => table,
        Ok(None) => return Found::unknown("no /proc/1/mountinfo"),
        Err(why) => return Found::unknown(why),
    };
    let mounted = table.lines().any(|line| line.split(' ').nth(4) == Some(root.as_str()));
    if mounted {
        Found::pass(format!("{root} is a mount"))
    } else {
        Found::warn(format!("{root} is on the file system above it"))
    }
}

fn kubelet_files(node: &Node) -> Found {
    let own = node.kubelet.config_path.as_str();
    let mut wrong = Vec::new();
    let mut there = 0;
    for path in kubelet::FILES.iter().copied().chain([own]) {
        match node.way(path) {
            Err(why) => return Found::unknown(why),
            Ok(None) => {}
            Ok(Some(steps)) => {
                there += 1;
                wrong.extend(first_fault(steps));
                let open = steps.last().filter(|step| step.mode & 0o007 != 0 && !path.ends_with(".crt"));
                wrong.extend(open.map(|step| format!("{} has mode {:04o}", step.path, step.mode)));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    if there == 0 { Found::none("no kubelet") } else { Found::all(&wrong, format!("{there} files looked at")) }
}

#[cfg(test)]
mod tests {
    use rustix::fs::FileType;

    use super::*;

    fn step(path: &str, uid: u32, mode: u32) -> Step {
        Step { path: path.into(), uid, gid: 0, mode, kind: FileType::Directory }
    }

    #[test]
    fn the_whole_way_has_to_be_roots() {
        let fine = [step("/", 0, 0o755), step("/tmp", 0, 0o1777), step("/tmp/x", 0, 0o644)];
        assert_eq!(first_fault(&fine), None);
        for wrong in [
            vec![step("/", 0, 0o777), step("/x", 0, 0o644)],
            vec![step("/", 0, 0o755), step("/home", 1000, 0o755), step("/home/x", 0, 0o755)],
            vec![step("/", 0, 0o755), step("/x", 0, 0o664)],
            // A directory that is itself trusted is not saved by its sticky bit: entries can be added.
            vec![step("/", 0, 0o755), step("/tmp", 0, 0o1777)],
            vec![step("/", 0, 0o755), step("/t", 1000, 0o1777), step("/t/x", 0, 0o644)],
        ] {
            assert!(first_fault(&wrong).is_some(), "{wrong:?}");
        }
    }
}
