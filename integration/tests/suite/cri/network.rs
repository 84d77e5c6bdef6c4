//! Names and ports of a pod, several containers in one, and what the runtime says about itself.

use k8s_cri::v1 as api;
use palisade_integration::poll;

use super::containers::shell;
use super::sandboxes::status;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "DNS servers, search domains and options",
        "Networking: DNS config",
        dns,
        &[("resolv.conf", "search example.test nameserver 10.9.8.7 options ndots:4")],
    ),
    scenario(
        "the host name of a pod",
        "Networking: set hostname",
        hostname,
        &[("hostname", "a-name"), ("/etc/hostname", "a-name")],
    ),
    scenario(
        "a port of a container is reached by the pod's address",
        "Networking: port mapping with only container port",
        port,
        &[("answer", "hello")],
    ),
    scenario(
        "containers of a pod share its address",
        "Multiple Containers: network",
        several_network,
        &[("the other's answer", "hello")],
    ),
    scenario(
        "containers of a pod have logs of their own",
        "Multiple Containers: container log",
        several_logs,
        &[("first", "one"), ("second", "two")],
    ),
    scenario(
        "containers of a pod have execs of their own",
        "Multiple Containers: container exec",
        several_execs,
        &[("first", "one"), ("second", "two")],
    ),
    scenario(
        "version and conditions",
        "Runtime info",
        version,
        &[("version", "0.1.0 containerd v1"), ("RuntimeReady", "true"), ("NetworkReady", "true")],
    ),
];

fn dns(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one_in(
        |config| {
            config.dns_config = Some(api::DnsConfig {
                servers: vec!["10.9.8.7".to_owned()],
                searches: vec!["example.test".to_owned()],
                options: vec!["ndots:4".to_owned()],
            });
        },
        |_| (),
        |container, seen| container.note(seen, "resolv.conf", "echo $(cat /etc/resolv.conf)"),
    )
}

fn hostname(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one_in(
        |config| "a-name".clone_into(&mut config.hostname),
        |_| (),
        |container, seen| {
            container.note(seen, "hostname", "hostname")?;
            container.note(seen, "/etc/hostname", "cat /etc/hostname")?;
            container.note(seen, "variable", "echo $HOSTNAME")
        },
    )
}

/// Says hello to each that connects.
pub(super) const SERVER: &str = "while :; do echo hello | busybox nc -l -p 8080; done";

fn port(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|config| {
        config.port_mappings.push(api::PortMapping { container_port: 8080, ..Default::default() });
    })?;
    stage.container(&pod, |config| shell(config, SERVER))?;
    let address = status(stage, &pod.id)?.network.unwrap_or_default().ip;
    let mut seen = Seen::new();
    seen.note("answer", answer(stage, &address)?);
    pod.remove()?;
    Ok(seen)
}

/// What is said at the port, asked from another pod: the test's own network has no address in that of the pods.
fn answer(stage: &Stage<'_>, address: &str) -> Result<String, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.container(&pod, |_| ())?;
    let said = poll::eventually("an answer of the server", 20, || {
        let executed =
            container.exec(&["busybox", "nc", "-w", "2", address, "8080"]).map_err(|failure| failure.to_string())?;
        if executed.code == 0 { Ok(executed.stdout) } else { Err(executed.stderr) }
    })?;
    pod.remove()?;
    Ok(said)
}

fn several_network(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    stage.container(&pod, |config| shell(config, SERVER))?;
    let other = stage.container(&pod, |_| ())?;
    let said = poll::eventually("an answer of the server", 20, || {
        let executed =
            other.exec(&["busybox", "nc", "-w", "2", "127.0.0.1", "8080"]).map_err(|failure| failure.to_string())?;
        if executed.code == 0 { Ok(executed.stdout) } else { Err(executed.stderr) }
    })?;
    let mut seen = Seen::new();
    seen.note("the other's answer", said);
    pod.remove()?;
    Ok(seen)
}

fn several_logs(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let mut seen = Seen::new();
    for (name, word) in [("first", "one"), ("second", "two")] {
        let container = stage.container(&pod, |config| shell(config, &format!("echo {word}; exec /probe sleep")))?;
        super::logs::has(&container.log, word)?;
        let text = std::fs::read_to_string(&container.log)?;
        seen.note(name, text.split_whitespace().skip(3).collect::<Vec<_>>().join(" "));
    }
    pod.remove()?;
    Ok(seen)
}

fn several_execs(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let (first, second) = (stage.container(&pod, |_| ())?, stage.container(&pod, |_| ())?);
    let mut seen = Seen::new();
    first.exec(&["sh", "-c", "echo one > /tmp/word"])?;
    second.exec(&["sh", "-c", "echo two > /tmp/word"])?;
    first.note(&mut seen, "first", "cat /tmp/word")?;
    second.note(&mut seen, "second", "cat /tmp/word")?;
    pod.remove()?;
    Ok(seen)
}

fn version(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let request = api::VersionRequest { version: "v1".to_owned() };
    let version = stage.cri.ask("Version", |mut client| async move { client.version(request).await })?;
    let mut seen = Seen::new();
    seen.note("version", format!("{} {} {}", version.version, version.runtime_name, version.runtime_api_version));
    let status = stage
        .cri
        .ask("Status", |mut client| async move { client.status(api::StatusRequest { verbose: false }).await })?;
    for condition in status.status.unwrap_or_default().conditions {
        seen.note(condition.r#type, condition.status);
    }
    Ok(seen)
}
