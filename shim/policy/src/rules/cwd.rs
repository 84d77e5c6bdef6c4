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
    let parts = lexical(program);
    let through_proc = match parts.as_slice() {
        ["proc", process, link, ..] => {
            let magic = matches!(*link, "exe" | "fd" | "cwd" | "root" | "task" | "map_files");
            magic && (*process == "self" || *process == "thread-self" || process.parse::<u32>().is_ok())
        }
        _ => false,
    };
    if through_proc {
        let reason = format!("{program:?} is a program of another process");
        sheet.refuses(Found::new("/process/args/0", program.as_str(), reason), "a path outside /proc");
    }
}
