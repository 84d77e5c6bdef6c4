//! A kubelet's configuration as values by their paths.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::yaml::documents;

/// Values by their dotted path: `authentication.anonymous.enabled`.
pub(super) type Values = BTreeMap<String, String>;

/// Reads a document, JSON as well; lists hold nothing that checks go by. What is not understood is an error, since a key could hide in it.
pub(super) fn read(text: &str) -> Result<Values, String> {
    let mut all = documents(text).map_err(|error| error.to_string())?;
    let mut values = Values::new();
    match (all.pop(), all.is_empty()) {
        (None, _) => Ok(values),
        (Some(document), true) if document.value.is_object() => {
            flatten("", &document.value, &mut values);
            Ok(values)
        }
        (Some(_), true) => Err("it is no mapping".to_owned()),
        (Some(_), false) => Err("it has more than one document".to_owned()),
    }
}

fn flatten(prefix: &str, value: &Value, into: &mut Values) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&path, value, into);
            }
        }
        Value::String(text) => drop(into.insert(prefix.to_owned(), text.clone())),
        Value::Bool(_) | Value::Number(_) => drop(into.insert(prefix.to_owned(), value.to_string())),
        Value::Array(_) | Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBEADM: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nauthentication:\n  anonymous:\n    enabled: false # no\n  \
        webhook:\n    cacheTTL: 0s\n    enabled: true\n  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\nauthorization:\n  \
        mode: \"Webhook\"\nclusterDNS:\n- 10.96.0.10\n- a: b\n  c: d\nkind: KubeletConfiguration\nlogging:\n  flushFrequency: 0\n  \
        options:\n    json:\n      infoBufferSize: \"0\"\n  verbosity: 0\nmemorySwap: {}\nreadOnlyPort: 0\nfeatureGates: {A: true,\n  anonymous: true}\ntext: |\n  anonymous: true\n";

    #[test]
    fn a_kubelets_file_is_read() {
        let values = read(KUBEADM).unwrap();
        for (key, value) in [
            ("authentication.anonymous.enabled", "false"),
            ("authentication.x509.clientCAFile", "/etc/kubernetes/pki/ca.crt"),
            ("authorization.mode", "Webhook"),
            ("logging.verbosity", "0"),
            ("readOnlyPort", "0"),
            ("featureGates.anonymous", "true"),
        ] {
            assert_eq!(values.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert!(!values.contains_key("anonymous") && !values.contains_key("c"));
        let json = read(r#"{"authorization":{"mode":"AlwaysAllow"},"readOnlyPort":10255}"#).unwrap();
        assert_eq!(json["authorization.mode"], "AlwaysAllow");
        assert_eq!(json["readOnlyPort"], "10255");
    }

    /// The kubelet reads these as other forms of the same, so the doctor does.
    #[test]
    fn every_way_of_writing_a_key_is_read() {
        for text in [
            "authentication: {anonymous: {enabled: true}}",
            "authentication:\n  anonymous: {enabled: yes}",
            "x: &x {enabled: true}\nauthentication: {anonymous: *x}",
            "x: &x {anonymous: {enabled: true}}\nauthentication:\n  <<: *x",
            "\"authentication\":\n  ? anonymous\n  : enabled: True",
        ] {
            assert_eq!(
                read(text).unwrap().get("authentication.anonymous.enabled").map(String::as_str),
                Some("true"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_could_hide_a_key_is_refused() {
        for text in ["words", "a: 1\na: 2", "a: 1\n---\na: 2", "a: !x 1", "a: *x"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("# nothing\n").unwrap(), Values::new());
    }
}
