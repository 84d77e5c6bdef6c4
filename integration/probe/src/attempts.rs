//! The table of attempts. Each stops at the primitive, changes nothing that outlives its process, and takes an error that comes after the
//! permission check (a junk module's ENOEXEC, an invalid handle's ESTALE) for a primitive that was reached.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use crate::attempt::Attempt;
use crate::syscalls::{self, Arg};
use crate::{calls, netlink};

use Arg::{Buffer, Null, Number, Text};

/// What a filter sees and the kernel does not, of an argument that is an `int`.
const UPPER_HALF: i64 = 1 << 32;
/// The bit in a number of the x32 system calls.
const X32: i64 = 0x4000_0000;

const fn attempt(name: &'static str, run: fn() -> io::Result<()>) -> Attempt {
    Attempt { name, run }
}

/// Every attempt, by the name that the suite's expectations use.
pub(crate) const ATTEMPTS: &[Attempt] = &[
    // User and groups.
    attempt("setuid-zero", || plain(libc::SYS_setresuid, [0, 0, 0])),
    attempt("setgid-zero", || plain(libc::SYS_setresgid, [0, 0, 0])),
    attempt("setgroups-zero", || call(libc::SYS_setgroups, &mut [Number(1), Buffer(&mut [0; 4])])),
    attempt("read-file-of-root", || read_something("/root-only")),
    attempt("chown-to-other", chown_to_other),
    attempt("chmod-set-uid", chmod_set_uid),
    attempt("openat2-set-uid", calls::openat2_set_uid),
    // Namespaces and mounts.
    attempt("user-namespace", || plain(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0])),
    attempt("mount-namespace", || plain(libc::SYS_unshare, [libc::CLONE_NEWNS.into(), 0, 0])),
    attempt("clone-user-namespace", clone_user_namespace),
    attempt("clone3-user-namespace", clone3_user_namespace),
    attempt("setns", setns_uts),
    attempt("mount-tmpfs", || mount_and_unmount("tmpfs")),
    attempt("mount-proc", || mount_and_unmount("proc")),
    attempt("mount-cgroup", || mount_and_unmount("cgroup2")),
    attempt("remount-proc-sys", || remount_writable("/proc/sys")),
    attempt("fsopen", || call(libc::SYS_fsopen, &mut [Text("tmpfs"), Number(0)])),
    attempt("open-tree", calls::open_tree),
    attempt("chroot", || call(libc::SYS_chroot, &mut [Text("/mnt")])),
    attempt("pivot-root", || {
        past(call(libc::SYS_pivot_root, &mut [Text("/mnt"), Text("/mnt")]), &[libc::EINVAL, libc::EBUSY])
    }),
    attempt("open-by-handle", open_by_handle),
    attempt("name-to-handle", calls::name_to_handle),
    attempt("fanotify", || plain(libc::SYS_fanotify_init, [0x4, 0, 0])),
    // Devices.
    attempt("mknod-block", || mknod("/tmp/probe-block", libc::S_IFBLK, libc::makedev(7, 250))),
    attempt("mknod-char", || mknod("/tmp/probe-char", libc::S_IFCHR, libc::makedev(1, 1))),
    attempt("open-kmsg-node", || open_for_write("/nodes/kmsg")),
    attempt("open-mem-node", || File::open("/nodes/mem").map(drop)),
    attempt("open-console-node", || open_terminal("/nodes/console")),
    attempt("iopl", || plain(libc::SYS_iopl, [3, 0, 0])),
    attempt("ioperm", || plain(libc::SYS_ioperm, [0x80, 1, 1])),
    // Kernel-wide state.
    attempt("sethostname", sethostname_to_same),
    attempt("settimeofday", || plain(libc::SYS_settimeofday, [0, 0, 0])),
    attempt("reboot", || past(plain(libc::SYS_reboot, [0, 0, 0]), &[libc::EINVAL])),
    attempt("init-module", || {
        past(call(libc::SYS_init_module, &mut [Buffer(&mut [0; 64]), Number(64), Text("")]), &[libc::ENOEXEC])
    }),
    attempt("finit-module", calls::finit_module),
    // More segments than there can be: with none the call would take away an image that is there.
    attempt("kexec", || past(plain(libc::SYS_kexec_load, [0, 1000, 0]), &[libc::EINVAL])),
    attempt("acct", || past(call(libc::SYS_acct, &mut [Text("/no-such-file")]), &[libc::ENOENT])),
    attempt("swapon", || past(call(libc::SYS_swapon, &mut [Text("/no-such-file"), Number(0)]), &[libc::ENOENT])),
    attempt("syslog", || plain(libc::SYS_syslog, [10, 0, 0])),
    attempt("setpriority", || plain(libc::SYS_setpriority, [0, 0, -5])),
    attempt("net-admin", set_loopback_flags),
    // System calls with a history.
    attempt("bpf", create_bpf_map),
    attempt("perf-event-open", open_perf_event),
    attempt("keyctl", || plain(libc::SYS_keyctl, [0, -3, 1])),
    attempt("add-key", add_key),
    attempt("request-key", calls::request_key),
    attempt("io-uring", || call(libc::SYS_io_uring_setup, &mut [Number(1), Buffer(&mut [0; 120])])),
    attempt("userfaultfd", || plain(libc::SYS_userfaultfd, [i64::from(libc::O_CLOEXEC) | 1, 0, 0])),
    attempt("ptrace", || plain(libc::SYS_ptrace, [libc::PTRACE_TRACEME.into(), 0, 0])),
    attempt("process-vm-readv", calls::process_vm_readv),
    attempt("pidfd-getfd", calls::pidfd_getfd),
    attempt("modify-ldt", || call(libc::SYS_modify_ldt, &mut [Number(0), Buffer(&mut [0; 64]), Number(64)])),
    attempt("vmsplice", calls::vmsplice),
    attempt("personality", || plain(libc::SYS_personality, [0x004_0000, 0, 0])),
    attempt("kcmp", kcmp_of_self),
    attempt("quotactl", || {
        past(
            call(libc::SYS_quotactl, &mut [Number(0x0080_0007 << 8), Text("/no-such-device"), Number(0), Null]),
            &[libc::ENOENT, libc::ENODEV, libc::ENOTBLK],
        )
    }),
    attempt("push-terminal-input", || push_terminal_input(0)),
    attempt("push-input-upper-half", || push_terminal_input(UPPER_HALF)),
    attempt("call-32-bit", syscalls::getpid_by_interrupt),
    attempt("call-x32", || plain(X32 | libc::SYS_getpid, [0; 3])),
    // Sockets.
    attempt("socket-alg", || socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    attempt("socket-alg-upper-half", || {
        plain(libc::SYS_socket, [UPPER_HALF | i64::from(libc::AF_ALG), libc::SOCK_SEQPACKET.into(), 0])
    }),
    attempt("socket-packet", || socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
    attempt("socket-raw", || socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)),
    attempt("socket-vsock", || socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
    attempt("socket-key", || socket(libc::AF_KEY, libc::SOCK_RAW, 2)),
    attempt("socket-rxrpc", || socket(libc::AF_RXRPC, libc::SOCK_DGRAM, libc::AF_INET)),
    attempt("netlink-xfrm", || netlink::ask(libc::NETLINK_XFRM, netlink::XFRM_GET_INFO)),
    attempt("netlink-netfilter", || netlink::ask(libc::NETLINK_NETFILTER, netlink::NFTABLES_GET_GENERATION)),
    // Files of the kernel.
    attempt("write-sysrq-trigger", || open_for_write("/proc/sysrq-trigger")),
    attempt("write-core-pattern", || open_for_write("/proc/sys/kernel/core_pattern")),
    attempt("write-modprobe", || open_for_write("/proc/sys/kernel/modprobe")),
    attempt("write-binfmt", || open_for_write("/proc/sys/fs/binfmt_misc/register")),
    attempt("write-irq-affinity", || open_for_write("/proc/irq/default_smp_affinity")),
    attempt("write-sysfs", || open_for_write("/sys/kernel/mm/transparent_hugepage/enabled")),
    attempt("write-uevent-helper", || open_for_write("/sys/kernel/uevent_helper")),
    attempt("write-cgroup", write_cgroup),
    attempt("read-kcore", || read_something("/proc/kcore")),
    attempt("read-keys", || read_something("/proc/keys")),
    attempt("read-timer-list", || read_something("/proc/timer_list")),
    attempt("list-firmware", || list_something("/sys/firmware")),
];

pub(crate) fn call(number: libc::c_long, arguments: &mut [Arg<'_>]) -> io::Result<()> {
    syscalls::call(number, arguments).map(drop)
}

fn plain(number: libc::c_long, words: [i64; 3]) -> io::Result<()> {
    let [a, b, c] = words;
    call(number, &mut [Number(a), Number(b), Number(c)])
}

/// Takes the errors that come after the permission check for success.
pub(crate) fn past(result: io::Result<()>, later: &[i32]) -> io::Result<()> {
    result.or_else(
        |error| if error.raw_os_error().is_some_and(|errno| later.contains(&errno)) { Ok(()) } else { Err(error) },
    )
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    plain(libc::SYS_socket, [family.into(), kind.into(), protocol.into()])
}

/// A serial line may have nobody at its other end, and is not to be the probe's terminal.
fn open_terminal(path: &str) -> io::Result<()> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().write(true).custom_flags(flags).open(path).map(drop)
}

fn open_for_write(path: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path).map(drop)
}

/// A masked file opens and is empty, so only a byte counts.
fn read_something(path: &str) -> io::Result<()> {
    let mut byte = [0];
    match File::open(path)?.read(&mut byte)? {
        0 => Err(io::Error::from_raw_os_error(libc::ENODATA)),
        _ => Ok(()),
    }
}

/// A masked folder opens and is empty, so only an entry counts.
fn list_something(path: &str) -> io::Result<()> {
    fs::read_dir(path)?.next().map_or_else(|| Err(io::Error::from_raw_os_error(libc::ENODATA)), |entry| entry.map(drop))
}

fn chown_to_other() -> io::Result<()> {
    let path = format!("/tmp/probe-chown-{}", std::process::id());
    File::create(&path)?;
    let result = std::os::unix::fs::chown(&path, Some(12_345), None);
    fs::remove_file(&path).and(result)
}

fn chmod_set_uid() -> io::Result<()> {
    let path = format!("/tmp/probe-set-uid-{}", std::process::id());
    File::create(&path)?;
    let result = call(libc::SYS_chmod, &mut [Text(&path), Number(0o4755)]);
    fs::remove_file(&path).and(result)
}

fn clone_user_namespace() -> io::Result<()> {
    let flags = i64::from(libc::CLONE_NEWUSER) | i64::from(libc::SIGCHLD);
    end_if_child(syscalls::call(libc::SYS_clone, &mut [Number(flags), Null, Null, Null, Null])?)
}

fn clone3_user_namespace() -> io::Result<()> {
    let mut arguments = [0_u8; 64];
    write_words(&mut arguments, &[(0, libc::CLONE_NEWUSER as u64), (4, libc::SIGCHLD as u64)]);
    end_if_child(syscalls::call(libc::SYS_clone3, &mut [Buffer(&mut arguments), Number(64)])?)
}

/// Puts 64-bit words at their indices into a kernel structure.
pub(crate) fn write_words(buffer: &mut [u8], words: &[(usize, u64)]) {
    for (index, word) in words {
        if let Some(place) = buffer.get_mut(index * 8..index * 8 + 8) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
    }
}

/// The child of a raw clone ends here; the parent waits for it.
fn end_if_child(pid: i64) -> io::Result<()> {
    if pid == 0 {
        return call(libc::SYS_exit_group, &mut [Number(0)]);
    }
    syscalls::wait(i32::try_from(pid).map_err(io::Error::other)?).map(drop)
}

fn setns_uts() -> io::Result<()> {
    let own = File::open("/proc/self/ns/uts")?;
    let descriptor = i64::from(std::os::fd::AsRawFd::as_raw_fd(&own));
    plain(libc::SYS_setns, [descriptor, libc::CLONE_NEWUTS.into(), 0])
}

fn mount_and_unmount(kind: &str) -> io::Result<()> {
    call(libc::SYS_mount, &mut [Text("none"), Text("/mnt"), Text(kind), Number(0), Null])?;
    call(libc::SYS_umount2, &mut [Text("/mnt"), Number(0)])
}

fn remount_writable(path: &str) -> io::Result<()> {
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // Where the path is no mount of its own the kernel says so after it has looked at the capability.
    past(call(libc::SYS_mount, &mut [Null, Text(path), Null, Number(flags.cast_signed()), Null]), &[libc::EINVAL])
}

/// A handle of no file: with CAP_DAC_READ_SEARCH the kernel looks for it and finds nothing.
fn open_by_handle() -> io::Result<()> {
    let root = File::open("/tmp")?;
    let descriptor = i64::from(std::os::fd::AsRawFd::as_raw_fd(&root));
    let mut handle = [0_u8; 16];
    if let [first, .., kind, _, _, _] = &mut handle[..] {
        (*first, *kind) = (4, 1);
    }
    past(
        call(libc::SYS_open_by_handle_at, &mut [Number(descriptor), Buffer(&mut handle), Number(0)]),
        &[libc::ESTALE, libc::EOPNOTSUPP, libc::EINVAL, libc::ENOTTY],
    )
}

fn mknod(path: &str, kind: libc::mode_t, device: libc::dev_t) -> io::Result<()> {
    call(libc::SYS_mknod, &mut [Text(path), Number(i64::from(kind | 0o600)), Number(device.cast_signed())])?;
    fs::remove_file(path)
}

fn sethostname_to_same() -> io::Result<()> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let name = name.trim_end();
    let length = i64::try_from(name.len()).map_err(io::Error::other)?;
    call(libc::SYS_sethostname, &mut [Text(name), Number(length)])
}

/// Sets the loopback interface's flags to what they are.
fn set_loopback_flags() -> io::Result<()> {
    let socket = syscalls::call_for_descriptor(
        libc::SYS_socket,
        &mut [Number(libc::AF_INET.into()), Number(libc::SOCK_DGRAM.into()), Number(0)],
    )?;
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    syscalls::ioctl(&socket, libc::SIOCGIFFLAGS as i64, &mut request)?;
    syscalls::ioctl(&socket, libc::SIOCSIFFLAGS as i64, &mut request)
}

/// BPF_MAP_CREATE of an array with one element of four bytes: type 2, key size 4, value size 4, one entry.
fn create_bpf_map() -> io::Result<()> {
    let mut attributes = [0_u8; 72];
    write_words(&mut attributes, &[(0, 2 | 4 << 32), (1, 4 | 1 << 32)]);
    call(libc::SYS_bpf, &mut [Number(0), Buffer(&mut attributes), Number(72)])
}

/// The software clock of all processes on one CPU, which asks for more than a process's own events: type 1, size 112.
fn open_perf_event() -> io::Result<()> {
    let mut attributes = [0_u8; 112];
    write_words(&mut attributes, &[(0, 1 | 112 << 32)]);
    call(libc::SYS_perf_event_open, &mut [Buffer(&mut attributes), Number(-1), Number(0), Number(-1), Number(0)])
}

fn add_key() -> io::Result<()> {
    call(libc::SYS_add_key, &mut [Text("user"), Text("palisade-probe"), Buffer(&mut [1]), Number(1), Number(-2)])
}

fn kcmp_of_self() -> io::Result<()> {
    let pid = i64::from(std::process::id());
    call(libc::SYS_kcmp, &mut [Number(pid), Number(pid), Number(1), Number(0), Number(0)])
}

fn push_terminal_input(above: i64) -> io::Result<()> {
    let (master, slave) = syscalls::controlling_terminal()?;
    let pushed = syscalls::ioctl(&slave, above | libc::TIOCSTI as i64, &mut [b'x']);
    // Closing the master would hang up the session and end this process before it has reported.
    std::mem::forget(master);
    pushed
}

fn write_cgroup() -> io::Result<()> {
    let v2 = "/sys/fs/cgroup/cgroup.procs";
    let v1 = "/sys/fs/cgroup/pids/cgroup.procs";
    open_for_write(if fs::exists(v2)? { v2 } else { v1 })
}
