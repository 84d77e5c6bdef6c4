//! Learning that the kernel killed a process of the container for want of memory, or that the container has met another limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::inotify;
use tokio::sync::Notify;

use super::directory::Directory;
use super::notices::{MakeInotify, Notices, Watches, make_inotify};
use super::{Cgroup, CgroupError, Version, pauses};

/// Watches a container's cgroup for OOM kills: a descriptor or two ([`Notices`]) and no thread.
///
/// It counts kills (`oom_kill`), not the times that the limit was hit (`oom`), which reclaim or a failed allocation may
/// have answered. Reporting is exactly once: [`OomWatch::next`] and [`OomWatch::unreported`] share one mark.
#[derive(Debug)]
pub struct OomWatch {
    cgroup: Arc<Cgroup>,
    notices: Notices,
    reported: AtomicU64,
    /// inotify's numbers of the container's own counts, where inotify tells.
    watches: Option<Watches>,
    /// One of those counts has changed.
    changed: Notify,
    /// v2 only, where the cgroup above is limited as well.
    above: Option<Above>,
}

/// The cgroup above, whose count of v2 has the kills of all below it and keeps those of cgroups that were removed.
///
/// systemd removes a scope as soon as it is empty: the last kill in it may be past reading when the shim comes to read, and the kernel gives no
/// notice of it where it has given one within 10 ms (`CGROUP_FILE_NOTIFY_MIN_INTV`). Then the count above tells, if the container was at its
/// limit before or its own count had changed, so that a neighbour's end is not taken for this one's. The count above is watched as well: a
/// neighbour's kill is seen while the container's own count can still be read.
#[derive(Debug)]
struct Above {
    directory: Directory,
    /// Its count when the container's own was last read.
    seen: AtomicU64,
    /// Whether the container has met its limit by then, or its own count has changed since.
    pressed: AtomicBool,
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
        Self::start_by(cgroup, make_inotify)
    }

    pub(super) fn start_by(cgroup: Arc<Cgroup>, make: MakeInotify) -> Result<Self, CgroupError> {
        let directory = cgroup.required("memory")?;
        let (notices, watches, above) = match cgroup.version() {
            Version::V1 => (Notices::of_v1(directory)?, None, None),
            Version::V2 => {
                let above = Above::of(directory)?;
                let (notices, watches) = Notices::of_v2(directory, above.as_ref().map(|above| &above.directory), make)?;
                (notices, watches, above)
            }
        };
        let reported = AtomicU64::new(cgroup.oom_kills()?);
        Ok(Self { cgroup, notices, reported, watches, changed: Notify::new(), above })
    }

    /// Waits for OOM kills and answers how many there were since the last report, at least 1; `None` once the cgroup is
    /// removed or (v2) no process is left in it, or where nobody tells of any. Cancel safe: a kill that was not answered is answered next time.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`] or [`CgroupError::Malformed`] if the kernel's files cannot be read any more.
    pub async fn next(&self) -> Result<Option<u64>, CgroupError> {
        loop {
            if let Some(answer) = self.answer()? {
                return Ok(answer);
            }
            if matches!(self.notices, Notices::Nowhere) {
                return Ok(None);
            }
            self.notices.noticed(|| self.take_notices()).await?;
            // v1 gives notice before it picks the victim, so the counter follows a moment later.
            for pause in pauses().filter(|_| self.cgroup.version() == Version::V1) {
                if let Some(answer) = self.answer()? {
                    return Ok(answer);
                }
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Waits until the container has met its limit of tasks or memory, or may have, since the last time; [`Cgroup::limit_hits`] tells. Only
    /// while somebody waits for [`OomWatch::next`], and only with v2: v1 gives no notice of it.
    pub async fn limit_met(&self) {
        self.changed.notified().await;
    }

    /// How many OOM kills nobody was told of yet, and marks them as told. The task service asks this at the exit of the init
    /// process, while the cgroup still exists, to publish the OOM event before the exit event. The kernel counts before
    /// it kills, so a victim's exit never comes before its count.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Gone`] after removal, and what [`OomWatch::next`] fails with.
    pub fn unreported(&self) -> Result<u64, CgroupError> {
        // Before the own count: what comes in between is then reported by either rather than by none.
        let above = self.above.as_ref().map(Above::count).transpose()?;
        match self.cgroup.oom_kills() {
            Ok(kills) => {
                if let (Some(above), Some(count)) = (&self.above, above) {
                    above.mark(count, self.cgroup.has_met_its_limit());
                }
                // A removed sub-cgroup takes its v1 count along, hence saturating.
                Ok(kills.saturating_sub(self.reported.swap(kills, Ordering::Relaxed)))
            }
            Err(error) if error.is_gone() => {
                self.take_notices()?;
                match (&self.above, above) {
                    (Some(above), Some(count)) => above.unreported(count).ok_or(error),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
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

    /// Goes through events of inotify(7) without names: four numbers of 32 bits, of which the first is the watch's and the second says what
    /// happened. The end of the file is told as well, and is no change.
    fn notice(&self, events: &[u8]) {
        let Some(Watches { memory, pids }) = self.watches else { return };
        for event in events.chunks_exact(16) {
            let [a, b, c, d, e, f, g, h, ..] = event else { continue };
            let what = inotify::ReadFlags::from_bits_retain(u32::from_ne_bytes([*e, *f, *g, *h]));
            if !what.contains(inotify::ReadFlags::MODIFY) {
                continue;
            }
            let watch = i32::from_ne_bytes([*a, *b, *c, *d]);
            if watch == memory
                && let Some(above) = &self.above
            {
                above.pressed.store(true, Ordering::Relaxed);
            }
            if watch == memory || Some(watch) == pids {
                self.changed.notify_one();
            }
        }
    }

    /// Reads what notices there are, so that the next wait is for a new one.
    fn take_notices(&self) -> Result<(), CgroupError> {
        let Notices::Descriptor(descriptor) = &self.notices else { return Ok(()) };
        // Room for an eventfd's count and for several of inotify's nameless events of 16 bytes.
        let mut notices = [0; 256];
        loop {
            match rustix::io::read(descriptor.get_ref(), &mut notices) {
                Ok(length) => self.notice(notices.get(..length).unwrap_or_default()),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(CgroupError::io("watch", self.cgroup.path(), std::io::Error::from(errno))),
            }
        }
    }
}

impl Above {
    /// `None` below the root, which counts nothing.
    fn of(directory: &Directory) -> Result<Option<Self>, CgroupError> {
        let Some(directory) = directory.parent()? else { return Ok(None) };
        let Some(count) = oom_kills_in(&directory, "memory.events")? else { return Ok(None) };
        Ok(Some(Self { directory, seen: AtomicU64::new(count), pressed: AtomicBool::new(false) }))
    }

    /// Its count, or what was last seen once it is gone as well.
    fn count(&self) -> Result<u64, CgroupError> {
        match oom_kills_in(&self.directory, "memory.events") {
            Ok(count) => Ok(count.unwrap_or_else(|| self.seen.load(Ordering::Relaxed))),
            Err(error) if error.is_gone() => Ok(self.seen.load(Ordering::Relaxed)),
            Err(error) => Err(error),
        }
    }

    /// The container's own count was read.
    fn mark(&self, count: u64, pressed: bool) {
        self.seen.store(count, Ordering::Relaxed);
        self.pressed.store(pressed, Ordering::Relaxed);
    }

    /// Kills of a container whose own count is gone, each once; `None` if there are none.
    fn unreported(&self, count: u64) -> Option<u64> {
        let more = count.saturating_sub(self.seen.swap(count, Ordering::Relaxed));
        (self.pressed.swap(false, Ordering::Relaxed) && more > 0).then_some(more)
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

impl Cgroup {
    /// Whether v2 counts a time that memory was to go beyond the limit.
    fn has_met_its_limit(&self) -> bool {
        let read = || self.unified().ok()?.read("memory.events").ok()??.value("max").ok()?;
        read().is_some_and(|times| times > 0)
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
