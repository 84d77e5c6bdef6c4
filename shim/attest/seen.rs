//! What the kernel shows of a process: each part read, or the reason why not.

use std::fmt;

use super::descriptors::Descriptor;
use super::expected::{Expected, ExpectedNamespace};
use super::identities::FileId;
use super::mounts::{Mount, MountTable, Place, Places, TableMark};
use super::namespaces::{KINDS, Namespaces};
use super::options::Spread;
use super::rlimits::Limits;
use super::status::Status;
use crate::cgroup::{DeviceFilter, LimitDifference, Standing};

/// A part that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    what: String,
    why: String,
    /// There is no such file, or no such process any more.
    gone: bool,
}

impl Unreadable {
    pub(super) fn new(what: String, why: impl fmt::Display) -> Self {
        Self { what, why: why.to_string(), gone: false }
    }

    /// With the kernel's reason.
    pub(super) fn by_kernel(what: String, why: std::io::Error) -> Self {
        let gone = why.kind() == std::io::ErrorKind::NotFound || why.raw_os_error() == Some(libc::ESRCH);
        Self { what, why: why.to_string(), gone }
    }

    /// Whether it is not readable because it is not there.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing readable ({}: {})", self.what, self.why)
    }
}

impl std::error::Error for Unreadable {}

pub(super) type Read<T> = Result<T, Unreadable>;

/// A process in a few words. Ids are the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its real user id.
    pub uid: u32,
    /// Its real group id.
    pub gid: u32,
    /// Names of its effective capabilities.
    pub effective: String,
    /// Names of its bounding set.
    pub bounding: String,
    /// Whether it can gain nothing by execve.
    pub no_new_privs: bool,
    /// How many seccomp filters it has.
    pub filters: u32,
}

/// What crun's init is called until its execve.
const CRUN: &str = "crun";
/// The same of runc's processes.
const RUNC: &str = "runc:[2:INIT]";

/// What a process is and has.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The file that it runs.
    pub(super) program: Read<Place>,
    pub(super) status: Read<Status>,
    /// Confinement by AppArmor and SELinux; empty without such a module.
    pub(super) label: Read<String>,
    pub(super) uid_map: Read<Vec<(u32, u32, u32)>>,
    pub(super) gid_map: Read<Vec<(u32, u32, u32)>>,
    pub(super) oom_score_adj: Read<i32>,
    pub(super) rlimits: Read<Limits>,
    pub(super) namespaces: Read<Namespaces>,
    pub(super) mounts: Read<MountTable>,
    pub(super) table: Option<TableMark>,
    /// The mount table is the one with which the container was attested before, so what stands in it, and what only the process itself
    /// can change, was not looked at again.
    pub(super) as_before: bool,
    pub(super) places: Read<Places>,
    pub(super) cwd: Read<Place>,
    pub(super) descriptors: Read<Vec<Descriptor>>,
    pub(super) cgroup: Read<Standing>,
    pub(super) limits: Read<Vec<LimitDifference>>,
    pub(super) devices: Read<DeviceFilter>,
}

impl Seen {
    /// Whether the process ended before all of it could be read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.status.as_ref().map_or(true, |status| status.ended)
    }

    /// Whether its first thread has ended and others go on, so that most of it can't be read.
    #[must_use]
    pub fn has_left_threads(&self) -> bool {
        self.status.as_ref().is_ok_and(|status| status.ended && status.threads)
    }

    /// Its mount table, for the next look.
    #[must_use]
    pub fn table(&self) -> Option<TableMark> {
        self.table
    }

    /// What the process is, in words.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let status = self.status.as_ref().ok()?;
        let [uid, ..] = status.uids;
        let [gid, ..] = status.gids;
        let [_, _, effective, bounding, _] = status.capabilities;
        Some(Summary {
            uid,
            gid,
            effective: super::capabilities::names(effective),
            bounding: super::capabilities::names(bounding),
            no_new_privs: status.no_new_privs,
            filters: status.filters,
        })
    }

    /// Whether it is the embedded runtime's binary.
    #[must_use]
    pub fn runs_own_program(&self, expected: &Expected) -> bool {
        expected.own_program.is_some() && expected.own_program == self.program.as_ref().ok().map(|program| program.file)
    }

    /// Whether it is a runtime's process still, of one that loads the filter after the start signal: the embedded one by its binary, or
    /// crun by its name and a binary that is none of the container's. A name proves nothing, so whoever goes by this looks again once the
    /// program has begun.
    #[must_use]
    pub fn is_to_be_filtered(&self, expected: &Expected) -> bool {
        let has_name = self.status.as_ref().is_ok_and(|status| status.name == CRUN);
        self.runs_own_program(expected) || has_name && !self.runs_program_of_container()
    }

    /// Whether it is runc's process still, by its name and a binary that is none of the container's. runc 1.3 comes back from an exec before
    /// the execve.
    #[must_use]
    pub fn is_runcs(&self) -> bool {
        let has_name = self.status.as_ref().is_ok_and(|status| status.name == RUNC);
        has_name && !self.has_ended() && !self.runs_program_of_container()
    }

    fn runs_program_of_container(&self) -> bool {
        match (&self.program, &self.mounts) {
            (Ok(program), Ok(mounts)) => mounts.get(program.mount).is_some(),
            _ => false,
        }
    }

    /// Whether it runs another program than a process that was looked at before, or has ended.
    #[must_use]
    pub fn has_gone_on_from(&self, before: &Self) -> bool {
        let file = |seen: &Self| seen.program.as_ref().ok().map(|program| program.file);
        self.has_ended() || self.program.is_ok() && file(self) != file(before)
    }

    /// Whether it is still a runtime's process, which has not become the container's program.
    #[must_use]
    pub fn waits_for_start(&self, expected: &Expected) -> bool {
        self.is_to_be_filtered(expected)
    }

    /// Holds the container to the namespaces that it has.
    #[must_use]
    pub fn settle(&self, expected: Expected) -> Expected {
        match &self.namespaces {
            Ok(namespaces) => expected.with_namespaces(namespaces.iter()),
            Err(_) => expected,
        }
    }

    /// What is seen of a container whose runtime has done all that was decided, on a machine in memory.
    #[must_use]
    pub fn exactly(expected: &Expected, filter_comes_last: bool) -> Self {
        let process = &expected.process;
        let filters = u32::from(expected.filtered && !filter_comes_last);
        let (mounts, places) = tree(expected);
        let cwd = places.get(process.cwd.as_os_str()).copied().flatten();
        Self {
            program: Ok(Place { file: FileId(0, 0), mount: 0, is_mount: false, character_device: None, owner: (0, 0) }),
            status: Ok(Status {
                name: "init".into(),
                uids: [process.uid; 4],
                gids: [process.gid; 4],
                groups: process.groups.clone(),
                capabilities: process.capabilities,
                no_new_privs: process.no_new_privs,
                seccomp: if filters + expected.filters_above > 0 { 2 } else { 0 },
                filters: expected.filters_above + filters,
                threads: false,
                ended: false,
            }),
            label: Ok(format!("{}{}", process.apparmor, process.selinux)),
            uid_map: Ok(expected.uid_map.clone()),
            gid_map: Ok(expected.gid_map.clone()),
            oom_score_adj: Ok(process.oom_score_adj.unwrap_or(0)),
            rlimits: Ok(process.rlimits.clone()),
            namespaces: Ok(namespaces(expected)),
            mounts: Ok(mounts),
            table: None,
            as_before: false,
            places: Ok(places),
            cwd: cwd.ok_or_else(|| Unreadable::new("cwd".into(), "is not among the places")),
            descriptors: Ok(Vec::new()),
            cgroup: Ok(Standing::only(&expected.cgroups_path)),
            limits: Ok(Vec::new()),
            devices: Ok(DeviceFilter::Rules(Vec::new())),
        }
    }
}

fn namespaces(expected: &Expected) -> Namespaces {
    let mut given = Namespaces::numbered(1);
    for (_, name) in KINDS {
        match expected.namespaces.get(name) {
            Some(ExpectedNamespace::New(hosts)) => given.set(name, hosts + 1_000),
            Some(ExpectedNamespace::This(inode)) => given.set(name, *inode),
            None => {}
        }
    }
    given
}

/// The root, and on it a mount for each place.
fn tree(expected: &Expected) -> (MountTable, Places) {
    const ROOT: u64 = 1;
    let mount = |id: u64, point: &std::path::Path, flags, spread: Spread, kind: &str| Mount {
        id,
        parent: if id == ROOT { 0 } else { ROOT },
        root: "/".into(),
        point: point.into(),
        flags,
        spread: if spread == Spread::Unsaid { Spread::Slave } else { spread },
        kind: kind.into(),
        idmapped: false,
    };
    let root = std::path::Path::new("/");
    let read_only = super::options::Flags::READ_ONLY;
    let flags = if expected.root.read_only { read_only } else { super::options::Flags::default() };
    let mut table = vec![mount(ROOT, root, flags, expected.root.spread, "ext4")];
    let whole = FileId(1, 1);
    let at = |file: Option<FileId>, mount, is_mount| {
        Some(Place { file: file.unwrap_or(whole), mount, is_mount, character_device: None, owner: (0, 0) })
    };
    let mut places = Places::from([
        (expected.process.cwd.clone().into(), at(None, ROOT, false)),
        (root.into(), at(expected.root.file, ROOT, true)),
    ]);
    let decided =
        expected.mounts.iter().map(|one| (&one.destination, one.flags, one.spread, one.kind.as_str(), one.source));
    let masked = expected.masked.iter().map(|path| (path, read_only, Spread::Private, "tmpfs", None));
    let read_only = expected.read_only.iter().map(|path| (path, read_only, Spread::Private, "proc", None));
    for (id, (path, flags, spread, kind, source)) in (ROOT + 1..).zip(decided.chain(masked).chain(read_only)) {
        table.push(mount(id, path, flags, spread, kind));
        places.insert(path.into(), at(source, id, true));
    }
    for decided in &expected.mounts {
        let Some(owner) = decided.idmapped else { continue };
        let shown = places.get_mut(decided.destination.as_os_str()).and_then(Option::as_mut);
        if let Some(place) = shown {
            place.owner = (owner.uid.unwrap_or_default(), owner.gid.unwrap_or_default());
        }
        table.iter_mut().filter(|mount| mount.point == decided.destination).for_each(|mount| mount.idmapped = true);
    }
    (MountTable(table), places)
}
