//! What only the host can tell of a spec: whose namespace a path names, which file a mount's source is.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::mount_table::MountTable;
use super::pins::Pins;
use super::tokens::holds_token;
use super::users;
use crate::cgroup::{CgroupError, cpu_ceiling_millis, has_swap_file, huge_page_sizes, is_unified};
use oci_spec::runtime::LinuxNamespaceType;
use palisade_policy::{
    HookFact, HostFacts, KubeletVolume, MountBelow, NamespaceFact, NamespaceSharing, ParsedSpec, Policy, SourceFact,
    SourceKind,
};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, open, openat2};
use std::os::fd::AsRawFd as _;

/// TMPFS_MAGIC and RAMFS_MAGIC (linux/magic.h).
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;

/// Device and inode: two paths that have the same are the same file, whatever their names.
type FileId = (u64, u64);

/// Looks at each namespace path and each bind source that the spec names, as they are on this host now. For a spec that
/// no shim was asked to create: a namespace that is not the host's is taken for the pod's.
///
/// # Errors
///
/// [`CgroupError`]: which version of cgroups has the limits can't be told.
pub fn facts_of(spec: &ParsedSpec, policy: &Policy) -> Result<HostFacts, CgroupError> {
    Ok(look_at(spec, policy, None)?.0)
}

/// What a shim knows of the pod that it holds.
#[derive(Debug, Default)]
pub struct PodFacts {
    /// The first processes of its containers that run.
    pub inits: Vec<u32>,
    /// The cgroup path of its sandbox, as in the specification.
    pub cgroup: Option<String>,
}

/// The facts, and the very files that they are about. `pod` is the one that the shim holds.
pub(super) fn look_at(
    spec: &ParsedSpec,
    policy: &Policy,
    pod: Option<&PodFacts>,
) -> Result<(HostFacts, Pins), CgroupError> {
    let watched: Vec<(FileId, PathBuf)> =
        policy.watched_host_paths().into_iter().filter_map(|path| Some((file_id_at(&path)?, path))).collect();
    let hooks = spec.hook_paths().into_iter().map(|(pointer, path)| hook(pointer, path)).collect();
    let mut pins = Pins::default();
    let mut sources = Vec::new();
    let table = MountTable::read();
    for (mount, path) in spec.bind_sources() {
        let (fact, file) = source(mount, path, &watched, table.as_ref(), policy);
        sources.push(fact);
        pins.sources.extend(file.map(|file| (mount, file.into())));
    }
    let mut namespaces = Vec::new();
    for (kind, path) in spec.namespace_paths() {
        let (fact, file) = namespace(kind, path, pod.map(|pod| pod.inits.as_slice()));
        namespaces.push(fact);
        pins.namespaces.extend(file.map(|file| (kind, file.into())));
    }
    let facts = HostFacts {
        pod_cgroup: pod.and_then(|pod| pod.cgroup.clone()),
        hooks,
        cpu_ceiling_millis: cpu_ceiling(spec),
        swap_by_name: spec.cgroups_path().to_string_lossy().contains(':') && has_swap_file()?,
        cgroup_v2: is_unified()?,
        huge_page_sizes: huge_page_sizes().to_vec(),
        joined_users_are_remapped: users::joined_are_remapped(spec, &pins),
        users_of_others: None,
        namespaces,
        sources,
    };
    Ok((facts, pins))
}

/// A path that can't be looked at has no ceiling here; the rule on the path itself, or the runtime, refuses it.
fn cpu_ceiling(spec: &ParsedSpec) -> Option<u64> {
    let path = spec.cgroups_path().to_str()?;
    cpu_ceiling_millis(path).unwrap_or_else(|error| {
        crate::warn!("CPU quota above {path:?}: {}", crate::log::chain(&error));
        None
    })
}

/// Whether a program is root's, and nobody else can put another one in its place.
#[must_use]
pub fn is_roots_program(path: &Path) -> bool {
    let fact = hook(String::new(), path);
    fact.trusted && fact.real_path == path
}

/// A hook runs on the host as root, so nobody else may be able to put another program in its place.
fn hook(pointer: String, path: &Path) -> HookFact {
    let real_path = path.canonicalize().unwrap_or_else(|_| path.into());
    let roots_alone = |path: &Path| fs::metadata(path).is_ok_and(|seen| seen.uid() == 0 && seen.mode() & 0o022 == 0);
    let trusted = real_path.is_absolute() && real_path.ancestors().all(roots_alone);
    HookFact { pointer, real_path, trusted }
}

fn file_id(seen: &fs::Metadata) -> FileId {
    (seen.dev(), seen.ino())
}

/// The shim runs in the host's namespaces, so its own are the host's.
fn namespace(kind: LinuxNamespaceType, path: &Path, pod: Option<&[u32]>) -> (NamespaceFact, Option<fs::File>) {
    let of = |process: &str| file_id_at(&Path::new("/proc").join(process).join("ns").join(file_name(kind)));
    let found = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map(fs::File::from);
    let seen = found.as_ref().ok().and_then(|file| file.metadata().ok());
    let sharing = match (seen.map(|seen| file_id(&seen)), of("self")) {
        (Some(there), Some(here)) if there == here => NamespaceSharing::Host,
        (Some(there), Some(_)) => {
            let is_pods = pod.is_none_or(|pod| pod.iter().any(|pid| of(&pid.to_string()) == Some(there)));
            if is_pods { NamespaceSharing::Pod } else { NamespaceSharing::Other }
        }
        _ => NamespaceSharing::Unresolved,
    };
    // The kernel makes no second name for a mount namespace, and no rule lets one be joined.
    let held = found.ok().filter(|_| kind != LinuxNamespaceType::Mount);
    (NamespaceFact { kind, sharing }, held)
}

fn file_id_at(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|seen| file_id(&seen))
}

/// Names below `/proc/<pid>/ns`. Source: namespaces(7).
fn file_name(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mnt",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "net",
        LinuxNamespaceType::Time => "time",
    }
}

/// Without a mount table nothing can be said of a source, and it is refused.
fn source(
    mount: usize,
    path: &Path,
    watched: &[(FileId, PathBuf)],
    table: Result<&MountTable, &io::Error>,
    policy: &Policy,
) -> (SourceFact, Option<fs::File>) {
    let Ok((found, table)) = table.map_err(|_| ()).and_then(|table| Ok((resolve(path, table).map_err(|_| ())?, table)))
    else {
        let (real_path, kind) = (path.into(), SourceKind::Missing);
        let (locations, below) = (Vec::new(), Vec::new());
        let fact = SourceFact { mount, real_path, kind, same_as: None, locations, below, kubelet_volume: None };
        return (fact, None);
    };
    let same_as = |id| watched.iter().find(|(known, _)| *known == id).map(|(_, path)| path.display().to_string());
    let below = |path: PathBuf| MountBelow { same_as: file_id_at(&path).and_then(same_as), path };
    let fact = SourceFact {
        mount,
        kind: kind(&found.seen),
        same_as: same_as(file_id(&found.seen)),
        kubelet_volume: kubelet_volume(&found, policy),
        locations: found.locations,
        below: table.below(&found.real_path).into_iter().map(below).collect(),
        real_path: found.real_path,
    };
    (fact, Some(found.file))
}

/// What is seen of a volume that the kubelet fills with secrets, if it is one by its place. Whether it `holds` a token is only looked for where
/// a rule asks.
fn kubelet_volume(found: &Resolved, policy: &Policy) -> Option<KubeletVolume> {
    if !std::iter::once(&found.real_path).chain(&found.locations).any(|path| policy.is_volume_of_secrets(path)) {
        return None;
    }
    // Only these are asked: a file server that hangs is no place for them.
    let on_tmpfs = fstatfs(&found.file).is_ok_and(|seen| [TMPFS, RAMFS].contains(&seen.f_type));
    Some(KubeletVolume { on_tmpfs, holds_token: policy.looks_for_tokens() && holds_token(&found.file) })
}

/// What stands at a path.
struct Resolved {
    file: fs::File,
    real_path: PathBuf,
    seen: fs::Metadata,
    locations: Vec<PathBuf>,
}

/// The path without links, and what is there. Magic links (`/proc/<pid>/root`, `/proc/<pid>/fd`) lead
/// anywhere and are not followed.
fn resolve(path: &Path, table: &MountTable) -> io::Result<Resolved> {
    let fd = openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    let file = fs::File::from(fd);
    let real_path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let locations = table.others_of(&file, &real_path)?;
    Ok(Resolved { seen: file.metadata()?, file, real_path, locations })
}

fn kind(seen: &fs::Metadata) -> SourceKind {
    let kind = seen.file_type();
    if kind.is_dir() {
        SourceKind::Directory
    } else if kind.is_socket() {
        SourceKind::Socket
    } else if kind.is_block_device() {
        SourceKind::BlockDevice
    } else if kind.is_char_device() {
        SourceKind::CharDevice
    } else if kind.is_fifo() {
        SourceKind::Fifo
    } else {
        SourceKind::File
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    #[test]
    fn ones_own_namespaces_are_the_hosts() {
        let sharing = |path: &str, pod| namespace(LinuxNamespaceType::Network, Path::new(path), pod).0.sharing;
        assert_eq!(sharing("/proc/self/ns/net", Some(&[])), NamespaceSharing::Host);
        assert_eq!(sharing("/proc/self/ns/uts", Some(&[])), NamespaceSharing::Other);
        assert_eq!(sharing("/nonexistent", None), NamespaceSharing::Unresolved);
    }

    #[test]
    fn a_namespace_is_the_pods_if_a_process_of_it_is_in_it() {
        let mut command = Command::new("unshare");
        let mut member = command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Once it echoes, it has its namespace.
        member.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        member.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let path = format!("/proc/{}/ns/net", member.id());
        let (pod, others) = ([std::process::id(), member.id()], [std::process::id()]);
        let sharing = |pod| namespace(LinuxNamespaceType::Network, Path::new(&path), pod).0.sharing;
        assert_eq!(sharing(Some(&pod)), NamespaceSharing::Pod);
        assert_eq!(sharing(Some(&others)), NamespaceSharing::Other);
        assert_eq!(sharing(None), NamespaceSharing::Pod);
        drop(member.stdin.take());
        member.wait().unwrap();
    }

    #[test]
    fn a_source_is_known_by_inode_whatever_its_name() {
        let dir = std::env::temp_dir().join(format!("palisade-host-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("innocent")).unwrap();
        let watched = vec![(file_id(&fs::metadata("/etc").unwrap()), PathBuf::from("/etc"))];
        let (fact, file) = source(3, &dir.join("innocent"), &watched, MountTable::read().as_ref(), &Policy::builtin());
        assert_eq!((fact.mount, fact.kind, fact.same_as.as_deref()), (3, SourceKind::Directory, Some("/etc")));
        assert_eq!(fact.real_path, Path::new("/etc"));
        // What is held is what was looked at, whatever stands at the name now.
        fs::remove_file(dir.join("innocent")).unwrap();
        std::os::unix::fs::symlink("/usr", dir.join("innocent")).unwrap();
        assert_eq!(file_id(&file.unwrap().metadata().unwrap()), watched[0].0);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_hook_that_others_can_replace_is_not_trusted() {
        assert!(hook("/hooks/prestart/0".into(), Path::new("/bin/sh")).trusted);
        assert!(!hook("/hooks/prestart/0".into(), Path::new("/tmp")).trusted, "/tmp is writable by all");
        assert!(!hook("/hooks/prestart/0".into(), Path::new("/nonexistent/hook")).trusted);
    }

    #[test]
    fn magic_links_are_not_followed() {
        let table = MountTable::read();
        let (fact, file) = source(0, Path::new("/proc/self/root/etc"), &[], table.as_ref(), &Policy::builtin());
        assert_eq!((fact.kind, file.is_none()), (SourceKind::Missing, true));
        assert_eq!(
            source(0, Path::new("/dev/null"), &[], table.as_ref(), &Policy::builtin()).0.kind,
            SourceKind::CharDevice
        );
    }

    #[test]
    fn what_the_host_has_mounted_below_a_source_comes_with_it() {
        // /dev has /dev/pts or /dev/shm mounted below it on any machine, and /proc is below the root.
        let table = MountTable::read();
        let watched = vec![(file_id(&fs::metadata("/proc").unwrap()), PathBuf::from("/proc"))];
        let (fact, _) = source(0, Path::new("/"), &watched, table.as_ref(), &Policy::builtin());
        let proc = fact.below.iter().find(|below| below.path == Path::new("/proc")).unwrap();
        assert_eq!(proc.same_as.as_deref(), Some("/proc"));
        assert!(source(0, Path::new("/proc/version"), &watched, table.as_ref(), &Policy::builtin()).0.below.is_empty());
    }

    /// The author of a hostPath volume, or a file server of theirs, is not asked for what the kubelet alone writes.
    #[test]
    fn only_the_kubelets_directories_are_its_volumes() {
        let dir = std::env::temp_dir().join(format!("palisade-kubelet-{}", std::process::id()));
        let elsewhere = dir.join("mine/kubernetes.io~secret/x");
        let volume = dir.join("pods/0a/volumes/kubernetes.io~secret/x");
        let text = format!("version = 1\n[node]\nkubelet_roots = [\"{}\"]\n", dir.display());
        let policy = Policy::from_toml(&text).unwrap();
        for (path, is) in [(&elsewhere, false), (&volume, true)] {
            fs::create_dir_all(path).unwrap();
            let (fact, _) = source(0, path, &[], MountTable::read().as_ref(), &policy);
            assert_eq!(fact.kubelet_volume.is_some(), is, "{}", path.display());
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn without_a_mount_table_no_source_is_known() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let (fact, file) = source(0, Path::new("/etc"), &[], Err(&missing), &Policy::builtin());
        assert_eq!((fact.kind, file.is_none()), (SourceKind::Missing, true));
    }
}
