//! The container must not be able to write to the runtime's binary.
//!
//! Between entering the container and its execve, and for good when an image names `/proc/self/exe` as its
//! program, `/proc/<pid>/exe` of a process inside the container is this binary. A container's root could open it
//! for writing and so own the host (CVE-2019-5736). Here the process starts itself again from a detached, read-only
//! mount of its own binary: opening it for writing then fails with EROFS, and a detached mount can't be remounted
//! from any mount namespace. That costs one execve (under 1 ms) where a copy in a sealed memfd costs several,
//! and it is left out when the binary already runs from a read-only mount, as all children of a sealed shim do.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use nix::fcntl::AtFlags;
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::mount::OpenTreeFlags;

use super::error::RuntimeFailure;
use crate::unsafe_syscalls;

const SELF: &str = "/proc/self/exe";

/// Returns when the binary can't be written through `/proc/self/exe`; starts the process again if it could be.
pub(super) fn run_from_read_only_binary(args: &[OsString]) -> Result<(), RuntimeFailure> {
    if is_read_only().map_err(RuntimeFailure::Seal)? {
        return Ok(());
    }
    let binary = read_only_mount().or_else(|_| sealed_copy()).map_err(RuntimeFailure::Seal)?;
    let failed = start_again(&binary, args);
    Err(RuntimeFailure::Seal(failed))
}

/// A read-only mount, or a memfd that is sealed against writing.
fn is_read_only() -> io::Result<bool> {
    let binary = rustix::fs::open(SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if rustix::fs::fstatvfs(&binary)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    Ok(rustix::fs::fcntl_get_seals(&binary).is_ok_and(|seals| seals.contains(SealFlags::WRITE)))
}

/// Linux 5.12 and later. A daemon that runs from such a mount saves its runtime calls the second execve.
pub(crate) fn read_only_mount() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, SELF, flags)?;
    unsafe_syscalls::make_mount_read_only(&mount)?;
    Ok(mount)
}

/// For older kernels.
fn sealed_copy() -> io::Result<OwnedFd> {
    let copy = rustix::fs::memfd_create("palisade-runtime", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut source = std::fs::File::open(SELF)?;
    let mut target = std::fs::File::from(copy);
    io::copy(&mut source, &mut target)?;
    rustix::fs::fcntl_add_seals(&target, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(target.into())
}

/// Returns only on failure. The arguments start with the word that makes any name of this binary the runtime.
fn start_again(binary: impl AsFd, args: &[OsString]) -> io::Error {
    let words = [OsString::from("palisade-runtime")].into_iter().chain(args.iter().cloned());
    let args: Result<Vec<CString>, _> = words.map(|word| CString::new(word.into_vec())).collect();
    let env: Result<Vec<CString>, _> = std::env::vars_os()
        .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect();
    match (args, env) {
        (Ok(args), Ok(env)) => match nix::unistd::execveat(binary, c"", &args, &env, AtFlags::AT_EMPTY_PATH) {
            Ok(never) => match never {},
            Err(errno) => errno.into(),
        },
        _ => io::ErrorKind::InvalidInput.into(),
    }
}
