//! `delete`: removes what a daemon that is gone has left of a container.
//!
//! containerd calls it with the bundle when the daemon's connection is lost, and gives it 5 seconds
//! (`io.containerd.timeout.shim.cleanup`). All that it knows is on disk, in the private directory.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use containerd_shim_protos::api::DeleteResponse;
use containerd_shim_protos::protobuf::{Message as _, MessageField};
use thiserror::Error;

use super::flags::Flags;
use super::socket::SocketAddress;
use super::stragglers;
use crate::bundle::PrivateDir;
use crate::cgroup::Cgroup;
use crate::runtime::{ContainerRecord, OciRuntime, RECORD_NAME};
use crate::task::{SIGKILL_STATUS, mount, timestamp};

/// Why a container could not be cleaned up.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// The working directory is unknown and no bundle was named.
    #[error("read the working directory")]
    WorkingDirectory(#[source] io::Error),
    /// The reply can't be encoded.
    #[error("encode the reply")]
    Encode(#[source] containerd_shim_protos::protobuf::Error),
}

/// Part of containerd's 5 s that the runtime's `delete` of all containers of the pod may take together. Past it
/// each container is removed through its cgroup alone, so that none is left running.
const RUNTIME_BUDGET: Duration = Duration::from_secs(3);
/// Part of [`RUNTIME_BUDGET`] that one container may take, so that a runtime which hangs on one leaves time for the next.
const RUNTIME_DEADLINE: Duration = Duration::from_millis(1500);

pub(super) fn run(flags: &Flags) -> Result<Vec<u8>, DeleteError> {
    let end = Instant::now() + RUNTIME_BUDGET;
    let cwd = if flags.bundle().as_os_str().is_empty() {
        env::current_dir().map_err(DeleteError::WorkingDirectory)?
    } else {
        flags.bundle().clone()
    };
    // The id may be another container's of the same pod: bundles of a namespace are siblings.
    let bundle = cwd.parent().map_or_else(|| cwd.clone(), |namespace| namespace.join(flags.id()));
    let record = clean(&bundle, flags.id(), end);
    for member in group_members(&bundle, flags.id()) {
        if let Some(id) = member.file_name().and_then(|name| name.to_str()) {
            clean(&member, id, end);
        }
    }
    if let Some(address) = record.as_ref().and_then(|record| SocketAddress::from_uri(record.socket()))
        && !address.answers()
        && let Err(error) = address.remove()
    {
        crate::warn!("{}", crate::log::chain(&error));
    }
    DeleteResponse {
        pid: record.map_or(0, |record| record.pid()),
        exit_status: SIGKILL_STATUS,
        exited_at: MessageField::some(timestamp(SystemTime::now())),
        ..DeleteResponse::default()
    }
    .write_to_bytes()
    .map_err(DeleteError::Encode)
}

/// Kills and removes one container and unmounts its rootfs. Each step is tried even if an earlier one failed, and what can't be
/// cleaned keeps neither the pod's other containers nor the reply: containerd removes no bundle with something mounted in it.
fn clean(bundle: &Path, id: &str, end: Instant) -> Option<ContainerRecord> {
    let record = remove_container(bundle, id, end);
    if let Err(error) = mount::unmount(&bundle.join("rootfs")) {
        crate::warn!("rootfs of {id}: {}", crate::log::chain(&error));
    }
    record
}

fn remove_container(bundle: &Path, id: &str, end: Instant) -> Option<ContainerRecord> {
    let dir = PrivateDir::open(bundle).ok()?;
    let record: ContainerRecord = match dir.read_record(RECORD_NAME) {
        Ok(record) => record,
        Err(error) => {
            crate::warn!("{}", crate::log::chain(&error));
            return None;
        }
    };
    if let Err(error) = stragglers::kill_in(dir.path()) {
        crate::warn!("runtime calls of {id}: {error}");
    }
    let cgroup = record.cgroup();
    if let Err(error) = delete_by_runtime(record.runtime(), &dir, id, end) {
        crate::warn!("runtime delete of {id}: {error}");
    }
    if let Some(cgroup) = cgroup {
        remove_cgroup(&cgroup, id);
    }
    Some(record)
}

/// What is left when the runtime's own delete failed: processes, and their cgroup.
fn remove_cgroup(cgroup: &Cgroup, id: &str) {
    if let Err(error) = cgroup.kill_all().and_then(|()| cgroup.remove()) {
        crate::warn!("cgroup of {id}: {}", crate::log::chain(&error));
    }
}

fn delete_by_runtime(runtime: &OciRuntime, dir: &PrivateDir, id: &str, end: Instant) -> io::Result<()> {
    let end = end.min(Instant::now() + RUNTIME_DEADLINE);
    if Instant::now() >= end {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut child = runtime.force_delete(dir, id).spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) };
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bundles whose containers belong to the sandbox `id`. For task API v3 containerd calls `delete` for the
/// sandbox only, so its containers go with it.
fn group_members(bundle: &Path, id: &str) -> Vec<PathBuf> {
    let Some(siblings) = bundle.parent().and_then(|namespace| fs::read_dir(namespace).ok()) else { return Vec::new() };
    siblings
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path != bundle)
        .filter(|path| {
            PrivateDir::open(path)
                .and_then(|dir| dir.read_record::<ContainerRecord>(RECORD_NAME))
                .is_ok_and(|record| record.sandbox() == id)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

    /// A runtime whose every command hangs.
    fn hanging_runtime(dir: &Path) -> OciRuntime {
        let program = dir.join("runc");
        fs::write(&program, "#!/bin/sh\nexec sleep 60\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let policy = format!("[runtime]\nbinary = {program:?}\n");
        OciRuntime::chosen_by(&palisade_policy::Policy::from_toml(&policy).unwrap())
    }

    #[test]
    fn a_pod_of_many_containers_is_removed_in_time_though_the_runtime_hangs() {
        let namespace = env::temp_dir().join(format!("palisade-delete-{}", std::process::id()));
        fs::create_dir_all(&namespace).unwrap();
        let runtime = hanging_runtime(&namespace);
        for id in ["s", "c1", "c2", "c3", "c4", "c5"] {
            let bundle = namespace.join(id);
            fs::create_dir(&bundle).unwrap();
            fs::DirBuilder::new().mode(0o700).create(bundle.join("palisade")).unwrap();
            let dir = PrivateDir::open(&bundle).unwrap();
            dir.write_record(RECORD_NAME, &ContainerRecord::new(runtime.clone(), "s", "", "")).unwrap();
        }
        let started = Instant::now();
        let end = started + RUNTIME_BUDGET;
        assert!(clean(&namespace.join("s"), "s", end).is_some());
        let members = group_members(&namespace.join("s"), "s");
        assert_eq!(members.len(), 5);
        for member in members {
            assert!(clean(&member, "c", end).is_some());
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(4), "containerd gives 5 s, this took {took:?}");
        fs::remove_dir_all(namespace).unwrap();
    }

    #[test]
    fn what_cannot_be_cleaned_of_one_keeps_neither_the_others_nor_the_reply() {
        let root = env::temp_dir().join(format!("palisade-delete-others-{}", std::process::id()));
        let namespace = root.join("ns");
        fs::create_dir_all(&namespace).unwrap();
        let program = root.join("runc");
        fs::write(&program, "#!/bin/sh\n: >../../deleted\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let policy = palisade_policy::Policy::from_toml(&format!("[runtime]\nbinary = {program:?}\n")).unwrap();
        // Below a file nothing can be unmounted.
        fs::write(namespace.join("s"), "").unwrap();
        let member = namespace.join("c");
        fs::create_dir(&member).unwrap();
        fs::DirBuilder::new().mode(0o700).create(member.join("palisade")).unwrap();
        let record = ContainerRecord::new(OciRuntime::chosen_by(&policy), "s", "", "");
        PrivateDir::open(&member).unwrap().write_record(RECORD_NAME, &record).unwrap();
        let bundle = namespace.join("s");
        let line = ["-namespace", "ns", "-id", "s", "-bundle", bundle.to_str().unwrap(), "delete"];
        let flags = Flags::parse(line.into_iter().map(Into::into)).unwrap();
        let reply = DeleteResponse::parse_from_bytes(&run(&flags).unwrap()).unwrap();
        assert_eq!((reply.pid, reply.exit_status), (0, SIGKILL_STATUS));
        assert!(namespace.join("deleted").exists(), "the pod's container");
        fs::remove_dir_all(root).unwrap();
    }
}
