//! Waiting for the log to grow.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

/// A watch over the directory of a log: its files are renamed, and a new one is made.
pub(super) struct LogWatch(OwnedFd);

impl LogWatch {
    pub(super) fn of(log: &Path) -> io::Result<Self> {
        let directory = log.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let watch = inotify::init(CreateFlags::CLOEXEC)?;
        let grown = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&watch, directory, grown)?;
        Ok(Self(watch))
    }

    /// Returns when something of the directory has changed.
    pub(super) fn wait(&self) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.0, &mut space);
        loop {
            match events.next() {
                Err(rustix::io::Errno::INTR) => {}
                changed => return Ok(changed.map(drop)?),
            }
        }
    }
}
