//! The smallest change of a manifest that passes.
//!
//! Each refusal has mends that are honest: what the workload asked for is taken back, or what the policy demands is said. They are made, the
//! manifest is judged anew, until nothing more helps; then each change is taken back that was not needed after all. What has no mend (a path of the
//! host, a device) is told as it is.

use palisade_policy::{Finding, Policy};
use serde_json::{Value, json};

use super::containerd::full_name;
use super::edit::Edit;
use super::judging::{JudgedPart, JudgedPod, judge};
use super::kubelet::Surroundings;
use super::objects::{self, Object, Workload};

/// How often a manifest is judged anew after changes; each round has to mend something.
const ROUNDS: usize = 8;

/// What would help.
#[derive(Debug, Clone)]
pub(crate) struct Suggestion {
    pub(super) edits: Vec<Edit>,
    /// RFC 6902, from the manifest as it is.
    pub(super) patch: Value,
    /// What stays refused: container, rule and reason.
    pub(super) left: Vec<Left>,
}

/// A refusal without a mend.
#[derive(Debug, Clone)]
pub(super) struct Left {
    pub(super) container: String,
    pub(super) place: String,
    pub(super) finding: Finding,
}

/// Looks for the smallest change of an object.
pub(super) fn suggest(object: &Value, around: &Surroundings, policy: &Policy) -> Suggestion {
    let judged = |object: &Value| judged(object, around, policy);
    let mut edits: Vec<Edit> = Vec::new();
    let mut changed = object.clone();
    for _ in 0..ROUNDS {
        let Some((workload, pod)) = judged(&changed) else { break };
        let found: Vec<Edit> = pod.parts.iter().flat_map(|part| of_part(part, &workload)).collect();
        let before = edits.len();
        for edit in found {
            if edit.apply(&mut changed) {
                edits.push(edit);
            }
        }
        if edits.len() == before {
            break;
        }
    }
    let refusals = |object: &Value| judged(object).map_or(usize::MAX, |(_, pod)| count(&pod));
    let best = refusals(&changed);
    let mut at = 0;
    while at < edits.len() {
        let fewer: Vec<Edit> =
            edits.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, edit)| edit.clone()).collect();
        if refusals(&applied(object, &fewer)) <= best { edits = fewer } else { at += 1 }
    }
    let changed = applied(object, &edits);
    let left = judged(&changed).map(|(_, pod)| left(&pod)).unwrap_or_default();
    let patch = json!(json_patch::diff(object, &changed));
    Suggestion { edits, patch, left }
}

fn judged(object: &Value, around: &Surroundings, policy: &Policy) -> Option<(Workload, JudgedPod)> {
    match objects::read(object).ok()? {
        Object::Makes(workload) => {
            let pod = judge(&workload, around, policy);
            Some((*workload, pod))
        }
        Object::Other { .. } | Object::List => None,
    }
}

fn applied(object: &Value, edits: &[Edit]) -> Value {
    let mut changed = object.clone();
    for edit in edits {
        edit.apply(&mut changed);
    }
    changed
}

fn count(pod: &JudgedPod) -> usize {
    pod.parts.iter().map(|part| part.refusals().count()).sum()
}

fn left(pod: &JudgedPod) -> Vec<Left> {
    let of_part = |part: &JudgedPart| {
        let each = part.refusals().map(|(finding, place)| Left {
            container: part.name().to_owned(),
            place: place.map(ToString::to_string).unwrap_or_default(),
            finding: finding.clone(),
        });
        each.collect::<Vec<_>>()
    };
    pod.parts.iter().flat_map(of_part).collect()
}

fn of_part(part: &JudgedPart, workload: &Workload) -> Vec<Edit> {
    part.refusals().flat_map(|(finding, place)| mends(finding, place, part, workload)).collect()
}

/// The changes that may mend a refusal; none where there is no honest one.
fn mends(finding: &Finding, place: Option<&super::place::Place>, part: &JudgedPart, workload: &Workload) -> Vec<Edit> {
    let spec = &workload.spec_place;
    let security = match &part.container {
        Some(container) => container.place.field("securityContext"),
        None => spec.field("securityContext"),
    };
    let set = |name: &str, value: Value| vec![Edit::Set(security.field(name), value)];
    let gone = || place.map(|place| Edit::Remove(place.clone())).into_iter().collect::<Vec<_>>();
    match finding.rule.as_str() {
        "priv.heuristic" => unprivileged(part),
        "linux.ns" => {
            let mut all: Vec<Edit> =
                ["hostNetwork", "hostPID", "hostIPC"].iter().map(|name| Edit::Remove(spec.field(name))).collect();
            all.extend(unprivileged(part));
            all
        }
        "caps.never" => capabilities_taken_back(finding, part),
        "caps.allow-list" => capabilities_listed(finding, part),
        "user.non-root" => number(&finding.allowed).map_or_else(Vec::new, |uid| set("runAsUser", uid)),
        "user.root-group" if finding.pointer == "/process/user/gid" => {
            number(&finding.allowed).map_or_else(Vec::new, |gid| set("runAsGroup", gid))
        }
        "user.root-group" => groups_kept(finding, workload),
        "process.nnp" if part.container.is_some() => set("allowPrivilegeEscalation", json!(false)),
        "root.readonly" if part.container.is_some() => set("readOnlyRootFilesystem", json!(true)),
        "process.apparmor" => gone(),
        "process.selinux" | "linux.mount-label" => {
            place.map(|place| Edit::Remove(place.field("type"))).into_iter().collect()
        }
        "linux.seccomp" if part.container.is_some() => set("seccompProfile", json!({"type": "RuntimeDefault"})),
        "linux.masked"
        | "linux.readonly"
        | "mount.sys"
        | "mount.cgroup"
        | "linux.devices"
        | "linux.devices.never"
        | "res.devices" => unprivileged(part),
        "mount.propagation" => match place {
            Some(place) if place.to_string().ends_with("mountPropagation") => gone(),
            _ => Vec::new(),
        },
        "mount.host-path" if finding.allowed == "ro" => read_only(finding, part),
        "linux.sysctl" => sysctl(finding, workload),
        "task.annotations" | "annotations" => gone(),
        "mount.token" => vec![Edit::Set(spec.field("automountServiceAccountToken"), json!(false))],
        "res.memory" | "res.cpu" => limit(finding, part),
        _ => Vec::new(),
    }
}

/// What makes a container privileged, or look so, is taken back.
fn unprivileged(part: &JudgedPart) -> Vec<Edit> {
    let Some(container) = &part.container else { return Vec::new() };
    let security = container.place.field("securityContext");
    let mut edits = Vec::new();
    if container.security.privileged {
        edits.push(Edit::Remove(security.field("privileged")));
    }
    for name in container.security.add.iter().filter(|name| name.eq_ignore_ascii_case("ALL")) {
        edits.push(Edit::Without(security.fields("capabilities.add"), json!(name)));
    }
    if container.security.masked.is_empty() {
        edits.push(Edit::Remove(security.field("procMount")));
    }
    edits
}

/// The capabilities that a rule would leave.
fn allowed_capabilities(finding: &Finding) -> Vec<String> {
    serde_json::from_str(&finding.allowed).unwrap_or_default()
}

fn capabilities_taken_back(finding: &Finding, part: &JudgedPart) -> Vec<Edit> {
    let Some(container) = &part.container else { return Vec::new() };
    let allowed = allowed_capabilities(finding);
    let add = container.place.fields("securityContext.capabilities.add");
    let beyond = container.security.add.iter().filter(|name| !allowed.contains(&full_name(name)));
    let mut edits: Vec<Edit> = beyond.map(|name| Edit::Without(add.clone(), json!(name))).collect();
    if container.security.privileged {
        edits.extend(unprivileged(part));
    }
    edits
}

fn capabilities_listed(finding: &Finding, part: &JudgedPart) -> Vec<Edit> {
    let Some(container) = &part.container else { return Vec::new() };
    let capabilities = container.place.fields("securityContext.capabilities");
    let kept: Vec<String> =
        allowed_capabilities(finding).iter().map(|name| name.trim_start_matches("CAP_").to_owned()).collect();
    let mut edits = vec![Edit::Set(capabilities.field("drop"), json!(["ALL"]))];
    edits.push(if kept.is_empty() {
        Edit::Remove(capabilities.field("add"))
    } else {
        Edit::Set(capabilities.field("add"), json!(kept))
    });
    edits
}

/// Groups of a volume and further ones, without those that the rule objects to.
fn groups_kept(finding: &Finding, workload: &Workload) -> Vec<Edit> {
    let kept: Vec<i64> = serde_json::from_str(&finding.allowed).unwrap_or_default();
    let Some(security) = &workload.spec.security_context else { return Vec::new() };
    let place = workload.spec_place.field("securityContext");
    let mut edits = Vec::new();
    if security.fs_group.is_some_and(|group| !kept.contains(&group)) {
        edits.push(Edit::Remove(place.field("fsGroup")));
    }
    for group in security.supplemental_groups.iter().filter(|group| !kept.contains(group)) {
        edits.push(Edit::Without(place.field("supplementalGroups"), json!(group)));
    }
    edits
}

fn read_only(finding: &Finding, part: &JudgedPart) -> Vec<Edit> {
    let index = finding.pointer.strip_prefix("/mounts/").and_then(|rest| rest.split('/').next()?.parse::<usize>().ok());
    let origin = index.and_then(|index| part.made.mounts.get(index)).map(|(origin, _)| origin);
    match (origin, &part.container) {
        (Some(super::cri::Origin::Volume { mount, .. }), Some(container)) => {
            vec![Edit::Set(container.place.field("volumeMounts").item(*mount, "").field("readOnly"), json!(true))]
        }
        _ => Vec::new(),
    }
}

fn sysctl(finding: &Finding, workload: &Workload) -> Vec<Edit> {
    let Some(name) = finding.pointer.strip_prefix("/linux/sysctl/") else { return Vec::new() };
    let name = name.replace("~1", "/").replace("~0", "~");
    let list = workload.spec_place.fields("securityContext.sysctls");
    vec![Edit::Without(list, json!({ "name": name }))]
}

/// A limit as the rule would have it: bytes of memory, or a quota in microseconds of a period of a tenth of a second.
fn limit(finding: &Finding, part: &JudgedPart) -> Vec<Edit> {
    let Some(container) = &part.container else { return Vec::new() };
    let limits = container.place.fields("resources.limits");
    let requests = container.place.fields("resources.requests");
    let Some(value) = finding.allowed.parse::<i64>().ok() else { return Vec::new() };
    match finding.pointer.as_str() {
        "/linux/resources/memory/limit" => {
            let text = json!(value.to_string());
            let mut edits = vec![Edit::Set(limits.field("memory"), text.clone())];
            // A request is at most the limit.
            edits.extend((container.requests_memory > value).then(|| Edit::Set(requests.field("memory"), text)));
            edits
        }
        "/linux/resources/cpu/quota" => vec![Edit::Set(limits.field("cpu"), json!(format!("{}m", value / 100)))],
        _ => Vec::new(),
    }
}

fn number(text: &str) -> Option<Value> {
    text.parse::<i64>().ok().map(Value::from)
}
