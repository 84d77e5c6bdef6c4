//! What was changed in a document, as a JSON Patch (RFC 6902): applied to the one that came it makes the one that is handed on.
//!
//! A system call profile, which is most of a specification, is neither read nor told, only that it was replaced.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::pointer;
use crate::secrets::redact_value;

/// Longest value that is told, in bytes of its JSON text.
const MAX_VALUE_BYTES: usize = 2048;
/// Longest patch that is told. A pod has a hand in how much there is to change, and the log's room is everybody's.
const MAX_PATCH_BYTES: usize = 16 << 10;
/// Where a system call profile stands.
const PROFILE: &str = "/linux/seccomp";

/// The changes from one document to another.
#[derive(Debug, Clone, Serialize)]
pub struct Patch {
    /// The operations, in order; `None` where they are too many to be told.
    #[serde(rename = "patch", skip_serializing_if = "Option::is_none")]
    operations: Option<Box<RawValue>>,
    /// How many of the operations have no value of their own: it is a secret, or long. A text stands in its place.
    #[serde(rename = "patch_withheld", skip_serializing_if = "is_zero")]
    withheld: usize,
    /// How many there are, where they are not told.
    #[serde(rename = "patch_untold", skip_serializing_if = "is_zero")]
    untold: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it by reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One operation of RFC 6902.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
}

impl Patch {
    /// The changes that make `after` of `before`, both JSON objects; `None` if there are none.
    ///
    /// # Errors
    ///
    /// One of them is no JSON object.
    pub fn between(before: &[u8], after: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        let (before, after) = (Outline::read(before)?, Outline::read(after)?);
        let mut changes = Changes::default();
        changes.values("", &before.rest, &after.rest);
        if after.rest.get("linux").is_some() {
            changes.profile(before.profile, after.profile);
        }
        if changes.operations.is_empty() {
            return Ok(None);
        }
        let text = to_raw_value(&changes.operations)?;
        Ok(Some(if text.get().len() > MAX_PATCH_BYTES {
            Self { operations: None, withheld: 0, untold: changes.operations.len() }
        } else {
            Self { operations: Some(text), withheld: changes.withheld, untold: 0 }
        }))
    }
}

#[derive(Debug, Default)]
struct Changes {
    operations: Vec<Operation>,
    withheld: usize,
}

impl Changes {
    fn profile(&mut self, before: Option<&RawValue>, after: Option<&RawValue>) {
        match (before, after) {
            (Some(before), Some(after)) if before.get() == after.get() => {}
            (was, Some(is)) => {
                self.withheld += 1;
                self.put(PROFILE.to_owned(), was.is_some(), left_out(is.get().len()));
            }
            (Some(_), None) => self.remove(PROFILE.to_owned()),
            (None, None) => {}
        }
    }

    fn values(&mut self, path: &str, before: &Value, after: &Value) {
        match (before, after) {
            (a, b) if a == b => {}
            (Value::Object(a), Value::Object(b)) => {
                for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                    let path = pointer::join(path, key);
                    match (a.get(key), b.get(key)) {
                        (Some(a), Some(b)) => self.values(&path, a, b),
                        (Some(_), None) => self.remove(path),
                        (None, Some(b)) => self.tell(path, false, b.clone()),
                        (None, None) => {}
                    }
                }
            }
            // Which argument is a secret the one before it says.
            (Value::Array(a), Value::Array(b)) if !path.ends_with("/args") => self.items(path, a, b),
            (_, b) => self.tell(path.to_owned(), true, b.clone()),
        }
    }

    /// Of two lists: what they begin and end with alike stays.
    fn items(&mut self, path: &str, before: &[Value], after: &[Value]) {
        let begin = before.iter().zip(after).take_while(|(a, b)| a == b).count();
        let (was, is) = (before.get(begin..).unwrap_or_default(), after.get(begin..).unwrap_or_default());
        let end = was.iter().rev().zip(is.iter().rev()).take_while(|(a, b)| a == b).count();
        let was = was.get(..was.len() - end).unwrap_or_default();
        let is = is.get(..is.len() - end).unwrap_or_default();
        let flat = |items: &[Value]| !items.iter().any(|item| item.is_object() || item.is_array());
        if was.len() != is.len() && !was.is_empty() && !is.is_empty() && flat(before) && flat(after) {
            // Short words in another order say more as a whole.
            return self.tell(path.to_owned(), true, Value::Array(after.to_vec()));
        }
        for (at, (a, b)) in was.iter().zip(is).enumerate() {
            self.values(&pointer::index(path, begin + at), a, b);
        }
        for at in (is.len()..was.len()).rev() {
            self.remove(pointer::index(path, begin + at));
        }
        for (at, b) in is.iter().enumerate().skip(was.len()) {
            self.tell(pointer::index(path, begin + at), false, b.clone());
        }
    }

    fn remove(&mut self, path: String) {
        self.operations.push(Operation::Remove { path });
    }

    /// A value that may be told, or what stands in its place.
    fn tell(&mut self, path: String, replaces: bool, value: Value) {
        let shown = redact_value(&path, value.clone());
        self.withheld += usize::from(shown != value);
        let length = length(&shown);
        if length <= MAX_VALUE_BYTES {
            return self.put(path, replaces, shown);
        }
        self.withheld += usize::from(shown == value);
        self.put(path, replaces, left_out(length));
    }

    fn put(&mut self, path: String, replaces: bool, value: Value) {
        self.operations.push(if replaces {
            Operation::Replace { path, value }
        } else {
            Operation::Add { path, value }
        });
    }
}

/// A document, and its system call profile apart, unread.
#[derive(Debug)]
struct Outline<'a> {
    rest: Value,
    profile: Option<&'a RawValue>,
}

impl<'a> Outline<'a> {
    fn read(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        match serde_json::from_slice::<Root<'a>>(text) {
            Ok(Root(Parts { fields, profile })) => Ok(Self { rest: Value::Object(fields), profile }),
            // What is called `linux` is no object.
            Err(_) => Ok(Self { rest: serde_json::from_slice(text)?, profile: None }),
        }
    }
}

/// An object's fields, and a profile of system calls that stands in it.
#[derive(Default)]
struct Parts<'a> {
    fields: Map<String, Value>,
    profile: Option<&'a RawValue>,
}

/// The same of a whole specification.
struct Root<'a>(Parts<'a>);

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(OfParts)
    }
}

impl<'de> Deserialize<'de> for Root<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(OfRoot)
    }
}

struct OfParts;
struct OfRoot;

impl<'de> Visitor<'de> for OfParts {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts<'de>, A::Error> {
        let mut read = Parts::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == "seccomp" {
                read.profile = Some(map.next_value()?);
            } else {
                read.fields.insert(key, map.next_value()?);
            }
        }
        Ok(read)
    }
}

impl<'de> Visitor<'de> for OfRoot {
    type Value = Root<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Root<'de>, A::Error> {
        let mut read = Parts::default();
        while let Some(key) = map.next_key::<String>()? {
            let value = if key == "linux" {
                let Parts { fields, profile } = map.next_value()?;
                read.profile = profile;
                Value::Object(fields)
            } else {
                map.next_value()?
            };
            read.fields.insert(key, value);
        }
        Ok(Root(read))
    }
}

/// In bytes of its JSON text. Numbers and the like are short.
fn length(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(_) | Value::Array(_) | Value::Object(_) => value.to_string().len(),
    }
}

fn left_out(bytes: usize) -> Value {
    Value::String(format!("<left out: {bytes} bytes>"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn between(before: &Value, after: &Value) -> Value {
        let patch = Patch::between(before.to_string().as_bytes(), after.to_string().as_bytes()).unwrap();
        serde_json::to_value(patch).unwrap()
    }

    #[test]
    fn only_what_differs_is_told() {
        let before = json!({"a": {"b/c": 1, "d": 2}, "list": [{"x": 1}, {"x": 2}], "paths": ["/a"], "same": [1]});
        let after = json!({"a": {"b/c": 3}, "list": [{"x": 1}, {"x": 4}], "paths": ["/a", "/b"], "same": [1], "n": {}});
        let wanted = json!([
            {"op": "replace", "path": "/a/b~1c", "value": 3},
            {"op": "remove", "path": "/a/d"},
            {"op": "replace", "path": "/list/1/x", "value": 4},
            {"op": "add", "path": "/n", "value": {}},
            {"op": "add", "path": "/paths/1", "value": "/b"},
        ]);
        assert_eq!(between(&before, &after), json!({"patch": wanted}));
        assert_eq!(between(&before, &before), Value::Null);
    }

    #[test]
    fn a_list_of_words_that_became_shorter_in_between_is_told_as_a_whole() {
        let (before, after) = (json!({"l": ["a", "b", "c", "d"]}), json!({"l": ["a", "c", "x"]}));
        let wanted = json!([{"op": "replace", "path": "/l", "value": ["a", "c", "x"]}]);
        assert_eq!(between(&before, &after)["patch"], wanted);
        // One that has only lost some has not.
        let wanted = json!([{"op": "remove", "path": "/l/2"}, {"op": "remove", "path": "/l/1"}]);
        assert_eq!(between(&before, &json!({"l": ["a", "d"]}))["patch"], wanted);
    }

    #[test]
    fn no_secret_is_in_it_and_what_was_withheld_is_counted() {
        let before = json!({"process": {"env": ["A=1"], "args": ["x", "--password", "old"]}, "annotations": {}});
        let after = json!({
            "process": {"env": ["A=1", "DB=hunter2"], "args": ["x", "--password", "hunter2"]},
            "annotations": {"my.token": "hunter2"}, "hooks": {"poststop": [{"path": "/h", "env": ["P=hunter2"]}]},
        });
        let told = between(&before, &after);
        assert!(!told.to_string().contains("hunter2"), "{told}");
        assert_eq!(told["patch_withheld"], 4);
        assert_eq!(told["patch"][0]["path"], "/annotations/my.token");
    }

    #[test]
    fn long_values_profiles_and_long_patches_are_not_told() {
        let profile = |name: &str| json!({"linux": {"seccomp": {"defaultAction": name}, "rootfsPropagation": name}});
        let told = between(&profile("SCMP_ACT_ALLOW"), &profile("SCMP_ACT_ERRNO"));
        assert_eq!(
            told["patch"][1],
            json!({"op": "replace", "path": "/linux/seccomp", "value": "<left out: 34 bytes>"})
        );
        assert_eq!((&told["patch"][0]["value"], &told["patch_withheld"]), (&json!("SCMP_ACT_ERRNO"), &json!(1)));
        let long = between(&json!({"a": ""}), &json!({"a": "x".repeat(MAX_VALUE_BYTES)}));
        assert_eq!(
            long,
            json!({"patch": [{"op": "replace", "path": "/a", "value": "<left out: 2050 bytes>"}], "patch_withheld": 1})
        );
        let many: serde_json::Map<_, _> = (0..1000).map(|number| (format!("key {number}"), json!(number))).collect();
        assert_eq!(between(&json!({}), &Value::Object(many)), json!({"patch_untold": 1000}));
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            (0..3).prop_map(|number| json!(number)),
            "[ab~/]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::btree_map("[abl~/]{1,2}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn applied_to_what_came_it_makes_what_is_handed_on(a in documents(), b in documents(), c in documents()) {
            let (before, after) = (json!({"linux": a, "mounts": b}), json!({"linux": c, "mounts": a}));
            let told = between(&before, &after);
            let mut made = before;
            if !told.is_null() {
                prop_assert_eq!(told.get("patch_withheld"), None);
                json_patch::patch(&mut made, &serde_json::from_value::<json_patch::Patch>(told["patch"].clone()).unwrap()).unwrap();
            }
            prop_assert_eq!(made, after);
        }
    }
}
