//! The judgement of a workload's pod, container by container: by the policy crate, as the shim calls it.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Capabilities;
use palisade::gate::today;
use palisade_policy::{
    CreateRequest, Denial, Finding, ImageAnswer, ParsedSpec, Policy, Record, Taken, TaskFacts, judge_create,
    judge_unreadable,
};
use palisade_seccomp::Architecture;
use serde_json::{Value, json};

use super::containerd::{Made, Maker};
use super::cri;
use super::facts;
use super::kubelet::{self, NodeRefusal, Pod, Surroundings};
use super::objects::{Workload, WrongField};
use super::place::Place;
use super::placing::{Ground, place};

/// What would become of a pod.
#[derive(Debug, Clone)]
pub(crate) struct JudgedPod {
    /// The sandbox first, then the containers as they are made.
    pub(super) parts: Vec<JudgedPart>,
    pub(super) assumptions: Vec<String>,
}

/// What would become of one container.
#[derive(Debug, Clone)]
pub(crate) struct JudgedPart {
    /// `None` for the sandbox.
    pub(super) container: Option<cri::Container>,
    pub(super) made: Made,
    pub(super) record: Record,
    pub(super) denial: Option<Denial>,
    /// What the node refuses it for whatever the policy says.
    pub(super) by_node: Vec<NodeRefusal>,
    /// For each finding of the record the place in the manifest, where one decides it.
    pub(super) places: Vec<Option<Place>>,
}

impl JudgedPart {
    pub(super) fn findings(&self) -> impl Iterator<Item = (&Finding, Option<&Place>)> {
        self.record.findings.iter().zip(self.places.iter().map(Option::as_ref))
    }

    /// What it is refused for; a profile that only audits refuses nothing by what it finds.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&Finding, Option<&Place>)> {
        let refused = self.denial.is_some();
        self.findings().filter(move |(finding, _)| refused && finding.action == Taken::Denied)
    }

    pub(super) fn is_refused(&self) -> bool {
        self.denial.is_some() || !self.by_node.is_empty()
    }
}

impl JudgedPod {
    pub(super) fn is_refused(&self) -> bool {
        self.parts.iter().any(JudgedPart::is_refused)
    }
}

/// Judges what a workload's pod would be. Fails as [`kubelet::pod`] does.
pub(super) fn judge(workload: &Workload, around: &Surroundings, policy: &Policy) -> Result<JudgedPod, WrongField> {
    let pod = kubelet::pod(workload, around)?;
    let seccomp = |capabilities: &[String]| runtime_default(policy, capabilities);
    let pause = around.images.of(&around.node.pause).cloned().unwrap_or_default();
    let maker = Maker { node: &around.node, sandbox: &pod.sandbox, pause: &pause, seccomp: &seccomp };
    let sandbox = maker.sandbox();
    let court = Court { workload, around, policy, pod: &pod, cgroup: text(&sandbox.spec, "/linux/cgroupsPath") };
    let identity = sandbox.spec.to_string().into_bytes();
    let mut parts = vec![court.judge(sandbox, None, &identity)];
    for container in &pod.containers {
        parts.push(court.judge(maker.container(container), Some(container), &identity));
    }
    for refusal in &pod.refusals {
        // The sandbox comes before the containers.
        if let Some(part) = parts.get_mut(refusal.container.map_or(0, |index| index + 1)) {
            part.by_node.push(refusal.clone());
        }
    }
    Ok(JudgedPod { parts, assumptions: pod.assumptions.list().to_vec() })
}

struct Court<'a> {
    workload: &'a Workload,
    around: &'a Surroundings,
    policy: &'a Policy,
    pod: &'a Pod,
    cgroup: String,
}

impl Court<'_> {
    fn judge(&self, made: Made, container: Option<&cri::Container>, sandbox: &[u8]) -> JudgedPart {
        let bytes = made.spec.to_string().into_bytes();
        let decision = match (ParsedSpec::parse(&bytes), ParsedSpec::parse(sandbox)) {
            (Ok(spec), Ok(pod)) => {
                let host = facts::of(&spec, &made, container, &self.around.node, &self.cgroup, self.policy);
                let bundle = self.bundle(&made.id);
                let pods = [pod.identity()];
                let task = TaskFacts::plain(&made.id, &bundle, &pods);
                judge_create(
                    CreateRequest { spec, host, task, today: today(), image: ImageAnswer::Offline },
                    self.policy,
                )
            }
            (Err(error), _) | (_, Err(error)) => judge_unreadable(&error, self.policy),
        };
        let ground =
            Ground { workload: self.workload, container, made: &made, namespaces: &self.pod.sandbox.namespaces };
        let places = decision.record.findings.iter().map(|finding| place(finding, &ground)).collect();
        let denial = decision.outcome.denial().cloned();
        JudgedPart { container: container.cloned(), places, record: decision.record, denial, made, by_node: Vec::new() }
    }

    fn bundle(&self, id: &str) -> PathBuf {
        let state = Path::new(&self.around.node.containerd_state);
        state.join("io.containerd.runtime.v2.task/k8s.io").join(id)
    }
}

/// containerd's default system call profile. Its text is containerd's; palisade's own of that name stands for it.
fn runtime_default(policy: &Policy, capabilities: &[String]) -> Value {
    let bounding: Capabilities = serde_json::from_value(json!(capabilities)).unwrap_or_default();
    let others = Architecture::native().map(Architecture::others).unwrap_or_default();
    let profile = policy.library().profile("runtime-default").ok();
    let resolved = profile.and_then(|profile| profile.resolve(&bounding, others).ok());
    let mut written = resolved.map_or(Value::Null, |profile| json!(profile));
    // containerd leaves the usual errno to the runtime.
    if let Some(fields) = written.as_object_mut() {
        fields.remove("defaultErrnoRet");
    }
    written
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
