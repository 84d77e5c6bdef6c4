//! Attempts that take more than their call's number and plain arguments.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};

use crate::attempts::{call, past, write_words};
use crate::syscalls::{self, Arg};

use Arg::{Buffer, Null, Number, Text};

/// The descriptor of whoever calls, for calls with `at` in their name.
const HERE: i64 = libc::AT_FDCWD as i64;

fn number(descriptor: RawFd) -> Arg<'static> {
    Number(descriptor.into())
}

/// `struct open_how`: flags, mode, resolve.
pub(crate) fn openat2_set_uid() -> io::Result<()> {
    let path = format!("/tmp/probe-openat2-{}", std::process::id());
    let mut how = [0_u8; 24];
    write_words(&mut how, &[(0, (libc::O_CREAT | libc::O_WRONLY) as u64), (1, 0o4755)]);
    call(libc::SYS_openat2, &mut [Number(HERE), Text(&path), Buffer(&mut how), Number(24)])?;
    fs::remove_file(&path)
}

/// With OPEN_TREE_CLONE, which asks for CAP_SYS_ADMIN.
pub(crate) fn open_tree() -> io::Result<()> {
    call(libc::SYS_open_tree, &mut [Number(HERE), Text("/tmp"), Number(1)])
}

/// A handle of no bytes: the kernel says how long it would be.
pub(crate) fn name_to_handle() -> io::Result<()> {
    let (mut handle, mut mount) = ([0_u8; 8], [0_u8; 8]);
    let arguments = &mut [Number(HERE), Text("/proc/self/exe"), Buffer(&mut handle), Buffer(&mut mount), Number(0)];
    past(call(libc::SYS_name_to_handle_at, arguments), &[libc::EOVERFLOW, libc::EOPNOTSUPP])
}

/// The probe is no module.
pub(crate) fn finit_module() -> io::Result<()> {
    let file = File::open("/proc/self/exe")?;
    past(
        call(libc::SYS_finit_module, &mut [number(file.as_raw_fd()), Text(""), Number(0)]),
        &[libc::ENOEXEC, libc::EINVAL, libc::EBUSY],
    )
}

/// A key that is not there.
pub(crate) fn request_key() -> io::Result<()> {
    past(
        call(libc::SYS_request_key, &mut [Text("user"), Text("palisade-probe-none"), Null, Number(0)]),
        &[libc::ENOKEY],
    )
}

/// No vectors at all, of this process itself.
pub(crate) fn process_vm_readv() -> io::Result<()> {
    let pid = i64::from(std::process::id());
    call(libc::SYS_process_vm_readv, &mut [Number(pid), Null, Number(0), Null, Number(0), Number(0)])
}

/// This process's own standard output.
pub(crate) fn pidfd_getfd() -> io::Result<()> {
    let own = Number(i64::from(std::process::id()));
    let process = syscalls::call_for_descriptor(libc::SYS_pidfd_open, &mut [own, Number(0)])?;
    call(libc::SYS_pidfd_getfd, &mut [number(process.as_raw_fd()), Number(1), Number(0)])
}

/// No vectors at all.
pub(crate) fn vmsplice() -> io::Result<()> {
    let (_reader, writer) = io::pipe()?;
    call(libc::SYS_vmsplice, &mut [number(writer.as_raw_fd()), Null, Number(0), Number(0)])
}
