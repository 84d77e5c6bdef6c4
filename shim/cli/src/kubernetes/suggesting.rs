//! The smallest change of a manifest that passes.
//!
//! Each refusal has mends that are honest: what the workload asked for is taken back, or what the policy demands is said. They are made, the
//! manifest is judged anew, until nothing more helps; then each change is taken back that was not needed after all. What has no mend (a path of the
//! host, a device) is told as it is.

use std::collections::BTreeSet;

use palisade_policy::{Finding, Policy};
use serde_json::{Value, json};

use super::containerd::{full_name, is_known};
use super::edit::Edit;
use super::judging::{JudgedPart, JudgedPod, judge};
use super::kubelet::Surroundings;
use super::objects::{self, Object, Workload};

/// How often a manifest is judged anew after changes; each round has to mend something.
const ROUNDS: usize = 8;

/// The most judgements of containers that looking for changes that are not needed may take.
const TRIALS: usize = 4000;

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
    /// Empty for the sandbox.
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
    let refusals = |object: &Value| judged(object).map(|(_, pod)| keys(&pod));
    let kept = refusals(&changed).unwrap_or_default();
    // Each change is there for a refusal; that none is too many is looked at where that takes no more than seconds. One that was needed
    // beside another may not be without it, so it is looked at again until nothing more can go.
    let (mut at, mut needed) = (0, 0);
    while needed < edits.len() && edits.len() * containers(object) <= TRIALS {
        let fewer: Vec<Edit> =
            edits.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, edit)| edit.clone()).collect();
        // A refusal can hide others, so it is not their number that counts.
        if refusals(&applied(object, &fewer)).is_some_and(|found| found.is_subset(&kept)) {
            edits = fewer;
            needed = 0;
        } else {
            at += 1;
            needed += 1;
        }
        if at >= edits.len() {
            at = 0;
        }
    }
    let changed = applied(object, &edits);
    let left = judged(&changed).map(|(_, pod)| left(&pod)).unwrap_or_default();
    let patch = json!(json_patch::diff(object, &changed));
    Suggestion { edits, patch, left }
}

fn judged(object: &Value, around: &Surroundings, policy: &Policy) -> Option<(Workload, JudgedPod)> {
    match objects::read(object).ok()? {
        Object::Makes(workload) => {
            let pod = judge(&workload, around, policy).ok()?;
            Some((*workload, pod))
        }
        Object::Other { .. } | Object::List => None,
    }
}

/// How many containers an object has, and its sandbox.
fn containers(object: &Value) -> usize {
    match objects::read(object) {
        Ok(Object::Makes(workload)) => super::kubelet::parts(&workload.spec).count() + 1,
        Ok(Object::Other { .. } | Object::List) | Err(_) => 1,
    }
}

fn applied(object: &Value, edits: &[Edit]) -> Value {
    let mut changed = object.clone();
    for edit in edits {
        edit.apply(&mut changed);
    }
    changed
}

/// The refusals of a pod: container, rule and place.
fn keys(pod: &JudgedPod) -> BTreeSet<(String, String, String)> {
    left(pod).into_iter().map(|one| (one.container, one.finding.rule.to_string(), one.finding.pointer)).collect()
}

fn left(pod: &JudgedPod) -> Vec<Left> {
    let of_part = |part: &JudgedPart| {
        let each = part.refusals().map(|(finding, place)| Left {
            container: part.container.as_ref().map(|container| container.name.clone()).unwrap_or_default(),
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
        "spec.strict" if finding.pointer.starts_with("/process/capabilities") => unknown_capabilities(part),
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
        // Root of a user namespace in a directory of the host.
        "linux.userns" if finding.allowed.starts_with("ro") => read_only(finding, part),
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

/// Names that the kernel does not have.
fn unknown_capabilities(part: &JudgedPart) -> Vec<Edit> {
    let Some(container) = &part.container else { return Vec::new() };
    let add = container.place.fields("securityContext.capabilities.add");
    let unknown = container.security.add.iter().filter(|name| !is_known(name));
    unknown.map(|name| Edit::Without(add.clone(), json!(name))).collect()
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

/// A limit as the rule would have it, and a request that is no more than it.
fn limit(finding: &Finding, part: &JudgedPart) -> Vec<Edit> {
    let (Some(container), Ok(settled)) = (&part.container, serde_json::from_str::<Value>(&finding.allowed)) else {
        return Vec::new();
    };
    let number = |key: &str| settled.get(key).and_then(Value::as_i64).filter(|value| *value > 0);
    let resources = container.place.field("resources");
    let (name, text, lower) = match (finding.pointer.as_str(), number("limit"), number("quota"), number("period")) {
        ("/linux/resources/memory", Some(bytes), ..) => {
            ("memory", bytes.to_string(), container.requests_memory > bytes)
        }
        ("/linux/resources/cpu", _, Some(quota), Some(period)) => {
            let millis = quota.saturating_mul(1000) / period;
            ("cpu", format!("{millis}m"), container.requests_cpu > millis)
        }
        _ => return Vec::new(),
    };
    let mut edits = vec![Edit::Set(resources.field("limits").field(name), json!(text))];
    edits.extend(lower.then(|| Edit::Set(resources.field("requests").field(name), json!(text))));
    vec![Edit::All(edits)]
}

fn number(text: &str) -> Option<Value> {
    text.parse::<i64>().ok().map(Value::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;
    use crate::kubernetes::cdi::Plugins;
    use crate::kubernetes::image::Images;
    use crate::kubernetes::node::Node;

    /// Rules whose refusals have no honest mend: paths, devices and programs are what the workload is about.
    const WITHOUT_MEND: &[&str] = &[
        "mount.host-path",
        "mount.deny-always",
        "mount.dest",
        "linux.devices",
        "linux.devices.never",
        "process.cwd",
        "process.args",
        "user.range",
        "secret.env",
    ];

    /// Nothing is changed, all is refused: what can be mended by a manifest has to be.
    const STRICT: &str = r#"
        profile = "strict"
        [[select]]
        sandbox = true
        profile = "baseline"
        [profiles.strict]
        extends = "restricted@1"
        [profiles.strict.rules]
        "user.non-root" = { action = "deny" }
        "user.root-group" = { action = "deny" }
        "caps.allow-list" = { action = "deny" }
        "process.nnp" = { action = "deny" }
        "root.readonly" = { action = "deny" }
        "mount.token" = { action = "deny" }
        "res.memory" = { action = "deny" }
        "res.cpu" = { action = "deny" }
        "linux.masked" = { action = "deny" }
        "linux.readonly" = { action = "deny" }
        "mount.sys" = { action = "deny" }
    "#;

    const POLICIES: &[&str] = &[
        "",
        "profile = \"baseline\"",
        STRICT,
        "[profiles.restricted.rules.\"mount.host-path\"]\nallow = [\"/models:ro\"]\n",
    ];

    fn around() -> Surroundings {
        Surroundings {
            node: Node::with(&["pod-annotations=palisade.io/*".to_owned()]).unwrap(),
            images: Images::default(),
            plugins: Plugins::default(),
            namespace: "default".to_owned(),
        }
    }

    fn capabilities() -> impl Strategy<Value = Vec<&'static str>> {
        subsequence(
            vec!["ALL", "SYS_ADMIN", "CAP_NET_ADMIN", "CHOWN", "NET_BIND_SERVICE", "sys_ptrace", "KILL", "FOO"],
            0..4,
        )
    }

    fn security() -> impl Strategy<Value = Value> {
        let uid = select(vec![json!(null), json!(0), json!(1000)]);
        let flag = || select(vec![json!(null), json!(true), json!(false)]);
        let apparmor = select(vec![
            json!(null),
            json!({"type": "Localhost", "localhostProfile": "unconfined"}),
            json!({"type": "RuntimeDefault"}),
        ]);
        let linux = select(vec![json!(null), json!({"type": "spc_t"}), json!({"level": "s0:c1,c2"})]);
        let paths = select(vec![json!(null), json!("Unmasked"), json!("Default")]);
        let seccomp = select(vec![json!(null), json!({"type": "RuntimeDefault"}), json!({"type": "Unconfined"})]);
        (capabilities(), capabilities(), uid, flag(), flag(), apparmor, linux, paths, seccomp, flag()).prop_map(
            |(add, drop, uid, privileged, escalation, apparmor, linux, paths, seccomp, readonly)| {
                json!({"capabilities": {"add": add, "drop": drop}, "runAsUser": uid, "runAsGroup": uid, "privileged": privileged,
                    "allowPrivilegeEscalation": escalation, "appArmorProfile": apparmor, "seLinuxOptions": linux, "procMount": paths,
                    "seccompProfile": seccomp, "readOnlyRootFilesystem": readonly})
            },
        )
    }

    fn container(name: &'static str) -> impl Strategy<Value = Value> {
        let mounts = subsequence(
            vec![
                json!({"name": "etc", "mountPath": "/mnt/etc"}),
                json!({"name": "srv", "mountPath": "/mnt/srv", "mountPropagation": "Bidirectional"}),
                json!({"name": "scratch", "mountPath": "/scratch", "subPath": "a", "mountPropagation": "HostToContainer"}),
                json!({"name": "models", "mountPath": "/models"}),
                json!({"name": "scratch", "mountPath": "/proc/x"}),
            ],
            0..4,
        );
        let resources = select(vec![
            json!(null),
            json!({"limits": {"memory": "128Gi", "cpu": 64}}),
            json!({"limits": {"memory": "1Gi", "cpu": "500m"}, "requests": {"memory": "512Mi"}}),
            json!({"requests": {"memory": "100Gi", "cpu": 12}}),
        ]);
        let directory = select(vec![json!(null), json!("/app"), json!("/proc/1/root")]);
        (security(), mounts, resources, directory).prop_map(move |(security, mounts, resources, directory)| {
            json!({"name": name, "image": "i", "securityContext": security, "volumeMounts": mounts, "resources": resources,
                "workingDir": directory})
        })
    }

    fn pod() -> impl Strategy<Value = Value> {
        let flag = || select(vec![json!(null), json!(true)]);
        let pod_security = (
            select(vec![json!(null), json!(0), json!(1001)]),
            subsequence(vec![0, 6, 42, 2000], 0..3),
            select(vec![json!(null), json!(0), json!(2000)]),
            subsequence(
                vec![
                    json!({"name": "kernel.msgmax", "value": "1"}),
                    json!({"name": "net.ipv4.tcp_syncookies", "value": "1"}),
                    json!({"name": "net.core.somaxconn", "value": "x"}),
                ],
                0..3,
            ),
        );
        let asked = select(vec![json!(null), json!("privileged"), json!("restricted"), json!("none")]);
        let users = select(vec![json!(null), json!(false)]);
        (container("a"), container("b"), flag(), flag(), flag(), flag(), users, pod_security, asked).prop_map(
            |(a, b, network, pid, ipc, share, users, (user, groups, volume_group, sysctls), asked)| {
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": {"palisade.io/profile": asked}},
                    "spec": {"containers": [a], "initContainers": [b], "hostNetwork": network, "hostPID": pid, "hostIPC": ipc,
                    "shareProcessNamespace": share, "hostUsers": users,
                    "securityContext": {"runAsUser": user, "supplementalGroups": groups, "fsGroup": volume_group, "sysctls": sysctls},
                    "volumes": [{"name": "etc", "hostPath": {"path": "/etc"}}, {"name": "srv", "hostPath": {"path": "/srv"}},
                        {"name": "scratch", "emptyDir": {}}, {"name": "models", "hostPath": {"path": "/models"}}]}})
            },
        )
    }

    /// The patch is applied by another hand than made it; then nothing is refused but what has no mend, and each change was needed.
    fn holds(object: &Value, policy: &Policy) {
        let around = around();
        let suggestion = suggest(object, &around, policy);
        let mut mended = object.clone();
        let patch: json_patch::Patch = serde_json::from_value(suggestion.patch.clone()).unwrap();
        json_patch::patch(&mut mended, &patch).unwrap();
        let (_, pod) = judged(&mended, &around, policy).unwrap();
        let kept = keys(&pod);
        assert_eq!(left(&pod).len(), suggestion.left.len(), "{}", suggestion.patch);
        for left in &suggestion.left {
            assert!(WITHOUT_MEND.contains(&left.finding.rule.as_str()), "{left:#?} in {mended}");
        }
        assert!(!suggestion.left.is_empty() || !pod.is_refused(), "{mended}");
        for at in 0..suggestion.edits.len() {
            let fewer: Vec<Edit> =
                suggestion.edits.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, edit)| edit.clone()).collect();
            let (_, pod) = judged(&applied(object, &fewer), &around, policy).unwrap();
            assert!(!keys(&pod).is_subset(&kept), "{:?} was not needed", suggestion.edits.get(at));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_mended_manifest_passes_and_no_change_is_too_many(object in pod(), policy in select(POLICIES)) {
            holds(&object, &Policy::from_toml(policy).unwrap());
        }
    }

    #[test]
    fn a_request_is_lowered_with_its_limit() {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i",
            "resources": {"requests": {"memory": "100Gi", "cpu": 12}, "limits": {"memory": "100Gi", "cpu": 16}}}]}});
        let suggestion = suggest(&object, &around(), &Policy::from_toml(STRICT).unwrap());
        let mut mended = object;
        json_patch::patch(&mut mended, &serde_json::from_value::<json_patch::Patch>(suggestion.patch).unwrap())
            .unwrap();
        let resources = mended.pointer("/spec/containers/0/resources").unwrap();
        let bytes = (64_u64 << 30).to_string();
        let wanted =
            json!({"requests": {"memory": bytes, "cpu": "8000m"}, "limits": {"memory": bytes, "cpu": "8000m"}});
        assert_eq!(*resources, wanted);
    }

    #[test]
    fn a_manifest_that_passes_is_left_alone() {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let suggestion = suggest(&object, &around(), &Policy::from_toml("").unwrap());
        assert_eq!(suggestion.patch, json!([]));
        assert!(suggestion.edits.is_empty() && suggestion.left.is_empty());
    }
}
