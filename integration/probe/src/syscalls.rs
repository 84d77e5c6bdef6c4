//! The raw calls that the attempts are made of, each behind a safe function. The only file of the probe with unsafe code.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// Who returns from [`fork`].
pub(crate) enum Forked {
    Child,
    Parent(libc::pid_t),
}

/// An argument of a system call. A text lives until the call returns.
pub(crate) enum Arg<'a> {
    Number(i64),
    Text(&'a str),
    /// A buffer that the kernel reads or writes.
    Buffer(&'a mut [u8]),
    Null,
}

/// Makes a system call with up to six arguments.
pub(crate) fn call(number: libc::c_long, arguments: &mut [Arg<'_>]) -> io::Result<i64> {
    let mut texts = Vec::new();
    let mut words = [0_i64; 6];
    for (word, argument) in words.iter_mut().zip(arguments.iter_mut()) {
        *word = match argument {
            Arg::Number(number) => *number,
            Arg::Null => 0,
            Arg::Buffer(buffer) => buffer.as_mut_ptr() as i64,
            Arg::Text(text) => {
                let text = CString::new(*text).map_err(io::Error::other)?;
                let address = text.as_ptr() as i64;
                texts.push(text);
                address
            }
        };
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: pointers among the words come from `texts` and from buffers borrowed for this call, all alive until it returns, and every
    // caller passes buffers of the size that the call's documentation asks for.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    drop(texts);
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The errno of a call by number, 0 if it ran.
pub(crate) fn errno_of(number: u32, [a, b, c, d, e, f]: [u64; 6]) -> i32 {
    // SAFETY: the child that calls does nothing but report; no pointer of the list is of memory that it has, and the kernel refuses them.
    let result = unsafe { libc::syscall(libc::c_long::from(number), a, b, c, d, e, f) };
    if result == -1 { io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 }
}

/// The same through the interrupt that 32-bit programs use, which takes the lower halves of five arguments.
#[cfg(target_arch = "x86_64")]
pub(crate) fn errno_by_interrupt(number: u32, [a, b, c, d, e, _]: [u64; 6]) -> i32 {
    let mut eax = u64::from(number);
    // SAFETY: as above; rbx, which the compiler keeps for itself, is put back, and the entry keeps the registers that are not named here.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}", first = inout(reg) a => _, inout("rax") eax,
            inout("rcx") b => _, inout("rdx") c => _, inout("rsi") d => _, inout("rdi") e => _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _,
        );
    }
    let result = i32::from_ne_bytes(u32::try_from(eax & 0xffff_ffff).unwrap_or(0).to_ne_bytes());
    if (-4095..0).contains(&result) { -result } else { 0 }
}

/// Other processors have no such second table.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn errno_by_interrupt(_: u32, _: [u64; 6]) -> i32 {
    libc::ENOSYS
}

/// Microseconds of CPU time of this process and of the children that it has waited for.
pub(crate) fn cpu_time() -> io::Result<u64> {
    let mut all = 0;
    for whose in [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN] {
        // SAFETY: rusage is plain data for which all zeros is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` outlives the call.
        if unsafe { libc::getrusage(whose, &raw mut usage) } != 0 {
            return Err(io::Error::last_os_error());
        }
        for time in [usage.ru_utime, usage.ru_stime] {
            all += u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).map_err(io::Error::other)?;
        }
    }
    Ok(all)
}

/// Ends a child at once with this status.
pub(crate) fn end(status: i32) -> ! {
    // SAFETY: _exit never returns and runs nothing.
    unsafe { libc::_exit(status) }
}

/// Waits for a child's end; how it ended, as waitpid(2) has it.
pub(crate) fn wait_status(pid: libc::pid_t) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        if unsafe { libc::waitpid(pid, &raw mut status, 0) } == pid {
            return Ok(status);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The 32-bit `getpid`, number 20, by the interrupt that 32-bit programs use.
#[cfg(target_arch = "x86_64")]
pub(crate) fn getpid_by_interrupt() -> io::Result<()> {
    let answer: i32;
    // SAFETY: the call takes nothing and returns a number; the kernel's 32-bit entry keeps all registers that it is not said here to change.
    unsafe {
        std::arch::asm!(
            "int 0x80", inout("eax") 20 => answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _, options(nostack)
        );
    }
    if answer > 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-answer)) }
}

/// Other processors have no such second table.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn getpid_by_interrupt() -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// Like [`call`], for calls that return a new descriptor, which is closed.
pub(crate) fn call_for_descriptor(number: libc::c_long, arguments: &mut [Arg<'_>]) -> io::Result<OwnedFd> {
    let descriptor = i32::try_from(call(number, arguments)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this descriptor to us and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// An ioctl whose argument is a buffer.
pub(crate) fn ioctl(file: &impl std::os::fd::AsFd, request: i64, buffer: &mut [u8]) -> io::Result<()> {
    let descriptor = i64::from(file.as_fd().as_raw_fd());
    call(libc::SYS_ioctl, &mut [Arg::Number(descriptor), Arg::Number(request), Arg::Buffer(buffer)]).map(drop)
}

pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: the probe has one thread, so the child may do what the parent might.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// Waits for a child's end; the signal that ended it, if one did.
pub(crate) fn wait(pid: libc::pid_t) -> io::Result<Option<i32>> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    if unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)))
}

pub(crate) fn kill(pid: libc::pid_t) -> io::Result<()> {
    call(libc::SYS_kill, &mut [Arg::Number(pid.into()), Arg::Number(libc::SIGKILL.into())]).map(drop)
}

pub(crate) fn alarm(seconds: u32) {
    // SAFETY: alarm(2) takes a number and cannot fail.
    unsafe { libc::alarm(seconds) };
}

/// Ends a child at once, after its errno has been written.
pub(crate) fn report_and_exit(writer: &io::PipeWriter, errno: i32) -> ! {
    let bytes = errno.to_ne_bytes();
    // SAFETY: the buffer has the length that is given; _exit never returns and runs nothing.
    unsafe {
        libc::write(writer.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
        libc::_exit(0)
    }
}

/// Waits in a child until it is killed.
pub(crate) fn wait_for_end() -> ! {
    loop {
        // SAFETY: pause(2) has no arguments.
        unsafe { libc::pause() };
    }
}

/// Waits until SIGTERM or SIGINT, which an init process of a PID namespace would otherwise ignore. From when on they are not lost the
/// process's name is `probe-waits`.
pub(crate) fn sleep_until_signalled() -> io::Result<()> {
    let mut signal = 0;
    // SAFETY: the set is plain data that sigemptyset initialises, and both pointers outlive the calls.
    let result = unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGTERM);
        libc::sigaddset(&raw mut signals, libc::SIGINT);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
        libc::prctl(libc::PR_SET_NAME, c"probe-waits".as_ptr());
        libc::sigwait(&raw const signals, &raw mut signal)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// A fresh pseudo terminal whose slave is this process's controlling terminal.
pub(crate) fn controlling_terminal() -> io::Result<(File, File)> {
    // SAFETY: the descriptors are checked before they are owned, the name is copied before any other call could overwrite it, and
    // setsid and TIOCSCTTY change only this process.
    unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY);
        if master < 0 {
            return Err(io::Error::last_os_error());
        }
        let master = File::from_raw_fd(master);
        let mut name = [0_u8; 64];
        if libc::unlockpt(master.as_raw_fd()) < 0
            || libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr().cast(), name.len()) != 0
        {
            return Err(io::Error::last_os_error());
        }
        libc::setsid();
        let slave = libc::open(name.as_ptr().cast(), libc::O_RDWR | libc::O_NOCTTY);
        if slave < 0 {
            return Err(io::Error::last_os_error());
        }
        let slave = File::from_raw_fd(slave);
        if libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY as _, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((master, slave))
    }
}
