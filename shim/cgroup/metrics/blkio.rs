//! The v1 block I/O counters (cgroup-v1/blkio-controller.rst).

use std::fs;
use std::path::Path;

use containerd_shim_protos::cgroups::metrics::{BlkIOEntry, BlkIOStat};
use containerd_shim_protos::protobuf::MessageField;

use crate::cgroup::CgroupError;
use crate::cgroup::directory::{CgroupFile, Directory};

/// The BFQ scheduler counts more, but only for the devices that it schedules; the throttle layer sees every bio.
/// So BFQ's files are used once they list a device, else the throttle layer's.
pub(super) fn blkio(directory: &Directory) -> Result<MessageField<BlkIOStat>, CgroupError> {
    let scheduled = entries(directory, "bfq", "io_serviced_recursive")?;
    let layer = if scheduled.is_empty() { "throttle" } else { "bfq" };
    if !directory.has(&format!("blkio.{layer}.io_serviced_recursive")) {
        return Ok(MessageField::none());
    }
    let of = |name: &str| entries(directory, layer, name);
    Ok(MessageField::some(BlkIOStat {
        io_service_bytes_recursive: of("io_service_bytes_recursive")?,
        io_serviced_recursive: of("io_serviced_recursive")?,
        io_queued_recursive: of("io_queued_recursive")?,
        io_service_time_recursive: of("io_service_time_recursive")?,
        io_wait_time_recursive: of("io_wait_time_recursive")?,
        io_merged_recursive: of("io_merged_recursive")?,
        io_time_recursive: of("time_recursive")?,
        sectors_recursive: of("sectors_recursive")?,
        ..BlkIOStat::default()
    }))
}

fn entries(directory: &Directory, layer: &str, name: &str) -> Result<Vec<BlkIOEntry>, CgroupError> {
    let Some(file) = directory.read(&format!("blkio.{layer}.{name}"))? else {
        return Ok(Vec::new());
    };
    let devices = file.text().lines().filter(|line| !line.starts_with("Total "));
    devices.map(|line| device_entry(&file, line)).collect()
}

/// A line `8:0 Read 4096`, or `8:0 4096` in the files that do not tell operations apart.
fn device_entry(file: &CgroupFile, line: &str) -> Result<BlkIOEntry, CgroupError> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next().and_then(|device| device.split_once(':')).ok_or_else(|| file.malformed(line))?;
    let (op, value) = match (words.next(), words.next(), words.next()) {
        (Some(op), Some(value), None) => (op, value),
        (Some(value), None, _) => ("", value),
        _ => return Err(file.malformed(line)),
    };
    Ok(BlkIOEntry {
        op: op.to_owned(),
        device: device_node(major, minor),
        major: file.parsed(major, line)?,
        minor: file.parsed(minor, line)?,
        value: file.parsed(value, line)?,
        ..BlkIOEntry::default()
    })
}

/// `/dev/sda` for `8:0`; empty for a device that has left meanwhile, whose counters stay.
fn device_node(major: &str, minor: &str) -> String {
    fs::read_link(format!("/sys/dev/block/{major}:{minor}"))
        .ok()
        .as_deref()
        .and_then(Path::file_name)
        .map(|name| format!("/dev/{}", name.to_string_lossy()))
        .unwrap_or_default()
}
