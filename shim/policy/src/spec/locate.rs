//! Finding the place of a value that the typed document could not take.
//!
//! serde_json does not say where a typed error arose, so the sections are tried one by one; this runs
//! for a refused document only.

use oci_spec::runtime as oci;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::pointer;
use crate::spec::SpecError;

/// A document kind: where it stands in a specification, and its sections from the inside out.
#[derive(Clone, Copy)]
pub(crate) struct Sections {
    /// JSON pointer of the document within a whole specification.
    pub(crate) base: &'static str,
    parts: &'static [(&'static str, Try)],
}

type Try = fn(&Value) -> Option<serde_json::Error>;

/// A whole config.json.
pub(super) const SPEC: Sections = Sections {
    base: "",
    parts: &[
        ("/process/user", try_one::<oci::User>),
        ("/process/capabilities", try_one::<oci::LinuxCapabilities>),
        ("/process/rlimits/*", try_one::<oci::PosixRlimit>),
        ("/process/scheduler", try_one::<oci::Scheduler>),
        ("/process/ioPriority", try_one::<oci::LinuxIOPriority>),
        ("/process", try_one::<oci::Process>),
        ("/root", try_one::<oci::Root>),
        ("/mounts/*", try_one::<oci::Mount>),
        ("/hooks", try_one::<oci::Hooks>),
        ("/linux/namespaces/*", try_one::<oci::LinuxNamespace>),
        ("/linux/devices/*", try_one::<oci::LinuxDevice>),
        ("/linux/uidMappings/*", try_one::<oci::LinuxIdMapping>),
        ("/linux/gidMappings/*", try_one::<oci::LinuxIdMapping>),
        ("/linux/resources/devices/*", try_one::<oci::LinuxDeviceCgroup>),
        ("/linux/resources/memory", try_one::<oci::LinuxMemory>),
        ("/linux/resources/cpu", try_one::<oci::LinuxCpu>),
        ("/linux/resources/pids", try_one::<oci::LinuxPids>),
        ("/linux/resources", try_one::<oci::LinuxResources>),
        ("/linux/seccomp/syscalls/*", try_one::<oci::LinuxSyscall>),
        ("/linux/seccomp", try_one::<oci::LinuxSeccomp>),
        ("/linux", try_one::<oci::Linux>),
    ],
};

/// The process of an exec request.
pub(crate) const PROCESS: Sections = Sections {
    base: "/process",
    parts: &[
        ("/user", try_one::<oci::User>),
        ("/capabilities", try_one::<oci::LinuxCapabilities>),
        ("/rlimits/*", try_one::<oci::PosixRlimit>),
        ("/scheduler", try_one::<oci::Scheduler>),
        ("/ioPriority", try_one::<oci::LinuxIOPriority>),
    ],
};

/// The resources of an update request.
pub(crate) const RESOURCES: Sections = Sections {
    base: "/linux/resources",
    parts: &[
        ("/devices/*", try_one::<oci::LinuxDeviceCgroup>),
        ("/memory", try_one::<oci::LinuxMemory>),
        ("/cpu", try_one::<oci::LinuxCpu>),
        ("/pids", try_one::<oci::LinuxPids>),
    ],
};

/// `source`, with the innermost section that shows an error of its own.
pub(super) fn error(document: &Value, sections: Sections, source: serde_json::Error) -> SpecError {
    let found = sections.parts.iter().find_map(|(part, attempt)| {
        places(document, part).into_iter().find_map(|(place, value)| Some((place, attempt(value)?)))
    });
    match found {
        Some((place, source)) => SpecError::Value { pointer: format!("{}{place}", sections.base), source },
        None => SpecError::Value { pointer: sections.base.to_owned(), source },
    }
}

/// The values that `part` names; a trailing `/*` stands for every entry of a list.
fn places<'a>(document: &'a Value, part: &str) -> Vec<(String, &'a Value)> {
    let Some(list) = part.strip_suffix("/*") else {
        let value = document.pointer(part).filter(|value| !value.is_null());
        return value.map(|value| (part.to_owned(), value)).into_iter().collect();
    };
    let entries = document.pointer(list).and_then(Value::as_array).map(Vec::as_slice);
    let numbered = entries.unwrap_or_default().iter().enumerate();
    numbered.map(|(i, value)| (pointer::index(list, i), value)).collect()
}

fn try_one<T: DeserializeOwned>(value: &Value) -> Option<serde_json::Error> {
    T::deserialize(value).err()
}
