//! Learning that the kernel killed a process of the container for want of memory.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::directory::Directory;
use super::{Cgroup, CgroupError, Version, pauses};
use crate::unsafe_syscalls::async_fd;

/// Watches a container's cgroup for OOM kills: one fd (an eventfd on v1, inotify on v2) and no thread.
///
/// It counts kills (`oom_kill`), not the times that the limit was hit (`oom`), which reclaim or a failed allocation may
/// have answered. Reporting is exactly once: [`OomWatch::next`] and [`OomWatch::unreported`] share one mark.
#[derive(Debug)]
pub struct OomWatch {
    cgroup: Arc<Cgroup>,
    notices: AsyncFd<OwnedFd>,
    reported: AtomicU64,
}

impl OomWatch {
    /// Starts watching. Kills before this call are not reported.
    ///
    /// To be called inside a tokio runtime with its I/O and time drivers enabled.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NoController`] where the memory controller is off: no container limit can then be hit.
    /// [`CgroupError::Gone`] after removal.
    pub fn start(cgroup: Arc<Cgroup>) -> Result<Self, CgroupError> {
        let directory = cgroup.required("memory")?;
        let notices = match cgroup.version() {
            Version::V1 => v1_notices(directory)?,
            Version::V2 => v2_notices(directory)?,
        };
        let notices = async_fd(notices, Interest::READABLE)
            .map_err(|source| CgroupError::io("watch", directory.path(), source))?;
        let reported = AtomicU64::new(cgroup.oom_kills()?);
        Ok(Self { cgroup, notices, reported })
    }

    /// Waits for OOM kills and answers how many there were since the last report, at least 1; `None` once the cgroup is
    /// removed or (v2) no process is left in it. Cancel safe: a kill that was not answered is answered next time.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`] or [`CgroupError::Malformed`] if the kernel's files cannot be read any more.
    pub async fn next(&self) -> Result<Option<u64>, CgroupError> {
        loop {
            if let Some(answer) = self.answer()? {
                return Ok(answer);
            }
            self.noticed().await?;
            // v1 gives notice before it picks the victim, so the counter follows a moment later.
            for pause in pauses().filter(|_| self.cgroup.version() == Version::V1) {
                if let Some(answer) = self.answer()? {
                    return Ok(answer);
                }
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// How many OOM kills nobody was told of yet, and marks them as told. The task service asks this at the exit of the init
    /// process, while the cgroup still exists, to publish the OOM event before the exit event. The kernel counts before
    /// it kills, so a victim's exit never comes before its count.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Gone`] after removal, and what [`OomWatch::next`] fails with.
    pub fn unreported(&self) -> Result<u64, CgroupError> {
        let kills = self.cgroup.oom_kills()?;
        // A removed sub-cgroup takes its v1 count along, hence saturating.
        Ok(kills.saturating_sub(self.reported.swap(kills, Ordering::Relaxed)))
    }

    /// What `next` can answer without waiting.
    fn answer(&self) -> Result<Option<Option<u64>>, CgroupError> {
        match self.unreported() {
            Ok(0) if self.has_ended()? => Ok(Some(None)),
            Ok(0) => Ok(None),
            Ok(kills) => Ok(Some(Some(kills))),
            Err(error) if error.is_gone() => Ok(Some(None)),
            Err(error) => Err(error),
        }
    }

    fn has_ended(&self) -> Result<bool, CgroupError> {
        let directory = self.cgroup.required("memory")?;
        if self.cgroup.version() == Version::V1 {
            return directory.is_gone();
        }
        // The removal of a v2 cgroup gives inotify no event while it is held open, the last exit does.
        let populated = directory.read("cgroup.events")?.map(|file| file.value("populated")).transpose()?.flatten();
        Ok(populated != Some(1))
    }

    /// Waits for a notice and empties the fd, so that the next wait is for a new one.
    async fn noticed(&self) -> Result<(), CgroupError> {
        let failed = |source: std::io::Error| CgroupError::io("watch", self.cgroup.path(), source);
        let mut guard = self.notices.readable().await.map_err(failed)?;
        // Room for an eventfd's count and for several of inotify's nameless events of 16 bytes.
        let mut notices = [0; 256];
        loop {
            match rustix::io::read(self.notices.get_ref(), &mut notices) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    guard.clear_ready();
                    return Ok(());
                }
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }
}

impl Cgroup {
    /// How many processes of the container the kernel has OOM-killed so far, sub-cgroups included.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NoController`] where the memory controller is off, [`CgroupError::Gone`] after removal.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        let directory = self.required("memory")?;
        let kills = match self.version() {
            Version::V2 => oom_kills_in(directory, "memory.events")?,
            Version::V1 => v1_oom_kills(directory)?,
        };
        match kills {
            Some(kills) => Ok(kills),
            None if directory.is_gone()? => Err(CgroupError::Gone { path: directory.path().to_path_buf() }),
            None => Err(CgroupError::NoController { controller: "memory" }),
        }
    }
}

/// v1 counts a kill in the victim's own cgroup only.
fn v1_oom_kills(top: &Directory) -> Result<Option<u64>, CgroupError> {
    let mut sum = None;
    top.walk(&mut |directory| {
        if let Some(kills) = oom_kills_in(directory, "memory.oom_control")? {
            sum = Some(sum.unwrap_or(0) + kills);
        }
        Ok(())
    })?;
    Ok(sum)
}

fn oom_kills_in(directory: &Directory, name: &str) -> Result<Option<u64>, CgroupError> {
    let Some(file) = directory.read(name)? else {
        return Ok(None);
    };
    // Kernels before 4.13 do not count kills, and zero would be a guess.
    file.value("oom_kill")?.map(Some).ok_or_else(|| file.malformed("no oom_kill"))
}

/// cgroup-v1/memory.rst, 10. OOM Control: the notice also comes when the cgroup is removed.
fn v1_notices(directory: &Directory) -> Result<OwnedFd, CgroupError> {
    let failed = |source: std::io::Error| CgroupError::io("watch", directory.path(), source);
    let notices = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let control = match openat(directory.fd(), "memory.oom_control", flags, Mode::empty()) {
        Err(Errno::ENOENT) if directory.is_gone()? => {
            return Err(CgroupError::Gone { path: directory.path().to_path_buf() });
        }
        opened => opened.map_err(|errno| failed(errno.into()))?,
    };
    directory.write("cgroup.event_control", &format!("{} {}", notices.as_raw_fd(), control.as_raw_fd()))?;
    Ok(notices)
}

/// cgroup-v2.rst: both files generate a modified event when a value in them changes.
fn v2_notices(directory: &Directory) -> Result<OwnedFd, CgroupError> {
    let failed = |errno: rustix::io::Errno| CgroupError::io("watch", directory.path(), std::io::Error::from(errno));
    if !directory.has("memory.events") {
        return Err(CgroupError::NoController { controller: "memory" });
    }
    let notices = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(failed)?;
    for name in ["memory.events", "cgroup.events"] {
        let path = format!("/proc/self/fd/{}/{name}", directory.fd().as_raw_fd());
        inotify::add_watch(notices.as_fd(), path, inotify::WatchFlags::MODIFY).map_err(failed)?;
    }
    Ok(notices)
}
