//! Reading all of it.

use std::borrow::Borrow;

use rustix::fs::OFlags;

use super::expected::Expected;
use super::mounts::{MountTable, Place, Places, Root, TableMark};
use super::namespaces::Namespaces;
use super::proc_dir::ProcDir;
use super::seen::{Read, Seen, Unreadable};
use super::status::Status;
use super::{Stage, descriptors, rlimits};
use crate::cgroup::{Cgroup, CgroupError, LimitDifference, Standing};

impl Seen {
    /// Reads what the kernel shows of a process, as far as it counts at a stage. Every part that can't be read is kept as that.
    #[must_use]
    pub fn of(process: &ProcDir, expected: &Expected, stage: Stage) -> Self {
        Self::of_parts(process, process.text("status"), expected, stage, &|| held_to(expected, process))
            .up_to_now(process)
    }

    /// The same with a status that was read when the process was certainly there: should it have ended since, that is what is left. Limits
    /// are those of `cgroup`, which is held open since the container was made; that the process is in it is looked at for itself.
    #[must_use]
    pub fn since(
        process: &ProcDir,
        status: Result<String, Unreadable>,
        expected: &Expected,
        stage: Stage,
        cgroup: &Cgroup,
    ) -> Self {
        Self::of_parts(process, status, expected, stage, &|| Ok(cgroup)).up_to_now(process)
    }

    /// Whether the process has ended while the parts were read.
    fn up_to_now(mut self, process: &ProcDir) -> Self {
        if let (Ok(status), true) = (&mut self.status, process.is_ending()) {
            status.ended = true;
        }
        self
    }

    /// What is left of a process that has ended: the status that it had.
    #[must_use]
    pub fn of_ended(status: Result<&str, &str>) -> Self {
        let gone = || Unreadable::new("/proc/<pid>".into(), "the process has ended");
        let status = status.map_err(|error| Unreadable::new("/proc/<pid>/status".into(), error));
        let status = status.and_then(Status::parse).map(|status| Status { ended: true, ..status });
        Self {
            program: Err(gone()),
            status,
            label: Err(gone()),
            uid_map: Err(gone()),
            gid_map: Err(gone()),
            oom_score_adj: Err(gone()),
            rlimits: Err(gone()),
            namespaces: Err(gone()),
            mounts: Err(gone()),
            table: None,
            as_before: false,
            places: Err(gone()),
            cwd: Err(gone()),
            descriptors: Err(gone()),
            cgroup: Err(gone()),
            limits: Err(gone()),
            devices: Err(gone()),
        }
    }

    fn of_parts<C: Borrow<Cgroup>>(
        process: &ProcDir,
        status: Result<String, Unreadable>,
        expected: &Expected,
        stage: Stage,
        cgroup: &dyn Fn() -> Read<C>,
    ) -> Self {
        let mountinfo = process.text("mountinfo");
        let table = mountinfo.as_deref().ok().map(TableMark::of);
        let as_before = table.is_some() && table == stage.before();
        let (own, container) = (!as_before, stage.asks_for_container());
        let openings = own && stage.asks_for_openings();
        let cgroup = wanted(container, cgroup);
        let of_cgroup = cgroup.as_ref().map_err(Clone::clone);
        let limits = |cgroup: &C| limits(cgroup.borrow(), process, expected).map_err(of_cgroup_error);
        let devices = |cgroup: &C| cgroup.borrow().device_filter().map_err(of_cgroup_error);
        Self {
            program: process.program(),
            status: status.and_then(|text| Status::parse(&text)),
            label: wanted(stage.is_past_execve(), || label(process)),
            uid_map: wanted(own, || map(process, "uid_map")),
            gid_map: wanted(own, || map(process, "gid_map")),
            oom_score_adj: number(process, "oom_score_adj"),
            rlimits: process.text("limits").and_then(|text| rlimits::parse(&text)),
            namespaces: wanted(own, || Namespaces::of(process)),
            mounts: mountinfo.and_then(|text| MountTable::parse(&text)),
            table,
            as_before,
            places: wanted(own && container, || places(process, expected)),
            cwd: wanted(openings, || cwd(process)),
            descriptors: wanted(openings, || descriptors::of(process)),
            cgroup: process.text("cgroup").and_then(|text| Standing::parse(&text).map_err(of_cgroup_error)),
            limits: of_cgroup.clone().and_then(limits),
            devices: of_cgroup.and_then(devices),
        }
    }
}

/// A part that is asked for. Should a check go by another one all the same, that is a mismatch.
fn wanted<T>(asked: bool, read: impl FnOnce() -> Read<T>) -> Read<T> {
    if asked { read() } else { Err(Unreadable::new("/proc/<pid>".into(), "not looked at at this stage")) }
}

fn held_to(expected: &Expected, process: &ProcDir) -> Result<Cgroup, Unreadable> {
    let found = match (expected.cgroups_path.as_str(), process.name().parse()) {
        ("", Ok(pid)) => Cgroup::of_process(pid),
        (path, _) => Cgroup::of_spec(path),
    };
    found.map_err(of_cgroup_error)
}

/// The decided limits that are not in force. A process that is in two cgroups, one below the other, has the limits of both.
///
/// # Errors
///
/// [`CgroupError`].
pub fn limits(cgroup: &Cgroup, process: &ProcDir, expected: &Expected) -> Result<Vec<LimitDifference>, CgroupError> {
    let mut differences = cgroup.differences(&expected.resources)?;
    if differences.is_empty() {
        return Ok(differences);
    }
    let pid = process.name().parse().ok();
    let below = pid.map(|pid| Cgroup::below_scope(pid, &expected.cgroups_path)).transpose()?.flatten();
    if let Some(below) = below {
        let also = below.differences(&expected.resources)?;
        differences.retain(|one| also.iter().any(|other| (&other.file, &other.decided) == (&one.file, &one.decided)));
    }
    Ok(differences)
}

fn of_cgroup_error(error: CgroupError) -> Unreadable {
    Unreadable::new("the cgroup".into(), crate::log::chain(&error))
}

fn places(process: &ProcDir, expected: &Expected) -> Read<Places> {
    let root = Root::of(process)?;
    expected.places().map(|path| Ok((path.into(), root.place(path)?))).collect()
}

fn cwd(process: &ProcDir) -> Read<Place> {
    let opened = process.open_file("cwd", OFlags::PATH | OFlags::DIRECTORY)?;
    Place::of(opened).map_err(process.unreadable("cwd"))
}

/// A kernel without such a module answers `EINVAL`, or has no such file. Source: proc_pid_attr(5).
fn label(process: &ProcDir) -> Read<String> {
    let text = process.text("attr/current");
    Ok(text.map(|text| text.trim_end_matches(['\0', '\n']).to_owned()).unwrap_or_default())
}

fn number(process: &ProcDir, file: &str) -> Read<i32> {
    process.text(file)?.trim().parse().map_err(process.unreadable(file))
}

/// Lines of first id inside, first id outside, count. The host's own is the identity, and written as none.
fn map(process: &ProcDir, file: &str) -> Read<Vec<(u32, u32, u32)>> {
    let text = process.text(file)?;
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    let lines: Option<Vec<(u32, u32, u32)>> = text.lines().map(line).collect();
    let lines = lines.ok_or_else(|| process.unreadable(file)("is not understood"))?;
    Ok(if lines == [(0, 0, u32::MAX)] { Vec::new() } else { lines })
}
