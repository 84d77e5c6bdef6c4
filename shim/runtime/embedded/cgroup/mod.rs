//! The cgroup of a container: which directories, who is in them, freezing, killing, removing.
//!
//! Limits at create are libcontainer's. Everything after that is done on the files, because libcgroups looks the
//! hierarchies up again for every call and waits 100 ms at a time when a cgroup is still busy.

mod locate;
mod processes;
mod removal;

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::unsafe_syscalls;
pub(super) use locate::Hierarchy;

/// Longest wait for the kernel to freeze or thaw. A task in uninterruptible sleep delays it.
const FREEZE_LIMIT: Duration = Duration::from_secs(5);

/// Why something could not be done to a cgroup.
#[derive(Debug, Error)]
pub(super) enum CgroupError {
    /// `linux.cgroupsPath` names no place for a container.
    #[error("linux.cgroupsPath {path:?} is refused: {reason}")]
    Path {
        /// The spec's value.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The hierarchies can't be found.
    #[error("find the cgroup hierarchies: {what}")]
    NotMounted {
        /// What is missing.
        what: &'static str,
    },
    /// Other processes are in the cgroup: deleting the container would kill them.
    #[error("linux.cgroupsPath: the cgroup {} is not empty: {processes} process(es) found", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// How many.
        processes: usize,
    },
    /// A frozen cgroup would stop the container before it starts.
    #[error("linux.cgroupsPath: the cgroup {} is frozen", path.display())]
    Frozen {
        /// The directory.
        path: PathBuf,
    },
    /// The kernel did not freeze or thaw in time.
    #[error("cgroup {} did not become {state} within {} s", path.display(), FREEZE_LIMIT.as_secs())]
    FreezeTimeout {
        /// The directory.
        path: PathBuf,
        /// What was waited for.
        state: &'static str,
    },
    /// Processes that do not die.
    #[error("cgroup {} is still in use", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The cgroups below it.
    #[error(transparent)]
    Tree(#[from] crate::cgroup::CgroupError),
    /// A file.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError::Io { doing, path, source }
}

fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// Which of the two a process is after a fork.
pub(super) enum Forked {
    /// The one that forked, with the other's pid.
    Parent(i32),
    /// The new one.
    Child(Inside),
}

/// The directory of a container's cgroup that a process was started in.
pub(super) struct Inside(Option<PathBuf>);

/// Which interface the files have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Version {
    /// One directory for each controller.
    V1,
    /// One directory.
    V2,
}

/// The directories of one container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ContainerCgroup {
    version: Version,
    /// `linux.cgroupsPath` as libcontainer gets it.
    spec_path: PathBuf,
    systemd: bool,
    directories: Vec<PathBuf>,
    /// The one with the freezer's file.
    freezer: Option<PathBuf>,
    /// The one with the device lists; v1 only.
    devices: Option<PathBuf>,
    /// Those of `directories` that libcontainer knows nothing of; v1 only.
    #[serde(default)]
    bare: Vec<Bare>,
}

/// A container's directory in a hierarchy without a controller, such as systemd's, or in that of v2 beside v1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bare {
    /// The mount point.
    root: PathBuf,
    directory: PathBuf,
}

impl ContainerCgroup {
    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn spec_path(&self) -> &Path {
        &self.spec_path
    }

    pub(super) fn is_systemd(&self) -> bool {
        self.systemd
    }

    /// The directory of v2; of v1 one of them.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.directories.first().map(PathBuf::as_path)
    }

    /// The directories of v1, each with the name that its hierarchy has below `/sys/fs/cgroup`.
    pub(super) fn hierarchies(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.directories.iter().filter_map(|directory| Some((locate::hierarchy_name(directory)?, directory.as_path())))
    }

    /// The directory with `devices.allow` and `devices.deny`.
    pub(super) fn device_lists(&self) -> Option<&Path> {
        self.devices.as_deref()
    }

    /// Puts this process, and so its children, where libcontainer puts nobody: hierarchies without a controller. A container that
    /// stayed outside would belong to the shim's service for systemd, and see the whole hierarchy of the host.
    pub(super) fn enter_bare(&self) -> Result<(), CgroupError> {
        self.bare.iter().try_for_each(|Bare { directory, .. }| {
            fs::create_dir_all(directory).map_err(io_error("make the cgroup", directory))?;
            processes::join(directory)
        })
    }

    /// Takes this process out of them again, so that they can be removed.
    pub(super) fn leave_bare(&self) -> Result<(), CgroupError> {
        self.bare.iter().try_for_each(|Bare { root, .. }| processes::join(root))
    }

    /// Starts a copy of this process as [`fork`](unsafe_syscalls::fork) does, in the cgroup of v2 from its first moment on if there is one
    /// and it takes it. The copy must [`join`](Self::join) what is left.
    pub(super) fn fork(&self) -> io::Result<Forked> {
        if let Some(directory) = self.directories.iter().find(|directory| processes::is_unified(directory))
            && let Ok(opened) = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            // Where that can't be, it is moved: an old kernel, or a cgroup whose children have controllers.
            && let Ok(pid) = unsafe_syscalls::fork_into(opened.as_fd())
        {
            return Ok(pid.map_or_else(|| Forked::Child(Inside(Some(directory.clone()))), Forked::Parent));
        }
        Ok(unsafe_syscalls::fork()?.map_or(Forked::Child(Inside(None)), Forked::Parent))
    }

    /// Puts this process in.
    ///
    /// A v2 cgroup whose children have controllers takes no process itself: a container with an init system has made it so. Then
    /// this process goes where `init` is, which can't be outside. Source: cgroup-v2.rst "No Internal Process Constraint".
    pub(super) fn join(&self, init: i32, inside: &Inside) -> Result<(), CgroupError> {
        for directory in self.directories.iter().filter(|directory| inside.0.as_ref() != Some(directory)) {
            match processes::join(directory) {
                Err(CgroupError::Io { source, .. }) if self.version == Version::V2 && is_busy(&source) => {
                    processes::join(&processes::unified_of(init, directory)?)?;
                }
                // A v1 hierarchy that the container is not in.
                Err(CgroupError::Io { source, .. })
                    if self.version == Version::V1 && source.kind() == io::ErrorKind::NotFound => {}
                joined => joined?,
            }
        }
        Ok(())
    }

    /// Refuses a cgroup that is another container's: what is in it would be limited, frozen and killed with ours.
    pub(super) fn refuse_if_in_use(&self) -> Result<(), CgroupError> {
        for directory in &self.directories {
            let processes = processes::of_tree(directory)?.len();
            if processes > 0 {
                return Err(CgroupError::InUse { path: directory.clone(), processes });
            }
        }
        if self.is_frozen() {
            return Err(CgroupError::Frozen { path: self.freezer.clone().unwrap_or_default() });
        }
        Ok(())
    }

    /// All processes, those of cgroups that the container made inside its own too.
    pub(super) fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        let Some(directory) = self.freezer.as_deref().or_else(|| self.directory()) else { return Ok(Vec::new()) };
        processes::of_tree(directory)
    }

    /// Whether the cgroup is frozen, by us or by anybody.
    pub(super) fn is_frozen(&self) -> bool {
        let Some(freezer) = &self.freezer else { return false };
        match self.version {
            Version::V1 => {
                fs::read_to_string(freezer.join("freezer.state")).is_ok_and(|state| state.trim() != "THAWED")
            }
            Version::V2 => fs::read_to_string(freezer.join("cgroup.freeze")).is_ok_and(|state| state.trim() == "1"),
        }
    }

    /// Stops every process where it is, or lets all go on. Returns when the kernel says that it is so.
    pub(super) fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        let freezer = self.freezer.as_deref().ok_or(CgroupError::NotMounted { what: "no freezer" })?;
        let started = Instant::now();
        let (file, value) = match self.version {
            Version::V1 => ("freezer.state", if frozen { "FROZEN" } else { "THAWED" }),
            Version::V2 => ("cgroup.freeze", if frozen { "1" } else { "0" }),
        };
        let file = freezer.join(file);
        loop {
            // v1 can stay FREEZING when a task forks meanwhile; writing again takes the new task along.
            fs::write(&file, value).map_err(io_error("write", &file))?;
            match self.has_become(freezer, frozen) {
                Ok(true) => return Ok(()),
                // What can't be looked at is not left standing still.
                Err(error) => return if frozen { self.freeze(false).and(Err(error)) } else { Err(error) },
                Ok(false) => {}
            }
            if started.elapsed() > FREEZE_LIMIT {
                if frozen {
                    self.freeze(false)?;
                }
                let state = if frozen { "frozen" } else { "thawed" };
                return Err(CgroupError::FreezeTimeout { path: freezer.to_owned(), state });
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn has_become(&self, freezer: &Path, frozen: bool) -> Result<bool, CgroupError> {
        let (file, wanted) = match self.version {
            Version::V1 => ("freezer.state", if frozen { "FROZEN" } else { "THAWED" }),
            Version::V2 => ("cgroup.events", if frozen { "frozen 1" } else { "frozen 0" }),
        };
        let file = freezer.join(file);
        let text = fs::read_to_string(&file).map_err(io_error("read", &file))?;
        Ok(text.lines().any(|line| line == wanted))
    }

    /// Sends a signal to every process.
    ///
    /// v2 has `cgroup.kill`, which no fork can escape. Elsewhere the cgroup is frozen meanwhile, for the same reason.
    pub(super) fn signal_all(&self, signal: i32) -> Result<(), CgroupError> {
        let kill_file = self.directory().map(|directory| directory.join("cgroup.kill"));
        if self.version == Version::V2
            && signal == libc::SIGKILL
            && let Some(kill_file) = kill_file.filter(|file| file.exists())
        {
            return fs::write(&kill_file, "1").map_err(io_error("write", &kill_file));
        }
        let was_frozen = self.is_frozen();
        if self.freezer.as_ref().is_some_and(|path| path.exists()) {
            self.freeze(true)?;
        }
        let sent = self.processes().map(|pids| pids.into_iter().for_each(|pid| processes::signal(pid, signal)));
        // A frozen v1 task dies only when it is thawed.
        if self.freezer.as_ref().is_some_and(|path| path.exists()) && (!was_frozen || signal == libc::SIGKILL) {
            self.freeze(false)?;
        }
        sent
    }

    /// Kills what is left and removes the directories, waiting for the dying up to `limit`.
    pub(super) fn remove(&self, limit: Duration) -> Result<(), CgroupError> {
        if !self.directories.iter().any(|directory| directory.exists()) {
            return Ok(());
        }
        if !self.processes()?.is_empty() {
            self.signal_all(libc::SIGKILL)?;
        }
        let until = Instant::now() + limit;
        self.directories.iter().try_for_each(|directory| removal::remove_tree(directory, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it stands still can't be told, and it is not left so.
    #[test]
    fn a_cgroup_that_can_not_be_looked_at_is_not_left_frozen() {
        let directory = std::env::temp_dir().join(format!("palisade-freeze-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("cgroup.freeze"), "0").unwrap();
        let cgroup = ContainerCgroup {
            version: Version::V2,
            spec_path: "/x".into(),
            systemd: false,
            directories: vec![directory.clone()],
            freezer: Some(directory.clone()),
            devices: None,
            bare: Vec::new(),
        };
        let frozen = cgroup.freeze(true);
        let state = fs::read_to_string(directory.join("cgroup.freeze")).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert!(matches!(&frozen, Err(CgroupError::Io { doing: "read", .. })), "{frozen:?}");
        assert_eq!(state, "0");
    }
}
