//! The typed document must carry everything of the raw one, unchanged.
//!
//! oci-spec drops keys that it does not model, and reads `sys_admin` and `CAP_CAP_SYS_ADMIN` alike as
//! CAP_SYS_ADMIN, which runc reads as an unknown name. Comparing what came in with what the type writes
//! back finds both, and whatever else is read loosely.

use serde_json::Value;

use crate::pointer;
use crate::spec::SpecError;

/// Sections of other platforms, which the type would carry on. The two mapping lists never were part of
/// the specification at that place.
const FOREIGN: &[&str] = &[
    "/windows",
    "/solaris",
    "/vm",
    "/zos",
    "/uidMappings",
    "/gidMappings",
    "/process/commandLine",
    "/process/user/username",
];

/// Refuses sections of other platforms in the document that stands at `base` of a specification.
pub(super) fn refuse_foreign(document: &Value, base: &str) -> Result<(), SpecError> {
    let inside = FOREIGN.iter().filter_map(|foreign| Some((foreign, foreign.strip_prefix(base)?)));
    for (foreign, rest) in inside {
        if document.pointer(rest).is_some_and(|value| !value.is_null()) {
            return Err(SpecError::Foreign { pointer: (*foreign).to_owned() });
        }
    }
    Ok(())
}

/// Lists whose items have a field that is unsigned in the specification and signed in oci-spec.
const UNSIGNED: &[(&str, &str)] = &[("/linux/resources/hugepageLimits", "limit")];

/// Refuses numbers that runc's reader does not take, in the document that stands at `base` of a specification.
pub(super) fn refuse_negative(document: &Value, base: &str) -> Result<(), SpecError> {
    let inside = UNSIGNED.iter().filter_map(|(list, field)| Some((list, field, list.strip_prefix(base)?)));
    for (list, field, rest) in inside {
        let items = document.pointer(rest).and_then(Value::as_array).into_iter().flatten();
        for (i, item) in items.enumerate() {
            if item.get(field).and_then(Value::as_i64).is_some_and(i64::is_negative) {
                return Err(SpecError::Negative { pointer: pointer::join(&pointer::index(list, i), field) });
            }
        }
    }
    Ok(())
}

/// Refuses the first part of `raw` that `typed` lacks or writes differently.
pub(super) fn compare(raw: &Value, typed: &Value, at: &str) -> Result<(), SpecError> {
    match (raw, typed) {
        (Value::Object(raw), Value::Object(typed)) => {
            for (key, value) in raw {
                let place = pointer::join(at, key);
                match typed.get(key) {
                    Some(back) => compare(value, back, &place)?,
                    None if says_nothing(value, &place) => {}
                    None => return Err(SpecError::UnknownKey { pointer: place }),
                }
            }
            Ok(())
        }
        (Value::Array(raw), Value::Array(_)) if at.starts_with("/process/capabilities/") => {
            capability_names(raw, typed, at)
        }
        (Value::Array(raw), Value::Array(typed)) if raw.len() == typed.len() => raw
            .iter()
            .zip(typed)
            .enumerate()
            .try_for_each(|(i, (raw, typed))| compare(raw, typed, &pointer::index(at, i))),
        (raw, typed) if raw == typed => Ok(()),
        (Value::Null, _) => Ok(()),
        _ => Err(SpecError::Ambiguous { pointer: at.to_owned() }),
    }
}

/// Null is how Go writes a nil slice or map that is not marked omitempty. The schemata are the one list that
/// oci-spec leaves out when it is empty.
fn says_nothing(value: &Value, at: &str) -> bool {
    let empty_list = value.as_array().is_some_and(Vec::is_empty);
    value.is_null() || (empty_list && at == "/linux/intelRdt/schemata")
}

/// A set has no order, so its entries are looked up by the names that the type wrote.
fn capability_names(raw: &[Value], typed: &Value, at: &str) -> Result<(), SpecError> {
    let known = typed.as_array().map(Vec::as_slice).unwrap_or_default();
    match raw.iter().enumerate().find(|(_, name)| !known.contains(name)) {
        None => Ok(()),
        Some((i, name)) => Err(SpecError::CapabilityName {
            pointer: pointer::index(at, i),
            name: name.as_str().unwrap_or_default().to_owned(),
        }),
    }
}
