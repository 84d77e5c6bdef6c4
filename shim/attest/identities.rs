//! Which file, which namespace: by number, so that no name can stand for another.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, statx};
use serde::{Deserialize, Serialize};

use super::namespaces::{KINDS, Namespaces};
use super::proc_dir::ProcDir;
use super::seen::Unreadable;
use super::status::Status;

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId(pub(super) u64, pub(super) u64);

impl FileId {
    pub(super) fn of(seen: &Statx) -> Self {
        Self(u64::from(seen.stx_dev_major) << 32 | u64::from(seen.stx_dev_minor), seen.stx_ino)
    }

    /// The file of a descriptor. Nothing is asked of a server: a filesystem that hangs can't hang this.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn of_open(file: impl AsFd) -> io::Result<Self> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        Ok(Self::of(&statx(file, "", flags, StatxFlags::INO)?))
    }

    /// The same, and whose it is: user and group.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn and_owner(file: impl AsFd) -> io::Result<(Self, (u32, u32))> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let seen = statx(file, "", flags, StatxFlags::INO | StatxFlags::UID | StatxFlags::GID)?;
        Ok((Self::of(&seen), (seen.stx_uid, seen.stx_gid)))
    }

    /// The file at a path of the host.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::INO)?))
    }
}

/// What the files are that a specification names by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identities {
    /// By index in `/mounts`: what is mounted there.
    pub sources: BTreeMap<usize, FileId>,
    /// The same: whose it is on the host, user and group.
    pub owners: BTreeMap<usize, (u32, u32)>,
    /// By kind as below `/proc/<pid>/ns`: the namespace that is joined.
    pub namespaces: BTreeMap<&'static str, u64>,
    /// The root filesystem's directory.
    pub root: Option<FileId>,
}

/// What the shim itself has, and a process that it makes inherits: its namespaces are the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    pub(super) namespaces: Namespaces,
    pub(super) filters: u32,
    pub(super) program: Option<FileId>,
}

impl Baseline {
    /// This process's, which stay as they are.
    ///
    /// # Errors
    ///
    /// What of `/proc/self` can't be read.
    pub fn own() -> Result<&'static Self, Unreadable> {
        static OWN: OnceLock<Baseline> = OnceLock::new();
        if let Some(own) = OWN.get() {
            return Ok(own);
        }
        let own = Self::read_own()?;
        Ok(OWN.get_or_init(|| own))
    }

    fn read_own() -> Result<Self, Unreadable> {
        let own = ProcDir::own()?;
        let status = Status::parse(&own.text("status")?)?;
        let program = own.program().ok().map(|program| program.file);
        Ok(Self { namespaces: Namespaces::of(&own)?, filters: status.filters, program })
    }

    /// One of a machine in memory.
    #[must_use]
    pub fn imagined() -> Self {
        Self { namespaces: Namespaces::numbered(1), filters: 0, program: None }
    }
}

/// The name below `/proc/<pid>/ns` of a kind of the specification.
#[must_use]
pub(super) fn kind_name(kind: oci_spec::runtime::LinuxNamespaceType) -> &'static str {
    KINDS.iter().find(|(one, _)| *one == kind).map_or("mnt", |(_, name)| name)
}

impl Identities {
    /// Notes the namespace that is joined for a kind.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn join(&mut self, kind: oci_spec::runtime::LinuxNamespaceType, namespace: impl AsFd) -> io::Result<()> {
        let FileId(_, inode) = FileId::of_open(namespace)?;
        self.namespaces.insert(kind_name(kind), inode);
        Ok(())
    }
}
