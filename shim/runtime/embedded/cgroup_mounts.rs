//! The options of cgroup mounts.
//!
//! libcontainer 0.7 mounts a v1 hierarchy without looking at `ro`, so a container's root could write its own limits, nor at `nosuid`
//! and the like. The mounts get their options before `create` returns, which is before the container's program runs.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use oci_spec::runtime::{Mount, Spec};

const NONE: Option<&str> = None;

/// The options that count, and what they are for mount(2).
const OPTIONS: [(&str, MsFlags); 4] = [
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
];

/// A mount point, and all that it is to have.
pub(super) type Change = (String, MsFlags);

/// What the cgroup mounts of `init` lack of the options that the spec has for them.
pub(super) fn lacking(init: i32, spec: &Spec) -> io::Result<Vec<Change>> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let cgroups = mounts.iter().filter(|mount| matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2")));
    let table = fs::read_to_string(format!("/proc/{init}/mountinfo"))?;
    Ok(cgroups.flat_map(|mount| changes(mount, &table)).collect())
}

/// Makes the changes, in the mount namespace that the calling thread is in.
pub(super) fn put_in_force(changes: &[Change]) -> io::Result<()> {
    changes.iter().try_for_each(|(point, flags)| remount(point, *flags))
}

/// Mount points at and below a cgroup mount that lack one of its options, with all that they are to have: those, and what they have.
/// Source: proc_pid_mountinfo(5), fields 5 and 6.
fn changes(wanted: &Mount, table: &str) -> Vec<Change> {
    let options = wanted.options().as_deref().unwrap_or_default();
    let wanted_flags = flags_of(options.iter().map(String::as_str));
    let below = table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        let (point, options) = (fields.next()?, fields.next()?);
        let present = flags_of(options.split(','));
        let is_ours = Path::new(point).starts_with(wanted.destination());
        (is_ours && !present.contains(wanted_flags)).then(|| (point.to_owned(), wanted_flags | present))
    });
    below.collect()
}

fn flags_of<'a>(options: impl Iterator<Item = &'a str>) -> MsFlags {
    let flag = |option| OPTIONS.iter().find(|(name, _)| *name == option).map(|(_, flag)| *flag);
    options.filter_map(flag).collect()
}

fn remount(point: &str, flags: MsFlags) -> io::Result<()> {
    Ok(mount(NONE, point, NONE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, NONE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
30 20 0:5 / /sys ro,nosuid - sysfs sysfs rw\n\
31 30 0:6 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw\n\
32 31 0:7 /a /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
33 31 0:8 /a /sys/fs/cgroup/pids ro,nosuid,relatime - cgroup cgroup rw,pids\n\
34 20 0:9 / /sys/fs/cgroups rw - tmpfs tmpfs rw\n";

    fn changed(options: &str) -> Vec<Change> {
        let mount = format!(r#"{{"destination":"/sys/fs/cgroup","type":"cgroup","options":[{options}]}}"#);
        changes(&serde_json::from_str(&mount).unwrap(), TABLE)
    }

    #[test]
    fn only_mounts_at_or_below_that_lack_an_option_count() {
        let read_only = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
        assert_eq!(
            changed(r#""ro","nosuid","relatime""#),
            [("/sys/fs/cgroup".to_owned(), read_only), ("/sys/fs/cgroup/memory".to_owned(), read_only)]
        );
        assert_eq!(changed(r#""rw","nosuid""#), [("/sys/fs/cgroup/memory".to_owned(), MsFlags::MS_NOSUID)]);
        assert_eq!(changed(r#""rw","relatime""#), []);
    }
}
