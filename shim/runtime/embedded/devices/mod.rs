//! Which devices a container may open or make.
//!
//! On cgroup v2 the kernel asks a BPF program, and libcontainer without its C libraries loads none: a container with
//! CAP_MKNOD could then open the host's disks. So the program is made and attached here, between libcontainer's
//! create and the container's start.
//!
//! On v1 libcontainer writes the lists, but always allows `/dev/net/tun`, which runc stopped doing (CVE-free, and yet
//! a way to a raw network interface), and the host's console, of which an image can bring a node; both are taken back
//! unless the spec allows them.

pub(super) mod directories;
mod program;
mod rules;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceCgroupBuilder};
use rustix::fs::{CWD, Mode, OFlags};
use thiserror::Error;

use super::cgroup::{ContainerCgroup, Version};
use crate::unsafe_syscalls;
use rules::{DeviceType, Rules};

/// Major and minor numbers of `/dev/net/tun` and of the host's console. Source: the kernel's devices.txt.
const NOT_BY_DEFAULT: [(u32, u32); 2] = [(10, 200), (5, 1)];

/// Why the devices can't be limited.
#[derive(Debug, Error)]
pub(super) enum DeviceFilterError {
    /// A rule that has no meaning.
    #[error("linux.resources.devices[{index}]: {reason}")]
    Rule {
        /// Which one, from 0.
        index: usize,
        /// Why.
        reason: &'static str,
    },
    /// The kernel does not take the program.
    #[error("limit the devices of cgroup {}", path.display())]
    Attach {
        /// The cgroup.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// The rules as libcontainer must write them on v1: everything is denied first, as runc has it. Without that, the
/// parent's lists, usually everything, would stay in force.
pub(super) fn starting_from_nothing(rules: Option<&Vec<LinuxDeviceCgroup>>) -> Vec<LinuxDeviceCgroup> {
    let deny_all = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build().ok();
    deny_all.into_iter().chain(rules.into_iter().flatten().cloned()).collect()
}

/// Puts the spec's device rules in force where libcontainer has not.
pub(super) fn limit(cgroup: &ContainerCgroup, spec: Option<&Vec<LinuxDeviceCgroup>>) -> Result<(), DeviceFilterError> {
    let rules = Rules::of_spec(spec.map(Vec::as_slice).unwrap_or_default())?;
    match cgroup.version() {
        Version::V1 => cgroup.device_lists().map_or(Ok(()), |lists| deny_what_libcontainer_adds(lists, &rules)),
        Version::V2 => {
            // v2 always has one; an empty path would fail to open.
            let directory = cgroup.directory().map(Path::to_owned).unwrap_or_default();
            attach(&directory, &rules.with_defaults())
                .map_err(|source| DeviceFilterError::Attach { path: directory, source })
        }
    }
}

fn attach(directory: &Path, rules: &Rules) -> io::Result<()> {
    let directory =
        rustix::fs::openat(CWD, directory, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    unsafe_syscalls::attach_device_program(&directory, &program::of(rules))
}

fn deny_what_libcontainer_adds(lists: &Path, rules: &Rules) -> Result<(), DeviceFilterError> {
    let file = lists.join("devices.deny");
    for (major, minor) in NOT_BY_DEFAULT {
        let access = (!rules.allowed(DeviceType::Character, major, minor)).letters();
        if !access.is_empty() {
            fs::write(&file, format!("c {major}:{minor} {access}"))
                .map_err(|source| DeviceFilterError::Attach { path: file.clone(), source })?;
        }
    }
    Ok(())
}
