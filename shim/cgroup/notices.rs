//! How the kernel says that what a cgroup counts of OOM kills, and of limits that were met, has changed.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::CgroupError;
use super::directory::Directory;
use crate::unsafe_syscalls::async_fd;

/// The two files of v2 of which each change counts. Source: cgroup-v2.rst, "file modified event".
const FILES: [&str; 2] = ["memory.events", "cgroup.events"];

/// Counts of tasks that were refused. With v1 the kernel gives no notice of it.
const PIDS: &str = "pids.events";

/// inotify's numbers of the container's own counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watches {
    pub(super) memory: i32,
    /// `None` without the controller.
    pub(super) pids: Option<i32>,
}

/// A way to be told. None needs a thread.
#[derive(Debug)]
pub(super) enum Notices {
    /// An eventfd of v1, or inotify with v2.
    Descriptor(AsyncFd<OwnedFd>),
    /// v2 where the user's inotify instances or watches are used up, by whoever is the host's root as well: the files themselves say that they
    /// have changed.
    Files([AsyncFd<OwnedFd>; 2]),
    /// Nobody says so. What was counted is read at the exit of the container's first process.
    Nowhere,
}

/// Makes an inotify instance.
pub(super) type MakeInotify = fn() -> Result<OwnedFd, rustix::io::Errno>;

/// As the kernel gives one.
pub(super) fn make_inotify() -> Result<OwnedFd, rustix::io::Errno> {
    inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
}

impl Notices {
    /// cgroup-v1/memory.rst, 10. OOM Control: the notice also comes when the cgroup is removed.
    pub(super) fn of_v1(directory: &Directory) -> Result<Self, CgroupError> {
        let failed = |source: io::Error| CgroupError::io("watch", directory.path(), source);
        let notices =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let control = match openat(directory.fd(), "memory.oom_control", flags, Mode::empty()) {
            Err(Errno::ENOENT) if directory.is_gone()? => {
                return Err(CgroupError::Gone { path: directory.path().to_path_buf() });
            }
            opened => opened.map_err(|errno| failed(errno.into()))?,
        };
        directory.write("cgroup.event_control", &format!("{} {}", notices.as_raw_fd(), control.as_raw_fd()))?;
        async_fd(notices, Interest::READABLE).map(Self::Descriptor).map_err(failed)
    }

    /// Of a v2 cgroup, and of the count of the one above. With it the numbers that inotify has for the cgroup's own counts.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NoController`] where memory is not counted.
    pub(super) fn of_v2(
        directory: &Directory,
        above: Option<&Directory>,
        make: MakeInotify,
    ) -> Result<(Self, Option<Watches>), CgroupError> {
        if !directory.has("memory.events") {
            return Err(CgroupError::NoController { controller: "memory" });
        }
        match by_inotify(directory, above, make) {
            Ok((notices, own)) => Ok((Self::Descriptor(notices), Some(own))),
            Err(error) if is_used_up(&error) => Ok((Self::without_inotify(directory, &error), None)),
            Err(error) => Err(CgroupError::io("watch", directory.path(), error)),
        }
    }

    /// A limit of the user's, which a neighbour may have used up, holds no container up.
    fn without_inotify(directory: &Directory, error: &io::Error) -> Self {
        let [counted, populated] = FILES.map(|name| by_poll(directory, name));
        match counted.and_then(|counted| Ok([counted, populated?])) {
            Ok(files) => Self::Files(files),
            Err(other) => {
                let path = directory.path().display();
                crate::warn!("OOM kills in {path} are told when the container ends: inotify: {error}; epoll: {other}");
                Self::Nowhere
            }
        }
    }

    /// Waits for a notice, which `take` then reads.
    pub(super) async fn noticed(&self, take: impl FnOnce() -> Result<(), CgroupError>) -> Result<(), CgroupError> {
        let failed = |source: io::Error| CgroupError::io("watch", "the cgroup's notices", source);
        match self {
            Self::Descriptor(notices) => {
                let mut guard = notices.readable().await.map_err(failed)?;
                take()?;
                guard.clear_ready();
            }
            Self::Files([counted, populated]) => {
                let mut guard = tokio::select! {
                    ready = counted.ready(Interest::PRIORITY) => ready.map_err(failed)?,
                    ready = populated.ready(Interest::PRIORITY) => ready.map_err(failed)?,
                };
                guard.clear_ready();
            }
            Self::Nowhere => std::future::pending().await,
        }
        Ok(())
    }
}

/// The user has no more instances, watches, descriptors or memory.
fn is_used_up(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOSPC | libc::ENOMEM))
}

fn by_inotify(
    directory: &Directory,
    above: Option<&Directory>,
    make: MakeInotify,
) -> io::Result<(AsyncFd<OwnedFd>, Watches)> {
    let notices = make()?;
    let [counted, populated] = FILES;
    let memory = watch(&notices, directory, counted)?;
    let pids = if directory.has(PIDS) { Some(watch(&notices, directory, PIDS)?) } else { None };
    watch(&notices, directory, populated)?;
    if let Some(above) = above {
        watch(&notices, above, counted)?;
    }
    Ok((async_fd(notices, Interest::READABLE)?, Watches { memory, pids }))
}

/// inotify's number of the watch.
fn watch(notices: &OwnedFd, directory: &Directory, name: &str) -> io::Result<i32> {
    let path = format!("/proc/self/fd/{}/{name}", directory.fd().as_raw_fd());
    Ok(inotify::add_watch(notices.as_fd(), path, inotify::WatchFlags::MODIFY)?)
}

/// The kernel reports a priority event of such a file whenever it has changed. Source: fs/kernfs/file.c, `kernfs_generic_poll`.
fn by_poll(directory: &Directory, name: &str) -> io::Result<AsyncFd<OwnedFd>> {
    let opened = openat(directory.fd(), name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    async_fd(opened, Interest::PRIORITY)
}
