//! From a container's id to the image that it is made of.
//!
//! containerd keeps the name of an image with a container, and a name can lead elsewhere by the time that somebody looks. So the image counts
//! only if its layers are what the container's snapshot stands on: the snapshot's parent is named after the layers' digests.

use std::collections::BTreeMap;

use palisade_policy::{ImageFacts, ImageMount, ImageSettings, Looked};

use super::containerd::Containerd;
use super::error::ImageError;
use super::manifest::{Config, Document, Pointer, is_index, is_manifest};
use super::messages::{Container, Descriptor, Mount};
use super::{asked, blob, lists, remap, signatures, verdicts};

/// Most manifests of an index that are looked at.
const MAX_MANIFESTS: usize = 32;
/// Most labels, and their bytes together, that are handed on.
const MAX_LABELS: (usize, usize) = (256, 64 << 10);
/// Bytes of the longest date: RFC 3339 with nanoseconds and a zone has 35.
const MAX_CREATED: usize = 64;

pub(super) async fn facts_of(
    containerd: &Containerd,
    id: &str,
    settings: &ImageSettings,
) -> Result<ImageFacts, ImageError> {
    let container = containerd.container(id).await?;
    if container.image.is_empty() {
        return Err(ImageError::NoImage);
    }
    if container.snapshotter.is_empty() || container.snapshot_key.is_empty() {
        return Err(ImageError::NoSnapshot);
    }
    let (snapshotter, key) = (container.snapshotter.as_str(), container.snapshot_key.as_str());
    let (snapshot, mounts) =
        tokio::try_join!(containerd.snapshot(snapshotter, key), containerd.mounts(snapshotter, key))?;
    let Named { name, target, found } = named(containerd, &container, &snapshot.parent).await?;
    let mut facts = ImageFacts {
        name,
        digest: target.digest,
        manifest: found.manifest,
        config: found.digest,
        created: Looked::Seen(created(&found.config)),
        labels: labels(found.config),
        mounts: Looked::Seen(mounts.into_iter().map(mount).collect()),
        ..ImageFacts::default()
    };
    lists::look(&mut facts, settings);
    verdicts::look(&mut facts, settings);
    signatures::look(&mut facts, settings, Some(containerd)).await;
    Ok(facts)
}

/// The name that counts, what it leads to, and the proof.
struct Named {
    name: String,
    target: Descriptor,
    found: Found,
}

/// The name by which the image was asked for, if it leads to what the snapshot stands on; else the one that containerd keeps with the container.
async fn named(containerd: &Containerd, container: &Container, parent: &str) -> Result<Named, ImageError> {
    let spec = container.spec.as_ref().map_or(&[][..], |spec| &spec.value);
    for name in asked::names(spec) {
        let Ok(Some(target)) = containerd.image(&name).await else { continue };
        if let Ok(found) = of_layers(containerd, container, &target, parent).await {
            return Ok(Named { name, target, found });
        }
    }
    let name = container.image.clone();
    let target = containerd.image(&name).await?.ok_or(ImageError::NoImage)?;
    let found = of_layers(containerd, container, &target, parent).await?;
    Ok(Named { name, target, found })
}

/// The manifest whose layers the snapshot stands on.
struct Found {
    manifest: String,
    /// The configuration's.
    digest: String,
    config: Config,
}

async fn of_layers(
    containerd: &Containerd,
    container: &Container,
    target: &Descriptor,
    parent: &str,
) -> Result<Found, ImageError> {
    for manifest in manifests(containerd, target).await? {
        let Some(found) = read_manifest(containerd, manifest).await? else { continue };
        let chain = found.config.rootfs.chain_id()?;
        if parent == chain || is_remapped(containerd, container, parent, &chain).await? {
            return Ok(found);
        }
    }
    Err(ImageError::Unproven(container.image.clone()))
}

/// Digests of the manifests that an image's target stands for, this machine's first.
async fn manifests(containerd: &Containerd, target: &Descriptor) -> Result<Vec<String>, ImageError> {
    if is_manifest(&target.media_type) {
        return Ok(vec![target.digest.clone()]);
    }
    if !is_index(&target.media_type) {
        return Err(ImageError::MediaType(target.digest.clone()));
    }
    let bytes = blob::read(containerd, &target.digest).await?;
    let bytes = bytes.ok_or_else(|| ImageError::Missing { path: target.digest.clone() })?;
    let index: Document = blob::parse(&target.digest, &bytes)?;
    index.check(&target.digest)?;
    let mut all: Vec<Pointer> = index.manifests.unwrap_or_default();
    all.retain(|pointer| is_manifest(&pointer.media_type));
    all.sort_by_key(|pointer| !is_native(pointer));
    all.truncate(MAX_MANIFESTS);
    Ok(all.into_iter().map(|pointer| pointer.digest).collect())
}

/// By the names that Go has for architectures.
fn is_native(pointer: &Pointer) -> bool {
    let own = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    pointer.platform.as_ref().is_none_or(|platform| platform.os == "linux" && platform.architecture == own)
}

/// `None` where it was not fetched, as those of other platforms are not.
async fn read_manifest(containerd: &Containerd, digest: String) -> Result<Option<Found>, ImageError> {
    let Some(bytes) = blob::read(containerd, &digest).await? else { return Ok(None) };
    let manifest: Document = blob::parse(&digest, &bytes)?;
    manifest.check(&digest)?;
    let Some(pointer) = manifest.config else { return Ok(None) };
    let Some(bytes) = blob::read(containerd, &pointer.digest).await? else { return Ok(None) };
    // What is no image's configuration, an attestation's say, has no layers to compare.
    match blob::parse(&pointer.digest, &bytes) {
        Ok(config) => Ok(Some(Found { manifest: digest, digest: pointer.digest, config })),
        Err(_) => Ok(None),
    }
}

/// Whether it is the snapshot with other owners that containerd makes of these layers for the container's user namespace.
async fn is_remapped(
    containerd: &Containerd,
    container: &Container,
    parent: &str,
    chain: &str,
) -> Result<bool, ImageError> {
    let spec = container.spec.as_ref().map_or(&[][..], |spec| &spec.value);
    if chain.is_empty() || !remap::names(spec, chain).iter().any(|name| name == parent) {
        return Ok(false);
    }
    Ok(containerd.snapshot(&container.snapshotter, parent).await?.parent == chain)
}

/// When it was made, as it says; what is no date is handed on as none, so that its length makes nothing unknown.
fn created(config: &Config) -> String {
    config.created.clone().filter(|created| created.len() <= MAX_CREATED).unwrap_or_default()
}

fn labels(config: Config) -> Looked<BTreeMap<String, String>> {
    let labels = config.config.and_then(|config| config.labels).unwrap_or_default();
    let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    if labels.len() > MAX_LABELS.0 || bytes > MAX_LABELS.1 {
        return Looked::Failed(format!("more than {} labels, or {} bytes of them", MAX_LABELS.0, MAX_LABELS.1));
    }
    Looked::Seen(labels)
}

fn mount(mount: Mount) -> ImageMount {
    ImageMount { kind: mount.kind, source: mount.source, options: mount.options }
}
