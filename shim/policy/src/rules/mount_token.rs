//! `mount.token`.

use std::path::Path;

use oci_spec::runtime as oci;

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};
use crate::spec::is_bind;

/// Where clients look for a pod's token (Kubernetes `client-go/rest`); /var/run is a link to /run in most images.
const DESTINATIONS: &[&str] =
    &["/var/run/secrets/kubernetes.io/serviceaccount", "/run/secrets/kubernetes.io/serviceaccount"];

/// How admission calls the volume that it adds (Kubernetes `plugin/pkg/admission/serviceaccount`), followed by five characters.
const VOLUME: &str = "kube-api-access-";

/// The credentials of the pod's service account, by which whoever is in the container speaks to the API. Off in the built-in profiles: for
/// namespaces whose pods have no business there.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter().enumerate().filter(|(_, mount)| is_bind(mount)) {
        let destination = mount.destination();
        if is_for_clients(destination) || is_token_volume(i, mount, case) {
            let text = destination.to_string_lossy();
            let found = Found::new(format!("/mounts/{i}"), text.as_ref(), "a token of the pod's service account");
            sheet.refuses(found, "automountServiceAccountToken: false, and no such volume");
        }
    }
}

fn is_for_clients(destination: &Path) -> bool {
    DESTINATIONS.iter().any(|place| destination.starts_with(place))
}

/// By the name that admission gives, or by what was seen in it: a pod's author can name a volume at will.
fn is_token_volume(i: usize, mount: &oci::Mount, case: &Case<'_>) -> bool {
    let seen = case.host.source(i);
    let looked_at = seen.and_then(|fact| fact.kubelet_volume).is_some_and(|volume| volume.holds_token);
    let given = mount.source().iter().map(std::path::PathBuf::as_path);
    let paths = seen.into_iter().flat_map(|fact| std::iter::once(&fact.real_path).chain(&fact.locations));
    let mut paths = given.chain(paths.map(std::path::PathBuf::as_path));
    looked_at || paths.any(|path| case.node.volume(path).is_some_and(|(plugin, name)| is_token(plugin, name)))
}

/// Before Kubernetes 1.24 every service account had a secret `<name>-token-<five characters>`.
fn is_token(plugin: &str, name: &str) -> bool {
    match plugin {
        "kubernetes.io~projected" => name.starts_with(VOLUME),
        "kubernetes.io~secret" => name.rsplit_once("-token-").is_some_and(|(_, end)| end.len() == 5),
        _ => false,
    }
}
