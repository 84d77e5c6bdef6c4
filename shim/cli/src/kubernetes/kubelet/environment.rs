//! Environment variables.

use std::collections::BTreeMap;

use super::expansion::Budget;
use super::{Assumptions, Seat};
use crate::kubernetes::objects::WrongField;
use crate::kubernetes::pod::{FieldRef, ValueFrom};

/// What stands for a value that a Secret holds: no word of a language, so that the policy takes it for what it is.
const SECRET: &str = "qZ7pX2vK9mR4sL8wB3nY6cJ1";
/// What stands for a value that is no secret and that nobody knows here.
const UNKNOWN: &str = "unknown";

/// The variables by their names. Those of services (`KUBERNETES_SERVICE_HOST` and its like) are left out.
pub(super) fn variables(
    seat: &Seat<'_>,
    assumptions: &mut Assumptions,
    budget: &mut Budget,
) -> Result<BTreeMap<String, String>, WrongField> {
    let container = seat.container;
    for source in &container.env_from {
        let (kind, object) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => ("ConfigMap", map.name.clone()),
            (None, Some(secret)) => ("Secret", secret.name.clone()),
            (None, None) => continue,
        };
        let object = object.unwrap_or_default();
        assumptions.add(format!("the variables that {kind} {object:?} holds (envFrom) are not known, and not judged"));
    }
    let mut known = BTreeMap::new();
    for (index, variable) in container.env.iter().enumerate() {
        let value = match &variable.value_from {
            None => {
                let place = seat.place().field("env").item(index, &variable.name).field("value");
                budget.expand(variable.value.as_deref().unwrap_or_default(), &known, &place)?
            }
            Some(from) => {
                let value = from_elsewhere(from, seat, assumptions);
                let place = seat.place().field("env").item(index, &variable.name).field("valueFrom");
                budget.take(value.len(), &place)?;
                value
            }
        };
        known.insert(variable.name.clone(), value);
    }
    Ok(known)
}

/// The variables as they are handed on: in the manifest's order, each where it stands last.
pub(super) fn ordered(seat: &Seat<'_>, mut known: BTreeMap<String, String>) -> Vec<(String, String)> {
    let names = seat.container.env.iter().rev().map(|variable| &variable.name);
    let mut all: Vec<(String, String)> = names.filter_map(|name| known.remove_entry(name)).collect();
    all.reverse();
    all
}

fn from_elsewhere(from: &ValueFrom, seat: &Seat<'_>, assumptions: &mut Assumptions) -> String {
    if let Some(field) = &from.field_ref {
        return downward(field, seat);
    }
    if let Some(secret) = &from.secret_key_ref {
        assumptions.add(format!(
            "key {:?} of Secret {:?} is a secret; its value is not known",
            secret.key,
            secret.name.as_deref().unwrap_or_default()
        ));
        return SECRET.to_owned();
    }
    if let Some(map) = &from.config_map_key_ref {
        assumptions.add(format!(
            "key {:?} of ConfigMap {:?} is an ordinary value, not known",
            map.key,
            map.name.as_deref().unwrap_or_default()
        ));
    }
    UNKNOWN.to_owned()
}

/// The downward API: what a pod is told of itself.
fn downward(field: &FieldRef, seat: &Seat<'_>) -> String {
    let workload = seat.workload;
    let of_map = |beginning: &str| field.field_path.strip_prefix(beginning)?.strip_suffix("']");
    if let Some(name) = of_map("metadata.labels['") {
        return workload.metadata.labels.get(name).cloned().unwrap_or_default();
    }
    if let Some(name) = of_map("metadata.annotations['") {
        return workload.metadata.annotations.get(name).cloned().unwrap_or_default();
    }
    match field.field_path.as_str() {
        "metadata.name" => workload.pod_name.clone(),
        "metadata.namespace" => workload.namespace.clone().unwrap_or_else(|| seat.around.namespace.clone()),
        "metadata.uid" => super::POD_UID.to_owned(),
        "spec.nodeName" => seat.around.node.hostname.clone(),
        "spec.serviceAccountName" => workload.spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
        "status.podIP" | "status.podIPs" => "10.0.0.10".to_owned(),
        "status.hostIP" | "status.hostIPs" => "192.0.2.1".to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}
