//! YAML as Kubernetes reads it, into JSON values, within bounds.
//!
//! The crate gives events; what they come to is settled here: the plain words of YAML 1.1 that Kubernetes' own reader takes (`yes`, `0644`), merge
//! keys, no key twice, and no more than a manifest can need, so that a file that unfolds without end is refused before it does.

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

/// The largest file that is read, in bytes. etcd takes no object beyond 1.5 MiB.
pub(crate) const MAX_BYTES: usize = 8 << 20;
/// The deepest nesting. Pods reach 12.
const MAX_DEPTH: usize = 64;
/// The most values in one file, with those that aliases repeat.
const MAX_VALUES: usize = 300_000;
/// The most bytes of text in one file, with those that aliases repeat.
const MAX_TEXT: usize = 32 << 20;
/// The most bytes of all pointers to values: a long key stands in each of those below it.
const MAX_POINTERS: usize = 64 << 20;

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// The line of each value by its JSON pointer, counted from 1; what an alias repeats has none of its own.
    pub(crate) lines: BTreeMap<String, usize>,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {}", crate::report::plain(.reason))]
pub(crate) struct YamlError {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

impl Document {
    /// The line of what stands at a pointer, or of the nearest value around it.
    pub(crate) fn line(&self, pointer: &str) -> usize {
        let mut at = pointer;
        loop {
            if let Some(line) = self.lines.get(at) {
                return *line;
            }
            match at.rsplit_once('/') {
                Some((above, _)) => at = above,
                None => return 1,
            }
        }
    }
}

/// Reads every document of a file; those that say nothing are left out.
pub(crate) fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    if text.len() > MAX_BYTES {
        return Err(YamlError { line: 1, reason: format!("the file has more than {MAX_BYTES} bytes") });
    }
    let mut reader = Reader::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next
            .map_err(|error| YamlError { line: error.marker().line(), reason: format!("no YAML: {}", error.info()) })?;
        reader.take(event, span)?;
    }
    Ok(reader.done)
}

/// A mapping or a list that is not at its end.
struct Open {
    anchor: usize,
    body: Body,
    /// Length of the pointer before this one's own part.
    above: usize,
    line: usize,
    /// What was read before it, for the price of an alias.
    spent_before: Spent,
}

enum Body {
    Mapping { fields: Map<String, Value>, key: Option<String>, merged: Vec<Value> },
    List(Vec<Value>),
}

#[derive(Clone, Copy, Default)]
struct Spent {
    values: usize,
    text: usize,
}

#[derive(Default)]
struct Reader {
    done: Vec<Document>,
    open: Vec<Open>,
    pointer: String,
    lines: BTreeMap<String, usize>,
    anchors: HashMap<usize, (Value, Spent)>,
    spent: Spent,
    pointed: usize,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let line = span.start.line();
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(Spent { values: 1, text: text.len() }, line)?;
                if self.takes_key() {
                    return self.key(&text, style, line);
                }
                let value = scalar(&text, style, tag.as_deref()).map_err(|reason| YamlError { line, reason })?;
                let price = Spent { values: 1, text: text.len() };
                self.put(value, anchor, price, line)
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).cloned();
                let (value, price) = known.ok_or_else(|| wrong(line, "an alias to what is not complete"))?;
                self.spend(price, line)?;
                if self.takes_key() {
                    return Err(wrong(line, "an alias as a key"));
                }
                self.put(value, 0, price, line)
            }
            Event::SequenceStart(anchor, tag) => self.begin(anchor, tag.as_deref(), Body::List(Vec::new()), line),
            Event::MappingStart(anchor, tag) => {
                let body = Body::Mapping { fields: Map::new(), key: None, merged: Vec::new() };
                self.begin(anchor, tag.as_deref(), body, line)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(line),
        }
    }

    fn spend(&mut self, price: Spent, line: usize) -> Result<(), YamlError> {
        self.spent.values += price.values;
        self.spent.text += price.text;
        if self.spent.values > MAX_VALUES || self.spent.text > MAX_TEXT {
            return Err(wrong(line, "the file unfolds to more than a manifest can need"));
        }
        Ok(())
    }

    /// Whether the next value is a key of the innermost mapping.
    fn takes_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { body: Body::Mapping { key: None, .. }, .. }))
    }

    fn key(&mut self, text: &str, style: ScalarStyle, line: usize) -> Result<(), YamlError> {
        let Some(Open { body: Body::Mapping { fields, key, .. }, .. }) = self.open.last_mut() else { return Ok(()) };
        // go-yaml merges what stands under a plain `<<`; quoted it is a key like any other.
        let name = if text == "<<" && style == ScalarStyle::Plain { String::new() } else { text.to_owned() };
        if !name.is_empty() && fields.contains_key(&name) {
            return Err(wrong(line, &format!("the key {name:?} stands twice")));
        }
        *key = Some(name);
        Ok(())
    }

    /// Adds the part of the pointer for the value that comes now; the length before.
    fn step(&mut self, line: usize) -> Result<usize, YamlError> {
        let above = self.pointer.len();
        match self.open.last().map(|open| &open.body) {
            None => {}
            Some(Body::Mapping { key, .. }) => {
                let name = key.as_deref().unwrap_or_default().replace('~', "~0").replace('/', "~1");
                self.pointer.push('/');
                self.pointer.push_str(&name);
            }
            Some(Body::List(items)) => self.pointer.push_str(&format!("/{}", items.len())),
        }
        self.pointed += self.pointer.len();
        if self.pointed > MAX_POINTERS {
            return Err(wrong(line, "longer keys than a manifest can need"));
        }
        self.lines.insert(self.pointer.clone(), line);
        Ok(above)
    }

    fn begin(&mut self, anchor: usize, tag: Option<&Tag>, body: Body, line: usize) -> Result<(), YamlError> {
        let spent_before = self.spent;
        self.spend(Spent { values: 1, text: 0 }, line)?;
        if self.takes_key() {
            return Err(wrong(line, "a key that is no text"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(wrong(line, "nested more deeply than a manifest can be"));
        }
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            return Err(wrong(line, &format!("the tag {}{} is not understood", tag.handle, tag.suffix)));
        }
        let above = self.step(line)?;
        self.open.push(Open { anchor, body, above, line, spent_before });
        Ok(())
    }

    fn end(&mut self, line: usize) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else { return Err(wrong(line, "an end without a beginning")) };
        let value = match open.body {
            Body::List(items) => Value::Array(items),
            Body::Mapping { fields, merged, .. } => Value::Object(merge(fields, merged, open.line)?),
        };
        self.pointer.truncate(open.above);
        let price = Spent {
            values: self.spent.values - open.spent_before.values,
            text: self.spent.text - open.spent_before.text,
        };
        self.settle(value, open.anchor, price, open.line)
    }

    /// A value that has no parts.
    fn put(&mut self, value: Value, anchor: usize, price: Spent, line: usize) -> Result<(), YamlError> {
        let above = self.step(line)?;
        self.pointer.truncate(above);
        self.settle(value, anchor, price, line)
    }

    /// Gives a complete value to what is around it.
    fn settle(&mut self, value: Value, anchor: usize, price: Spent, line: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), price));
            // The copy that is kept takes its room as well.
            self.spend(price, line)?;
        }
        match self.open.last_mut().map(|open| &mut open.body) {
            None => {
                let lines = std::mem::take(&mut self.lines);
                if !value.is_null() {
                    self.done.push(Document { value, lines });
                }
            }
            Some(Body::List(items)) => items.push(value),
            Some(Body::Mapping { fields, key, merged }) => match key.take() {
                Some(name) if name.is_empty() => merged.push(value),
                Some(name) => drop(fields.insert(name, value)),
                None => return Err(wrong(line, "a value without a key")),
            },
        }
        Ok(())
    }
}

fn wrong(line: usize, reason: &str) -> YamlError {
    YamlError { line, reason: reason.to_owned() }
}

/// What `<<` brings: a mapping or several, of which the first that has a key counts, and the mapping's own before all.
fn merge(mut fields: Map<String, Value>, merged: Vec<Value>, line: usize) -> Result<Map<String, Value>, YamlError> {
    let each = merged.into_iter().flat_map(|value| match value {
        Value::Array(items) => items,
        other => vec![other],
    });
    for value in each {
        let Value::Object(more) = value else { return Err(wrong(line, "<< takes mappings")) };
        for (key, value) in more {
            fields.entry(key).or_insert(value);
        }
    }
    Ok(fields)
}

/// A scalar's value, as go-yaml has it for Kubernetes.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag.map(|tag| (tag.is_yaml_core_schema(), tag.suffix.as_str())) {
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        None | Some((true, "str")) => Ok(Value::from(text)),
        Some((true, "bool" | "int" | "float" | "null")) => Ok(plain(text)),
        Some((_, suffix)) => Err(format!("the tag {suffix:?} is not understood")),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::from(text), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let first = text.strip_prefix(['+', '-']).unwrap_or(text).chars().next()?;
    if !(first.is_ascii_digit() || first == '.') {
        return None;
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let radix = |prefix: &str, radix| digits.strip_prefix(prefix).map(|rest| i64::from_str_radix(rest, radix));
    let octal =
        |digits: &str| digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let other = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)).or_else(|| {
        // YAML 1.1: 0644 is octal; 08 is none, and go-yaml takes it for a float.
        octal(digits).then(|| i64::from_str_radix(digits, 8))
    });
    if let Some(whole) = other.and_then(Result::ok) {
        return Some(Number::from(if negative { -whole } else { whole }));
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) && !octal(digits) {
        return plain
            .trim_start_matches('+')
            .parse::<i64>()
            .map(Number::from)
            .or_else(|_| digits.parse::<u64>().map(Number::from))
            .ok();
    }
    let float = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    float.then(|| plain.parse::<f64>().ok().and_then(Number::from_f64)).flatten()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Value {
        documents(text).unwrap().remove(0).value
    }

    #[test]
    fn words_and_numbers_are_what_kubernetes_takes_them_for() {
        let text = "a: yes\nb: 0644\nc: 0x1f\nd: 'yes'\ne: 1e3\nf: 1.2.3\ng: ~\nh: -7\ni: y\nj: 18446744073709551615\nk: !!str 7\nl: 100m\nm: .\n";
        let wanted = json!({"a": true, "b": 420, "c": 31, "d": "yes", "e": 1000.0, "f": "1.2.3", "g": null, "h": -7, "i": "y",
            "j": u64::MAX, "k": "7", "l": "100m", "m": "."});
        assert_eq!(one(text), wanted);
    }

    #[test]
    fn documents_aliases_and_merges_unfold_and_lines_are_known() {
        let text = "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2\n---\n---\n- f\n- g: h\n";
        let read = documents(text).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].value, json!({"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}));
        assert_eq!((read[0].line("/d/e"), read[0].line("/c/b"), read[1].line("/1/g")), (5, 2, 9));
        assert_eq!(one(r#"{"a": [1, "x"], "b/c": {"d": null}}"#), json!({"a": [1, "x"], "b/c": {"d": null}}));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for (text, line, reason) in [
            ("a: 1\na: 2\n", 2, "stands twice"),
            ("a: *x\n", 1, "no YAML"),
            ("a: &x [*x]\n", 1, "alias"),
            ("a: !secret b\n", 1, "tag"),
            ("? [a]\n: b\n", 1, "key"),
            ("a: b: c\n", 1, "no YAML"),
            ("<<: 3\n", 1, "takes mappings"),
        ] {
            let error = documents(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.reason.contains(reason), "{text:?}: {error}");
        }
    }

    /// Each of these takes minutes or gigabytes where nothing counts.
    #[test]
    fn bombs_are_refused_in_little_time() {
        let laughs: String = (1..40)
            .map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]\n", i - 1))
            .collect();
        let bombs = [
            format!("a0: &a0 [lol]\n{laughs}"),
            format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(1 << 16)),
            "[".repeat(1 << 20),
            "{a: ".repeat(1 << 20),
            "- ".repeat(1 << 20),
            (0..10_000).map(|i| format!("{}a:\n", " ".repeat(i.min(400)))).collect(),
            "? ".repeat(1 << 20),
            "- x\n".repeat(1 << 20),
            "!".repeat(1 << 20),
            "&a ".repeat(1 << 20),
            "x".repeat(MAX_BYTES + 1),
            format!("{}:\n{}", "k".repeat(1000), "- x\n".repeat(100_000)),
        ];
        for bomb in bombs {
            let begun = Instant::now();
            let start: String = bomb.chars().take(12).collect();
            assert!(documents(&bomb).is_err(), "{start}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{start}: {:?}", begun.elapsed());
        }
    }
}
