//! A strict reader of JSON: bounded size and depth, no duplicate key, no fraction.
//!
//! Two readers that resolve a duplicate key differently see two documents (CVE-2024-41110 is the same
//! failure one layer up), so such a document is refused rather than resolved. RFC 8259 §4 calls the
//! behaviour unpredictable.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::pointer::escape;

/// Deepest nesting that is read; an OCI runtime-spec 1.3 document needs nine levels.
pub(crate) const MAX_DEPTH: usize = 32;

/// Why a document was not read.
#[derive(Debug)]
pub(crate) enum JsonError {
    TooLarge { size: usize },
    DuplicateKey { pointer: String },
    TooDeep { pointer: String },
    Fraction { pointer: String },
    Syntax { pointer: String, source: serde_json::Error },
}

/// Reads one whole document of at most `max_bytes`.
pub(crate) fn read(bytes: &[u8], max_bytes: usize) -> Result<Value, JsonError> {
    if bytes.len() > max_bytes {
        return Err(JsonError::TooLarge { size: bytes.len() });
    }
    let trail = Trail::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Node { trail: &trail, depth: 0 }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|source| trail.into_error(source))
}

/// What went wrong and, innermost first, the way to it. Filled on the error path only.
#[derive(Default)]
struct Trail {
    fault: RefCell<Option<Fault>>,
    steps: RefCell<Vec<String>>,
}

enum Fault {
    DuplicateKey,
    TooDeep,
    Fraction,
}

impl Trail {
    fn mark<E: de::Error>(&self, fault: Fault) -> E {
        self.fault.replace(Some(fault));
        E::custom("refused")
    }

    fn passed(&self, step: String) {
        self.steps.borrow_mut().push(step);
    }

    fn into_error(self, source: serde_json::Error) -> JsonError {
        let pointer: String = self.steps.into_inner().iter().rev().flat_map(|step| ["/", step.as_str()]).collect();
        match self.fault.into_inner() {
            Some(Fault::DuplicateKey) => JsonError::DuplicateKey { pointer },
            Some(Fault::TooDeep) => JsonError::TooDeep { pointer },
            Some(Fault::Fraction) => JsonError::Fraction { pointer },
            None => JsonError::Syntax { pointer, source },
        }
    }
}

#[derive(Clone, Copy)]
struct Node<'a> {
    trail: &'a Trail,
    depth: usize,
}

impl Node<'_> {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.trail.mark(Fault::TooDeep));
        }
        Ok(Self { trail: self.trail, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
        Err(self.trail.mark(Fault::Fraction))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        loop {
            match items.next_element_seed(inner) {
                Ok(Some(item)) => list.push(item),
                Ok(None) => return Ok(Value::Array(list)),
                Err(error) => {
                    self.trail.passed(list.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                self.trail.passed(escape(&key));
                return Err(self.trail.mark(Fault::DuplicateKey));
            }
            match entries.next_value_seed(inner) {
                Ok(value) => drop(map.insert(key, value)),
                Err(error) => {
                    self.trail.passed(escape(&key));
                    return Err(error);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 4096;

    fn fault(text: &str) -> JsonError {
        read(text.as_bytes(), LIMIT).unwrap_err()
    }

    #[test]
    fn a_plain_document_is_read_as_it_stands() {
        let text = r#"{"a":[1,-2,true,null,"x"],"b":{"c":18446744073709551615}}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read(text.as_bytes(), LIMIT).unwrap(), expected);
    }

    #[test]
    fn a_duplicate_key_is_named_where_it_stands() {
        let error = fault(r#"{"a":[{"b":1,"c/d":2,"c/d":3}]}"#);
        assert!(matches!(error, JsonError::DuplicateKey { pointer } if pointer == "/a/0/c~1d"));
        let escaped = fault(r#"{"a":1,"\u0061":2}"#);
        assert!(matches!(escaped, JsonError::DuplicateKey { pointer } if pointer == "/a"));
    }

    #[test]
    fn a_fraction_and_a_number_beyond_64_bits_are_refused() {
        for text in [r#"{"a":1.0}"#, r#"{"a":1e3}"#, r#"{"a":18446744073709551616}"#] {
            assert!(matches!(fault(text), JsonError::Fraction { pointer } if pointer == "/a"), "{text}");
        }
    }

    #[test]
    fn nesting_beyond_the_cap_is_refused_and_at_the_cap_is_read() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(MAX_DEPTH).as_bytes(), LIMIT).is_ok());
        assert!(matches!(fault(&nested(MAX_DEPTH + 1)), JsonError::TooDeep { .. }));
    }

    #[test]
    fn size_utf8_and_trailing_bytes_are_checked() {
        assert!(matches!(read(b"[1,2]", 4).unwrap_err(), JsonError::TooLarge { size: 5 }));
        assert!(read(b"[1,2]", 5).is_ok());
        let invalid = read(b"{\"a\":\"\xff\"}", LIMIT).unwrap_err();
        assert!(matches!(invalid, JsonError::Syntax { pointer, .. } if pointer == "/a"));
        assert!(matches!(fault("{} {}"), JsonError::Syntax { .. }));
        assert!(matches!(fault(r#"{"a":NaN}"#), JsonError::Syntax { .. }));
    }
}
