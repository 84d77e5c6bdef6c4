//! Whose the host ids of a user namespace are: each pod's are its own.
//!
//! Every shim locks the ids of its pod in one file, an id a byte, for as long as it holds the pod. The kernel finds what overlaps, in one step for
//! whoever asks at the same time, and takes a lock back however its shim ends: nothing can be stale. What other runtimes have, and what a
//! shim that was killed has left running, is seen by the maps of the processes that are there. Source: fcntl_locking(2), "Open file
//! description locks"; user_namespaces(7).

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use oci_spec::runtime::LinuxNamespaceType;
use palisade_policy::{ContainerKind, FIRST_REMAPPED_ID, IdMaps, IdRange, ParsedSpec, TakenIds};
use rustix::fs::fstat;

use super::pins::Pins;
use crate::unsafe_syscalls::{owner_of_user_namespace, parent_of_user_namespace};
use crate::user_namespace::{maps_of, parse};

/// The file whose bytes are locked. Nothing is ever written to it.
const LOCKS: &str = "/run/palisade/user-namespaces.lock";

/// Groups are locked behind all users.
const GROUPS: i64 = 1 << 32;

/// Whether the user namespace that the specification joins has the mappings that it says, by the kernel, and maps nobody to the host's
/// reserved ids.
pub(super) fn joined_are_remapped(spec: &ParsedSpec, pins: &Pins) -> bool {
    let joined = pins.namespaces.iter().find(|(kind, _)| *kind == LinuxNamespaceType::User);
    let (Some((_, namespace)), Some(said)) = (joined, spec.user_maps()) else { return false };
    let has = match maps_of(namespace.as_fd()) {
        Ok(has) => has,
        Err(error) => {
            crate::warn!("read the mappings of the user namespace that is joined: {error}");
            return false;
        }
    };
    let outside = |map: &[IdRange]| !map.is_empty() && map.iter().all(|range| range.is_outside_host());
    // The kernel sorts long maps.
    let same = |one: &[IdRange], other: &[IdRange]| {
        let (mut one, mut other) = (one.to_vec(), other.to_vec());
        one.sort_unstable();
        other.sort_unstable();
        one == other
    };
    same(&has.uids, &said.uids) && same(&has.gids, &said.gids) && outside(&has.uids) && outside(&has.gids)
}

/// The ids that a shim holds for its pod.
#[derive(Debug)]
pub(super) struct UserIds {
    locks: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    file: Option<LockFile>,
    /// With the number of containers that have them, or are about to.
    maps: Vec<(IdMaps, usize)>,
}

impl Held {
    /// The bytes of a container's ids that no other one of the pod has.
    fn not_held(&self, maps: &IdMaps) -> Vec<Range<i64>> {
        let held: Vec<_> = self.maps.iter().flat_map(|(maps, _)| bytes_of(maps)).collect();
        bytes_of(maps).into_iter().flat_map(|bytes| without(bytes, &held)).collect()
    }
}

impl Default for UserIds {
    fn default() -> Self {
        Self::in_file(LOCKS.into())
    }
}

/// What was taken for a container: given back when dropped, as long as nobody says that it is kept.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    users: &'a UserIds,
    maps: Option<IdMaps>,
}

impl Claim<'_> {
    /// The pod has the ids until [`UserIds::release`].
    pub(super) fn keep(mut self) {
        self.maps = None;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(maps) = &self.maps {
            self.users.give_back(maps);
        }
    }
}

impl UserIds {
    pub(super) fn in_file(locks: PathBuf) -> Self {
        Self { locks, held: Mutex::default() }
    }

    /// Takes the ids of a container's user namespace for this pod, or says who has them.
    ///
    /// # Errors
    ///
    /// The kernel's: nobody can say then.
    pub(super) fn take(&self, spec: &ParsedSpec, pins: &Pins) -> io::Result<(Claim<'_>, Option<TakenIds>)> {
        let nothing = Claim { users: self, maps: None };
        let Some(maps) = spec.user_maps() else { return Ok((nothing, None)) };
        let joined = pins.namespaces.iter().find(|(kind, _)| *kind == LinuxNamespaceType::User);
        // Without a pod its client says whom it joins, and they have these ids already.
        if joined.is_some() && spec.identity().kind == ContainerKind::Standalone {
            return Ok((nothing, None));
        }
        let joined = joined.map(|(_, namespace)| name_of(namespace)).transpose()?;
        let taken = self.take_maps(maps.clone(), joined.as_deref())?;
        let claim = if taken.is_none() { Claim { users: self, maps: Some(maps) } } else { nothing };
        Ok((claim, taken))
    }

    pub(super) fn take_maps(&self, maps: IdMaps, joined: Option<&Path>) -> io::Result<Option<TakenIds>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, containers)) = held.maps.iter_mut().find(|(one, _)| *one == maps) {
            *containers += 1;
            return Ok(None);
        }
        let file = held.file.take().map_or_else(|| open(&self.locks), Ok)?;
        let wanted = held.not_held(&maps);
        // Locked before anybody looks: of two that begin at once, one sees the other.
        let taken = match file.lock_all(&wanted) {
            Ok(None) => of_processes(&maps, joined),
            taken => taken,
        };
        if matches!(taken, Ok(None)) {
            held.maps.push((maps, 1));
        } else {
            file.unlock_all(&wanted);
        }
        if !held.maps.is_empty() {
            held.file = Some(file);
        }
        taken
    }

    /// One of the containers that took these ids does not come to be.
    fn give_back(&self, maps: &IdMaps) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = held.maps.iter().position(|(one, _)| one == maps) else { return };
        if let Some((_, containers @ 2..)) = held.maps.get_mut(index) {
            *containers -= 1;
            return;
        }
        held.maps.remove(index);
        let unused = held.not_held(maps);
        if let Some(file) = &held.file {
            file.unlock_all(&unused);
        }
        if held.maps.is_empty() {
            held.file = None;
        }
    }

    /// Gives all back: no container of the pod is left.
    pub(super) fn release(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Held::default();
    }
}

/// As links below `/proc/<pid>/ns` name it; that of a descriptor says where it is mounted. Source: namespaces(7).
fn name_of(namespace: &OwnedFd) -> io::Result<PathBuf> {
    Ok(format!("user:[{}]", fstat(namespace)?.st_ino).into())
}

/// Where the ids are locked. Closing it gives all back, here and now: a process that this one has started may have a copy of it for a moment.
#[derive(Debug)]
struct LockFile(File);

impl Drop for LockFile {
    fn drop(&mut self) {
        let all = 0..2 * GROUPS;
        self.unlock_all(slice::from_ref(&all));
    }
}

fn open(path: &Path) -> io::Result<LockFile> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o711).create(directory)?;
    }
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    options.open(path).map(LockFile)
}

/// The bytes of all ids that mappings have.
fn bytes_of(maps: &IdMaps) -> Vec<Range<i64>> {
    let users = maps.uids.iter().map(|range| (0, range));
    let groups = maps.gids.iter().map(|range| (GROUPS, range));
    let sound = users.chain(groups).filter(|(_, range)| range.is_sound());
    let bytes = |(begin, range): (i64, &IdRange)| {
        let first = begin + i64::from(range.outside);
        first..first + i64::from(range.count)
    };
    sound.map(bytes).collect()
}

/// What is left of some bytes without others.
fn without(bytes: Range<i64>, others: &[Range<i64>]) -> Vec<Range<i64>> {
    others.iter().fold(vec![bytes], |left, other| {
        let sides = |part: Range<i64>| {
            let (before, behind) = (part.start..part.end.min(other.start), part.start.max(other.end)..part.end);
            [before, behind].into_iter().filter(|side| !side.is_empty())
        };
        left.into_iter().flat_map(sides).collect()
    })
}

impl LockFile {
    /// Who has one of the ids, if not all of them were locked.
    fn lock_all(&self, wanted: &[Range<i64>]) -> io::Result<Option<TakenIds>> {
        for bytes in wanted {
            let mut lock = lock_of(libc::F_WRLCK, bytes)?;
            match fcntl(&self.0, FcntlArg::F_OFD_SETLK(&lock)) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    fcntl(&self.0, FcntlArg::F_OFD_GETLK(&mut lock))?;
                    let begin = if bytes.start < GROUPS { 0 } else { GROUPS };
                    let id = |byte: i64| u32::try_from(byte - begin).unwrap_or(u32::MAX);
                    let (first, last) = (id(lock.l_start), id(lock.l_start + lock.l_len - 1));
                    return Ok(Some(TakenIds { first, last, by: "another pod".to_owned() }));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(None)
    }

    /// The other way; what was not locked is no matter.
    fn unlock_all(&self, unused: &[Range<i64>]) {
        for bytes in unused {
            let unlock = |lock| fcntl(&self.0, FcntlArg::F_OFD_SETLK(&lock)).map_err(io::Error::from);
            if let Err(error) = lock_of(libc::F_UNLCK, bytes).and_then(unlock) {
                crate::warn!("give back ids of a user namespace: {error}");
            }
        }
    }
}

fn lock_of(kind: libc::c_int, bytes: &Range<i64>) -> io::Result<libc::flock> {
    Ok(libc::flock {
        l_type: libc::c_short::try_from(kind).map_err(io::Error::other)?,
        l_whence: libc::c_short::try_from(libc::SEEK_SET).map_err(io::Error::other)?,
        l_start: bytes.start,
        l_len: bytes.end - bytes.start,
        l_pid: 0,
    })
}

/// The same by the processes that are there, in whatever user namespace of root's but the host's and the one that is joined.
fn of_processes(maps: &IdMaps, joined: Option<&Path>) -> io::Result<Option<TakenIds>> {
    let hosts = fs::read_link("/proc/self/ns/user")?;
    let mut seen = HashSet::from([hosts.clone()]);
    seen.extend(joined.map(Path::to_owned));
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let process = Path::new("/proc").join(&name);
        // One that has ended meanwhile has no ids, and another one of its namespace is asked in its place.
        let Ok(namespace) = fs::read_link(process.join("ns/user")) else { continue };
        if seen.contains(&namespace) {
            continue;
        }
        let map = |file: &str| fs::read_to_string(process.join(file)).and_then(|map| parse(&map));
        let (Ok(uids), Ok(gids)) = (map("uid_map"), map("gid_map")) else { continue };
        if let Some(range) = meeting(&maps.uids, &uids).or_else(|| meeting(&maps.gids, &gids)) {
            match is_of_root(&process, &namespace, &hosts) {
                Ok(true) => {}
                Ok(false) => {
                    seen.insert(namespace);
                    continue;
                }
                Err(error) if has_ended(&error) => continue,
                Err(error) => crate::warn!("read whose the user namespace of process {} is: {error}", name.display()),
            }
            let last = range.outside.saturating_add(range.count - 1);
            let by = format!("the user namespace of process {}", name.display());
            return Ok(Some(TakenIds { first: range.outside, last, by }));
        }
        seen.insert(namespace);
    }
    Ok(None)
}

/// Whether a runtime with root's power has made the user namespace of a process, or one that it is in: whoever has none can make namespaces too, with
/// its own id or those of subuid(5) in them, and must not keep a pod from its ids so.
///
/// # Errors
///
/// The kernel's; see [`has_ended`].
fn is_of_root(process: &Path, name: &Path, hosts: &Path) -> io::Result<bool> {
    let mut namespace: OwnedFd = File::open(process.join("ns/user"))?.into();
    // The number may be another process's meanwhile.
    if name_of(&namespace)? != name {
        return Err(Errno::ESRCH.into());
    }
    loop {
        if owner_of_user_namespace(&namespace)? == 0 {
            return Ok(true);
        }
        namespace = parent_of_user_namespace(&namespace)?;
        if name_of(&namespace)? == hosts {
            return Ok(false);
        }
    }
}

/// Whether a process was not there any more.
fn has_ended(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// A range of a namespace that has ids of a pod's. Where ids of the host are themselves (systemd's `PrivateUsers=`), a range that begins among those
/// that no pod has is the host's own.
fn meeting(wanted: &[IdRange], there: &[IdRange]) -> Option<IdRange> {
    let is_hosts = |range: &IdRange| range.inside == range.outside && range.outside < FIRST_REMAPPED_ID;
    let meets = |range: &&IdRange| !is_hosts(range) && wanted.iter().any(|one| one.meets_outside(**range));
    there.iter().find(meets).copied()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use rustix::fs::{Mode, OFlags};
    use rustix::process::{DumpableBehavior, Uid, set_dumpable_behavior};
    use rustix::thread::{CapabilitiesSecureBits, set_capabilities_secure_bits, set_thread_res_uid};

    use super::*;
    use crate::user_namespace::Member;

    /// Ids that no pod on the machine has: counted from the end.
    fn maps(from_end: u32, count: u32) -> IdMaps {
        let map = vec![IdRange { inside: 0, outside: u32::MAX - from_end, count }];
        IdMaps { uids: map.clone(), gids: map }
    }

    struct Locks(PathBuf);

    impl Locks {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("palisade-users-{name}-{}", std::process::id())))
        }

        fn shim(&self) -> UserIds {
            UserIds::in_file(self.0.join("lock"))
        }
    }

    impl Drop for Locks {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn of_two_pods_one_has_an_id() {
        let locks = Locks::new("two");
        let (one, other) = (locks.shim(), locks.shim());
        assert_eq!(one.take_maps(maps(10_000, 1000), None).unwrap(), None);
        assert_eq!(one.take_maps(maps(10_000, 1000), None).unwrap(), None, "its next container");
        let taken = other.take_maps(maps(9_001, 1000), None).unwrap().unwrap();
        assert_eq!((taken.first, taken.last), (u32::MAX - 10_000, u32::MAX - 9_001));
        assert_eq!(other.take_maps(maps(9_000, 1000), None).unwrap(), None, "the ids behind");
        one.release();
        let third = locks.shim();
        assert_eq!(third.take_maps(maps(10_000, 1000), None).unwrap(), None, "given back");
    }

    #[test]
    fn a_shim_that_ends_gives_back_and_one_that_was_refused_holds_nothing() {
        let locks = Locks::new("ends");
        let (one, other) = (locks.shim(), locks.shim());
        assert_eq!(one.take_maps(maps(20_000, 10), None).unwrap(), None);
        let mut two = maps(20_100, 10);
        two.gids = maps(20_000, 10).gids;
        assert!(other.take_maps(two, None).unwrap().is_some(), "a group");
        assert_eq!(locks.shim().take_maps(maps(20_100, 10), None).unwrap(), None, "the users were given back");
        drop(one);
        assert_eq!(locks.shim().take_maps(maps(20_000, 10), None).unwrap(), None);
    }

    #[test]
    fn processes_of_another_runtime_count_until_they_end() {
        let locks = Locks::new("processes");
        let process = Member::with(&maps(30_000, 10)).unwrap();
        let shim = locks.shim();
        let taken = shim.take_maps(maps(29_995, 10), None).unwrap().unwrap();
        assert_eq!((taken.first, taken.last), (u32::MAX - 30_000, u32::MAX - 29_991), "{taken:?}");
        let held = rustix::fs::open(process.file("ns/user"), OFlags::PATH, Mode::empty()).unwrap();
        let namespace = name_of(&held).unwrap();
        assert_eq!(fs::read_link(process.file("ns/user")).unwrap(), namespace);
        assert_eq!(shim.take_maps(maps(29_995, 10), Some(&namespace)).unwrap(), None, "the one that is joined");
        shim.release();
        drop(process);
        assert_eq!(shim.take_maps(maps(29_995, 10), None).unwrap(), None);
    }

    /// A member of a namespace that an ordinary user of the host owns. Its maps are another's matter: what such a user may write alone is a map
    /// of one id, its own.
    fn of_user(uid: u32, maps: &IdMaps) -> Member {
        let make = || {
            let uid = Uid::from_raw(uid);
            // Not every kernel lets users without privileges make namespaces: this thread keeps those that it has.
            set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            // The kernel takes it from the whole process, which other tests want it of.
            set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
            Member::with(maps).unwrap()
        };
        std::thread::scope(|scope| scope.spawn(make).join().unwrap())
    }

    #[test]
    fn namespaces_that_users_made_for_themselves_take_no_ids_from_pods() {
        let locks = Locks::new("own");
        let wanted = maps(40_000, 10);
        let own = maps(40_000, 1);
        let process = of_user(own.uids[0].outside, &own);
        assert_eq!(locks.shim().take_maps(wanted.clone(), None).unwrap(), None);
        drop(process);
        let _process = Member::with(&own).unwrap();
        assert!(locks.shim().take_maps(wanted, None).unwrap().is_some(), "root's");
    }

    #[test]
    fn who_is_deeper_in_a_namespace_of_roots_has_its_ids() {
        let locks = Locks::new("deeper");
        let wanted = maps(45_000, 10);
        let outer = Member::with(&wanted).unwrap();
        let mut inner = Command::new("nsenter")
            .arg(format!("--user={}", outer.file("ns/user").display()))
            .args(["unshare", "--user", "--map-root-user", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        inner.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        drop(outer);
        let taken = locks.shim().take_maps(wanted.clone(), None).unwrap().unwrap();
        assert_eq!((taken.first, taken.last), (u32::MAX - 45_000, u32::MAX - 45_000));
        drop(inner.stdin.take());
        assert!(inner.wait().unwrap().success());
        assert_eq!(locks.shim().take_maps(wanted, None).unwrap(), None);
    }

    #[test]
    fn one_that_was_refused_gives_back_what_it_locked_before_though_its_pod_has_others() {
        let locks = Locks::new("parts");
        let (one, other) = (locks.shim(), locks.shim());
        assert_eq!(one.take_maps(maps(50_000, 10), None).unwrap(), None);
        assert_eq!(other.take_maps(maps(50_100, 10), None).unwrap(), None);
        let mut two = maps(50_105, 10);
        two.gids = maps(50_000, 10).gids;
        assert!(other.take_maps(two, None).unwrap().is_some(), "a group");
        assert_eq!(locks.shim().take_maps(maps(50_110, 10), None).unwrap(), None, "the users before its own");
        assert!(locks.shim().take_maps(maps(50_100, 1), None).unwrap().is_some(), "its own are held");
        assert!(locks.shim().take_maps(maps(50_091, 1), None).unwrap().is_some(), "to the last");
    }

    #[test]
    fn ids_that_no_container_came_to_have_are_given_back_and_no_others() {
        let locks = Locks::new("claims");
        let (pod, other) = (locks.shim(), locks.shim());
        let claim = |from_end: u32| {
            let maps = maps(from_end, 10);
            assert_eq!(pod.take_maps(maps.clone(), None).unwrap(), None);
            Claim { users: &pod, maps: Some(maps) }
        };
        let is_free = |from_end: u32| {
            let free = other.take_maps(maps(from_end, 1), None).unwrap().is_none();
            other.release();
            free
        };
        claim(60_000).keep();
        let (refused, admitted) = (claim(60_005), claim(60_005));
        drop(refused);
        assert!(!is_free(60_003), "another container has them");
        drop(admitted);
        assert!(is_free(60_005) && is_free(60_001), "before the pod's");
        assert!(!is_free(60_000) && !is_free(59_991), "the pod's");
        drop(claim(60_000));
        assert!(!is_free(60_000), "those of the container that is kept");
    }

    #[test]
    fn the_hosts_own_users_are_no_pods() {
        let wanted = maps(100, 10).uids;
        let all = IdRange { inside: 0, outside: 0, count: u32::MAX };
        assert_eq!(meeting(&wanted, &[all]), None);
        // As systemd writes the same.
        let one = IdRange { count: 1, ..all };
        assert_eq!(meeting(&wanted, &[one, IdRange { inside: 1, outside: 1, count: u32::MAX - 1 }]), None);
        assert!(meeting(&wanted, &[IdRange { inside: 1, ..all }]).is_some());
        let of_pods =
            IdRange { inside: FIRST_REMAPPED_ID, outside: FIRST_REMAPPED_ID, count: u32::MAX - FIRST_REMAPPED_ID };
        assert!(meeting(&wanted, &[of_pods]).is_some());
    }
}
