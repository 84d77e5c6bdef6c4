//! User namespaces of pods.

use k8s_cri::v1 as api;

use super::containers::LOOKED_AT;
use super::look;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage, pod_secured, secured};

const WHY: &str = "1.7 remaps no volumes, and the kubelet asks no such runtime";

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "a user namespace of the pod's own: neither runc 1.1 nor palisade remaps layers, and neither says that it can",
        "UserNamespaces: NamespaceMode_POD",
        own,
        &[("run", "refused"), ("offered", "false")],
    )
    .since_two(WHY),
    scenario(
        "the node's user namespace",
        "UserNamespaces: NamespaceMode_NODE",
        node,
        &[("uid_map", "0 0 4294967295"), ("id", "0")],
    )
    .differs(LOOKED_AT)
    .restricted(&[("uid_map", "0 0 4294967295"), ("id", "65532")])
    .since_two(WHY),
    scenario(
        "user namespaces that containerd refuses",
        "UserNamespaces: fail with two mappings, without 0, with NamespaceMode_CONTAINER and NamespaceMode_TARGET",
        refused,
        &[
            ("two mappings", "refused"),
            ("without 0", "refused"),
            ("the container's", "refused"),
            ("a target's", "refused"),
        ],
    )
    .since_two(WHY),
];

fn mapping(host_id: u32, container_id: u32, length: u32) -> api::IdMapping {
    api::IdMapping { host_id, container_id, length }
}

fn options(mode: api::NamespaceMode, mappings: &[api::IdMapping]) -> api::NamespaceOption {
    let users = api::UserNamespace { mode: mode.into(), uids: mappings.to_vec(), gids: mappings.to_vec() };
    api::NamespaceOption {
        pid: api::NamespaceMode::Container.into(),
        userns_options: Some(users),
        ..Default::default()
    }
}

fn own(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let options = options(api::NamespaceMode::Pod, &[mapping(100_000, 0, 65_536)]);
    let mut seen = Seen::new();
    match with_users(stage, &options) {
        Ok(of_container) => {
            seen.note("run", "done");
            seen.include("container", of_container);
        }
        Err(Fault::Refused(_)) => seen.note("run", "refused"),
        Err(broken) => return Err(broken),
    }
    let request = api::StatusRequest { verbose: false };
    let status = stage.cri.ask("Status", |mut client| async move { client.status(request).await })?;
    let handler = status.runtime_handlers.iter().find(|handler| handler.name == stage.runtime.handler());
    let features = handler.and_then(|handler| handler.features.as_ref());
    seen.note("offered", features.is_some_and(|features| features.user_namespaces));
    Ok(seen)
}

fn node(stage: &Stage<'_>) -> Result<Seen, Fault> {
    with_users(stage, &options(api::NamespaceMode::Node, &[]))
}

fn with_users(stage: &Stage<'_>, options: &api::NamespaceOption) -> Result<Seen, Fault> {
    stage.one_in(
        |config| pod_secured(config, |security| security.namespace_options = Some(options.clone())),
        |config| secured(config, |security| security.namespace_options = Some(options.clone())),
        |container, seen| {
            look::all(container.pid()?, seen)?;
            container.note(seen, "id", "id -u")?;
            container.note(seen, "file of the image", "stat -c '%u %g' /root-only")?;
            container.note(seen, "new file", "touch /tmp/new && stat -c '%u %g' /tmp/new")
        },
    )
}

fn refused(stage: &Stage<'_>) -> Result<Seen, Fault> {
    use api::NamespaceMode::{Container, Pod, Target};
    let one = [mapping(100_000, 0, 65_536)];
    let two = [mapping(100_000, 0, 1000), mapping(200_000, 1000, 1000)];
    let wrong = [
        ("two mappings", options(Pod, &two)),
        ("without 0", options(Pod, &[mapping(100_000, 1, 65_535)])),
        ("the container's", options(Container, &one)),
        ("a target's", options(Target, &one)),
    ];
    let mut seen = Seen::new();
    for (name, options) in wrong {
        match stage.pod(|config| pod_secured(config, |security| security.namespace_options = Some(options))) {
            Ok(pod) => {
                seen.note(name, "done");
                pod.remove()?;
            }
            Err(Fault::Refused(failure)) => {
                seen.note(name, "refused");
                // Without a mapping of 0 it is not containerd itself that refuses.
                if name != "without 0" {
                    seen.note(format!("{name}, words"), failure);
                }
            }
            Err(broken) => return Err(broken),
        }
    }
    Ok(seen)
}
