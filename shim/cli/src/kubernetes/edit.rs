//! Changes of a manifest.

use serde_json::{Map, Value};

use super::place::Place;

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Edit {
    /// The field has this value.
    Set(Place, Value),
    /// The field is not there.
    Remove(Place),
    /// The list at this place has no item for which this holds: equal to the value, or of that `name`.
    Without(Place, Value),
    /// Changes that go together: one without the other Kubernetes would not take.
    All(Vec<Edit>),
}

impl Edit {
    /// Makes the change; false where it changes nothing.
    pub(super) fn apply(&self, object: &mut Value) -> bool {
        match self {
            Self::Set(place, value) => set(object, &place.pointer(), value),
            Self::Remove(place) => remove(object, &place.pointer()),
            Self::Without(place, item) => without(object, &place.pointer(), item),
            Self::All(edits) => edits.iter().filter(|edit| edit.apply(object)).count() > 0,
        }
    }

    /// What is to be done, in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::All(edits) => edits.iter().map(Self::words).collect::<Vec<_>>().join(", "),
            Self::Set(place, value) => format!("set {place} to {value}"),
            Self::Remove(place) => format!("remove {place}"),
            Self::Without(place, item) => {
                let item = item.get("name").unwrap_or(item);
                format!("take {} out of {place}", item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            }
        }
    }
}

fn split(pointer: &str) -> Option<(&str, String)> {
    let (above, last) = pointer.rsplit_once('/')?;
    Some((above, last.replace("~1", "/").replace("~0", "~")))
}

/// Sets a field, and makes the mappings above it that are not there.
fn set(object: &mut Value, pointer: &str, value: &Value) -> bool {
    let mut at = object;
    for part in pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")) {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        let next = match at {
            Value::Object(fields) => fields.entry(part).or_insert(Value::Null),
            Value::Array(items) => match part.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                Some(item) => item,
                None => return false,
            },
            _ => return false,
        };
        at = next;
    }
    let changes = at != value;
    at.clone_from(value);
    changes
}

fn remove(object: &mut Value, pointer: &str) -> bool {
    let Some((above, last)) = split(pointer) else { return false };
    match object.pointer_mut(above) {
        Some(Value::Object(fields)) => fields.remove(&last).is_some(),
        _ => false,
    }
}

fn without(object: &mut Value, pointer: &str, item: &Value) -> bool {
    let Some(list) = object.pointer_mut(pointer).and_then(Value::as_array_mut) else { return false };
    let before = list.len();
    let named = item.get("name");
    list.retain(|one| one != item && (named.is_none() || one.get("name") != named));
    let changed = list.len() != before;
    if list.is_empty() && changed {
        remove(object, pointer);
    }
    changed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_made_where_they_are_due_and_nowhere_else() {
        let mut object = json!({"a": [{"name": "x"}, {"name": "y"}], "b": null, "c": {"d/e": 1}});
        assert!(Edit::Set(Place::of("b.f.g"), json!(7)).apply(&mut object));
        assert!(!Edit::Set(Place::of("b.f.g"), json!(7)).apply(&mut object));
        assert!(Edit::Without(Place::of("a"), json!({"name": "x"})).apply(&mut object));
        assert!(Edit::Remove(Place::of("c").field("d/e")).apply(&mut object));
        assert_eq!(object, json!({"a": [{"name": "y"}], "b": {"f": {"g": 7}}, "c": {}}));
        assert!(Edit::Without(Place::of("a"), json!({"name": "y"})).apply(&mut object));
        assert!(!Edit::Remove(Place::of("a")).apply(&mut object), "an empty list goes with its last item");
    }
}
