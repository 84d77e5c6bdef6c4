//! Reading a spec, refusing what can't be enforced, and the form that libcontainer gets.
//!
//! libcontainer ignores some fields with a warning in a log that nobody reads. Each of those is a refusal here: a
//! container that lacks what its spec says must not exist.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::{
    Hook, Hooks, Linux, LinuxDeviceCgroup, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp, Process, Root, Spec,
};
use thiserror::Error;

use super::propagation;

/// Most bytes of a spec. containerd's own are below 100 KiB.
const MAX_SPEC: u64 = 4 << 20;

/// Why a spec, or the process of an exec, is not run.
#[derive(Debug, Error)]
pub(super) enum SpecError {
    /// The file.
    #[error("read {}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// Its contents.
    #[error("{} is no OCI {what}", path.display())]
    Syntax {
        /// Its path.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        #[source]
        source: serde_json::Error,
    },
    /// A part that must be there.
    #[error("{field} is missing")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A part that can't be enforced.
    #[error("{field} is refused: {reason}")]
    Refused {
        /// Which.
        field: String,
        /// Why, and what would do.
        reason: &'static str,
    },
    /// `root.path`.
    #[error("root.path {}", path.display())]
    Rootfs {
        /// Its value.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

fn refused(field: impl Into<String>, reason: &'static str) -> SpecError {
    SpecError::Refused { field: field.into(), reason }
}

/// A spec whose every part is there and can be enforced.
///
/// The filter stands apart: it has hundreds of names, which every copy of the rest would copy, and every process that is
/// forked would carry.
#[derive(Debug, Clone)]
pub(super) struct EnforceableSpec {
    spec: Spec,
    process: Process,
    linux: Linux,
    rootfs: PathBuf,
}

impl EnforceableSpec {
    /// Reads `<bundle>/config.json`: the filter's profile, and all else.
    pub(super) fn read(bundle: &Path) -> Result<(Self, Option<LinuxSeccomp>), SpecError> {
        let spec: Spec = read_json(&bundle.join("config.json"), "spec")?;
        Self::new(spec, bundle)
    }

    fn new(mut spec: Spec, bundle: &Path) -> Result<(Self, Option<LinuxSeccomp>), SpecError> {
        let seccomp = spec.linux_mut().as_mut().and_then(|linux| linux.seccomp_mut().take());
        seccomp.as_ref().map_or(Ok(()), seccomp_listener)?;
        let process = spec.process().clone().ok_or(SpecError::Missing { field: "process" })?;
        let linux = spec.linux().clone().ok_or(SpecError::Missing { field: "linux" })?;
        let root = spec.root().as_ref().ok_or(SpecError::Missing { field: "root" })?;
        let path = bundle.join(root.path());
        let rootfs = path.canonicalize().map_err(|source| SpecError::Rootfs { path, source })?;
        check_process(&process)?;
        RULES.iter().try_for_each(|rule| rule(&spec, &linux))?;
        Ok((Self { spec, process, linux, rootfs }, seccomp))
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    pub(super) fn linux(&self) -> &Linux {
        &self.linux
    }

    pub(super) fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// What libcontainer gets at create, without a filter: this runtime's own code loads it. A hook without a
    /// time limit gets `hook_limit`, since libcontainer would wait for it without an end.
    pub(super) fn for_init(
        &self,
        process: Process,
        cgroup: &Path,
        devices: Vec<LinuxDeviceCgroup>,
        hook_limit: Duration,
    ) -> Spec {
        let mut linux = self.linux.clone();
        let mut resources = linux.resources().clone().unwrap_or_default();
        resources.set_devices(Some(devices));
        let rootfs_propagation =
            linux.rootfs_propagation().as_deref().map(|wanted| propagation::of_rootfs(wanted).into());
        linux
            .set_cgroups_path(Some(cgroup.to_owned()))
            .set_resources(Some(resources))
            .set_rootfs_propagation(rootfs_propagation);
        let mut spec = self.spec.clone();
        spec.set_linux(Some(linux)).set_process(Some(process)).set_root(self.absolute_root());
        if let Some(hooks) = spec.hooks_mut() {
            limit_hooks(hooks, hook_limit);
        }
        spec
    }

    /// What an exec needs of it: the process to go by, and the personality.
    pub(super) fn for_exec(&self) -> Spec {
        let mut linux = Linux::default();
        linux
            .set_namespaces(None)
            .set_personality(self.linux.personality().clone())
            .set_resources(None)
            .set_devices(None)
            .set_masked_paths(None)
            .set_readonly_paths(None);
        let mut spec = Spec::default();
        spec.set_version(self.spec.version().clone())
            .set_root(self.spec.root().clone())
            .set_process(Some(self.process.clone()))
            .set_linux(Some(linux))
            .set_hostname(None)
            .set_mounts(None)
            .set_annotations(None);
        spec
    }

    fn absolute_root(&self) -> Option<Root> {
        let mut root = self.spec.root().clone()?;
        root.set_path(self.rootfs.clone());
        Some(root)
    }
}

/// Gives hooks without a time limit one.
pub(super) fn limit_hooks(hooks: &mut Hooks, limit: Duration) {
    let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX).max(1);
    let limited = |hooks: &Option<Vec<Hook>>| {
        hooks.as_ref().map(|hooks| {
            let limited = hooks.iter().cloned().map(|mut hook| {
                hook.set_timeout(Some(hook.timeout().map_or(seconds, |own| own.min(seconds))));
                hook
            });
            limited.collect::<Vec<_>>()
        })
    };
    #[allow(deprecated, reason = "specs still have prestart hooks")]
    hooks.set_prestart(limited(hooks.prestart()));
    hooks.set_create_runtime(limited(hooks.create_runtime()));
    hooks.set_create_container(limited(hooks.create_container()));
    hooks.set_start_container(limited(hooks.start_container()));
    hooks.set_poststart(limited(hooks.poststart()));
    hooks.set_poststop(limited(hooks.poststop()));
}

/// Reads a JSON file of bounded size.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path, what: &'static str) -> Result<T, SpecError> {
    let failed = |source| SpecError::Read { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MAX_SPEC {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let text = fs::read(path).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|source| SpecError::Syntax { path: path.to_owned(), what, source })
}

/// What holds for the process of a container and of an exec alike.
pub(super) fn check_process(process: &Process) -> Result<(), SpecError> {
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return Err(SpecError::Missing { field: "process.args" });
    }
    if process.selinux_label().as_ref().is_some_and(|label| !label.is_empty()) {
        return Err(refused(
            "process.selinuxLabel",
            "the embedded runtime sets no SELinux labels; leave it out or use runc",
        ));
    }
    if !process.cwd().is_absolute() {
        return Err(refused("process.cwd", "an absolute path is allowed"));
    }
    let strings = process.args().iter().chain(process.env()).flatten();
    if strings.into_iter().any(|text| text.contains('\0')) {
        return Err(refused("process.args, process.env", "a NUL byte ends a string"));
    }
    Ok(())
}

type Rule = fn(&Spec, &Linux) -> Result<(), SpecError>;

/// What libcontainer would ignore or do wrong.
const RULES: &[Rule] =
    &[version, mount_namespace, mount_label, idmapped_mounts, personality, intel_rdt, rdma, namespaces_once];

fn version(spec: &Spec, _: &Linux) -> Result<(), SpecError> {
    if spec.version().starts_with("1.") { Ok(()) } else { Err(refused("ociVersion", "1.x is allowed")) }
}

fn mount_namespace(_: &Spec, linux: &Linux) -> Result<(), SpecError> {
    let own = |namespace: &LinuxNamespace| namespace.typ() == LinuxNamespaceType::Mount && namespace.path().is_none();
    if namespaces(linux).iter().any(own) {
        return Ok(());
    }
    Err(refused(
        "linux.namespaces",
        "a mount namespace of its own must be there: without it the container is only chrooted",
    ))
}

fn namespaces_once(_: &Spec, linux: &Linux) -> Result<(), SpecError> {
    let all = namespaces(linux);
    let twice =
        |(index, one): (usize, &LinuxNamespace)| all.iter().skip(index + 1).any(|other| other.typ() == one.typ());
    if all.iter().enumerate().any(twice) {
        return Err(refused("linux.namespaces", "a kind of namespace occurs twice"));
    }
    Ok(())
}

fn mount_label(_: &Spec, linux: &Linux) -> Result<(), SpecError> {
    match linux.mount_label().as_deref() {
        None | Some("") => Ok(()),
        Some(_) => {
            Err(refused("linux.mountLabel", "the embedded runtime sets no SELinux labels; leave it out or use runc"))
        }
    }
}

fn idmapped_mounts(spec: &Spec, _: &Linux) -> Result<(), SpecError> {
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let mapped = mount.uid_mappings().as_ref().is_some_and(|map| !map.is_empty())
            || mount.gid_mappings().as_ref().is_some_and(|map| !map.is_empty());
        let asked = mount.options().iter().flatten().any(|option| option == "idmap" || option == "ridmap");
        if mapped || asked {
            return Err(refused(
                format!("mounts[{index}]"),
                "the embedded runtime makes no idmapped mounts: the shim hands them over made",
            ));
        }
    }
    Ok(())
}

fn personality(_: &Spec, linux: &Linux) -> Result<(), SpecError> {
    let flags = linux.personality().as_ref().and_then(|personality| personality.flags().as_ref());
    match flags {
        Some(flags) if !flags.is_empty() => Err(refused("linux.personality.flags", "no flag is known; leave it out")),
        _ => Ok(()),
    }
}

fn seccomp_listener(seccomp: &LinuxSeccomp) -> Result<(), SpecError> {
    if seccomp.listener_path().is_some() || seccomp.listener_metadata().is_some() {
        return Err(refused(
            "linux.seccomp.listenerPath",
            "the embedded runtime hands no notifications on; leave it out or use runc",
        ));
    }
    Ok(())
}

fn intel_rdt(_: &Spec, linux: &Linux) -> Result<(), SpecError> {
    match linux.intel_rdt() {
        None => Ok(()),
        Some(_) => Err(refused("linux.intelRdt", "the embedded runtime does not remove resctrl groups; use runc")),
    }
}

fn rdma(_: &Spec, linux: &Linux) -> Result<(), SpecError> {
    let rdma = linux.resources().as_ref().and_then(|resources| resources.rdma().as_ref());
    match rdma {
        Some(rdma) if !rdma.is_empty() => {
            Err(refused("linux.resources.rdma", "the embedded runtime sets no RDMA limits; use runc"))
        }
        _ => Ok(()),
    }
}

fn namespaces(linux: &Linux) -> &[LinuxNamespace] {
    linux.namespaces().as_deref().unwrap_or_default()
}
