//! Environment variables, and the references to them in commands.

use super::{Assumptions, Seat};
use crate::kubernetes::pod::{FieldRef, ValueFrom, Variable};

/// What stands for a value that a Secret holds: no word of a language, so that the policy takes it for what it is.
const SECRET: &str = "qZ7pX2vK9mR4sL8wB3nY6cJ1";
/// What stands for a value that is no secret and that nobody knows here.
const UNKNOWN: &str = "unknown";

/// The variables in the kubelet's order. Those of services (`KUBERNETES_SERVICE_HOST` and its like) are left out.
pub(super) fn variables(seat: &Seat<'_>, assumptions: &mut Assumptions) -> Vec<(String, String)> {
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
    let mut known: Vec<(String, String)> = Vec::new();
    for variable in &container.env {
        let value = value(variable, seat, &known, assumptions);
        known.retain(|(name, _)| *name != variable.name);
        known.push((variable.name.clone(), value));
    }
    known
}

fn value(variable: &Variable, seat: &Seat<'_>, known: &[(String, String)], assumptions: &mut Assumptions) -> String {
    match &variable.value_from {
        None => expand(variable.value.as_deref().unwrap_or_default(), known),
        Some(from) => from_elsewhere(from, seat, assumptions),
    }
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

/// Kubernetes' `$(NAME)`: what is not known stays as it is, and `$$` is a dollar sign.
pub(super) fn expand(text: &str, known: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let after = from.get(1..).unwrap_or_default();
        if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            rest = escaped;
            continue;
        }
        match after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            Some((name, behind)) => {
                match known.iter().find(|(one, _)| one == name) {
                    Some((_, value)) => out.push_str(value),
                    None => out.push_str(&format!("$({name})")),
                }
                rest = behind;
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: Kubernetes `third_party/forked/golang/expansion/expand_test.go`.
    #[test]
    fn references_are_expanded_as_the_kubelet_does() {
        let known = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x y".to_owned())];
        for (text, wanted) in [
            ("$(A)-$(B)", "1-x y"),
            ("$(C)", "$(C)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$$$$", "$$"),
            ("ä$(A)ö", "ä1ö"),
        ] {
            assert_eq!(expand(text, &known), wanted, "{text}");
        }
    }
}
