//! Additions to a configuration that somebody else wrote: a text is put in at one place, and every other byte stays as it is.
//!
//! What comes out is read again and compared with what was to come out, so a form of TOML that is not thought of here is refused.

use serde::Deserialize;
use toml::{Spanned, Table, Value};

/// A text with something put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) text: String,
    /// What was put in, whole.
    pub(super) inserted: String,
}

/// The keys whose places matter.
#[derive(Deserialize)]
struct Top {
    version: Option<Spanned<Value>>,
    imports: Option<Spanned<Vec<String>>>,
}

/// Adds a pattern to the top-level `imports`, which is made where it is not there.
pub(super) fn import(text: &str, pattern: &str) -> Result<Edited, String> {
    let top: Top = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let before: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let quoted = quoted(pattern);
    let mut wanted = before.clone();
    let list = wanted.entry("imports").or_insert_with(|| Value::Array(Vec::new()));
    list.as_array_mut().ok_or("imports is no list")?.insert(0, Value::String(pattern.to_owned()));
    let (at, inserted) = match (top.imports, top.version) {
        (Some(imports), _) => {
            let behind = if imports.get_ref().is_empty() { "" } else { ", " };
            (imports.span().start + 1, format!("{quoted}{behind}"))
        }
        (None, version) => {
            let line = format!("imports = [{quoted}] # added by palisade install");
            line_at(
                text,
                version.map_or_else(|| beginning(text), |version| end_of_line(text, version.span().end)),
                &line,
            )
        }
    };
    put(text, at, inserted, &wanted)
}

/// Adds a block of tables to the end, where no other table ends.
pub(super) fn append(text: &str, block: &str) -> Result<Edited, String> {
    let mut wanted: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let added: Table = block.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    merge(&mut wanted, added)?;
    let newline = newline(text);
    let mut inserted = block.replace('\n', newline);
    if !text.is_empty() && !text.ends_with('\n') {
        inserted.insert_str(0, newline);
    }
    put(text, text.len(), inserted, &wanted)
}

/// Takes out again what was put in; none where it is not there just once.
pub(super) fn without(text: &str, inserted: &str) -> Option<String> {
    if inserted.is_empty() || text.matches(inserted).count() != 1 {
        return None;
    }
    let less = text.replacen(inserted, "", 1);
    less.parse::<Table>().is_ok().then_some(less)
}

/// A TOML string. Control characters are escaped as in JSON, whose escapes TOML has as well.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text)
        .as_str()
        .and_then(|text| serde_json::to_string(text).ok())
        .unwrap_or_default()
        .replace('\u{7f}', "\\u007f")
}

fn put(text: &str, at: usize, inserted: String, wanted: &Table) -> Result<Edited, String> {
    let (Some(before), Some(behind)) = (text.get(..at), text.get(at..)) else {
        return Err("its form is not understood".to_owned());
    };
    let edited = format!("{before}{inserted}{behind}");
    match edited.parse::<Table>() {
        Ok(table) if table == *wanted => Ok(Edited { text: edited, inserted }),
        Ok(_) => Err("the addition would change other settings".to_owned()),
        Err(error) => Err(format!("with the addition it would be no TOML ({})", error.message())),
    }
}

/// A line of its own at the beginning of a line.
fn line_at(text: &str, at: usize, line: &str) -> (usize, String) {
    let newline = newline(text);
    let ends = text.get(..at).is_none_or(|before| before.is_empty() || before.ends_with('\n') || before == BOM);
    (at, if ends { format!("{line}{newline}") } else { format!("{newline}{line}{newline}") })
}

const BOM: &str = "\u{feff}";

fn beginning(text: &str) -> usize {
    if text.starts_with(BOM) { BOM.len() } else { 0 }
}

fn end_of_line(text: &str, from: usize) -> usize {
    text.get(from..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| from + length + 1)
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Tables that are added to others; a value that is there already is not replaced.
fn merge(into: &mut Table, from: Table) -> Result<(), String> {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(own)), Value::Table(table)) => merge(own, table)?,
            (Some(_), _) => return Err(format!("it has {key} already")),
            (None, value) => {
                into.insert(key, value);
            }
        }
    }
    Ok(())
}
