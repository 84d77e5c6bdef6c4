//! What the shipped profiles allow, held against what exploits begin with: an entry that allows such a call must say why, under `reason`.
//!
//! The list is that of the escapes and local root exploits of the last ten years, and of the calls that systemd, minijail and container runtimes
//! take away first.

use super::file::{ProfileFile, ReadEntry, Reader};
use super::{FILES, shipped_text};

/// Calls that are dangerous whatever their arguments.
const CALLS: &[&str] = &[
    // Other processes.
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    // Kernel subsystems with a long list of exploits, and tools to win races.
    "add_key",
    "bpf",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "keyctl",
    "perf_event_open",
    "request_key",
    "userfaultfd",
    // Mounts, namespaces, roots.
    "chroot",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "pivot_root",
    "setns",
    "umount2",
    "unshare",
    // Files that no path leads to.
    "fanotify_init",
    "fanotify_mark",
    "name_to_handle_at",
    "open_by_handle_at",
    // The machine.
    "acct",
    "clock_settime",
    "delete_module",
    "finit_module",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "lookup_dcookie",
    "migrate_pages",
    "move_pages",
    "nfsservctl",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "setdomainname",
    "sethostname",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "uselib",
    "vhangup",
    // Page cache and address space.
    "io_setup",
    "io_submit",
    "memfd_create",
    "memfd_secret",
    "modify_ldt",
    "remap_file_pages",
    "splice",
    "tee",
    "vmsplice",
    // What is started or labelled otherwise than by a path and a policy.
    "clone3",
    "execveat",
    "lsm_set_self_attr",
];

/// Calls that are dangerous with these arguments.
const ARGUMENTS: &[(&str, &[u64], &str)] = &[
    ("clone", &[0x2_0000], "CLONE_NEWNS"),
    ("clone", &[0x200_0000], "CLONE_NEWCGROUP"),
    ("clone", &[0x400_0000], "CLONE_NEWUTS"),
    ("clone", &[0x800_0000], "CLONE_NEWIPC"),
    ("clone", &[0x1000_0000], "CLONE_NEWUSER"),
    ("clone", &[0x2000_0000], "CLONE_NEWPID"),
    ("clone", &[0x4000_0000], "CLONE_NEWNET"),
    ("socket", &[9], "AF_X25"),
    ("socket", &[15], "AF_KEY"),
    ("socket", &[16, 3, 6], "NETLINK_XFRM"),
    ("socket", &[16, 3, 9], "NETLINK_AUDIT"),
    ("socket", &[16, 3, 12], "NETLINK_NETFILTER"),
    ("socket", &[16, 3, 16], "NETLINK_GENERIC"),
    ("socket", &[17], "AF_PACKET"),
    ("socket", &[29], "AF_CAN"),
    ("socket", &[30], "AF_TIPC"),
    ("socket", &[31], "AF_BLUETOOTH"),
    ("socket", &[33], "AF_RXRPC"),
    ("socket", &[38], "AF_ALG"),
    ("socket", &[0x1_0000_0026], "AF_ALG with an upper half"),
    ("socket", &[40], "AF_VSOCK"),
    ("socket", &[44], "AF_XDP"),
    ("ioctl", &[0, 0x5412], "TIOCSTI"),
    ("ioctl", &[0, 0x1_0000_5412], "TIOCSTI with an upper half"),
    ("ioctl", &[0, 0x541c], "TIOCLINUX"),
    ("personality", &[0x4_0000], "ADDR_NO_RANDOMIZE"),
    ("personality", &[0x40_0000], "READ_IMPLIES_EXEC"),
    ("chmod", &[0, 0o4755], "a set-uid mode"),
    ("fchmod", &[0, 0o4755], "a set-uid mode"),
    ("fchmodat", &[0, 0, 0o4755], "a set-uid mode"),
    ("fchmodat2", &[0, 0, 0o4755], "a set-uid mode"),
    ("creat", &[0, 0o4755], "a set-uid mode"),
    ("open", &[0, 0o101, 0o4755], "a set-uid mode"),
    ("openat", &[0, 0, 0o101, 0o4755], "a set-uid mode"),
    ("openat2", &[], "a mode in memory"),
    ("mknod", &[0, 0o2_0600], "a character device"),
    ("mknod", &[0, 0o6_0600], "a block device"),
    ("mknodat", &[0, 0, 0o2_0600], "a character device"),
    ("mknodat", &[0, 0, 0o6_0600], "a block device"),
    ("prctl", &[35], "PR_SET_MM"),
];

/// Entries of the file that allow something dangerous without saying why.
fn unexplained(file: &ProfileFile) -> Vec<String> {
    let whole = CALLS.iter().flat_map(|call| {
        let allowing = file.entries.iter().filter(move |entry| entry.verdict.runs() && names(entry, call));
        allowing.map(|entry| ((*call).to_owned(), entry))
    });
    let by_arguments = ARGUMENTS.iter().flat_map(|(call, arguments, what)| {
        let mut six = [0; 6];
        six[..arguments.len()].copy_from_slice(arguments);
        let holds = move |entry: &&ReadEntry| entry.regions.iter().any(|region| region.holds(six));
        let allowing = file.entries.iter().filter(move |entry| entry.verdict.runs() && names(entry, call));
        allowing.filter(holds).map(move |entry| (format!("{call}, {what}"), entry))
    });
    let bare = whole.chain(by_arguments).filter(|(_, entry)| entry.reason.is_empty());
    bare.map(|(call, entry)| format!("{call} in {} ({})", entry.file, entry.comment)).collect()
}

fn names(entry: &ReadEntry, call: &str) -> bool {
    entry.names.iter().any(|name| name == call)
}

#[test]
fn a_dangerous_call_is_allowed_only_with_a_written_reason() {
    for (name, _) in FILES {
        let file = Reader { text: &shipped_text, kernel: None }.read(name).unwrap();
        let bare = unexplained(&file);
        assert!(bare.is_empty(), "{name}: {bare:#?}");
    }
}

#[test]
fn what_is_allowed_without_a_reason_is_seen() {
    let entry = |rest: &str| {
        let text = format!(r#"{{ "syscalls": [{{ "action": "SCMP_ACT_ALLOW", {rest} }}] }}"#);
        unexplained(&Reader { text: &|_| Some(text.clone().leak()), kernel: None }.read("x").unwrap()).len()
    };
    assert_eq!(entry(r#""names": ["read", "ptrace", "bpf"]"#), 2);
    assert_eq!(entry(r#""names": ["ptrace"], "includes": { "caps": ["CAP_SYS_PTRACE"] }"#), 1);
    assert_eq!(entry(r#""names": ["ptrace"], "reason": "debuggers""#), 0);
    assert_eq!(entry(r#""names": ["socket"], "low32": [{ "index": 0, "in": ["16"] }]"#), 4);
    assert_eq!(
        entry(r#""names": ["socket"], "low32": [{ "index": 0, "in": ["16"] }, { "index": 2, "in": ["0"] }]"#),
        0
    );
}

/// A name that no architecture has would be no lint at all.
#[cfg(target_arch = "x86_64")]
#[test]
fn every_call_of_the_list_exists() {
    use std::str::FromStr as _;
    let all = CALLS.iter().chain(ARGUMENTS.iter().map(|(call, ..)| call));
    let unknown: Vec<_> = all.filter(|call| syscalls::Sysno::from_str(call).is_err()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
