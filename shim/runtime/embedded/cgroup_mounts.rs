//! Read-only cgroup mounts that are read-only.
//!
//! libcontainer 0.7 mounts a v1 hierarchy without looking at `ro`, so a container's root could write its own limits.
//! They are made read-only before `create` returns, which is before the container's program runs.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use oci_spec::runtime::Spec;

use super::mount_namespace;

const NONE: Option<&str> = None;

/// Makes every cgroup mount read-only that the spec wants so, in the mount namespace of `init`.
pub(super) fn force_read_only(init: i32, spec: &Spec) -> io::Result<()> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let wanted = mounts.iter().filter(|mount| {
        let is_cgroup = matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"));
        is_cgroup && mount.options().as_deref().unwrap_or_default().iter().any(|option| option == "ro")
    });
    let table = fs::read_to_string(format!("/proc/{init}/mountinfo"))?;
    let writable: Vec<String> = wanted.flat_map(|mount| writable_below(mount.destination(), &table)).collect();
    if writable.is_empty() {
        return Ok(());
    }
    mount_namespace::within(init, || remount(&writable))?
}

/// Mount points at and below `destination` whose own flags lack `ro`. Source: proc_pid_mountinfo(5), fields 5 and 6.
fn writable_below(destination: &Path, table: &str) -> Vec<String> {
    let below = table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        let (point, options) = (fields.next()?, fields.next()?);
        let is_writable = options.split(',').all(|option| option != "ro");
        (is_writable && Path::new(point).starts_with(destination)).then(|| point.to_owned())
    });
    below.collect()
}

fn remount(points: &[String]) -> io::Result<()> {
    let flags = MsFlags::MS_BIND
        | MsFlags::MS_REMOUNT
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC;
    points.iter().try_for_each(|point| Ok(mount(NONE, point.as_str(), NONE, flags, NONE)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writable_mounts_at_or_below_count() {
        let table = "\
30 20 0:5 / /sys ro,nosuid - sysfs sysfs rw\n\
31 30 0:6 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw\n\
32 31 0:7 /a /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
33 31 0:8 /a /sys/fs/cgroup/pids ro,relatime - cgroup cgroup rw,pids\n\
34 20 0:9 / /sys/fs/cgroups rw - tmpfs tmpfs rw\n";
        let found = writable_below(Path::new("/sys/fs/cgroup"), table);
        assert_eq!(found, ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"]);
    }
}
