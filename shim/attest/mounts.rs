//! The mount table of a process, and what stands at places in its root. Source: proc_pid_mountinfo(5), statx(2).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags, openat2, statx};
use rustix::io::Errno;

use super::identities::FileId;
use super::options::{Flags, Spread};
use super::proc_dir::ProcDir;
use super::seen::Unreadable;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) id: u64,
    pub(super) parent: u64,
    /// What of its filesystem it shows.
    pub(super) root: String,
    pub(super) point: PathBuf,
    pub(super) flags: Flags,
    pub(super) spread: Spread,
    pub(super) kind: String,
    /// It shows its files as other users' (mount_setattr(2)).
    pub(super) idmapped: bool,
}

/// All mounts, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MountTable(pub(super) Vec<Mount>);

/// A mount table in a few bytes, to tell whether it is still the same one: hashed with a secret of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMark(u64);

impl TableMark {
    pub(super) fn of(text: &str) -> Self {
        static SECRET: OnceLock<RandomState> = OnceLock::new();
        Self(SECRET.get_or_init(RandomState::new).hash_one(text))
    }
}

impl MountTable {
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        let malformed =
            |line: &str| Unreadable::new("/proc/<pid>/mountinfo".into(), format!("`{line}` is not understood"));
        text.lines().map(|line| Mount::parse(line).ok_or_else(|| malformed(line))).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn get(&self, id: u64) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.id == id)
    }

    /// Whether another one stands over it as a whole.
    pub(super) fn is_hidden(&self, mount: &Mount) -> bool {
        self.0.iter().any(|other| other.parent == mount.id && other.point == mount.point)
    }

    /// Those below a mount, at whatever depth.
    pub(super) fn below(&self, id: u64) -> BTreeSet<u64> {
        let mut found = BTreeSet::from([id]);
        // A mount comes after the one that it is mounted on, but for those that were moved: until nothing is added.
        loop {
            let before = found.len();
            found.extend(
                self.0.iter().filter(|mount| found.contains(&mount.parent)).map(|mount| mount.id).collect::<Vec<_>>(),
            );
            if found.len() == before {
                found.remove(&id);
                return found;
            }
        }
    }
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (place, source) = line.split_once(" - ")?;
        let mut place = place.split(' ');
        let (id, parent) = (place.next()?.parse().ok()?, place.next()?.parse().ok()?);
        let (root, point, options) = (place.nth(1)?, place.next()?, place.next()?);
        let (mut shared, mut slave) = (false, false);
        for field in place {
            shared |= field.starts_with("shared:");
            slave |= field.starts_with("master:");
        }
        let spread = match (shared, slave) {
            (true, _) => Spread::Shared,
            (false, true) => Spread::Slave,
            (false, false) => Spread::Private,
        };
        Some(Self {
            id,
            parent,
            root: crate::cgroup::unescape(root),
            point: crate::cgroup::unescape(point).into(),
            flags: Flags::of_mountinfo(options),
            spread,
            kind: source.split(' ').next()?.to_owned(),
            idmapped: options.split(',').any(|option| option == "idmapped"),
        })
    }
}

/// What stands at a path of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: FileId,
    pub(super) mount: u64,
    /// It is where that mount begins.
    pub(super) is_mount: bool,
    /// Of a character device: its numbers.
    pub(super) character_device: Option<(u32, u32)>,
    /// Whose it is there, by host ids: user and group.
    pub(super) owner: (u32, u32),
}

/// By path as decided, byte by byte: comparing paths part by part takes much longer. `None`: nothing.
pub(super) type Places = BTreeMap<OsString, Option<Place>>;

impl Place {
    /// The kernel answers from what it knows: a file server that hangs can't hang this.
    pub(super) fn of(file: impl AsFd) -> std::io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::TYPE | StatxFlags::MNT_ID | StatxFlags::UID | StatxFlags::GID;
        let seen = statx(file, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, wanted)?;
        if !StatxFlags::from_bits_retain(seen.stx_mask).contains(StatxFlags::MNT_ID) {
            return Err(std::io::Error::other("the kernel, older than 5.8, tells no mount of a file"));
        }
        Ok(Self {
            file: FileId::of(&seen),
            mount: seen.stx_mnt_id,
            is_mount: seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
            character_device: character_device(&seen),
            owner: (seen.stx_uid, seen.stx_gid),
        })
    }
}

fn character_device(seen: &Statx) -> Option<(u32, u32)> {
    let kind = FileType::from_raw_mode(u32::from(seen.stx_mode));
    (kind == FileType::CharacterDevice).then_some((seen.stx_rdev_major, seen.stx_rdev_minor))
}

/// How often a walk is begun anew. Each takes microseconds.
const TURNS: usize = 512;

/// The root of a process, within which paths are looked up: no link leads out of it.
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn of(process: &ProcDir) -> Result<Self, Unreadable> {
        process.open_file("root", OFlags::PATH | OFlags::DIRECTORY).map(Self)
    }

    pub(super) fn place(&self, path: &Path) -> Result<Option<Place>, Unreadable> {
        let failed = |error: std::io::Error| Unreadable::new(path.display().to_string(), error);
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let open = || openat2(&self.0, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
        // A walk over `..` is given up whenever anything on the machine is renamed or mounted meanwhile. Source: openat2(2), EAGAIN.
        let is_final = |opened: &Result<OwnedFd, Errno>| !matches!(opened, Err(Errno::AGAIN | Errno::INTR));
        let opened = std::iter::repeat_with(open).take(TURNS).find(is_final).unwrap_or(Err(Errno::AGAIN));
        match opened {
            Ok(file) => Place::of(file).map(Some).map_err(failed),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
        86 56 254:0 /tmp/rootfs / ro,relatime - ext4 /dev/vda rw\n\
        87 86 0:50 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n\
        60 87 0:50 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - proc proc rw\n\
        99 86 254:0 /a\\040b /data rw,nosuid,relatime shared:3 master:4 - ext4 /dev/vda rw\n";

    #[test]
    fn a_table_is_read() {
        let table = MountTable::parse(LINES).unwrap();
        let data = table.get(99).unwrap();
        assert_eq!(
            (data.root.as_str(), data.spread, data.flags.to_string()),
            ("/a b", Spread::Shared, "nosuid".into())
        );
        assert!(!data.idmapped);
        let idmapped = LINES.replace("rw,nosuid,relatime shared", "rw,nosuid,relatime,idmapped shared");
        assert!(MountTable::parse(&idmapped).unwrap().get(99).unwrap().idmapped);
        assert_eq!(table.below(86), BTreeSet::from([87, 60, 99]));
        assert_eq!(table.below(87), BTreeSet::from([60]));
        assert!(MountTable::parse("86 56 254:0 /").is_err());
    }

    #[test]
    fn places_are_looked_up_within_the_root() {
        let root = Root::of(&ProcDir::own().unwrap()).unwrap();
        let proc = root.place(Path::new("/proc")).unwrap().unwrap();
        assert!(proc.is_mount);
        assert_eq!(root.place(Path::new("/dev/null")).unwrap().unwrap().character_device, Some((1, 3)));
        assert_eq!(root.place(Path::new("/no/such")).unwrap(), None);
        let table = MountTable::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap()).unwrap();
        assert_eq!(table.get(proc.mount).unwrap().kind, "proc");
    }

    /// Anybody on the machine can rename files all the time.
    #[test]
    fn a_walk_that_others_disturb_comes_to_its_end() {
        let folder = std::env::temp_dir().join(format!("palisade-renames-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (one, other) = (folder.join("one"), folder.join("other"));
        std::fs::write(&one, "").unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let root = Root::of(&ProcDir::own().unwrap()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::fs::rename(&one, &other).and_then(|()| std::fs::rename(&other, &one)).unwrap();
                }
            });
            let failed = (0..20_000).find_map(|_| root.place(Path::new("/usr/../usr/../usr/../dev/null")).err());
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(failed, None);
        });
        std::fs::remove_dir_all(folder).unwrap();
    }
}
