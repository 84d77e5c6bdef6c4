//! JSON text that is the same for the same document.

use std::collections::BTreeMap;

use std::path::PathBuf;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    LinuxSyscall, Spec,
};
use serde::Serialize;
use serde_json::Value;

/// The text of a document: object keys and capabilities sorted. `capabilities` is the JSON pointer of the latter.
pub(crate) fn canonical<T: Serialize>(document: &T, capabilities: &str) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&sorted(document, capabilities)?)
}

/// The text of a specification with this system call profile, which is most of the document and is written without being
/// copied first.
pub(crate) fn with_profile(spec: &Spec, profile: Option<&LinuxSeccomp>) -> Result<Vec<u8>, serde_json::Error> {
    let document = sorted(spec, "/process/capabilities")?;
    let Some(profile) = profile else { return serde_json::to_vec(&document) };
    let mut linux = parts(document.get("linux"));
    linux.insert("seccomp", Part::Profile(Profile::of(profile)));
    let mut sections = parts(Some(&document));
    sections.insert("linux", Part::Section(linux));
    serde_json::to_vec(&sections)
}

#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    Value(&'a Value),
    Section(BTreeMap<&'a str, Part<'a>>),
    Profile(Profile<'a>),
}

/// A profile with its keys sorted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    architectures: Option<&'a [Arch]>,
    default_action: LinuxSeccompAction,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_errno_ret: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<&'a [LinuxSeccompFilterFlag]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener_metadata: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener_path: Option<&'a PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syscalls: Option<Vec<Entry<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    action: LinuxSeccompAction,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Vec<Condition>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u32>,
    names: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    index: usize,
    op: LinuxSeccompOperator,
    value: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_two: Option<u64>,
}

impl<'a> Profile<'a> {
    fn of(profile: &'a LinuxSeccomp) -> Self {
        Self {
            architectures: profile.architectures().as_deref(),
            default_action: profile.default_action(),
            default_errno_ret: profile.default_errno_ret(),
            flags: profile.flags().as_deref(),
            listener_metadata: profile.listener_metadata().as_deref(),
            listener_path: profile.listener_path().as_ref(),
            syscalls: profile.syscalls().as_ref().map(|entries| entries.iter().map(Entry::of).collect()),
        }
    }
}

impl<'a> Entry<'a> {
    fn of(entry: &'a LinuxSyscall) -> Self {
        Self {
            action: entry.action(),
            args: entry.args().as_ref().map(|args| args.iter().map(Condition::of).collect()),
            errno_ret: entry.errno_ret(),
            names: entry.names(),
        }
    }
}

impl Condition {
    fn of(arg: &LinuxSeccompArg) -> Self {
        Self { index: arg.index(), op: arg.op(), value: arg.value(), value_two: arg.value_two() }
    }
}

fn parts(section: Option<&Value>) -> BTreeMap<&str, Part<'_>> {
    let parts = section.and_then(Value::as_object).into_iter().flatten();
    parts.map(|(name, value)| (name.as_str(), Part::Value(value))).collect()
}

fn sorted<T: Serialize>(document: &T, capabilities: &str) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(document)?;
    if let Some(Value::Object(sets)) = value.pointer_mut(capabilities) {
        for list in sets.values_mut().filter_map(Value::as_array_mut) {
            list.sort_unstable_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that a profile can say. That oci-spec knows no other key is what the field ledger tests.
    const PROFILE: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/run/agent", "listenerMetadata": "m",
        "syscalls": [
            { "names": ["read", "write"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97, "args": [
                { "index": 0, "value": 18446744073709551615, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ" },
                { "index": 1, "value": 2, "op": "SCMP_CMP_EQ" }] }] }"#;

    #[test]
    fn a_profile_is_written_as_the_rest_of_the_document_is() {
        for profile in [PROFILE, r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#] {
            let profile: LinuxSeccomp = serde_json::from_str(profile).unwrap();
            let mut spec = Spec::default();
            let bare = canonical(&spec, "/process/capabilities").unwrap();
            spec.linux_mut().as_mut().unwrap().set_seccomp(Some(profile.clone()));
            let whole = canonical(&spec, "/process/capabilities").unwrap();
            spec.linux_mut().as_mut().unwrap().set_seccomp(None);
            assert_eq!(with_profile(&spec, None).unwrap(), bare);
            assert_eq!(
                String::from_utf8(with_profile(&spec, Some(&profile)).unwrap()).unwrap(),
                String::from_utf8(whole).unwrap()
            );
        }
    }
}
