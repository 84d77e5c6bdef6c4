//! When to look: as soon as the directory changes, and every now and then all the same.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::tell;
use crate::arguments::SyncArguments;
use crate::error::CliError;

/// Looks at once, at each change, and when `interval` has passed without one (then as idle), until this process is told to end.
pub(super) fn until_told(arguments: &SyncArguments, mut look: impl FnMut(bool)) -> Result<(), CliError> {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    event_loop.block_on(async {
        // The first process of a container is not ended by a signal that it does not ask for.
        let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let changed = Arc::new(Notify::new());
        if let Err(error) = watch(&arguments.from, &changed) {
            tell(&format!("no watch over {:?}, so it is looked at in turns: {error}", arguments.from));
        }
        look(false);
        loop {
            tokio::select! {
                biased;
                _ = terminated.recv() => return Ok(()),
                _ = interrupted.recv() => return Ok(()),
                () = changed.notified() => look(false),
                () = tokio::time::sleep(Duration::from_secs(arguments.interval.max(1))) => look(true),
            }
        }
    })
}

/// Has a thread tell of each change, as long as this process lives.
fn watch(directory: &Path, changed: &Arc<Notify>) -> io::Result<()> {
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    // The kubelet renames a link; whoever writes files by hand closes them.
    let what = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
    inotify::add_watch(&watch, directory, what)?;
    let changed = Arc::clone(changed);
    std::thread::Builder::new().name("watch".to_owned()).spawn(move || tell_of_changes(&watch, &changed)).map(drop)
}

fn tell_of_changes(watch: &OwnedFd, changed: &Notify) {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(watch, &mut space);
    loop {
        match events.next() {
            Ok(_) => changed.notify_one(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
