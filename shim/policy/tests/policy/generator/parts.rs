//! What the parts of a document are made of.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

/// A generated value; null stands for one that is absent.
pub(crate) type Json = BoxedStrategy<Value>;

/// How often, in a hundred, a part takes a value that the built-in profiles refuse.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Temper(u32);

/// Few refused values: with some forty parts, most documents have none.
pub(crate) const TAME: Temper = Temper(1);

/// Refused values all over.
pub(crate) const WILD: Temper = Temper(35);

impl Temper {
    /// The share of refused values, in a hundred.
    pub(super) fn wild(self) -> u32 {
        self.0
    }

    pub(super) fn mix(self, tame: Json, wild: Json) -> Json {
        prop_oneof![100 - self.0 => tame, self.0 => wild].boxed()
    }
}

pub(super) fn absent() -> Json {
    Just(Value::Null).boxed()
}

/// There in `percent` of a hundred documents.
pub(super) fn maybe(percent: u32, part: Json) -> Json {
    prop_oneof![100 - percent => absent(), percent => part].boxed()
}

pub(super) fn pick(values: Vec<Value>) -> Json {
    select(values).boxed()
}

pub(super) fn words(words: &'static [&'static str]) -> Json {
    select(words).prop_map(Value::from).boxed()
}

pub(super) fn truth() -> Json {
    any::<bool>().prop_map(Value::from).boxed()
}

/// Numbers of these, and now and then any other.
pub(super) fn numbers<T>(usual: &'static [T]) -> Json
where
    T: Arbitrary + Copy + Into<Value> + 'static,
{
    prop_oneof![9 => select(usual), 1 => any::<T>()].prop_map(Into::into).boxed()
}

/// An object of the parts that are there.
pub(super) fn object(fields: Vec<(&'static str, Json)>) -> Json {
    let (names, parts): (Vec<&str>, Vec<Json>) = fields.into_iter().unzip();
    let named = move |values: Vec<Value>| {
        let there = names.iter().zip(values).filter(|(_, value)| !value.is_null());
        Value::Object(there.map(|(name, value)| ((*name).to_owned(), value)).collect())
    };
    parts.prop_map(named).boxed()
}

/// One object of all the entries; what comes later counts.
pub(super) fn merged(objects: Vec<Json>) -> Json {
    let union = |values: Vec<Value>| {
        let entries = values.into_iter().filter_map(|value| match value {
            Value::Object(map) => Some(map),
            _ => None,
        });
        Value::Object(entries.flatten().collect())
    };
    objects.prop_map(union).boxed()
}

/// A map of data, such as sysctls: each name at most once.
pub(super) fn map(names: &'static [&'static str], value: Json, most: usize) -> Json {
    let entries = prop::collection::vec((select(names), value), 0..=most);
    let collect = |entries: Vec<(&str, Value)>| -> Map<String, Value> {
        entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    entries.prop_map(move |entries| Value::Object(collect(entries))).boxed()
}

pub(super) fn list(item: Json, most: usize) -> Json {
    prop::collection::vec(item, 0..=most).prop_map(there).boxed()
}

/// A list of parts in this order, each there or not.
pub(super) fn row(items: Vec<Json>) -> Json {
    items.prop_map(there).boxed()
}

/// Two lists as one.
pub(super) fn joined(first: Json, second: Json) -> Json {
    let both = |(first, second): (Value, Value)| match (first, second) {
        (Value::Array(first), Value::Array(second)) => there(first.into_iter().chain(second).collect()),
        (first, Value::Null) => first,
        (_, second) => second,
    };
    (first, second).prop_map(both).boxed()
}

fn there(items: Vec<Value>) -> Value {
    Value::Array(items.into_iter().filter(|item| !item.is_null()).collect())
}
