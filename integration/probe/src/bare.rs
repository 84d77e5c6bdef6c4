//! A container's life without a runtime: the calls to the kernel and nothing else, to know what a runtime adds.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use palisade_probe::{Cgroup, KernelWork, MountCall, WorkDone};

use crate::syscalls::{Arg, Forked, call, cpu_time, end, fork, wait_status};

/// Devices of every container: name, minor and major number. Source: OCI runtime-spec `config-linux.md`, default devices.
const DEVICES: [(&str, i64, i64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Does the work, and waits for the command's end.
pub(crate) fn run(work: &KernelWork) -> io::Result<WorkDone> {
    let (since, before) = (Instant::now(), cpu_time()?);
    fs::create_dir(&work.rootfs)?;
    mount("overlay", &work.rootfs, "overlay", 0, &work.overlay)?;
    work.cgroups.iter().try_for_each(make)?;
    // It holds for children alone: this process keeps its number.
    call(libc::SYS_unshare, &mut [Arg::Number(libc::CLONE_NEWPID.into())])?;
    let status = match fork()? {
        Forked::Child => {
            let error = become_container(work);
            eprintln!("probe: {error}");
            end(2)
        }
        Forked::Parent(child) => wait_status(child)?,
    };
    for cgroup in &work.cgroups {
        fs::remove_dir(&cgroup.folder)?;
    }
    call(libc::SYS_umount2, &mut [Arg::Text(&work.rootfs), Arg::Number(libc::MNT_DETACH.into())])?;
    fs::remove_dir(&work.rootfs)?;
    if status != 0 {
        return Err(io::Error::other(format!("wait status {status}")));
    }
    let nanoseconds = u64::try_from(since.elapsed().as_nanos()).map_err(io::Error::other)?;
    Ok(WorkDone { nanoseconds, cpu_microseconds: cpu_time()?.saturating_sub(before) })
}

fn make(cgroup: &Cgroup) -> io::Result<()> {
    let folder = Path::new(&cgroup.folder);
    fs::create_dir(folder)?;
    cgroup.limits.iter().try_for_each(|(file, value)| fs::write(folder.join(file), value))
}

/// Returns only when it fails.
fn become_container(work: &KernelWork) -> io::Error {
    match enter(work) {
        Ok(()) => match work.args.split_first() {
            Some((program, args)) => Command::new(program).args(args).env_clear().exec(),
            None => io::Error::other("no command"),
        },
        Err(error) => error,
    }
}

fn enter(work: &KernelWork) -> io::Result<()> {
    // 0 is whoever writes.
    work.cgroups.iter().try_for_each(|cgroup| fs::write(Path::new(&cgroup.folder).join("cgroup.procs"), "0"))?;
    call(libc::SYS_unshare, &mut [Arg::Number(work.namespaces)])?;
    mount("", "/", "", flags(libc::MS_REC | libc::MS_PRIVATE), "")?;
    mount(&work.rootfs, &work.rootfs, "", flags(libc::MS_BIND | libc::MS_REC), "")?;
    for each in &work.mounts {
        mount_at(&work.rootfs, each)?;
    }
    devices(&Path::new(&work.rootfs).join("dev"))?;
    std::env::set_current_dir(&work.rootfs)?;
    call(libc::SYS_pivot_root, &mut [Arg::Text("."), Arg::Text(".")])?;
    call(libc::SYS_umount2, &mut [Arg::Text("."), Arg::Number(libc::MNT_DETACH.into())])?;
    std::env::set_current_dir("/")?;
    work.read_only.iter().filter(|path| Path::new(path).exists()).try_for_each(|path| read_only(path))?;
    work.masked.iter().filter(|path| Path::new(path).exists()).try_for_each(|path| mask(path))
}

fn mount_at(root: &str, each: &MountCall) -> io::Result<()> {
    let target = format!("{root}{}", each.target);
    fs::create_dir_all(&target)?;
    mount(&each.source, &target, &each.kind, each.flags, &each.data)
}

fn devices(dev: &Path) -> io::Result<()> {
    for (name, major, minor) in DEVICES {
        let path = dev.join(name).display().to_string();
        let mode = i64::from(libc::S_IFCHR | 0o666);
        call(libc::SYS_mknod, &mut [Arg::Text(&path), Arg::Number(mode), Arg::Number(major << 8 | minor)])?;
    }
    LINKS.iter().try_for_each(|(to, name)| symlink(to, dev.join(name)))
}

fn read_only(path: &str) -> io::Result<()> {
    mount(path, path, "", flags(libc::MS_BIND | libc::MS_REC), "")?;
    mount(path, path, "", flags(libc::MS_BIND | libc::MS_REC | libc::MS_REMOUNT | libc::MS_RDONLY), "")
}

fn mask(path: &str) -> io::Result<()> {
    if Path::new(path).is_dir() {
        mount("tmpfs", path, "tmpfs", flags(libc::MS_RDONLY), "")
    } else {
        mount("/dev/null", path, "", flags(libc::MS_BIND), "")
    }
}

/// libc has them unsigned.
fn flags(of: libc::c_ulong) -> i64 {
    of.cast_signed()
}

fn mount(source: &str, target: &str, kind: &str, flags: i64, data: &str) -> io::Result<()> {
    let arguments = &mut [Arg::Text(source), Arg::Text(target), Arg::Text(kind), Arg::Number(flags), Arg::Text(data)];
    call(libc::SYS_mount, arguments)
        .map(drop)
        .map_err(|error| io::Error::new(error.kind(), format!("mount {kind} {source} at {target}: {error}")))
}
