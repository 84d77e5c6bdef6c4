//! `process.cwd` and `process.args`.

use crate::draft::ProcessDraft;
use crate::node::is_clean;
use crate::rules::ProcessScope;
use crate::sheet::{Found, Sheet};

/// A working directory that leads out of the container through an open descriptor was CVE-2024-21626.
pub(super) fn cwd(process: &mut ProcessDraft, _: &ProcessScope<'_>, sheet: &mut Sheet) {
    let cwd = &process.cwd;
    let text = cwd.to_string_lossy();
    let reason = if !is_clean(cwd) {
        format!("{text:?} is not an absolute path without dots")
    } else if cwd.starts_with("/proc") {
        format!("{text:?} may lead to an open descriptor of the runtime")
    } else {
        return;
    };
    let found = Found::new("/process/cwd", text.as_ref(), reason);
    sheet.refuses(found, "an absolute path outside /proc");
}

/// The names that a path goes through, with `.` and `..` worked out. A relative path starts somewhere in the
/// container, so it is taken for one from the root.
fn lexical(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts
}

/// Running the runtime's own executable through /proc was CVE-2019-5736.
pub(super) fn args(process: &mut ProcessDraft, _: &ProcessScope<'_>, sheet: &mut Sheet) {
    let Some(program) = process.args.first() else { return };
    if is_through_proc(program) {
        let reason = format!("{program:?} is a program of another process");
        sheet.refuses(Found::new("/process/args/0", program.as_str(), reason), "a path outside /proc");
    }
    // execvpe(3): a name without a slash is looked for in the directories of PATH.
    if program.contains('/') {
        return;
    }
    for (i, path) in process.env.iter().enumerate().filter_map(|(i, entry)| Some((i, entry.strip_prefix("PATH=")?))) {
        if let Some(found) = path.split(':').find(|directory| is_through_proc(&format!("{directory}/{program}"))) {
            let reason = format!("{program:?} would be looked for in {found:?}");
            sheet.refuses(Found::new(format!("/process/env/{i}"), path, reason), "directories outside /proc");
        }
    }
}

fn is_through_proc(path: &str) -> bool {
    match lexical(path).as_slice() {
        ["proc", process, link, ..] => {
            let magic = matches!(*link, "exe" | "fd" | "cwd" | "root" | "task" | "map_files");
            magic && (*process == "self" || *process == "thread-self" || process.parse::<u32>().is_ok())
        }
        _ => false,
    }
}
