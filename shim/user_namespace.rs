//! User namespaces that exist for their mappings, and mounts that show files by them.
//!
//! The kernel takes the mappings of an idmapped mount from a user namespace, and writes or shows those of a namespace by a process
//! that is in it. So a copy of this process stands in one for a moment and does nothing.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use palisade_policy::{IdMaps, IdRange};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::unsafe_syscalls::{Depth, idmap_mount, stay_in_user_namespace};

/// A user namespace with mappings, that nobody is in.
#[derive(Debug)]
pub(crate) struct UserNamespace(OwnedFd);

impl UserNamespace {
    /// One with these mappings.
    ///
    /// # Errors
    ///
    /// The kernel's: `EINVAL` for mappings that it does not take.
    pub(crate) fn with(maps: &IdMaps) -> io::Result<Self> {
        let member = Member::with(maps)?;
        Ok(Self(File::open(member.file("ns/user"))?.into()))
    }

    /// Makes a mount that stands nowhere yet show files by the mappings.
    ///
    /// # Errors
    ///
    /// As [`idmap_mount`].
    pub(crate) fn idmap(&self, mount: impl AsFd, depth: Depth) -> io::Result<()> {
        idmap_mount(mount, self.0.as_fd(), depth)
    }
}

/// The mappings that the kernel has of a user namespace, as seen from this process's. The descriptor may be one with `O_PATH`.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn maps_of(namespace: BorrowedFd<'_>) -> io::Result<IdMaps> {
    // Those are not for setns(2).
    let opened = File::open(format!("/proc/self/fd/{}", namespace.as_raw_fd()))?;
    let member = Member::start(Some(opened.as_fd()))?;
    let read = |name: &str| parse(&fs::read_to_string(member.file(name))?);
    Ok(IdMaps { uids: read("uid_map")?, gids: read("gid_map")? })
}

/// Lines of first id inside, first id outside, count. Source: user_namespaces(7).
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`].
pub(crate) fn parse(map: &str) -> io::Result<Vec<IdRange>> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(IdRange { inside, outside, count })
    };
    let ranges: Option<Vec<IdRange>> = map.lines().map(line).collect();
    ranges.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn text(map: &[IdRange]) -> String {
    map.iter().map(|IdRange { inside, outside, count }| format!("{inside} {outside} {count}\n")).collect()
}

/// Whether this kernel can show a tmpfs as other users', which came last of what the volumes of a pod are on (Linux 6.3): tried on one
/// that stands nowhere.
pub(crate) fn can_idmap() -> bool {
    let attempt = || -> io::Result<()> {
        let filesystem = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&filesystem)?;
        let mount = fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        let one = vec![IdRange { inside: 0, outside: palisade_policy::FIRST_REMAPPED_ID, count: 1 }];
        UserNamespace::with(&IdMaps { uids: one.clone(), gids: one })?.idmap(mount, Depth::Alone)
    };
    attempt().is_ok()
}

/// A process in a user namespace, until it is dropped.
pub(crate) struct Member {
    pid: Pid,
    /// Should this process die, so does the member.
    _hold: OwnedFd,
}

impl Member {
    fn start(joined: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let (held, hold) = pipe_with(PipeFlags::CLOEXEC)?;
        let (told, ready) = pipe_with(PipeFlags::CLOEXEC)?;
        let pid = stay_in_user_namespace(joined, held.as_fd(), ready.as_fd())?;
        let member = Self { pid: Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?, _hold: hold };
        drop(ready);
        File::from(told).read_exact(&mut [0])?;
        Ok(member)
    }

    /// One in a user namespace with these mappings.
    ///
    /// # Errors
    ///
    /// As [`UserNamespace::with`].
    pub(crate) fn with(maps: &IdMaps) -> io::Result<Self> {
        if maps.uids.is_empty() || maps.gids.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let member = Self::start(None)?;
        // Each map is written at once and once only. Source: user_namespaces(7).
        fs::write(member.file("uid_map"), text(&maps.uids))?;
        fs::write(member.file("gid_map"), text(&maps.gids))?;
        Ok(member)
    }

    /// A file of its below `/proc`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid.as_raw_nonzero()))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        /// `__WALL` of wait(2): children that tell of their end by no signal as well.
        const WALL: WaitOptions = WaitOptions::from_bits_retain(0x4000_0000);
        // It is there until it is collected, so the number is its own.
        if let Err(error) = kill_process(self.pid, Signal::KILL) {
            crate::warn!("end a member of a user namespace: {error}");
        }
        while matches!(waitpid(Some(self.pid), WALL), Err(rustix::io::Errno::INTR)) {}
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::process::Command;

    use rustix::process::{DumpableBehavior, set_dumpable_behavior};

    use super::*;

    fn maps(uids: &[(u32, u32, u32)], gids: &[(u32, u32, u32)]) -> IdMaps {
        let map = |list: &[(u32, u32, u32)]| {
            list.iter().map(|&(inside, outside, count)| IdRange { inside, outside, count }).collect()
        };
        IdMaps { uids: map(uids), gids: map(gids) }
    }

    #[test]
    fn a_namespace_has_the_mappings_that_it_was_given() {
        let given = maps(&[(0, 200_000, 10), (10, 300_000, 5)], &[(0, 400_000, 1)]);
        let namespace = UserNamespace::with(&given).unwrap();
        assert_eq!(maps_of(namespace.0.as_fd()).unwrap(), given);
        // As a judged namespace is held.
        let path = format!("/proc/self/fd/{}", namespace.0.as_raw_fd());
        let held = rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        assert_eq!(maps_of(held.as_fd()).unwrap(), given);
    }

    #[test]
    fn a_member_leaves_nothing_behind() {
        let member = Member::start(None).unwrap();
        let process = member.file("");
        assert!(process.exists());
        drop(member);
        assert!(!process.exists());
    }

    #[test]
    fn a_member_has_no_descriptor_but_its_pipes() {
        let member = Member::start(None).unwrap();
        let descriptors: Vec<PathBuf> = fs::read_dir(member.file("fd"))
            .unwrap()
            // The one that it was ready by may go meanwhile.
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .collect();
        assert!((1..=2).contains(&descriptors.len()), "{descriptors:?}");
        assert!(descriptors.iter().all(|name| name.to_string_lossy().starts_with("pipe:")), "{descriptors:?}");
    }

    /// What root of the namespace can see of a process that joins it.
    #[test]
    fn root_of_a_namespace_can_not_look_into_a_member() {
        // As the shim is; another test may have changed users meanwhile.
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
        let map = [(0, 200_000, 10)];
        let namespace = Member::with(&maps(&map, &map)).unwrap();
        let joined = File::open(namespace.file("ns/user")).unwrap();
        let member = Member::start(Some(joined.as_fd())).unwrap();
        let reads = |file: PathBuf| {
            let mut command = Command::new("nsenter");
            command.env("LC_ALL", "C");
            command.arg(format!("--user={}", namespace.file("ns/user").display())).arg("cat").arg(file);
            command.output().unwrap()
        };
        let own = reads("/proc/self/maps".into());
        assert!(own.status.success(), "{own:?}");
        for process in [&namespace, &member] {
            let seen = reads(process.file("maps"));
            assert!(!seen.status.success(), "{}", String::from_utf8_lossy(&seen.stdout));
            let said = String::from_utf8_lossy(&seen.stderr);
            assert!(said.contains("Permission denied"), "{said}");
        }
    }

    #[test]
    fn what_the_kernel_takes_for_no_map_is_none() {
        assert!(
            UserNamespace::with(&maps(&[(0, 200_000, 10), (5, 300_000, 10)], &[(0, 1, 1)])).is_err(),
            "overlapping"
        );
        assert!(UserNamespace::with(&maps(&[(0, u32::MAX, 1)], &[(0, 200_000, 1)])).is_err(), "no id");
        assert!(UserNamespace::with(&maps(&[], &[])).is_err(), "nobody");
    }

    /// The first version of Linux that idmaps a tmpfs. Source: mount_setattr(2).
    const IDMAPPED_TMPFS: (u32, u32) = (6, 3);

    /// Whether nothing but a fault explains that a tmpfs can't be idmapped.
    fn must_idmap() -> bool {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers =
            release.split(|letter: char| !letter.is_ascii_digit()).map_while(|number| number.parse().ok());
        let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
        rustix::process::geteuid().is_root() && version >= IDMAPPED_TMPFS
    }

    /// Through the mount a file has another owner, and one made there has the first one's number on the disk.
    #[test]
    fn a_mount_shows_files_as_other_users() {
        if !can_idmap() {
            assert!(!must_idmap(), "this kernel can show a tmpfs as other users', and can_idmap() says that it can't");
            eprintln!(
                "NOT TESTED: idmapped mounts of tmpfs take root and Linux {}.{}",
                IDMAPPED_TMPFS.0, IDMAPPED_TMPFS.1
            );
            return;
        }
        let filesystem = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        fsconfig_create(&filesystem).unwrap();
        let mount = fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
        let namespace = UserNamespace::with(&maps(&[(0, 200_000, 65_536)], &[(0, 300_000, 65_536)])).unwrap();
        namespace.idmap(&mount, Depth::Tree).unwrap();
        let seen = File::from(mount.try_clone().unwrap()).metadata().unwrap();
        assert_eq!((seen.uid(), seen.gid()), (200_000, 300_000));
        // Once only.
        assert_eq!(namespace.idmap(&mount, Depth::Tree).unwrap_err().raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn lines_of_a_map_are_read() {
        assert_eq!(parse("         0     100000      65536\n").unwrap(), maps(&[(0, 100_000, 65_536)], &[]).uids);
        assert!(parse("0 1\n").is_err());
        assert!(parse("0 x 1\n").is_err());
    }
}
