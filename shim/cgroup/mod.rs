//! What the kernel counts and limits for one container: cgroup v1, v2 and both mixed.
//!
//! [`Cgroup::of_process`] finds the container's own cgroup once, right after create, and holds it open. From then on
//! nothing here depends on a pid or a path that could come to mean something else.
//!
//! Reads never guess: a file that the kernel lacks is an absence, one that does not parse is an error.
//! Nothing here knows the policy; [`Cgroup::apply`] writes what it is given.
//!
//! Calls block for as long as a cgroup file takes (microseconds), except [`Cgroup::kill_all`], [`Cgroup::freeze`],
//! [`Cgroup::thaw`] and [`Cgroup::remove`], which wait for the kernel, up to half a second each try; run those on a
//! blocking thread.

mod apply;
mod attach;
mod ceiling;
mod directory;
mod error;
mod hits;
mod in_force;
mod locate;
mod metrics;
mod notices;
mod oom;
mod pressure;
mod processes;
mod removal;
mod standing;
#[cfg(test)]
mod tests;
pub(crate) mod tree;
mod usage;

use std::fs;
use std::iter;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

pub use attach::expect_attach;
pub use ceiling::cpu_ceiling_millis;
use directory::Directory;
pub use error::CgroupError;
pub use hits::LimitHits;
pub use in_force::{DeviceFilter, LimitDifference};
pub use locate::Version;
pub(crate) use locate::unescape;
use locate::{Membership, Mount};
pub use oom::OomWatch;
pub use pressure::Pressure;
pub use standing::Standing;
pub use usage::{Usage, has_swap_file, huge_page_sizes, is_unified};

/// The cgroup of one container: a directory for each v1 hierarchy, or the one of the unified hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    /// Never empty: [`Cgroup::new`] refuses that.
    hierarchies: Vec<Hierarchy>,
}

/// The container's directory in one hierarchy.
#[derive(Debug)]
struct Hierarchy {
    /// Comma-separated; empty for the unified hierarchy.
    controllers: String,
    directory: Directory,
}

impl Cgroup {
    /// Finds and opens the cgroup of a process, which is the container's right after create.
    ///
    /// Hierarchies where the process sits in a root cgroup or in one that also holds the caller are left out: they are not the
    /// container's, and killing, freezing or removing them would hit others.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NotOwn`] if no hierarchy is left, [`CgroupError::Gone`] if a cgroup was removed in between,
    /// and whatever of `/proc` cannot be read or understood.
    pub fn of_process(pid: u32) -> Result<Self, CgroupError> {
        Self::of_container(pid, "")
    }

    /// The same, and where the process is below the cgroup that the spec's `linux.cgroupsPath` names, that one: crun puts it into
    /// `container` below systemd's scope, which has the limits and may be given back only as a whole.
    ///
    /// # Errors
    ///
    /// As [`Cgroup::of_process`].
    pub fn of_container(pid: u32, cgroups_path: &str) -> Result<Self, CgroupError> {
        let memberships = Membership::parse(&proc_file(&format!("/proc/{pid}/cgroup"))?)?;
        let own = Membership::parse(&proc_file("/proc/self/cgroup")?)?;
        let mounts = mounted()?;
        let version = locate::version(&memberships);
        let decided = (!cgroups_path.is_empty()).then(|| locate::spec_path(cgroups_path));
        let mut hierarchies = Vec::with_capacity(memberships.len());
        let memberships = memberships.into_iter().map(|one| one.up_to(decided.as_deref()));
        for membership in memberships.filter(|one| one.is_apart_from(&own)) {
            if let Some(path) = locate::directory(&membership, mounts)? {
                let directory = Directory::open(path)?;
                hierarchies.push(Hierarchy { controllers: membership.controllers, directory });
            }
        }
        Self::new(version, hierarchies, || format!("process {pid}"))
    }

    /// The cgroup below systemd's scope into which crun puts a container, with the limits once more and exactly, where the process is there;
    /// `None` where it is not, or the path is not systemd's.
    ///
    /// # Errors
    ///
    /// As [`Cgroup::of_process`].
    pub fn below_scope(pid: u32, cgroups_path: &str) -> Result<Option<Self>, CgroupError> {
        if !cgroups_path.contains(':') {
            return Ok(None);
        }
        let place = format!("{}/{}", locate::spec_path(cgroups_path), locate::BELOW_SCOPE);
        let memberships = Membership::parse(&proc_file(&format!("/proc/{pid}/cgroup"))?)?;
        let is_there = memberships.iter().any(|one| one.controllers.is_empty() && one.path == place);
        is_there.then(|| Self::of_process(pid)).transpose()
    }

    /// Finds and opens what exists of the cgroup that a spec's `linux.cgroupsPath` names, for cleaning up once no process is
    /// left to ask: absolute, or `slice:prefix:name` as systemd's driver takes it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NotOwn`] if none of it exists or it is the caller's own, [`CgroupError::OutOfReach`] for a path with `..`.
    pub fn of_spec(cgroups_path: &str) -> Result<Self, CgroupError> {
        let path = locate::spec_path(cgroups_path);
        let own = Membership::parse(&proc_file("/proc/self/cgroup")?)?;
        let mounts = mounted()?;
        let mut hierarchies = Vec::with_capacity(own.len());
        for mine in &own {
            let membership = Membership { controllers: mine.controllers.clone(), path: path.clone() };
            let Some(place) = locate::directory(&membership, mounts)? else {
                continue;
            };
            if !membership.is_apart_from(&own) {
                continue;
            }
            match Directory::open(place) {
                Ok(directory) => hierarchies.push(Hierarchy { controllers: membership.controllers, directory }),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        Self::new(locate::version(&own), hierarchies, || format!("`{cgroups_path}`"))
    }

    fn new(version: Version, hierarchies: Vec<Hierarchy>, process: impl Fn() -> String) -> Result<Self, CgroupError> {
        let usable = match version {
            Version::V1 => !hierarchies.is_empty(),
            Version::V2 => hierarchies.iter().any(|hierarchy| hierarchy.controllers.is_empty()),
        };
        if !usable {
            return Err(CgroupError::NotOwn { process: process() });
        }
        Ok(Self { version, hierarchies })
    }

    /// Which interface this cgroup is read and limited through.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the kernel has removed the cgroup (the hierarchy that [`Cgroup::pids`] reads).
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`] if that cannot be told.
    pub fn is_gone(&self) -> Result<bool, CgroupError> {
        self.processes()?.is_gone()
    }

    /// The directory that stands for the whole cgroup in messages.
    fn path(&self) -> &Path {
        self.hierarchies.first().map_or_else(|| Path::new(""), |hierarchy| hierarchy.directory.path())
    }

    /// The container's own directory for a controller; `None` where it has none.
    fn controller(&self, name: &str) -> Option<&Directory> {
        let found = self.hierarchies.iter().find(|hierarchy| match self.version {
            Version::V1 => hierarchy.controllers.split(',').any(|controller| controller == name),
            Version::V2 => hierarchy.controllers.is_empty(),
        });
        found.map(|hierarchy| &hierarchy.directory)
    }

    fn required(&self, controller: &'static str) -> Result<&Directory, CgroupError> {
        self.controller(controller).ok_or(CgroupError::NoController { controller })
    }

    fn unified(&self) -> Result<&Directory, CgroupError> {
        let found = self.hierarchies.iter().find(|hierarchy| hierarchy.controllers.is_empty());
        found.map(|hierarchy| &hierarchy.directory).ok_or(CgroupError::NoController { controller: "unified" })
    }
}

/// Where hierarchies are mounted in the shim's own mount namespace, which nobody changes as long as there are containers. Read once: a node
/// has hundreds of mounts, and every look at a container asks.
fn mounted() -> Result<&'static [Mount], CgroupError> {
    static MOUNTED: OnceLock<Vec<Mount>> = OnceLock::new();
    if let Some(mounts) = MOUNTED.get() {
        return Ok(mounts);
    }
    let read = Mount::parse(&proc_file("/proc/self/mountinfo")?)?;
    Ok(MOUNTED.get_or_init(|| read))
}

fn proc_file(path: &str) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::io("read", path, source))
}

/// Pauses between tries, doubling from 1 ms: nine of them, 511 ms together.
fn pauses() -> impl Iterator<Item = Duration> {
    iter::successors(Some(1), |pause| Some(pause * 2)).take(9).map(Duration::from_millis)
}
