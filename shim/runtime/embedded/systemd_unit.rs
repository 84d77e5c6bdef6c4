//! The limits of a scope, as systemd is told of them.

use std::path::Path;
use std::time::Duration;

use libcgroups::common::{CgroupManager as _, ControllerOpt, DEFAULT_CGROUP_ROOT};
use libcgroups::systemd::manager::{Manager, SystemdManagerError};
use oci_spec::runtime::LinuxResources;

use super::cgroup::ContainerCgroup;
use super::error::RuntimeFailure;
use super::id::ContainerId;
use super::report;

/// Only a process that is put into the unit is waited for.
const NO_WAIT: Duration = Duration::ZERO;

/// Sets the properties that stand for these limits, and returns once systemd has written them.
///
/// systemd also writes what it was never told of, `memory.oom.group` among them, which no scope has as a property before version 253.
pub(super) fn set(cgroups_path: &Path, id: &ContainerId, resources: &LinuxResources) -> Result<(), RuntimeFailure> {
    let unit = of(cgroups_path, id)?;
    apply(&unit, resources)?;
    settle_unit(&unit)
}

/// Returns once systemd has written what it was told of before. It writes after it has answered, and before it reads the next request.
pub(super) fn settle(cgroups_path: &Path, id: &ContainerId) -> Result<(), RuntimeFailure> {
    settle_unit(&of(cgroups_path, id)?)
}

/// Ends the unit of a cgroup that was removed, if there is one: the kernel need not have told systemd that it is empty, as it leaves out notices
/// that follow each other within 10 ms. A unit that is left takes no process with it.
pub(super) fn end(cgroup: &ContainerCgroup, id: &ContainerId) {
    if !cgroup.is_systemd() {
        return;
    }
    if let Err(failure) = of(cgroup.spec_path(), id).and_then(|unit| unit.remove().map_err(failed)) {
        report::note(&format!("the systemd unit of {id} is left: {failure}"));
    }
}

fn of(cgroups_path: &Path, id: &ContainerId) -> Result<Manager, RuntimeFailure> {
    Manager::new(DEFAULT_CGROUP_ROOT.into(), cgroups_path.into(), id.to_string(), true, NO_WAIT).map_err(failed)
}

/// Without limits it asks for systemd's version and sets nothing.
fn settle_unit(unit: &Manager) -> Result<(), RuntimeFailure> {
    apply(unit, &LinuxResources::default())
}

fn apply(unit: &Manager, resources: &LinuxResources) -> Result<(), RuntimeFailure> {
    let options = ControllerOpt { resources, disable_oom_killer: false, oom_score_adj: None, freezer_state: None };
    unit.apply(&options).map_err(failed)
}

fn failed(error: SystemdManagerError) -> RuntimeFailure {
    RuntimeFailure::SystemdUnit(Box::new(error))
}
