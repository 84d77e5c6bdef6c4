//! A create request in which everything but the specification is in order.

use std::path::Path;

use palisade_policy::{Day, Decision, HardenedSpec, HostFacts, ParsedSpec, Policy, TaskFacts, judge_create};

/// Id of the container of the golden cases' application.
const ID: &str = "c1";

/// The day does not matter: no policy here has an exemption.
pub(crate) fn today() -> Day {
    Day::of_unix_seconds(0)
}

/// Judges a specification. Its paths are what their names say, so that the rules have something to admit.
pub(crate) fn judge(spec: ParsedSpec, policy: &Policy) -> Decision<HardenedSpec> {
    let (host, pod) = (HostFacts::by_name(&spec, policy), [spec.identity()]);
    let bundle = Path::new("/run/containerd/io.containerd.runtime.v2.task/default/c1");
    let task = TaskFacts::plain(ID, bundle, &pod);
    judge_create(
        palisade_policy::CreateRequest {
            spec,
            host,
            task,
            today: today(),
            image: palisade_policy::ImageAnswer::Offline,
        },
        policy,
    )
}
