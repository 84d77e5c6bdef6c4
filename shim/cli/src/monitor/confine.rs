//! What the monitor gives up before it reads anything that a workload has a hand in.
//!
//! It stays able to read: the log and the bundles are root's alone, so CAP_DAC_READ_SEARCH is left, and Landlock says where. Then
//! no program can be run, no file made but its own, no connection made and no port opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::error::CliError;

/// Where it may do what.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) read: Vec<PathBuf>,
    /// Directories of its own files.
    pub(super) write: Vec<PathBuf>,
}

/// Becomes another user with no more than the right to read what is others'. Nothing but that where it is no root to begin with.
pub(super) fn give_up_root(uid: u32) -> Result<(), CliError> {
    let failed = |what| move |errno: rustix::io::Errno| CliError::Confine { what, source: errno.into() };
    if geteuid().is_root() {
        let kept = CapabilitySet::DAC_READ_SEARCH;
        for number in 0..u64::BITS {
            match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
                // The first number that the kernel does not know.
                Err(rustix::io::Errno::INVAL) => break,
                dropped => dropped.map_err(failed("empty the bounding set"))?,
            }
        }
        let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
        set_keep_capabilities(true).map_err(failed("keep capabilities for the moment"))?;
        set_thread_groups(&[]).map_err(failed("leave the groups"))?;
        set_thread_res_gid(group, group, group).map_err(failed("change the group"))?;
        set_thread_res_uid(user, user, user).map_err(failed("change the user"))?;
        set_keep_capabilities(false).map_err(failed("keep no capabilities"))?;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets).map_err(failed("give up capabilities"))?;
    }
    set_no_new_privs(true).map_err(failed("set no_new_privs"))
}

/// By Landlock, as far as the kernel has it; which that is.
pub(super) fn keep_to(places: &Places) -> Result<&'static str, CliError> {
    let failed = |error: landlock::RulesetError| CliError::Confine {
        what: "keep to places",
        source: std::io::Error::other(error),
    };
    let abi = ABI::V4;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    // Never to run anything.
    let read = AccessFs::from_read(abi) & !BitFlags::from(AccessFs::Execute);
    let write = read | AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::Truncate;
    let all = places.read.iter().map(|path| (path, read)).chain(places.write.iter().map(|path| (path, write)));
    let mut ruleset = ruleset;
    for (path, access) in all {
        // What is not there yet can't be named; it is not read until the next start.
        let Ok(fd) = PathFd::new(path) else { continue };
        ruleset = ruleset.add_rule(PathBeneath::new(fd, access)).map_err(failed)?;
    }
    let status = ruleset.restrict_self().map_err(failed)?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "in full",
        RulesetStatus::PartiallyEnforced => "in part",
        RulesetStatus::NotEnforced => "not, the kernel has no Landlock",
    })
}

/// System calls that are made once everything is open: reading and replacing files, answering on sockets that are there.
const CALLS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_fcntl,
    libc::SYS_dup3,
    libc::SYS_ftruncate,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_sched_yield,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The same by their old names, which only some architectures have.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_dup2,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[i64] = &[];

/// Takes away every other system call: it fails with EPERM.
pub(super) fn filter_calls() -> Result<(), CliError> {
    let failed = |error: seccompiler::Error| CliError::Confine {
        what: "filter system calls",
        source: std::io::Error::other(error),
    };
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> =
        CALLS.iter().chain(OLD_CALLS).map(|call| (*call, Vec::new())).collect();
    let compiled = std::env::consts::ARCH.try_into().and_then(|arch| {
        let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
    });
    let program: BpfProgram = compiled.map_err(|error: seccompiler::BackendError| failed(error.into()))?;
    seccompiler::apply_filter(&program).map_err(failed)
}

/// The directory that a file is in.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// What is given up is a thread's, so this one's end gives the test its own back.
    #[test]
    fn a_thread_that_is_confined_reads_its_places_and_does_nothing_else() {
        let dir = std::env::temp_dir().join(format!("palisade-confine-{}", std::process::id()));
        let (seen, own, hidden) = (dir.join("seen"), dir.join("own"), dir.join("hidden"));
        for directory in [&seen, &own, &hidden] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join("file"), "text").unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let places = Places { read: vec![seen.clone()], write: vec![own.clone()] };
        let confined = move || {
            set_no_new_privs(true).unwrap();
            let status = keep_to(&places).unwrap();
            let denied = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert_eq!(fs::read_to_string(seen.join("file")).unwrap(), "text");
            fs::write(own.join("fresh"), "text").unwrap();
            if status == "in full" {
                denied(fs::read_to_string(hidden.join("file")).unwrap_err());
                denied(fs::write(seen.join("file"), "changed").unwrap_err());
                denied(fs::write(hidden.join("fresh"), "text").unwrap_err());
                denied(TcpStream::connect(address).unwrap_err());
            }
            filter_calls().unwrap();
            assert_eq!(fs::read_to_string(seen.join("file")).unwrap(), "text");
            fs::rename(own.join("fresh"), own.join("file")).unwrap();
            denied(TcpStream::connect(address).unwrap_err());
            denied(fs::create_dir(own.join("directory")).unwrap_err());
            denied(fs::hard_link(own.join("file"), own.join("link")).unwrap_err());
        };
        std::thread::spawn(confined).join().unwrap();
        drop(TcpStream::connect(address).unwrap());
        fs::remove_dir_all(dir).unwrap();
    }
}
