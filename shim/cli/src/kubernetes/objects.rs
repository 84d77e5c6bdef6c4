//! Which objects make pods, and the pods that they make.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::demands;
use super::place::Place;
use super::pod::{Metadata, PodSpec, PodTemplate};

/// What the model does not go by.
type Unread = Option<Value>;

/// An object that makes pods.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    /// Where the pod's specification is in it.
    pub(super) spec_place: Place,
    /// Where the pod's metadata is in it.
    pub(super) metadata_place: Place,
    pub(super) metadata: Metadata,
    pub(super) spec: PodSpec,
    /// Names of volumes that a StatefulSet claims for each pod.
    pub(super) claimed: Vec<String>,
    /// The name that a pod of it would have.
    pub(super) pod_name: String,
}

/// What a document is.
#[derive(Debug)]
pub(crate) enum Object {
    Makes(Box<Workload>),
    /// It makes no pods, or nobody here knows: its kind and name.
    Other {
        kind: String,
        name: String,
    },
    /// Its `items` are the objects.
    List,
}

/// A kind: its API groups, where its pod's template is, and what its pods are called after its name.
struct Kind {
    name: &'static str,
    groups: &'static [&'static str],
    template: &'static str,
    suffix: &'static str,
    check: fn(&Value) -> Result<(), WrongField>,
}

/// Names end as the controllers make them: five characters at random, a hash of the template, the ordinal, the minute.
const KINDS: &[Kind] = &[
    Kind { name: "Pod", groups: &[""], template: "", suffix: "", check: checked::<Whole<Value>> },
    Kind { name: "PodTemplate", groups: &[""], template: "template", suffix: "", check: checked::<Template> },
    Kind {
        name: "ReplicationController",
        groups: &[""],
        template: "spec.template",
        suffix: "-x7k2p",
        check: checked::<Whole<Controller>>,
    },
    Kind {
        name: "Deployment",
        groups: &["apps", "extensions"],
        template: "spec.template",
        suffix: "-5d4f8c7b9d-x7k2p",
        check: checked::<Whole<Deployment>>,
    },
    Kind {
        name: "ReplicaSet",
        groups: &["apps", "extensions"],
        template: "spec.template",
        suffix: "-x7k2p",
        check: checked::<Whole<Controller>>,
    },
    Kind {
        name: "StatefulSet",
        groups: &["apps"],
        template: "spec.template",
        suffix: "-0",
        check: checked::<Whole<StatefulSet>>,
    },
    Kind {
        name: "DaemonSet",
        groups: &["apps", "extensions"],
        template: "spec.template",
        suffix: "-x7k2p",
        check: checked::<Whole<DaemonSet>>,
    },
    Kind { name: "Job", groups: &["batch"], template: "spec.template", suffix: "-x7k2p", check: checked::<Whole<Job>> },
    Kind {
        name: "CronJob",
        groups: &["batch"],
        template: "spec.jobTemplate.spec.template",
        suffix: "-29450880-x7k2p",
        check: checked::<Whole<CronJob>>,
    },
];

/// A field that is unknown, or holds what it cannot.
#[derive(Debug)]
pub(crate) struct WrongField {
    pub(crate) path: String,
    /// The same as a JSON pointer.
    pub(crate) pointer: String,
    pub(crate) reason: String,
}

/// Reads a document; `Err` names the field that is wrong.
pub(crate) fn read(value: &Value) -> Result<Object, WrongField> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (api, kind) = (text("/apiVersion"), text("/kind"));
    if api.is_empty() || kind.is_empty() {
        return Err(WrongField {
            path: String::new(),
            pointer: String::new(),
            reason: "no Kubernetes object: apiVersion and kind are missing".to_owned(),
        });
    }
    let group = api.rsplit_once('/').map_or("", |(group, _)| group);
    // kubectl's own list, and those that the API server answers with (PodList).
    if kind.ends_with("List") && value.get("items").is_some_and(Value::is_array) {
        return Ok(Object::List);
    }
    let Some(known) = KINDS.iter().find(|known| known.name == kind && known.groups.contains(&group)) else {
        return Ok(Object::Other { kind: kind.to_owned(), name: text("/metadata/name").to_owned() });
    };
    let value = without_nulls(value);
    (known.check)(&value)?;
    workload(known, &value).map(|workload| Object::Makes(Box::new(workload)))
}

fn workload(known: &Kind, value: &Value) -> Result<Workload, WrongField> {
    let template_place = Place::of(known.template);
    let spec_place = template_place.field("spec");
    let metadata_place = template_place.field("metadata");
    let own: Metadata = at(value, &Place::of("metadata"))?;
    let metadata: Metadata = at(value, &metadata_place)?;
    let spec: PodSpec = at(value, &spec_place)?;
    let name = own.name.clone().or_else(|| own.generate_name.as_ref().map(|prefix| format!("{prefix}x7k2p")));
    let name = name.unwrap_or_else(|| "unnamed".to_owned());
    let claims = value.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    let claimed = claims.into_iter().flatten().filter_map(|claim| claim.pointer("/metadata/name")?.as_str());
    let claimed: Vec<String> = claimed.map(str::to_owned).collect();
    demands::meets(&spec, &spec_place, &claimed)?;
    Ok(Workload {
        kind: known.name.to_owned(),
        pod_name: format!("{name}{}", known.suffix),
        name,
        namespace: own.namespace.clone(),
        claimed,
        spec_place,
        metadata_place,
        metadata,
        spec,
    })
}

fn at<T: DeserializeOwned + Default>(value: &Value, place: &Place) -> Result<T, WrongField> {
    let Some(part) = value.pointer(&place.pointer()) else { return Ok(T::default()) };
    typed(part, &place.to_string())
}

fn typed<T: DeserializeOwned>(value: &Value, above: &str) -> Result<T, WrongField> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = match (above, inner.as_str()) {
            (above, ".") => above.to_owned(),
            ("", inner) => inner.to_owned(),
            (above, inner) => format!("{above}.{inner}"),
        };
        let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
        WrongField { path, pointer, reason: error.into_inner().to_string() }
    })
}

fn checked<T: DeserializeOwned>(value: &Value) -> Result<(), WrongField> {
    typed::<T>(value, "").map(drop)
}

/// Kubernetes takes null for a field that is not there.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "read to know every key")]
struct Whole<S> {
    api_version: String,
    kind: String,
    metadata: Option<Value>,
    spec: S,
    status: Unread,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "read to know every key")]
struct Template {
    api_version: String,
    kind: String,
    metadata: Option<Value>,
    template: PodTemplate,
}

/// A specification of which all but the template is only known by name.
macro_rules! known_fields {
    ($name:ident: $($field:ident),+) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        #[allow(dead_code, reason = "read to know every key")]
        struct $name { template: PodTemplate, $($field: Unread),+ }
    };
}

known_fields!(Controller: replicas, selector, min_ready_seconds);
known_fields!(Deployment: replicas, selector, strategy, min_ready_seconds, revision_history_limit, paused, progress_deadline_seconds);
known_fields!(StatefulSet: replicas, selector, service_name, volume_claim_templates, pod_management_policy, update_strategy, revision_history_limit,
    min_ready_seconds, persistent_volume_claim_retention_policy, ordinals);
known_fields!(DaemonSet: selector, update_strategy, min_ready_seconds, revision_history_limit);
known_fields!(Job: parallelism, completions, active_deadline_seconds, pod_failure_policy, success_policy, backoff_limit, backoff_limit_per_index,
    max_failed_indexes, selector, manual_selector, ttl_seconds_after_finished, completion_mode, suspend, pod_replacement_policy, managed_by);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "read to know every key")]
struct CronJob {
    job_template: JobTemplate,
    schedule: Unread,
    time_zone: Unread,
    starting_deadline_seconds: Unread,
    concurrency_policy: Unread,
    suspend: Unread,
    successful_jobs_history_limit: Unread,
    failed_jobs_history_limit: Unread,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "read to know every key")]
struct JobTemplate {
    metadata: Unread,
    spec: Job,
}
