//! `rdma.current` and `rdma.max`, the same on v1 and v2 (cgroup-v2.rst, RDMA).

use crate::cgroup::CgroupError;
use crate::cgroup::directory::{CgroupFile, Directory};

/// One device's line.
pub(super) struct DeviceLine {
    pub(super) device: String,
    /// `u32::MAX` stands for `max`.
    pub(super) handles: u32,
    pub(super) objects: u32,
}

/// The lines of one rdma file; none if there is no such file.
pub(super) fn lines(directory: &Directory, name: &str) -> Result<Vec<DeviceLine>, CgroupError> {
    let Some(file) = directory.read(name)? else {
        return Ok(Vec::new());
    };
    file.text().lines().map(|line| device_line(&file, line)).collect()
}

fn device_line(file: &CgroupFile, line: &str) -> Result<DeviceLine, CgroupError> {
    let mut words = line.split_whitespace();
    let device = words.next().ok_or_else(|| file.malformed(line))?.to_owned();
    let mut found = DeviceLine { device, handles: 0, objects: 0 };
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| file.malformed(line))?;
        let value = if value == "max" { u32::MAX } else { file.parsed(value, line)? };
        match key {
            "hca_handle" => found.handles = value,
            "hca_object" => found.objects = value,
            _ => return Err(file.malformed(line)),
        }
    }
    Ok(found)
}
