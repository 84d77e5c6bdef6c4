//! `update`: new limits for a container that exists.
//!
//! The limits are written by the shim's own cgroup room. Device rules stay as `create` settled them, whatever a request says, as
//! with runc: CRI sends those of the original specification along with every update.
//!
//! Of a unit of systemd's the properties are set first: systemd writes what it knows of a unit whenever it reads its units again, and would
//! take back what it had not been told.

use std::io::Read as _;
use std::path::Path;

use oci_spec::runtime::LinuxResources;

use super::arguments::is_stdin;
use super::error::RuntimeFailure;
use super::id::ContainerId;
use super::init_process::InitProcess;
use super::spec::{self, SpecError};
use super::state::{StateDir, Status};
use super::systemd_unit;
use crate::cgroup::{Cgroup, CgroupError};

/// Most bytes of limits that are read from stdin.
const MAX_RESOURCES: u64 = 1 << 20;

/// Sets limits from a file, or from stdin if it is `-`.
pub(super) fn update(root: &Path, id: &ContainerId, file: &Path) -> Result<(), RuntimeFailure> {
    let state = StateDir::open(root, id)?;
    let record = state.record()?;
    let status = state.status(&record);
    let wrong = || RuntimeFailure::WrongStatus { verb: "update", id: id.clone(), status };
    let init = record.init.filter(|_| status != Status::Stopped).ok_or_else(wrong)?;
    let resources: LinuxResources = if is_stdin(file) { from_stdin()? } else { spec::read_json(file, "resources")? };
    if record.cgroup.is_systemd() {
        systemd_unit::set(record.cgroup.spec_path(), id, &resources)?;
    }
    limit(init, record.cgroup.spec_path(), &resources).map_err(RuntimeFailure::Limits)
}

fn from_stdin() -> Result<LinuxResources, RuntimeFailure> {
    let mut text = Vec::new();
    let read = std::io::stdin().lock().take(MAX_RESOURCES).read_to_end(&mut text);
    read.map_err(RuntimeFailure::kernel("read the resources from stdin"))?;
    let syntax = |source| SpecError::Syntax { path: "/dev/stdin".into(), what: "resources", source };
    Ok(serde_json::from_slice(&text).map_err(syntax)?)
}

/// Writes limits into the cgroup of the init process.
pub(super) fn limit(init: InitProcess, cgroups_path: &Path, resources: &LinuxResources) -> Result<(), CgroupError> {
    Cgroup::of_container(init.pid().cast_unsigned(), &cgroups_path.to_string_lossy())?.apply(resources)
}
