//! Other container engines: what they make is none of palisade's.

use serde_json::Value;

use super::check::Severity::{Critical, Medium};
use super::check::{Check, Found, check};
use super::node::Node;

/// Their sockets, with the engine that makes each.
pub(super) const SOCKETS: &[(&str, &str)] = &[
    ("/run/docker.sock", "Docker"),
    ("/run/crio/crio.sock", "CRI-O"),
    ("/run/podman/podman.sock", "Podman"),
    ("/run/cri-dockerd.sock", "cri-dockerd"),
    ("/var/run/dockershim.sock", "dockershim"),
    ("/run/buildkit/buildkitd.sock", "BuildKit"),
];
/// Docker's configuration.
const DOCKER: &str = "/etc/docker/daemon.json";
/// Files that are read for the checks here.
pub(super) const TEXTS: &[&str] = &[DOCKER];
/// Processes of other engines.
const PROCESSES: [(&str, &str); 3] = [("dockerd", "Docker"), ("crio", "CRI-O"), ("cri-dockerd", "cri-dockerd")];

pub(super) const CHECKS: &[Check] = &[
    check(
        "host.engine.others",
        Medium,
        "containerd is the only container engine",
        "What another one makes is not judged. Its socket, in a container or in a user's hands, is a way round palisade.",
        "CIS Docker 5.32",
        "systemctl disable --now docker.service docker.socket crio.service podman.socket",
        others,
    ),
    check(
        "host.engine.sockets",
        Critical,
        "Other engines' sockets are root's alone",
        "Whoever reaches one is root of the node. A group that may is a group of roots.",
        "CIS Docker 3.15, 3.16, 5.32",
        "chown root:root SOCKET; chmod 660 SOCKET",
        sockets,
    ),
    check(
        "host.engine.docker-tcp",
        Critical,
        "Docker does not listen on TCP without certificates",
        "Whoever reaches the port is root of the node.",
        "CIS Docker 2.7",
        "remove tcp:// from hosts of /etc/docker/daemon.json and from dockerd's -H, or set tlsverify",
        docker_tcp,
    ),
];

fn others(node: &Node) -> Found {
    let mut seen = Vec::new();
    for (path, engine) in SOCKETS {
        match node.stat(path) {
            Err(why) => return Found::unknown(why),
            Ok(Some(_)) => seen.push(format!("{engine} has {path}")),
            Ok(None) => {}
        }
    }
    for (name, engine) in PROCESSES {
        match node.running(name) {
            Ok(running) => seen.extend((!running.is_empty()).then(|| format!("{engine} runs"))),
            Err(why) if seen.is_empty() => return Found::unknown(why),
            Err(_) => {}
        }
    }
    Found::all(&seen, "no other is there")
}

fn sockets(node: &Node) -> Found {
    let mut there = 0;
    let (mut wrong, mut shared) = (Vec::new(), Vec::new());
    for (path, _) in SOCKETS {
        match node.stat(path) {
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
    if there == 0 {
        return Found::none("none is there");
    }
    if wrong.is_empty() { Found::warn_all(&shared, format!("{there} looked at")) } else { Found::all(&wrong, "") }
}

fn docker_tcp(node: &Node) -> Found {
    let text = match node.text(DOCKER) {
        Ok(text) => text,
        Err(why) => return Found::unknown(why),
    };
    let file: Value = match text.map_or(Ok(Value::Null), serde_json::from_str) {
        Ok(file) => file,
        Err(_) => return Found::unknown(format!("{DOCKER} is no JSON")),
    };
    let running = match (node.running("dockerd"), text) {
        (Ok(running), _) => running,
        (Err(_), Some(_)) => Vec::new(),
        (Err(why), None) => return Found::unknown(why),
    };
    if running.is_empty() && text.is_none() {
        return Found::none("no Docker");
    }
    let listed = file.get("hosts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut hosts: Vec<&str> = listed.iter().filter_map(Value::as_str).collect();
    hosts.extend(running.iter().flat_map(|process| process.flags(&["host", "H"])));
    hosts.retain(|host| host.starts_with("tcp:"));
    let checked = file.get("tlsverify").and_then(Value::as_bool) == Some(true)
        || running.iter().any(|process| process.flag("tlsverify").is_some());
    if hosts.is_empty() || checked {
        return Found::pass(if hosts.is_empty() {
            "sockets only".to_owned()
        } else {
            format!("{} with tlsverify", hosts.join(", "))
        });
    }
    Found::fail(format!("{} without tlsverify", hosts.join(", ")))
}
