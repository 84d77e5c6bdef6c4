//! Snapshots that stand on an image's layers and have other owners, for a user namespace.
//!
//! containerd's client makes them, and calls them after the layers and the mapping. The name is computed anew here: any other snapshot on top of
//! the layers could be another image's, with one layer more. Source: containerd `client/snapshotter_opts_unix.go`, `remappedSnapshot`; before
//! 2.1 `client/container_opts_unix.go`.

use serde::{Deserialize, Serialize};

use super::blob::sha256;

#[derive(Deserialize)]
struct Spec {
    linux: Linux,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(default)]
    uid_mappings: Vec<Mapping>,
    #[serde(default)]
    gid_mappings: Vec<Mapping>,
}

/// As OCI has it, and in its order of fields.
#[derive(Deserialize, Serialize)]
struct Mapping {
    #[serde(rename = "containerID", default)]
    container: u32,
    #[serde(rename = "hostID", default)]
    host: u32,
    #[serde(default)]
    size: u32,
}

/// What is hashed.
#[derive(Serialize)]
struct Remapped<'a> {
    #[serde(rename = "Parent")]
    parent: &'a str,
    #[serde(rename = "IDMap")]
    map: Maps,
}

#[derive(Serialize)]
struct Maps {
    #[serde(rename = "UidMap")]
    uids: Vec<Mapping>,
    #[serde(rename = "GidMap")]
    gids: Vec<Mapping>,
}

/// The names that a snapshot on top of `chain` has for the mappings of a container's specification; none without mappings.
pub(super) fn names(spec: &[u8], chain: &str) -> Vec<String> {
    let Ok(Spec { linux }) = serde_json::from_slice(spec) else { return Vec::new() };
    let (mut uids, mut gids) = (linux.uid_mappings, linux.gid_mappings);
    let (Some(uid), Some(gid)) = (uids.first(), gids.first()) else { return Vec::new() };
    let earlier = format!("{chain}-{}-{}", uid.host, gid.host);
    uids.sort_by_key(|mapping| mapping.container);
    gids.sort_by_key(|mapping| mapping.container);
    let hashed = serde_json::to_vec(&Remapped { parent: chain, map: Maps { uids, gids } });
    hashed.map(|bytes| sha256(&bytes)).into_iter().chain([earlier]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_layers_and_mapping() {
        let spec = |host: u32| {
            let mapping = format!(r#"[{{"containerID":0,"hostID":{host},"size":65536}}]"#);
            format!(r#"{{"ociVersion":"1.1.0","linux":{{"uidMappings":{mapping},"gidMappings":{mapping}}}}}"#)
                .into_bytes()
        };
        let hashed = br#"{"Parent":"sha256:a","IDMap":{"UidMap":[{"containerID":0,"hostID":100000,"size":65536}],"GidMap":[{"containerID":0,"hostID":100000,"size":65536}]}}"#;
        let found = names(&spec(100_000), "sha256:a");
        assert_eq!(found, [sha256(hashed), "sha256:a-100000-100000".to_owned()]);
        assert_ne!(names(&spec(200_000), "sha256:a")[0], found[0]);
        assert_ne!(names(&spec(100_000), "sha256:b")[0], found[0]);
        assert!(names(br#"{"linux":{}}"#, "sha256:a").is_empty() && names(b"", "sha256:a").is_empty());
    }
}
