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
    let cgroup = cgroup_of(init, record.cgroup.spec_path()).map_err(RuntimeFailure::Limits)?;
    if record.cgroup.is_systemd() {
        // systemd would have enforced what is refused here.
        cgroup.refuse_below_usage(&resources).map_err(RuntimeFailure::Limits)?;
        let told = with_quota(&resources, cgroup.cpu_quota().map_err(RuntimeFailure::Limits)?);
        systemd_unit::set(record.cgroup.spec_path(), id, &told)?;
    }
    cgroup.apply(&resources).map_err(RuntimeFailure::Limits)
}

/// systemd is told of CPU limits as a whole: a quota that is not mentioned would be taken away.
fn with_quota(resources: &LinuxResources, present: Option<(i64, u64)>) -> LinuxResources {
    let mut told = resources.clone();
    if let (Some(cpu), Some((quota, period))) = (resources.cpu(), present)
        && cpu.quota().is_none()
    {
        let period = cpu.period().unwrap_or(period);
        let mut cpu = cpu.clone();
        cpu.set_quota(Some(quota)).set_period(Some(period));
        told.set_cpu(Some(cpu));
    }
    told
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
    cgroup_of(init, cgroups_path)?.apply(resources)
}

fn cgroup_of(init: InitProcess, cgroups_path: &Path) -> Result<Cgroup, CgroupError> {
    Cgroup::of_container(init.pid().cast_unsigned(), &cgroups_path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(resources: serde_json::Value, present: Option<(i64, u64)>) -> (Option<i64>, Option<u64>) {
        let told = with_quota(&serde_json::from_value(resources).unwrap(), present);
        let cpu = told.cpu().clone().unwrap_or_default();
        (cpu.quota(), cpu.period())
    }

    /// libcgroups tells systemd of no quota whenever it is told of a CPU without one.
    #[test]
    fn a_quota_that_an_update_does_not_mention_is_told_to_systemd() {
        let present = Some((20_000, 100_000));
        assert_eq!(told(json!({ "cpu": { "shares": 512 } }), present), (Some(20_000), Some(100_000)));
        assert_eq!(told(json!({ "cpu": { "cpus": "0" } }), present), (Some(20_000), Some(100_000)));
        assert_eq!(told(json!({ "cpu": { "quota": 5000 } }), present), (Some(5000), None));
        assert_eq!(told(json!({ "cpu": { "shares": 512 } }), None), (None, None), "there is none");
        assert_eq!(told(json!({ "memory": { "limit": 1 } }), present), (None, None));
    }
}
