//! `task.stdio`.

use std::path::Path;

use crate::node::is_clean;
use crate::rules::StreamScope;
use crate::sheet::{Found, Sheet};

/// Where the kubelet keeps the logs of containers.
const LOG_DIRECTORIES: &[&str] = &["/var/log/pods", "/var/log/containers"];

/// What the URI of a logging program begins with.
pub(crate) const LOGGER: &str = "binary://";

/// The shim opens these as root: a `binary:` URI starts a host program (the pattern of CVE-2026-53488) and
/// a `file:` URI appends to any host file.
pub(super) fn judge(streams: &[(&'static str, &str)], scope: &StreamScope<'_>, sheet: &mut Sheet) {
    let stdout = streams.iter().find(|(place, _)| place.ends_with("/stdout")).map_or("", |(_, uri)| uri);
    for (place, uri) in streams.iter().filter(|(_, uri)| !uri.is_empty()) {
        let fits = match uri.strip_prefix(LOGGER) {
            // One program takes both outputs, and there is none that input comes from.
            Some(program) => !place.ends_with("/stdin") && *uri == stdout && is_listed(program, scope),
            None => passes(uri, scope),
        };
        if !fits {
            let found = Found::new(*place, *uri, format!("{uri:?} is not a stream of containerd"));
            sheet.refuses(
                found,
                "fifos below containerd's directories, logs below /var/log/pods, programs that the policy lists",
            );
        }
    }
}

/// The program is the admin's choice; its arguments, behind the `?`, are the caller's.
fn is_listed(program: &str, scope: &StreamScope<'_>) -> bool {
    let path = program.split_once('?').map_or(program, |(path, _)| path);
    // Decoded or cut elsewhere, the path would be another one.
    !path.contains(['%', '#']) && scope.settings.loggers.iter().any(|logger| logger == Path::new(path))
}

fn passes(uri: &str, scope: &StreamScope<'_>) -> bool {
    let (scheme, path) = uri.split_once("://").unwrap_or(("fifo", uri));
    // A query could carry arguments for whatever opens the path.
    let path = Path::new(path);
    if uri.contains(['?', '#']) || !is_clean(path) {
        return false;
    }
    let added = scope.settings.stdio.iter().any(|root| path.starts_with(root));
    match scheme {
        "fifo" => added || is_containerds(path, scope),
        "file" => added || LOG_DIRECTORIES.iter().any(|root| path.starts_with(root)),
        _ => false,
    }
}

fn is_containerds(path: &Path, scope: &StreamScope<'_>) -> bool {
    let state = scope.state;
    let in_state = !state.as_os_str().is_empty() && path.starts_with(state);
    in_state || scope.node.containerd_roots.iter().any(|root| path.starts_with(root))
}
