//! Two looks at what containerd makes of its configuration: nothing but palisade's handler may differ.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::error::InstallError;

/// Settings that differ, by their names; empty where only the handlers that are ours do.
pub(super) fn differences(before: &str, after: &str, handlers: &[&str]) -> Result<Vec<String>, InstallError> {
    let (before, after) = (settings(before, handlers)?, settings(after, handlers)?);
    let mut found = Vec::new();
    compare("", &before, &after, &mut found);
    Ok(found)
}

fn settings(dump: &str, handlers: &[&str]) -> Result<Table, InstallError> {
    let mut table: Table = dump.parse().map_err(|error: toml::de::Error| {
        InstallError::Look(format!("what containerd dumps is no TOML: {}", error.message()))
    })?;
    // The files that were read; ours is among them.
    table.remove("imports");
    let plugins = table.get_mut("plugins").and_then(Value::as_table_mut);
    for (_, plugin) in plugins.into_iter().flatten() {
        let runtimes = plugin.get_mut("containerd").and_then(|containerd| containerd.get_mut("runtimes"));
        let Some(runtimes) = runtimes.and_then(Value::as_table_mut) else { continue };
        for handler in handlers {
            runtimes.remove(*handler);
        }
    }
    Ok(table)
}

fn compare(at: &str, before: &Table, after: &Table, found: &mut Vec<String>) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match (before.get(key), after.get(key)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) => compare(&path, before, after, found),
            (before, after) if before == after => {}
            // Options of a handler are dumped as they were given; one that was not is as if it were given empty.
            (before, after) if path.contains(".options.") && is_empty(before) && is_empty(after) => {}
            (None, Some(Value::Table(options))) | (Some(Value::Table(options)), None)
                if key == "options" && options.values().all(|value| is_empty(Some(value))) => {}
            _ => found.push(path),
        }
    }
}

/// What Go has where nothing was given.
fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Integer(number)) => *number == 0,
        Some(Value::Float(number)) => *number == 0.0,
        Some(Value::Boolean(is_set)) => !is_set,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Table(table)) => table.is_empty(),
        Some(Value::Datetime(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_handler_may_differ() {
        let of = |handlers: &str, snapshotter: &str| {
            format!(
                "imports = ['{}']\n[plugins.x.containerd]\nsnapshotter = '{snapshotter}'\n[plugins.x.containerd.runtimes]\n{handlers}",
                handlers.len()
            )
        };
        let before = of("runc = { a = 1 }", "overlayfs");
        let same = |after: &str| differences(&before, after, &["palisade"]).unwrap();
        assert_eq!(same(&of("runc = { a = 1 }\npalisade = { a = 2 }", "overlayfs")), Vec::<String>::new());
        assert_eq!(same(&of("palisade = { a = 2 }", "overlayfs")), ["plugins.x.containerd.runtimes.runc"]);
        assert_eq!(same(&of("runc = { a = 1 }\nkata = {}", "overlayfs")), ["plugins.x.containerd.runtimes.kata"]);
        assert_eq!(same(&of("runc = { a = 1 }", "")), ["plugins.x.containerd.snapshotter"]);
        assert!(differences(&before, "no", &[]).is_err());
    }

    #[test]
    fn an_option_that_is_not_given_is_an_empty_one() {
        let of = |options: &str| format!("[plugins.x.containerd.runtimes.runc]\n{options}");
        let empty = of("options = { Root = '', IoUid = 0, SystemdCgroup = false }");
        assert_eq!(differences(&empty, &of("options = {}"), &[]).unwrap(), Vec::<String>::new());
        assert_eq!(differences(&empty, &of(""), &[]).unwrap(), Vec::<String>::new());
        let set = of("options = { SystemdCgroup = true }");
        let named = "plugins.x.containerd.runtimes.runc.options";
        assert_eq!(differences(&set, &of("options = {}"), &[]).unwrap(), [format!("{named}.SystemdCgroup")]);
        assert_eq!(differences(&of(""), &set, &[]).unwrap(), [named]);
    }
}
