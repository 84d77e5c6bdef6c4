//! Who is in a cgroup.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::super::init_process::InitProcess;
use super::locate::is_v2;
use super::{CgroupError, io_error};
use rustix::fs::statfs;

use crate::cgroup::tree;
use crate::unsafe_syscalls;

/// Puts this process, which has one thread, into the cgroup of a directory.
///
/// A thread of v1 that moves itself need not wait for an RCU grace period, 10 ms and more, as a process must. Source: kernel
/// `cgroup_procs_write_start`, Linux 5.13.
pub(super) fn join(directory: &Path) -> Result<(), CgroupError> {
    let v1 = directory.join("tasks");
    let file = if v1.exists() { v1 } else { directory.join("cgroup.procs") };
    // Never created: on a path that is no cgroup this must fail.
    let opened = fs::OpenOptions::new().write(true).open(&file);
    opened.and_then(|mut file| file.write_all(b"0")).map_err(io_error("join the cgroup of", &file))
}

/// Whether a directory is of cgroup v2.
pub(super) fn is_unified(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|found| is_v2(&found))
}

/// The directory of v2 that a process is in, if that is `above` or below it. Source: proc_pid_cgroup(5).
pub(super) fn unified_of(pid: i32, above: &Path) -> Result<PathBuf, CgroupError> {
    let file = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let text = fs::read_to_string(&file).map_err(io_error("read", &file))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let directory = Path::new("/sys/fs/cgroup").join(path);
    if directory.starts_with(above) && !path.split('/').any(|part| part == "..") {
        return Ok(directory);
    }
    Err(io_error("join the cgroup of", above)(io::ErrorKind::ResourceBusy.into()))
}

/// The processes of a directory and of all below it. A directory that is not there has none.
pub(super) fn of_tree(directory: &Path) -> Result<Vec<i32>, CgroupError> {
    Ok(tree::processes(directory)?)
}

/// A cgroup can be removed while it is looked at: ENODEV is what reading its open files gives then.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// Sends a signal to a process that was seen in the cgroup. One that ended meanwhile is what was wanted.
pub(super) fn signal(pid: i32, signal: i32) {
    // 0 stands for a process of another pid namespace, and kill(0) would be our own process group.
    if pid <= 1 {
        return;
    }
    let pidfd = InitProcess::observe(pid).and_then(InitProcess::pidfd);
    if let Ok(Some(pidfd)) = pidfd
        && let Err(error) = unsafe_syscalls::pidfd_send_signal(&pidfd, signal)
        && error.raw_os_error() != Some(libc::ESRCH)
    {
        super::super::report::note(&format!("signal {signal} to process {pid}: {error}"));
    }
}
