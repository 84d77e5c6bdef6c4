//! containerd's configuration: the file, what it imports, and what containerd makes of the two.
//!
//! containerd 1.x lets an imported file replace the whole section of a plugin: a drop-in that adds one handler takes away all others, palisade's
//! among them, and every other setting of CRI. containerd 2.x merges them key by key. Seen with `containerd config dump` of 1.7.24 and 2.1.9.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::tree::{Fact, Tree};

/// Files, imported ones included.
const MOST_FILES: usize = 100;
/// CRI's sections, by versions of the format. Source: containerd docs/cri/config.md.
const CRI: [&str; 4] =
    ["io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri", "cri"];
/// palisade as containerd names it by its type.
pub(crate) const PALISADE_TYPE: &str = "io.containerd.palisade.v1";
/// The file that it looks for then, and what it is called in any case.
pub(crate) const SHIM: &str = "containerd-shim-palisade-v1";
/// A handler that containerd has where nobody configures one.
const BUILT_IN: &str = "runc";

/// How containerd puts files together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Up to 1.7.
    Replace,
    /// From 2.0 on.
    Deep,
}

/// A handler of CRI's.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Handler {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) table: Table,
}

impl Handler {
    fn of(name: &str, table: &Table) -> Self {
        let text = |key: &str| table.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { name: name.to_owned(), kind: text("runtime_type"), path: text("runtime_path"), table: table.clone() }
    }

    /// Whether its containers are palisade's.
    pub(crate) fn is_palisade(&self) -> bool {
        match self.binary_path() {
            Some(path) => Path::new(path).file_name().is_some_and(|name| name == SHIM),
            None => self.kind == PALISADE_TYPE,
        }
    }

    /// The shim's path, where it is configured and not looked for.
    pub(crate) fn binary_path(&self) -> Option<&str> {
        [&self.path, &self.kind].into_iter().map(String::as_str).find(|text| text.starts_with('/'))
    }
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Config {
    pub(crate) table: Table,
    /// The file and what it imports.
    pub(crate) files: Vec<String>,
    pub(crate) deep: bool,
    /// What could not be followed.
    pub(crate) problems: Vec<String>,
    /// Sections that an imported file has replaced.
    pub(crate) replaced: Vec<String>,
}

impl Config {
    /// Of a file that need not be there: containerd goes by its defaults then.
    pub(crate) fn read(tree: &Tree, path: &str, merge: impl Fn(&Table) -> Merge) -> Fact<Self> {
        let mut config = Self::default();
        let text = tree.text(path)?;
        let main = text.as_deref().map_or_else(|| Ok(Table::new()), |text| parse(path, text))?;
        let merge = merge(&main);
        config.deep = merge == Merge::Deep;
        if text.is_none() {
            return Ok(config);
        }
        config.files.push(path.to_owned());
        let mut pending: VecDeque<String> = imports(tree, path, &main, &mut config.problems);
        config.table = main;
        while let Some(next) = pending.pop_front() {
            if config.files.contains(&next) {
                continue;
            }
            if config.files.len() >= MOST_FILES {
                return Err(format!("{path} imports more than {MOST_FILES} files"));
            }
            let Some(text) = tree.text(&next)? else {
                config.problems.push(format!("{next} is imported and not there"));
                continue;
            };
            let table = parse(&next, &text)?;
            pending.extend(imports(tree, path, &table, &mut config.problems));
            config.add(&next, table, merge);
            config.files.push(next);
        }
        Ok(config)
    }

    fn add(&mut self, file: &str, mut from: Table, merge: Merge) {
        if merge == Merge::Replace
            && let Some(Value::Table(plugins)) = from.remove("plugins")
        {
            let own = self.table.entry("plugins").or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(own) = own {
                for (name, section) in plugins {
                    if own.insert(name.clone(), section).is_some() {
                        self.replaced.push(format!("{file} replaces the whole section of {name}"));
                    }
                }
            }
        }
        deep(&mut self.table, from);
    }

    /// A value by its path from the top.
    pub(crate) fn at(&self, keys: &[&str]) -> Option<&Value> {
        at(&self.table, keys)
    }

    /// A setting of CRI's, in whichever section this format has it.
    pub(crate) fn cri(&self, keys: &[&str]) -> Option<&Value> {
        CRI.iter().find_map(|section| at(self.plugin(section)?, keys))
    }

    pub(crate) fn cri_is(&self, key: &str) -> bool {
        self.cri(&[key]).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn cri_text(&self, key: &str) -> &str {
        self.cri(&[key]).and_then(Value::as_str).unwrap_or_default()
    }

    /// The table of a plugin.
    pub(crate) fn plugin(&self, name: &str) -> Option<&Table> {
        at(&self.table, &["plugins", name])?.as_table()
    }

    /// What CRI can be asked for. containerd 2.x keeps its own `runc` beside those of the file.
    pub(crate) fn handlers(&self) -> Vec<Handler> {
        let mut handlers: BTreeMap<String, Handler> = BTreeMap::new();
        let tables =
            CRI.iter().filter_map(|section| at(self.plugin(section)?, &["containerd", "runtimes"])?.as_table());
        for (name, table) in tables.flatten() {
            if let Some(table) = table.as_table() {
                handlers.insert(name.clone(), Handler::of(name, table));
            }
        }
        if handlers.is_empty() || self.deep {
            let built_in = handlers.entry(BUILT_IN.to_owned()).or_default();
            built_in.name = BUILT_IN.to_owned();
            if built_in.kind.is_empty() {
                built_in.kind = "io.containerd.runc.v2".to_owned();
            }
        }
        handlers.into_values().collect()
    }

    /// The handler of pods that name none.
    pub(crate) fn default_handler(&self) -> &str {
        let named = self.cri(&["containerd", "default_runtime_name"]).and_then(Value::as_str);
        named.filter(|name| !name.is_empty()).unwrap_or(BUILT_IN)
    }

    /// Texts of a list of CRI's.
    pub(crate) fn cri_list(&self, keys: &[&str]) -> Option<Vec<String>> {
        Some(texts(self.cri(keys)?))
    }
}

/// The texts in a list.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

fn at<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a Value> {
    let (first, rest) = keys.split_first()?;
    let value = table.get(*first)?;
    if rest.is_empty() { Some(value) } else { at(value.as_table()?, rest) }
}

fn parse(path: &str, text: &str) -> Fact<Table> {
    text.parse::<Table>().map_err(|error| format!("{path} is no TOML: {}", error.message()))
}

/// What a file imports, relative to the main one. A `*` stands for anything within a name.
fn imports(tree: &Tree, main: &str, table: &Table, problems: &mut Vec<String>) -> VecDeque<String> {
    let directory = Path::new(main).parent().unwrap_or_else(|| Path::new("/"));
    let mut found = VecDeque::new();
    for pattern in table.get("imports").map(texts).unwrap_or_default() {
        let path = directory.join(&pattern);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            continue;
        };
        if parent.to_string_lossy().contains(['*', '?', '[']) || name.contains(['?', '[']) {
            problems.push(format!("the pattern {pattern:?} of imports is not followed here"));
        } else if name.contains('*') {
            match tree.list(parent) {
                Ok(names) => found.extend(matching(parent, name, &names.unwrap_or_default())),
                Err(why) => problems.push(why),
            }
        } else {
            found.push_back(path.to_string_lossy().into_owned());
        }
    }
    found
}

fn matching(parent: &Path, pattern: &str, names: &[String]) -> Vec<String> {
    let path = |name: &String| -> PathBuf { parent.join(name) };
    names.iter().filter(|name| matches(pattern, name)).map(|name| path(name).to_string_lossy().into_owned()).collect()
}

/// Whether a name is one of a pattern, in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, behind)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(before) else { return false };
    rest.char_indices()
        .map(|(start, _)| start)
        .chain([rest.len()])
        .any(|start| rest.get(start..).is_some_and(|end| matches(behind, end)))
}

/// The later file's values go before the earlier one's.
fn deep(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(own)), Value::Table(table)) => deep(own, table),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_names() {
        for (pattern, name, is) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.toml.bak", false),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("io.containerd.*", "io.containerd.runc.v2.group", true),
            ("x", "x", true),
            ("x", "y", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }

    fn config(main: &str, drop_in: &str, merge: Merge) -> Config {
        let mut config = Config { table: main.parse().unwrap(), deep: merge == Merge::Deep, ..Config::default() };
        config.add("drop-in", drop_in.parse().unwrap(), merge);
        config
    }

    const MAIN: &str = "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\ndefault_runtime_name = 'palisade'\n\
        [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.palisade]\nruntime_type = 'io.containerd.palisade.v1'\n";
    const DROP_IN: &str =
        "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.nvidia]\nruntime_type = 'io.containerd.runc.v2'\n";

    #[test]
    fn a_drop_in_replaces_a_section_of_containerd_1() {
        let config = config(MAIN, DROP_IN, Merge::Replace);
        assert_eq!(config.default_handler(), "runc");
        let names: Vec<String> = config.handlers().into_iter().map(|handler| handler.name).collect();
        assert_eq!(names, ["nvidia"]);
        assert_eq!(config.replaced.len(), 1);
    }

    #[test]
    fn a_drop_in_is_merged_by_containerd_2() {
        let config = config(MAIN, DROP_IN, Merge::Deep);
        assert_eq!(config.default_handler(), "palisade");
        let handlers: Vec<(String, bool)> =
            config.handlers().into_iter().map(|handler| (handler.name.clone(), handler.is_palisade())).collect();
        assert_eq!(handlers, [("nvidia".into(), false), ("palisade".into(), true), ("runc".into(), false)]);
        assert!(config.replaced.is_empty());
    }

    #[test]
    fn a_handler_is_known_by_what_would_be_run() {
        for (kind, path, is) in [
            (PALISADE_TYPE, "", true),
            ("io.containerd.runc.v2", "/opt/bin/containerd-shim-palisade-v1", true),
            ("/usr/local/bin/containerd-shim-palisade-v1", "", true),
            ("io.containerd.runc.v2", "", false),
            // The path goes before the type.
            (PALISADE_TYPE, "/usr/bin/containerd-shim-runc-v2", false),
        ] {
            let handler = Handler { kind: kind.into(), path: path.into(), ..Handler::default() };
            assert_eq!(handler.is_palisade(), is, "{kind} {path}");
        }
    }
}
