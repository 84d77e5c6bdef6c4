//! The system calls that no crate in the tree wraps safely. Nothing else in the workspace may use `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sends a signal by number through a pidfd: pidfd_send_signal(2).
///
/// # Errors
///
/// The kernel's errno: `ESRCH` when the process is gone, `EINVAL` for a number that is no signal.
pub(crate) fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    // JUSTIFICATION: rustix and nix take an enum of named signals and cannot express SIGRTMIN+n,
    // which systemd inside a container is stopped with.
    // SAFETY: the fd is borrowed for the call, the siginfo pointer is null (the kernel then fills it in as
    // kill(2) does) and flags are 0, so the kernel reads and writes no memory of ours.
    let status = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if status == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The child that the next wait(2) for any child would collect; `None` where none has ended. It stays to be collected: waitid(2) with WNOWAIT.
pub(crate) fn first_ended_child() -> Option<libc::pid_t> {
    // JUSTIFICATION: rustix does not tell whose end it is, and nix fails for an end by a signal without a name, such as SIGRTMIN.
    // SAFETY: an all-zero siginfo_t is a valid value of that plain C structure, and the kernel writes it for the time of the call alone.
    let (status, ended) = unsafe {
        let mut ended: libc::siginfo_t = std::mem::zeroed();
        (libc::waitid(libc::P_ALL, 0, &raw mut ended, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT), ended)
    };
    // SAFETY: waitid(2) fills in the fields of SIGCHLD, of which si_pid is one, or leaves them zero when no child has ended.
    let pid = unsafe { ended.si_pid() };
    (status == 0 && pid > 0).then_some(pid)
}

/// Registers a descriptor with tokio's event loop.
///
/// # Errors
///
/// The kernel's errno: `EPERM` for a regular file, which is always ready.
pub(crate) fn async_fd(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // JUSTIFICATION: tokio 1.54 deprecates its safe constructor, because a descriptor type whose AsRawFd
    // changes its answer would make it unsound.
    // SAFETY: an OwnedFd owns one open descriptor, names the same one for its whole life, and closes it only
    // when the AsyncFd that holds it has deregistered it.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// One instruction of a classic BPF program: `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SockFilter {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

/// Puts a seccomp filter in force for this thread, for good: seccomp(2) with SECCOMP_SET_MODE_FILTER.
///
/// # Errors
///
/// The kernel's errno: `EACCES` without no_new_privs and CAP_SYS_ADMIN, `EINVAL` for a malformed program.
pub(crate) fn load_seccomp_filter(flags: u32, program: &[SockFilter]) -> io::Result<()> {
    load(flags, program).map(drop)
}

/// 0, or with SECCOMP_FILTER_FLAG_NEW_LISTENER its descriptor.
fn load(flags: u32, program: &[SockFilter]) -> io::Result<i32> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel copies the program and never writes to it.
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // JUSTIFICATION: seccompiler sets no_new_privs on its own, and no other crate in the tree loads a filter.
    // SAFETY: sock_fprog holds a pointer to `len` instructions with the layout of struct sock_filter, alive for the
    // call; the kernel only reads them.
    let loaded = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, libc::c_long::from(flags), &raw const program)
    };
    if loaded == -1 {
        Err(io::Error::last_os_error())
    } else {
        i32::try_from(loaded).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// Where the listener of a filter waits for the thread that takes it, without a system call on the side that is under the filter.
#[derive(Debug)]
pub(crate) struct ListenerSlot(AtomicI32);

impl ListenerSlot {
    /// Nothing is there yet.
    const EMPTY: i32 = -1;

    pub(crate) const fn new() -> Self {
        Self(AtomicI32::new(Self::EMPTY))
    }

    /// Puts a filter in force for this thread, for good, and its listener into the slot. The descriptor is closed at an execve.
    /// `flags` as for [`load_seccomp_filter`].
    ///
    /// # Errors
    ///
    /// As [`load_seccomp_filter`]; `EBUSY` when a filter that is in force has a listener, `EMFILE` at the limit of descriptors,
    /// `EINVAL` before Linux 5.0. No filter is in force then.
    pub(crate) fn load_filter(&self, flags: u32, program: &[SockFilter]) -> io::Result<()> {
        const NEW_LISTENER: u32 = 1 << 3;
        const WAIT_KILLABLE_RECV: u32 = 1 << 5;
        let wanted = flags | NEW_LISTENER;
        let listener = match load(wanted | WAIT_KILLABLE_RECV, program) {
            // Before Linux 5.19 a signal to a process that waits for its answer makes it ask anew.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => load(wanted, program)?,
            loaded => loaded?,
        };
        self.0.store(listener, Ordering::Release);
        Ok(())
    }

    /// The listener, once it is there; to one taker only.
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        let listener = self.0.swap(Self::EMPTY, Ordering::AcqRel);
        // JUSTIFICATION: seccomp(2) returns a bare number, and the thread that gets it must not own it: dropping it is a system call.
        // SAFETY: only `load_filter` stores a number, which the kernel has just made for it, and the swap gives it to one taker.
        (listener >= 0).then(|| unsafe { OwnedFd::from_raw_fd(listener) })
    }
}

/// What a process that asks a listener wants to do. Source: seccomp_unotify(2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    /// Names the call until it was answered.
    pub(crate) id: u64,
    /// The thread, in the pid namespace of the listening process.
    pub(crate) pid: u32,
    /// AUDIT_ARCH_*.
    pub(crate) architecture: u32,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 6],
}

/// What becomes of a call that a listener was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotificationAnswer {
    /// It does not run and returns this errno, or 0 for 0.
    Errno(u16),
    /// It runs. Never for a call that a filter refuses: other threads can change what its arguments point to in the meantime.
    Continue,
}

/// Whether the kernel's structures of notifications are those that this program knows: SECCOMP_GET_NOTIF_SIZES, Linux 5.0.
pub(crate) fn notifications_are_known() -> bool {
    let mut sizes = libc::seccomp_notif_sizes { seccomp_notif: 0, seccomp_notif_resp: 0, seccomp_data: 0 };
    // JUSTIFICATION: no crate without the C library libseccomp wraps this.
    // SAFETY: the struct has the kernel's layout and lives over the call, which writes it.
    let status = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes) };
    status == 0
        && usize::from(sizes.seccomp_notif) == size_of::<libc::seccomp_notif>()
        && usize::from(sizes.seccomp_notif_resp) == size_of::<libc::seccomp_notif_resp>()
}

/// Takes what a listener is asked. Waits until there is something: poll(2) tells before.
///
/// # Errors
///
/// The kernel's errno: `ENOENT` when who asked has gone.
pub(crate) fn receive_notification(listener: impl AsFd) -> io::Result<Notification> {
    // JUSTIFICATION: as above, also for the next two.
    // SAFETY: the struct consists of integers, so zero is a value of it, and the kernel wants it zeroed; it has the kernel's layout,
    // which its size in the request's number says too, and lives over the call.
    let (status, asked) = unsafe {
        let mut asked: libc::seccomp_notif = std::mem::zeroed();
        (libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked), asked)
    };
    if status == -1 {
        return Err(io::Error::last_os_error());
    }
    let libc::seccomp_data { nr, arch, args, .. } = asked.data;
    Ok(Notification { id: asked.id, pid: asked.pid, architecture: arch, number: nr.cast_unsigned(), arguments: args })
}

/// Answers.
///
/// # Errors
///
/// The kernel's errno: `ENOENT` when who asked has gone.
pub(crate) fn answer_notification(listener: impl AsFd, id: u64, answer: NotificationAnswer) -> io::Result<()> {
    let (error, flags) = match answer {
        NotificationAnswer::Errno(errno) => (-i32::from(errno), 0),
        NotificationAnswer::Continue => (0, 1),
    };
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error, flags };
    // SAFETY: as in `receive_notification`.
    let status = unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    if status == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets who asks go on, on the same CPU, as soon as it was answered: Linux 6.6.
///
/// # Errors
///
/// The kernel's errno: `EINVAL` before.
pub(crate) fn answer_on_same_cpu(listener: BorrowedFd<'_>) -> io::Result<()> {
    const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the third argument is a number; the kernel reads and writes no memory of ours.
    let status = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
    };
    if status == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives every signal its default action again. An ignored signal would stay ignored over an execve.
pub(crate) fn reset_signal_dispositions() {
    for signal in 1..=64 {
        // JUSTIFICATION: nix and rustix have no safe way to set SIG_DFL.
        // SAFETY: SIG_DFL runs no code of ours. Numbers that can't be changed (SIGKILL, SIGSTOP, the C library's own)
        // are refused by the call, and have their default action anyway.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_alarm(_: libc::c_int) {
    if INTERRUPTED.swap(true, Ordering::Relaxed) {
        // SAFETY: _exit(2) is async-signal-safe and does not return.
        unsafe { libc::_exit(1) }
    }
}

/// After `limit` makes the system call that the thread waits in fail with EINTR, and after `grace` more ends the
/// process with code 1. Children do not inherit the timer.
///
/// # Errors
///
/// The kernel's errno.
pub(crate) fn interrupt_then_end(limit: Duration, grace: Duration) -> io::Result<()> {
    let time = |duration: Duration| libc::timeval {
        tv_sec: duration.as_secs().try_into().unwrap_or_else(|_| i32::MAX.into()),
        tv_usec: 0,
    };
    let timer = libc::itimerval { it_value: time(limit), it_interval: time(grace) };
    // JUSTIFICATION: a handler without SA_RESTART is what makes libcontainer's endless waits end; nix marks
    // installing one unsafe, and nobody wraps setitimer(2).
    // SAFETY: the handler only touches an atomic and calls _exit, both async-signal-safe; sigaction is zeroed, which
    // is an empty mask and no flags; both structs live over the calls.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_alarm as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) == -1
            || libc::syscall(
                libc::SYS_setitimer,
                libc::ITIMER_REAL,
                &raw const timer,
                std::ptr::null_mut::<libc::itimerval>(),
            ) == -1
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes a mount read-only, given a descriptor of its root: mount_setattr(2), Linux 5.12.
///
/// # Errors
///
/// The kernel's errno: `ENOSYS` before 5.12.
pub(crate) fn make_mount_read_only(mount: impl AsFd) -> io::Result<()> {
    set_read_only(mount, 0)
}

/// Makes a mount and all that are mounted below it read-only.
///
/// # Errors
///
/// As [`make_mount_read_only`].
pub(crate) fn make_tree_read_only(mount: impl AsFd) -> io::Result<()> {
    set_read_only(mount, libc::AT_RECURSIVE)
}

fn set_read_only(mount: impl AsFd, recursive: libc::c_int) -> io::Result<()> {
    let attr = MountAttr { attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID, ..MountAttr::default() };
    set_mount_attributes(mount, recursive, &attr)
}

/// Which mounts a change is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The one.
    Alone,
    /// The one and all that are mounted below it.
    Tree,
}

/// Gives a mount one of the propagation types of mount(2): `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or `MS_UNBINDABLE`.
///
/// # Errors
///
/// The kernel's errno: `EINVAL` when `mount` is not the root of a mount, `ENOSYS` before 5.12.
pub(crate) fn set_propagation(mount: impl AsFd, propagation: u64, depth: Depth) -> io::Result<()> {
    let recursive = if depth == Depth::Tree { libc::AT_RECURSIVE } else { 0 };
    set_mount_attributes(mount, recursive, &MountAttr { propagation, ..MountAttr::default() })
}

/// Makes a mount that stands nowhere show the files of its filesystem as those of other users: as the user namespace maps ids. Nothing of
/// it is shared with other mounts any more. Source: mount_setattr(2), "ID-mapped mounts".
///
/// # Errors
///
/// The kernel's errno: `EINVAL` where the filesystem can't, `EPERM` for a mount that shows other users already, `ENOSYS` before 5.12.
pub(crate) fn idmap_mount(mount: impl AsFd, users: BorrowedFd<'_>, depth: Depth) -> io::Result<()> {
    let recursive = if depth == Depth::Tree { libc::AT_RECURSIVE } else { 0 };
    let userns_fd = users.as_raw_fd().unsigned_abs().into();
    let attr = MountAttr { attr_set: libc::MOUNT_ATTR_IDMAP, userns_fd, ..MountAttr::default() };
    set_mount_attributes(mount, recursive, &attr)
}

/// Starts a copy of this process, whatever threads it has, in a new user namespace, or in the one that is given. The copy does nothing, and
/// ends when the other end of `hold` is closed; once it is in the namespace it writes one byte to `ready`. It has none of this process's descriptors
/// beside, and its memory is closed to root of the namespace. No signal tells of its end, and only a wait with `__WALL` collects it.
///
/// # Errors
///
/// The kernel's errno: `ENOSPC` at a limit of user namespaces, `ENOSYS` before Linux 5.3. Before 5.9 the copy ends before it is ready.
pub(crate) fn stay_in_user_namespace(
    joined: Option<BorrowedFd<'_>>,
    hold: BorrowedFd<'_>,
    ready: BorrowedFd<'_>,
) -> io::Result<i32> {
    // The kernel's struct clone_args, whose fields are of 64 bits (linux/sched.h): no signal at the end.
    let mut arguments = [0_u64; 11];
    let [flags, ..] = &mut arguments;
    *flags = if joined.is_none() { libc::CLONE_NEWUSER.unsigned_abs().into() } else { 0 };
    let joined = joined.map(|namespace| namespace.as_raw_fd());
    let (hold, ready) = (hold.as_raw_fd(), ready.as_raw_fd());
    let mut kept = [hold, ready, joined.unwrap_or(hold)].map(i32::unsigned_abs);
    kept.sort_unstable();
    // JUSTIFICATION: a process of several threads can't enter a user namespace, and a namespace needs a process whose maps are written or
    // read; neither nix nor rustix wraps clone3(2).
    // SAFETY: without CLONE_VM the child has a copy of this process with this thread alone, and without CLONE_FILES its own table of descriptors.
    // It makes system calls on numbers and on a byte of its own stack, takes no lock and never returns from here.
    unsafe {
        match libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let mut byte = 0_u8;
                // Before it joins: root of the namespace has every capability over who is in it. Source: ptrace(2), "access mode checking".
                if libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
                    && close_all_but(kept)
                    && joined.is_none_or(|joined| libc::syscall(libc::SYS_setns, joined, libc::CLONE_NEWUSER) == 0)
                {
                    if let Some(joined) = joined {
                        libc::syscall(libc::SYS_close, joined);
                    }
                    libc::syscall(libc::SYS_write, ready, &raw const byte, 1);
                    libc::syscall(libc::SYS_close, ready);
                    libc::syscall(libc::SYS_read, hold, &raw mut byte, 1);
                }
                libc::_exit(0)
            }
            pid => i32::try_from(pid).map_err(io::Error::other),
        }
    }
}

/// Closes the descriptors between those that are kept, which are in order, and says whether that went well. Makes system calls alone.
///
/// # Safety
///
/// Only for a copy of a process, which goes on with nothing that owns a descriptor.
unsafe fn close_all_but(kept: [u32; 3]) -> bool {
    let mut first = 0;
    for next in kept {
        // SAFETY: the caller's.
        if first < next && unsafe { libc::syscall(libc::SYS_close_range, first, next.wrapping_sub(1), 0) } != 0 {
            return false;
        }
        first = next.wrapping_add(1);
    }
    // SAFETY: the caller's.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) == 0 }
}

/// The user who has made a user namespace, by its descriptor: ioctl_ns(2), `NS_GET_OWNER_UID`.
///
/// # Errors
///
/// The kernel's errno: `EINVAL` for a namespace of another kind.
pub(crate) fn owner_of_user_namespace(namespace: impl AsFd) -> io::Result<libc::uid_t> {
    let mut owner: libc::uid_t = 0;
    // JUSTIFICATION: neither nix nor rustix wraps ioctl_ns(2).
    // SAFETY: the kernel writes a uid_t to the pointer for the time of the call alone.
    let status = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), libc::NS_GET_OWNER_UID, &raw mut owner) };
    if status == 0 { Ok(owner) } else { Err(io::Error::last_os_error()) }
}

/// The user namespace that one was made in, by its descriptor: ioctl_ns(2), `NS_GET_PARENT`.
///
/// # Errors
///
/// The kernel's errno: `EPERM` where that is none of this process's namespace or below it.
pub(crate) fn parent_of_user_namespace(namespace: impl AsFd) -> io::Result<OwnedFd> {
    // JUSTIFICATION: neither nix nor rustix wraps ioctl_ns(2).
    // SAFETY: the call takes no memory.
    let parent = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), libc::NS_GET_PARENT) };
    if parent < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(parent) })
}

/// `struct mount_attr` of linux/mount.h, first version.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn set_mount_attributes(mount: impl AsFd, recursive: libc::c_int, attr: &MountAttr) -> io::Result<()> {
    // JUSTIFICATION: neither nix nor rustix wraps mount_setattr(2).
    // SAFETY: the path is a constant C string, the struct has the kernel's layout and its size is passed along; the
    // kernel reads both during the call.
    let status = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const *attr,
            size_of::<MountAttr>(),
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE and attaches it to a cgroup v2 directory beside those that
/// are there. The cgroup keeps it alive.
///
/// # Errors
///
/// The kernel's errno: `EINVAL` or `EACCES` when the verifier refuses the program, `EPERM` without privilege.
pub(crate) fn attach_device_program(cgroup: impl AsFd, program: &[u64]) -> io::Result<()> {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_PROG_ATTACH: libc::c_int = 8;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    /// The head of `union bpf_attr` for BPF_PROG_LOAD.
    #[repr(C)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
    }
    /// The head of `union bpf_attr` for BPF_PROG_ATTACH.
    #[repr(C)]
    struct Attach {
        target_fd: u32,
        attach_bpf_fd: u32,
        attach_type: u32,
        attach_flags: u32,
    }
    let insn_cnt = u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let load = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // JUSTIFICATION: the crates that wrap bpf(2) are larger than all else that is needed of it here.
    // SAFETY: the struct has the layout of the head of union bpf_attr and its size is passed along; the pointers in
    // it lead to `insn_cnt` instructions and a constant C string, both only read, alive for the call.
    let loaded = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
    let loaded = i32::try_from(loaded).map_err(|_| io::ErrorKind::InvalidData)?;
    if loaded < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    let loaded = unsafe { OwnedFd::from_raw_fd(loaded) };
    let attach = Attach {
        target_fd: cgroup.as_fd().as_raw_fd().cast_unsigned(),
        attach_bpf_fd: loaded.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: as above; both descriptors are open for the call.
    let status = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attach, size_of::<Attach>()) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What prctl(PR_GET_SECCOMP) answers for this thread: its mode, or the negative errno with which a filter refuses the question.
pub(crate) fn seccomp_mode() -> i64 {
    // JUSTIFICATION: rustix knows the modes alone; here the errno counts as well.
    // SAFETY: PR_GET_SECCOMP takes no pointers. In strict mode it would kill, and no process of ours is in that mode.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    if mode >= 0 { mode.into() } else { -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(0)) }
}

/// How many device programs are attached to a cgroup itself.
///
/// # Errors
///
/// The kernel's errno: `EPERM` without privilege.
pub(crate) fn count_device_programs(cgroup: impl AsFd) -> io::Result<usize> {
    const BPF_PROG_QUERY: libc::c_int = 16;
    const BPF_CGROUP_DEVICE: u32 = 6;
    /// The head of `union bpf_attr` for BPF_PROG_QUERY.
    #[repr(C)]
    struct Query {
        target_fd: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        prog_count: u32,
        padding: u32,
    }
    let mut query = Query {
        target_fd: cgroup.as_fd().as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: 0,
        prog_count: 0,
        padding: 0,
    };
    // JUSTIFICATION: as above.
    // SAFETY: the struct has the layout of the head of union bpf_attr and its size is passed along; without a place for ids the
    // kernel writes the count and the flags into it alone.
    let status = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>()) };
    if status == 0 {
        usize::try_from(query.prog_count).map_err(io::Error::other)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Closes all descriptors but the first three, and empties the environment. For a process that has only just begun.
///
/// # Errors
///
/// The kernel's errno: `ENOSYS` before Linux 5.9.
pub(crate) fn forget_inheritance() -> io::Result<()> {
    for name in std::env::vars_os().map(|(name, _)| name).collect::<Vec<_>>() {
        // JUSTIFICATION: libcontainer reads LISTEN_FDS and would hand that many descriptors to the container.
        // SAFETY: the process has one thread, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) }
    }
    close_inherited()
}

/// Starts a copy of this process: the child's pid, or `None` in the child. Only for a process with one thread.
///
/// # Errors
///
/// The kernel's errno: `EAGAIN` at a limit of processes.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // JUSTIFICATION: joining a pid namespace takes a child that goes on with what its parent has decided; nix marks its own
    // fork unsafe, and a new program in between would be visible to the container.
    // SAFETY: the runtime's process has one thread, so no lock is held by a thread that the child does not have.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// The same with the child in the cgroup v2 of a directory from its first moment on, which moves nobody: to move a process the kernel
/// waits for an RCU grace period. Source: clone(2).
///
/// # Errors
///
/// The kernel's errno: `ENOSYS` and `E2BIG` before Linux 5.7, `EBUSY` where the cgroup takes no process itself.
pub(crate) fn fork_into(cgroup: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    // The kernel's struct clone_args, all of whose fields are of 64 bits (linux/sched.h).
    let mut arguments = [0_u64; 11];
    let [flags, _, _, _, exit_signal, .., into] = &mut arguments;
    // CLONE_INTO_CGROUP
    *flags = 0x2_0000_0000;
    *exit_signal = libc::SIGCHLD.unsigned_abs().into();
    *into = cgroup.as_raw_fd().unsigned_abs().into();
    // JUSTIFICATION: neither nix nor rustix wraps clone3(2).
    // SAFETY: without CLONE_VM the child has a copy of this process, which has one thread, so no lock is held by a thread that the child
    // does not have. The C library's note of the thread's number is the parent's in the child, which only forks again, and ends.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => i32::try_from(pid).map(Some).map_err(io::Error::other),
    }
}

/// Ends a forked process. Nothing that its parent would clean up is cleaned up by it.
pub(crate) fn end_now(code: i32) -> ! {
    // JUSTIFICATION: std's exit runs what the parent has registered for its own end.
    // SAFETY: _exit(2) does not return, and touches nothing of this process.
    unsafe { libc::_exit(code) }
}

/// Marks all descriptors from `first` on to be closed at the execve.
///
/// # Errors
///
/// The kernel's errno: `EINVAL` before Linux 5.11.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // JUSTIFICATION: neither nix nor rustix wraps close_range(2).
    // SAFETY: no descriptor is closed by this call, so no owner is left with a closed one.
    let status = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the disk class and level of this thread: ioprio_set(2).
///
/// # Errors
///
/// The kernel's errno: `EPERM` for a class that takes a privilege.
pub(crate) fn set_own_io_priority(priority: u16) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // JUSTIFICATION: nobody wraps ioprio_set(2).
    // SAFETY: three numbers; the kernel reads and writes no memory of ours.
    let status = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, libc::c_int::from(priority)) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A scheduling class with its values. Source: sched_setattr(2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct SchedAttr {
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    /// Nanoseconds, as the next two.
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
}

/// Sets the scheduling class of this thread: sched_setattr(2).
///
/// # Errors
///
/// The kernel's errno: `EPERM` for a class that takes a privilege, `EINVAL` for values that do not fit the class.
pub(crate) fn set_own_scheduler(attributes: &SchedAttr) -> io::Result<()> {
    /// `struct sched_attr` of linux/sched/types.h, first version.
    #[repr(C)]
    struct KernelSchedAttr {
        size: u32,
        sched_policy: u32,
        sched_flags: u64,
        sched_nice: i32,
        sched_priority: u32,
        sched_runtime: u64,
        sched_deadline: u64,
        sched_period: u64,
    }
    const SIZE: u32 = 48;
    let given = KernelSchedAttr {
        size: SIZE,
        sched_policy: attributes.policy,
        sched_flags: attributes.flags,
        sched_nice: attributes.nice,
        sched_priority: attributes.priority,
        sched_runtime: attributes.runtime,
        sched_deadline: attributes.deadline,
        sched_period: attributes.period,
    };
    // JUSTIFICATION: nobody wraps sched_setattr(2).
    // SAFETY: the struct has the kernel's layout and says its own size; the kernel reads it during the call.
    let status = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const given, 0) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes all descriptors but the first three. For a process that has only just begun.
///
/// # Errors
///
/// The kernel's errno: `ENOSYS` before Linux 5.9.
pub(crate) fn close_inherited() -> io::Result<()> {
    // JUSTIFICATION: neither nix nor rustix wraps close_range(2).
    // SAFETY: nothing in this process owns a descriptor yet but the three standard ones, so no owner is left with a
    // closed one.
    let status = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How much below the calling frame is left alone: the frames of the call itself.
const OWN_FRAMES: usize = 16 * 1024;

/// Gives the kernel back the part of `stack` (first address, end) below the calling frame; it comes back as zeros when it is used. Nothing is done
/// where another stack is in use.
///
/// # Errors
///
/// The kernel's errno of madvise(2).
#[inline(never)]
pub(crate) fn discard_stack_below(stack: (usize, usize)) -> io::Result<()> {
    let here = std::ptr::from_ref(&stack).addr();
    let end = here.saturating_sub(OWN_FRAMES) & !(rustix::param::page_size() - 1);
    if here >= stack.1 || end <= stack.0 {
        return Ok(());
    }
    // JUSTIFICATION: rustix's madvise is unsafe as well.
    // SAFETY: the range is part of the calling thread's stack, below every frame that is in use by more than this call needs; the thread keeps
    // nothing there.
    let status =
        unsafe { libc::madvise(std::ptr::without_provenance_mut(stack.0), end - stack.0, libc::MADV_DONTNEED) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Unmaps the pages of the program's own code and constants. They come back from its file when they are used.
///
/// # Errors
///
/// The kernel's errno of madvise(2).
pub(crate) fn unmap_own_program() -> io::Result<()> {
    // JUSTIFICATION: nobody wraps dl_iterate_phdr(3).
    // SAFETY: the callback is called during the call alone, with the data that it is given here.
    let errno = unsafe { libc::dl_iterate_phdr(Some(unmap_constant_segments), std::ptr::null_mut()) };
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

/// For the program itself, which is told of first; not 0 ends the walk.
extern "C" fn unmap_constant_segments(
    program: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: dl_iterate_phdr(3) hands over a valid description with `dlpi_phnum` headers at `dlpi_phdr`.
    let (base, headers) = unsafe {
        let program = &*program;
        (program.dlpi_addr, std::slice::from_raw_parts(program.dlpi_phdr, usize::from(program.dlpi_phnum)))
    };
    let page = !(rustix::param::page_size() - 1);
    for segment in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        #[allow(clippy::cast_possible_truncation, reason = "addresses of this process")]
        let (from, size) = ((base + segment.p_vaddr) as usize & page, segment.p_filesz as usize);
        // SAFETY: the segment is a private mapping of the program's file without PF_W, so that nobody wrote to it, the relocations included (there
        // is no DT_TEXTREL); what is read or run there next comes from the file, which can't be written to while it runs.
        if unsafe { libc::madvise(std::ptr::without_provenance_mut(from), size, libc::MADV_DONTNEED) } != 0 {
            return io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
        }
    }
    0
}
