//! The environment of a container's program: `process.env`, and a `HOME` as every runtime adds it.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io::Read as _;

use rustix::fs::{Mode, OFlags};

/// Most bytes of `/etc/passwd` that are looked at.
const MAX_PASSWD: u64 = 1 << 20;

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

/// The home directory of a user by the container's own `/etc/passwd`. The file is the image's, so no more of it is believed, or
/// waited for, than that.
pub(super) fn home_of(uid: u32) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open("/etc/passwd", flags, Mode::empty()).map(std::fs::File::from).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(MAX_PASSWD).read_to_end(&mut text).ok()?;
    home_in(&String::from_utf8_lossy(&text), uid)
}

/// Source: passwd(5).
fn home_in(passwd: &str, uid: u32) -> Option<String> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let mut lines = passwd.lines().map(fields);
    let entry = lines.find(|fields| fields.get(2).is_some_and(|id| id.parse() == Ok(uid)))?;
    entry.into_iter().nth(5).filter(|home| !home.is_empty())
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
    fn home_is_what_passwd_has_for_the_user() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:33::/srv/web:/bin/sh\nnone:x:34:34:::/bin/sh\nweb2:x:33:33::/other:/bin/sh\n";
        assert_eq!(home_in(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(home_in(passwd, 33).as_deref(), Some("/srv/web"), "the first one counts");
        assert_eq!(home_in(passwd, 34), None, "an empty field");
        assert_eq!(home_in(passwd, 1), None);
    }

    #[test]
    fn home_is_added_only_where_it_is_missing() {
        assert_eq!(composed(&["A=1"], Some("/root")), ["A=1", "HOME=/root"]);
        assert_eq!(composed(&["HOME=/x"], Some("/root")), ["HOME=/x"]);
    }
}
