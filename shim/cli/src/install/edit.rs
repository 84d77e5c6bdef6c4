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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines as admins write them, some of which don't go together.
    fn line() -> impl Strategy<Value = String> {
        let top = prop_oneof![
            Just("version = 2".to_owned()),
            Just("version = 3 # as it was".to_owned()),
            Just("\"version\" = 2".to_owned()),
            Just("imports = []".to_owned()),
            Just("imports = [ 'a.toml' ,\n\n  # b\n  \"b/*.toml\", ]".to_owned()),
            Just("'imports' = ['''c.toml''']".to_owned()),
            Just("root = \"imports = [\"".to_owned()),
            Just("state = '''\nversion = 1\n[plugins]\n'''".to_owned()),
            Just("grpc = { address = 'x', imports = [] }".to_owned()),
            Just("grpc.address = 'x'".to_owned()),
        ];
        let table = prop_oneof![
            Just("[plugins.cri]".to_owned()),
            Just("[plugins.'cri'.containerd.runtimes.runc]".to_owned()),
            Just("[ plugins . cri . containerd ]".to_owned()),
            Just("[[streams]]".to_owned()),
            Just("plugins.cri.x = 1".to_owned()),
            Just("plugins = { cri = { x = 1 } }".to_owned()),
        ];
        let empty = prop_oneof![Just(String::new()), Just("# version = 9".to_owned()), Just("  \t".to_owned())];
        prop_oneof![4 => top, 2 => table, 1 => empty]
    }

    fn file() -> impl Strategy<Value = String> {
        let lines = prop::collection::vec(line(), 0..8);
        (lines, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(lines, crlf, end, bom)| {
            let newline = if crlf { "\r\n" } else { "\n" };
            let text = lines.join("\n").replace('\n', newline);
            format!("{}{text}{}", if bom { BOM } else { "" }, if end { newline } else { "" })
        })
    }

    const BLOCK: &str = "# begin\n[plugins.cri.containerd.runtimes.palisade]\n  runtime_type = \"x\"\n# end\n";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Of a file that is TOML an import is added to or it is refused; nothing but the addition is new, and it can be taken out again.
        #[test]
        fn an_import_is_added_and_nothing_else(text in file()) {
            let before = text.parse::<Table>();
            match (before, import(&text, "/d/*.toml")) {
                (Err(_), edited) => prop_assert!(edited.is_err()),
                (Ok(before), Ok(edited)) => {
                    prop_assert_eq!(edited.text.replacen(&edited.inserted, "", 1), text.clone());
                    let mut after: Table = edited.text.parse().unwrap();
                    let imports = after["imports"].as_array().unwrap().clone();
                    prop_assert_eq!(imports[0].as_str(), Some("/d/*.toml"));
                    let rest: Vec<Value> = imports[1..].to_vec();
                    prop_assert_eq!(before.get("imports").and_then(Value::as_array).cloned().unwrap_or_default(), rest);
                    let mut before = before;
                    before.remove("imports");
                    after.remove("imports");
                    prop_assert_eq!(before, after);
                    prop_assert_eq!(without(&edited.text, &edited.inserted), Some(text));
                }
                (Ok(_), Err(why)) => prop_assert!(false, "{} in {:?}", why, text),
            }
        }

        #[test]
        fn a_block_is_added_or_refused(text in file()) {
            let before = text.parse::<Table>();
            match (before, append(&text, BLOCK)) {
                (Err(_), edited) => prop_assert!(edited.is_err()),
                (Ok(_), Ok(edited)) => {
                    prop_assert!(edited.text.starts_with(&text));
                    let after: Table = edited.text.parse().unwrap();
                    prop_assert_eq!(after["plugins"]["cri"]["containerd"]["runtimes"]["palisade"]["runtime_type"].as_str(), Some("x"));
                    prop_assert_eq!(without(&edited.text, &edited.inserted), Some(text));
                }
                // What can't be added to: an inline table, keys with dots, a list of tables.
                (Ok(_), Err(_)) => {
                    let closed = ["plugins.cri.x", "plugins = {"].iter().any(|form| text.contains(form));
                    prop_assert!(closed, "{:?}", text);
                }
            }
        }
    }

    #[test]
    fn what_is_there_twice_or_not_at_all_is_not_taken_out() {
        assert_eq!(without("a = 1\n# x\n", "# x\n").as_deref(), Some("a = 1\n"));
        assert_eq!(without("# x\n# x\n", "# x\n"), None);
        assert_eq!(without("a = 1\n", "# x\n"), None);
        assert_eq!(without("a = 1\n", ""), None);
        // What would be left is no TOML.
        assert_eq!(without("a = [1, 2]", ", 2]"), None);
    }

    #[test]
    fn texts_are_quoted_as_toml_has_them() {
        for text in ["/usr/local/bin", "a\"b\\c", "tab\there", "line\nbreak", "\u{7f}\u{1}", "ü"] {
            let table: Table = format!("a = {}", quoted(text)).parse().unwrap();
            assert_eq!(table["a"].as_str(), Some(text));
        }
    }
}
