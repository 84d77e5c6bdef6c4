//! Forwarded ports.

use k8s_cri::v1 as api;
use palisade_integration::poll;
use palisade_integration::streaming::{STDIN, STDOUT, Streaming};

use super::containers::shell;
use super::network::SERVER;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage, pod_secured, secured};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("a forwarded port", "Streaming: portforward", forwarded, &[("answer", "hello")]),
    scenario(
        "a forwarded port of the host's network",
        "Streaming: portforward in host network",
        forwarded_in_host,
        &[("answer", "hello")],
    )
    .refused("linux.ns"),
    scenario("a forwarded port where nobody listens", "", forwarded_nowhere, &[("error", "connection refused")]),
];

fn forwarded(stage: &Stage<'_>) -> Result<Seen, Fault> {
    forwarded_in(stage, api::NamespaceMode::Pod)
}

fn forwarded_in_host(stage: &Stage<'_>) -> Result<Seen, Fault> {
    forwarded_in(stage, api::NamespaceMode::Node)
}

fn forwarded_in(stage: &Stage<'_>, network: api::NamespaceMode) -> Result<Seen, Fault> {
    let options = api::NamespaceOption {
        network: network.into(),
        pid: api::NamespaceMode::Container.into(),
        ..Default::default()
    };
    let pod = stage.pod(|config| {
        if network == api::NamespaceMode::Node {
            config.hostname.clear();
        }
        pod_secured(config, |security| security.namespace_options = Some(options.clone()));
    })?;
    stage.container(&pod, |config| {
        secured(config, |security| security.namespace_options = Some(options.clone()));
        shell(config, SERVER);
    })?;
    let said = poll::eventually("an answer of the server", 20, || {
        let streaming = forward(stage, &pod.id)
            .map_err(|fault| libtest_mimic::Failed::from(fault).message().unwrap_or_default().to_owned())?;
        let data = streaming.text(STDIN);
        if data.contains("hello") { Ok(data) } else { Err(streaming.text(STDOUT)) }
    })?;
    let mut seen = Seen::new();
    // Each channel begins with the port.
    seen.note("answer", said.trim_start_matches(|byte: char| byte != 'h'));
    pod.remove()?;
    Ok(seen)
}

fn forwarded_nowhere(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let error = forward(stage, &pod.id)?.text(STDOUT);
    let mut seen = Seen::new();
    seen.note("error", if error.contains("connection refused") { "connection refused" } else { &error });
    pod.remove()?;
    Ok(seen)
}

fn forward(stage: &Stage<'_>, pod: &str) -> Result<Streaming, Fault> {
    let request = api::PortForwardRequest { pod_sandbox_id: pod.to_owned(), port: vec![8080] };
    let answer = stage.cri.ask("PortForward", |mut client| async move { client.port_forward(request).await })?;
    Ok(Streaming::open(&answer.url)?.finish()?)
}
