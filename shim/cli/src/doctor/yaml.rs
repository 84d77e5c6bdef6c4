//! The part of YAML that a kubelet's configuration is written in: mappings by indentation, with plain values.

use std::collections::BTreeMap;

use serde_json::Value;

/// Values by their dotted path: `authentication.anonymous.enabled`.
pub(super) type Values = BTreeMap<String, String>;

/// Reads a document, JSON as well. What is not understood is an error, since a key could hide in it.
pub(super) fn read(text: &str) -> Result<Values, String> {
    let mut values = Values::new();
    if text.trim_start().starts_with('{') {
        let json: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        flatten("", &json, &mut values);
        return Ok(values);
    }
    let mut above: Vec<(usize, String)> = Vec::new();
    // Lines of a list or of a text of many lines, up to the next key that is no further in than theirs.
    let mut skipped: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        let body = without_comment(line);
        let trimmed = body.trim_start();
        let indent = body.len() - trimmed.len();
        if trimmed.trim_end().is_empty() || trimmed.starts_with("---") {
            continue;
        }
        if skipped.is_some_and(|at| indent > at) {
            continue;
        }
        skipped = None;
        if trimmed.starts_with('-') {
            skipped = Some(indent);
            continue;
        }
        let wrong = || format!("line {} is not understood", number + 1);
        if body.contains('\t') {
            return Err(wrong());
        }
        let (key, value) = trimmed.split_once(':').ok_or_else(wrong)?;
        let (key, value) = (unquoted(key), value.trim());
        while above.last().is_some_and(|(of, _)| *of >= indent) {
            above.pop();
        }
        let names: Vec<&str> = above.iter().map(|(_, name)| name.as_str()).chain([key]).collect();
        let path = names.join(".");
        if value.is_empty() {
            above.push((indent, key.to_owned()));
        } else if value.starts_with(['|', '>', '[']) || value == "{}" || (value.starts_with('{') && !is_sought(&path)) {
            skipped = Some(indent);
        } else if value.starts_with(['{', '&', '*', '!']) || key == "<<" {
            return Err(wrong());
        } else if values.insert(path, unquoted(value).to_owned()).is_some() {
            return Err(format!("line {} gives {key} twice", number + 1));
        }
    }
    Ok(values)
}

/// Whether a mapping that is not read could hold a key that checks go by.
fn is_sought(path: &str) -> bool {
    ["authentication", "authorization"].iter().any(|key| path.starts_with(key))
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

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    line.split_once(" #").map_or(line, |(before, _)| before)
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
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
        ] {
            assert_eq!(values.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert!(!values.contains_key("anonymous") && !values.contains_key("c"));
        let json = read(r#"{"authorization":{"mode":"AlwaysAllow"},"readOnlyPort":10255}"#).unwrap();
        assert_eq!(json["authorization.mode"], "AlwaysAllow");
        assert_eq!(json["readOnlyPort"], "10255");
    }

    #[test]
    fn what_could_hide_a_key_is_refused() {
        for text in [
            "authentication: {anonymous: {enabled: true}}",
            "authentication:\n  anonymous: {enabled: true}",
            "a: &x\n",
            "<<: *x",
            "words",
            "a: 1\na: 2",
            "\ta: 1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
