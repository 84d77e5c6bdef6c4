//! The environment of a container's program: `process.env`, and a `HOME` as every runtime adds it.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;

/// The list for execve. Of a name that occurs twice the last value counts, as in runc.
///
/// `home` is the directory that the container's passwd file has for the user, `/` if it has none.
pub(super) fn compose(spec: &[String], home: Option<&str>) -> Vec<CString> {
    let mut seen = HashSet::new();
    let mut list: Vec<CString> = spec
        .iter()
        .rev()
        .filter(|entry| seen.insert(name(entry)))
        .filter_map(|entry| CString::new(entry.as_str()).ok())
        .collect();
    list.reverse();
    if !seen.contains("HOME")
        && let Ok(entry) = CString::new(format!("HOME={}", home.unwrap_or("/")))
    {
        list.push(entry);
    }
    list
}

/// The value of a variable.
pub(super) fn value<'a>(spec: &'a [String], wanted: &str) -> Option<&'a str> {
    spec.iter()
        .rev()
        .find(|entry| name(entry) == wanted)
        .and_then(|entry| entry.split_once('='))
        .map(|(_, value)| value)
}

/// What libcontainer found out about `HOME`.
pub(super) fn home(found: HashMap<String, String>) -> Option<String> {
    found.into_iter().find(|(name, _)| name == "HOME").map(|(_, value)| value)
}

fn name(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|entry| (*entry).to_owned()).collect()
    }

    fn composed(spec: &[&str], home: Option<&str>) -> Vec<String> {
        compose(&strings(spec), home).into_iter().map(|entry| entry.into_string().unwrap()).collect()
    }

    #[test]
    fn the_order_stays_and_the_last_of_two_counts() {
        let spec = strings(&["A=1", "B=2", "A=3"]);
        assert_eq!(composed(&["A=1", "B=2", "A=3"], None), ["B=2", "A=3", "HOME=/"]);
        assert_eq!(value(&spec, "A"), Some("3"));
        assert_eq!(value(&spec, "C"), None);
    }

    #[test]
    fn home_is_added_only_where_it_is_missing() {
        assert_eq!(composed(&["A=1"], Some("/root")), ["A=1", "HOME=/root"]);
        assert_eq!(composed(&["HOME=/x"], Some("/root")), ["HOME=/x"]);
    }
}
