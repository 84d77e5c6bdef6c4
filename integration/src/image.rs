//! The images, built without a registry: one layer with busybox and the probe, one with the pause program.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::{Assets, Failure};

/// busybox and the probe, with no `USER`: root.
pub const WORKLOAD: &str = "palisade.test/workload:1";
/// The same with `USER 0`.
pub const ROOT: &str = "palisade.test/root:1";
/// The same with `USER 1000:1000`.
pub const USER: &str = "palisade.test/user:1";
/// The sandbox container's image, `USER 65535:65535` as Kubernetes's own has it.
pub const PAUSE: &str = "palisade.test/pause:1";

/// The type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An archive with nothing in it, the layer of an image of its own: content that containerd keeps and that a test can name by its digest.
pub const EMPTY_LAYER: [u8; 1024] = [0; 1024];
const EMPTY: &str = "palisade.test/empty:1";

const APPLETS: &[&str] = &[
    "cat", "cp", "dd", "echo", "env", "false", "grep", "head", "hostname", "id", "kill", "ls", "mkdir", "mount", "ps",
    "sh", "sleep", "stat", "stty", "tail", "touch", "true", "tty", "umount", "wc", "wget",
];

/// Writes an archive of OCI layout with all images, which `ctr images import` reads.
///
/// # Errors
/// A program that cannot be read or an archive that cannot be written.
pub fn write_archive(assets: &Assets, archive: &Path) -> Result<(), Failure> {
    let workload = workload_layer(assets)?;
    let pause = pause_layer(assets)?;
    let empty = EMPTY_LAYER.to_vec();
    let images = [
        (WORKLOAD, "", &workload),
        (ROOT, "0", &workload),
        (USER, "1000:1000", &workload),
        (PAUSE, "65535:65535", &pause),
        (EMPTY, "", &empty),
    ];
    let mut blobs = vec![workload.clone(), pause.clone(), empty.clone()];
    let mut manifests = Vec::new();
    for (name, user, layer) in images {
        let config = document(&configuration(name, user, layer))?;
        let manifest = document(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }))?;
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("annotations".to_owned(), json!({ "io.containerd.image.name": name }));
        }
        manifests.push(entry);
        blobs.extend([config, manifest]);
    }
    write_layout(archive, &manifests, blobs)
}

/// Writes an archive with one more image of the workload's layer, whose configuration `change` has changed. The manifest's digest.
///
/// # Errors
/// As [`write_archive`].
pub fn write_variant(
    assets: &Assets,
    archive: &Path,
    name: &str,
    change: impl FnOnce(&mut Value),
) -> Result<String, Failure> {
    let layer = workload_layer(assets)?;
    let mut configuration = configuration(name, "", &layer);
    change(&mut configuration);
    let config = document(&configuration)?;
    let layers = json!([descriptor("application/vnd.oci.image.layer.v1.tar", &layer)]);
    write_image(archive, name, &config, &layers, layer)
}

/// A manifest, configuration and layer of the workload, as a registry has them; nothing else has this manifest's digest.
///
/// # Errors
/// A program that cannot be read.
pub fn blobs(assets: &Assets, created: &str) -> Result<[Vec<u8>; 3], Failure> {
    let layer = workload_layer(assets)?;
    let mut configuration = configuration("", "", &layer);
    if let Some(keys) = configuration.as_object_mut() {
        keys.insert("created".to_owned(), json!(created));
    }
    let config = document(&configuration)?;
    let layers = json!([descriptor("application/vnd.oci.image.layer.v1.tar", &layer)]);
    Ok([manifest(&config, &layers)?, config, layer])
}

fn manifest(config: &[u8], layers: &Value) -> Result<Vec<u8>, Failure> {
    document(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config), "layers": layers,
    }))
}

/// Writes an archive with a signature as cosign keeps it: an image whose layer is the document that was signed.
///
/// # Errors
/// An archive that cannot be written.
pub fn write_signature(archive: &Path, name: &str, payload: &[u8], signature: &str) -> Result<(), Failure> {
    let config = document(
        &json!({ "architecture": "", "os": "", "config": {}, "rootfs": { "type": "layers", "diff_ids": [digest_of(payload)] } }),
    )?;
    let mut layer = descriptor("application/vnd.dev.cosign.simplesigning.v1+json", payload);
    if let Some(layer) = layer.as_object_mut() {
        layer.insert("annotations".to_owned(), json!({ "dev.cosignproject.cosign/signature": signature }));
    }
    write_image(archive, name, &config, &json!([layer]), payload.to_vec()).map(drop)
}

fn write_image(archive: &Path, name: &str, config: &[u8], layers: &Value, layer: Vec<u8>) -> Result<String, Failure> {
    let manifest = manifest(config, layers)?;
    let mut entry = descriptor(MANIFEST, &manifest);
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("annotations".to_owned(), json!({ "io.containerd.image.name": name }));
    }
    let digest = digest_of(&manifest);
    write_layout(archive, &[entry], vec![layer, config.to_vec(), manifest])?;
    Ok(digest)
}

fn write_layout(archive: &Path, manifests: &[Value], blobs: Vec<Vec<u8>>) -> Result<(), Failure> {
    let index = document(
        &json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests }),
    )?;
    let mut tar = Layer(Builder::new(Vec::new()));
    tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644, 0)?;
    tar.file("index.json", &index, 0o644, 0)?;
    for blob in blobs {
        tar.file(&format!("blobs/sha256/{}", digest(&blob)), &blob, 0o644, 0)?;
    }
    let bytes = tar.finish()?;
    File::create(archive).and_then(|mut file| file.write_all(&bytes)).map_err(Failure::io("write", archive))
}

/// The chain id of the workload's only layer, which names its snapshot.
///
/// # Errors
/// A program that cannot be read.
pub fn workload_chain_id(assets: &Assets) -> Result<String, Failure> {
    Ok(digest_of(&workload_layer(assets)?))
}

/// The content address of bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", digest(bytes))
}

fn configuration(name: &str, user: &str, layer: &[u8]) -> Value {
    let entrypoint = if name == PAUSE { json!(["/pause"]) } else { json!(["/bin/sh"]) };
    json!({
        "architecture": "amd64", "os": "linux",
        "config": { "User": user, "Env": ["PATH=/usr/bin:/bin"], "Entrypoint": entrypoint, "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [digest_of(layer)] },
    })
}

fn document(value: &Value) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::unreadable("an image document", &error))
}

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest_of(blob), "size": blob.len() })
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn workload_layer(assets: &Assets) -> Result<Vec<u8>, Failure> {
    let mut layer = Layer(Builder::new(Vec::new()));
    for folder in ["bin", "dev", "etc", "home", "mnt", "nodes", "proc", "run", "sys", "usr", "usr/bin", "var"] {
        layer.folder(folder, 0o755)?;
    }
    layer.folder("tmp", 0o1777)?;
    layer.file("bin/busybox", &read(&assets.busybox)?, 0o755, 0)?;
    for applet in APPLETS {
        layer.link(&format!("bin/{applet}"), "busybox")?;
    }
    let probe = read(&assets.probe.join("probe"))?;
    layer.file("probe", &probe, 0o755, 0)?;
    // A set-uid program of root, which no_new_privs makes an ordinary one.
    layer.file("probe-as-root", &probe, 0o4755, 0)?;
    layer.file("root-only", b"for root\n", 0o600, 0)?;
    layer.file(
        "etc/passwd",
        b"root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
        0o644,
        0,
    )?;
    layer.file("etc/group", b"root:x:0:\ndisk:x:6:user\nuser:x:1000:\nnobody:x:65534:\n", 0o644, 0)?;
    // Device nodes that an image brings itself: only the device cgroup keeps them shut.
    layer.node("nodes/mem", 1, 1)?;
    layer.node("nodes/kmsg", 1, 11)?;
    layer.node("nodes/console", 5, 1)?;
    layer.finish()
}

fn pause_layer(assets: &Assets) -> Result<Vec<u8>, Failure> {
    let mut layer = Layer(Builder::new(Vec::new()));
    for folder in ["dev", "proc", "sys", "etc"] {
        layer.folder(folder, 0o755)?;
    }
    layer.file("pause", &read(&assets.probe.join("pause"))?, 0o755, 0)?;
    layer.finish()
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(Failure::io("read", path))
}

/// An archive whose entries are owned by root and have no time, so that the same programs give the same digest.
struct Layer(Builder<Vec<u8>>);

impl Layer {
    fn file(&mut self, path: &str, bytes: &[u8], mode: u32, owner: u64) -> Result<(), Failure> {
        let mut header = header(EntryType::Regular, mode, owner);
        header.set_size(bytes.len() as u64);
        self.0.append_data(&mut header, path, bytes).map_err(Failure::io("archive", Path::new(path)))
    }

    fn folder(&mut self, path: &str, mode: u32) -> Result<(), Failure> {
        self.0
            .append_data(&mut header(EntryType::Directory, mode, 0), path, &[][..])
            .map_err(Failure::io("archive", Path::new(path)))
    }

    fn link(&mut self, path: &str, target: &str) -> Result<(), Failure> {
        self.0
            .append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)
            .map_err(Failure::io("archive", Path::new(path)))
    }

    /// A character device that everybody may read and write.
    fn node(&mut self, path: &str, major: u32, minor: u32) -> Result<(), Failure> {
        let mut header = header(EntryType::Char, 0o666, 0);
        let numbered = header.set_device_major(major).and_then(|()| header.set_device_minor(minor));
        numbered
            .and_then(|()| self.0.append_data(&mut header, path, &[][..]))
            .map_err(Failure::io("archive", Path::new(path)))
    }

    fn finish(self) -> Result<Vec<u8>, Failure> {
        self.0.into_inner().map_err(Failure::io("finish", Path::new("an archive")))
    }
}

fn header(kind: EntryType, mode: u32, owner: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(0);
    header.set_size(0);
    header
}
