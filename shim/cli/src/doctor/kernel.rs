//! The kernel: its version, its settings, what it can enforce.

use super::check::Outcome::{self, NotApplicable, Warn};
use super::check::Severity::{self, High, Low, Medium};
use super::check::{Check, Found, Look, Setting};
use super::node::Node;
use super::permissions::first_fault;
use super::version::{Flaw, Verdict, Version};

/// Files that are read beside the settings.
const TEXTS: &[&str] = &[
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/seccomp/actions_avail",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/1/mountinfo",
    "/sys/kernel/security/lsm",
    "/sys/kernel/security/lockdown",
    "/sys/fs/selinux/enforce",
    "/sys/fs/cgroup/cgroup.controllers",
];
/// Whose way is asked for.
pub(super) const PLACES: &[&str] = &["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"];

/// All files of the kernel's that checks ask for.
pub(super) fn texts() -> impl Iterator<Item = &'static str> {
    SETTING_PATHS.iter().chain(TEXTS).copied()
}

/// The settings' files; a test holds that each check's is here.
const SETTING_PATHS: &[&str] = &[
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/net/core/bpf_jit_harden",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/kernel/kexec_load_disabled",
    "/proc/sys/kernel/kptr_restrict",
    "/proc/sys/kernel/dmesg_restrict",
    "/proc/sys/kernel/perf_event_paranoid",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/io_uring_disabled",
    "/proc/sys/kernel/modules_disabled",
    "/proc/sys/vm/unprivileged_userfaultfd",
    "/proc/sys/vm/mmap_min_addr",
    "/proc/sys/fs/protected_symlinks",
    "/proc/sys/fs/protected_hardlinks",
    "/proc/sys/fs/protected_fifos",
    "/proc/sys/fs/protected_regular",
    "/proc/sys/fs/suid_dumpable",
];

const DOCS: &str = "kernel Documentation/admin-guide/sysctl";

#[expect(clippy::too_many_arguments, reason = "a row of a table")]
const fn setting(
    id: &'static str,
    severity: Severity,
    name: &'static str,
    is_good: fn(i64) -> bool,
    value: &'static str,
    harmless: bool,
    demand: &'static str,
    why: &'static str,
) -> Check {
    let look = Look::Setting(Setting { name, is_good, value, harmless, absent: NotApplicable });
    Check {
        id,
        severity,
        demand,
        why,
        reference: DOCS,
        mend: "sysctl -w NAME=VALUE, and the same in /etc/sysctl.d",
        look,
    }
}

const fn at(
    id: &'static str,
    severity: Severity,
    demand: &'static str,
    why: &'static str,
    reference: &'static str,
    mend: &'static str,
    look: fn(&Node) -> Found,
) -> Check {
    Check { id, severity, demand, why, reference, mend, look: Look::At(look) }
}

pub(super) const CHECKS: &[Check] = &[
    at(
        "host.kernel.version",
        High,
        "The kernel has the fixes of known ways out of containers",
        "All containers share the kernel. Where the calls are ones that a program needs, no policy of palisade's is in the way of its flaws.",
        "CVE-2022-0185, CVE-2022-0492, CVE-2022-0847, CVE-2024-1086, CVE-2026-31431",
        "install the distribution's newest kernel and boot it",
        version,
    ),
    at(
        "host.kernel.processor",
        Medium,
        "The processor's flaws are mitigated",
        "A container reads memory of its neighbours and of the kernel through them.",
        "kernel Documentation/admin-guide/hw-vuln",
        "remove mitigations=off from the kernel's command line; update microcode",
        processor,
    ),
    at(
        "host.kernel.user-namespaces",
        Medium,
        "Users without rights can't make user namespaces",
        "In one, code of the kernel that only root reaches is open to everybody: nf_tables, overlayfs, fsconfig. palisade's profiles refuse it to containers; others on the node are not refused.",
        "CVE-2022-0185, CVE-2023-32233, CVE-2024-1086",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=1 (Ubuntu), kernel.unprivileged_userns_clone=0 (Debian), or user.max_user_namespaces=0 where no pod has hostUsers: false",
        user_namespaces,
    ),
    setting(
        "host.kernel.unprivileged-bpf",
        Medium,
        "kernel/unprivileged_bpf_disabled",
        |value| value >= 1,
        "2",
        true,
        "Users without rights can't load BPF programs",
        "The verifier of BPF programs has had many flaws that give the kernel away.",
    ),
    setting(
        "host.kernel.bpf-jit",
        Low,
        "net/core/bpf_jit_harden",
        |value| value >= 1,
        "1",
        false,
        "Compiled BPF programs are hardened",
        "Constants of a program become instructions that an attacker has chosen.",
    ),
    Check {
        id: "host.kernel.ptrace-scope",
        severity: Medium,
        demand: "A process can only trace its own children",
        why: "Without it a process that was taken over reads the memory of every other one of the same user.",
        reference: "kernel Documentation/admin-guide/LSM/Yama.rst",
        mend: "sysctl -w kernel.yama.ptrace_scope=1",
        look: Look::Setting(Setting {
            name: "kernel/yama/ptrace_scope",
            is_good: |value| value >= 1,
            value: "1",
            harmless: false,
            absent: Warn,
        }),
    },
    setting(
        "host.kernel.kexec",
        Medium,
        "kernel/kexec_load_disabled",
        |value| value == 1,
        "1",
        false,
        "No other kernel can be loaded any more",
        "Root, and whoever became it in a container with CAP_SYS_BOOT, puts a kernel of their own in place. A crash kernel has to be loaded before.",
    ),
    at(
        "host.kernel.core-pattern",
        Medium,
        "Core dumps go to no program that somebody else can write",
        "The kernel runs the program as root in the node's namespaces whenever a container's process crashes, with what the container chose as its arguments.",
        "core(5); CVE-2022-0811",
        "sysctl -w kernel.core_pattern=core",
        core_pattern,
    ),
    setting(
        "host.kernel.kptr-restrict",
        Low,
        "kernel/kptr_restrict",
        |value| value >= 1,
        "1",
        true,
        "Addresses of the kernel are not shown",
        "They make the exploit of a flaw reliable.",
    ),
    setting(
        "host.kernel.dmesg-restrict",
        Low,
        "kernel/dmesg_restrict",
        |value| value == 1,
        "1",
        true,
        "The kernel's log is root's",
        "It tells addresses, devices, and what other containers do.",
    ),
    setting(
        "host.kernel.perf-event-paranoid",
        Medium,
        "kernel/perf_event_paranoid",
        |value| value >= 2,
        "2",
        false,
        "Users without rights can't measure the kernel",
        "perf_event_open has had flaws, and measures what others do.",
    ),
    setting(
        "host.kernel.address-space",
        High,
        "kernel/randomize_va_space",
        |value| value == 2,
        "2",
        true,
        "Addresses of programs are random",
        "Without it the exploit of a program needs no guess.",
    ),
    setting(
        "host.kernel.sysrq",
        Low,
        "kernel/sysrq",
        |value| value != 1,
        "176",
        false,
        "Not every SysRq function is on",
        "Whoever writes to sysrq-trigger, or has the console, kills processes or stops the node.",
    ),
    Check {
        id: "host.kernel.io-uring",
        severity: Low,
        demand: "io_uring is off for users without rights",
        why: "It does what system calls do past system call filters, and has had many flaws. palisade's profiles refuse it to containers.",
        reference: "moby/profiles 2023-11; kernel Documentation/admin-guide/sysctl/kernel.rst",
        mend: "sysctl -w kernel.io_uring_disabled=1",
        look: Look::Setting(Setting {
            name: "kernel/io_uring_disabled",
            is_good: |value| value >= 1,
            value: "1",
            harmless: false,
            absent: NotApplicable,
        }),
    },
    at(
        "host.kernel.modules",
        Low,
        "No module can be loaded any more",
        "A call for an address family or file system loads its module, with its flaws: the way to most of the known ones.",
        "kernel Documentation/admin-guide/sysctl/kernel.rst, modules_disabled",
        "sysctl -w kernel.modules_disabled=1 once everything is loaded; until the next boot there is no way back",
        modules,
    ),
    setting(
        "host.kernel.userfaultfd",
        Medium,
        "vm/unprivileged_userfaultfd",
        |value| value == 0,
        "0",
        true,
        "Users without rights can't stop the kernel in a copy",
        "userfaultfd makes races in the kernel easy to win.",
    ),
    setting(
        "host.kernel.mmap-min-addr",
        Medium,
        "vm/mmap_min_addr",
        |value| value >= 4096,
        "65536",
        false,
        "Nothing can be mapped at address 0",
        "Otherwise a null pointer of the kernel's points to what an attacker has put there.",
    ),
    setting(
        "host.kernel.protected-symlinks",
        Medium,
        "fs/protected_symlinks",
        |value| value == 1,
        "1",
        true,
        "Links of others in sticky directories are not followed",
        "Root's programs are led to other files through /tmp.",
    ),
    setting(
        "host.kernel.protected-hardlinks",
        Medium,
        "fs/protected_hardlinks",
        |value| value == 1,
        "1",
        true,
        "Nobody links to files that they could not write",
        "A link keeps an old program with its flaws, or leads root's programs to other files.",
    ),
    setting(
        "host.kernel.protected-fifos",
        Low,
        "fs/protected_fifos",
        |value| value >= 1,
        "1",
        true,
        "FIFOs of others in sticky directories are not written",
        "A program that means to make a file writes to an attacker.",
    ),
    setting(
        "host.kernel.protected-regular",
        Low,
        "fs/protected_regular",
        |value| value >= 1,
        "1",
        true,
        "Files of others in sticky directories are not written",
        "A program that means to make a file writes an attacker's.",
    ),
    setting(
        "host.kernel.suid-dumpable",
        Medium,
        "fs/suid_dumpable",
        |value| value != 1,
        "0",
        true,
        "Set-user-ID programs leave no core dump that their caller can read",
        "It holds what only root may read.",
    ),
    at(
        "host.kernel.cgroups",
        Medium,
        "Version 2 of cgroups, with the controllers that limits need",
        "Version 1 has release_agent, a program that the kernel runs as root on the node; and limits without a controller are none.",
        "CVE-2022-0492; CIS Docker 5.11, 5.29",
        "boot with systemd.unified_cgroup_hierarchy=1",
        cgroups,
    ),
    at(
        "host.kernel.lsm",
        Medium,
        "AppArmor or SELinux is active",
        "It is the barrier that stays when a container's namespaces and capabilities have failed.",
        "CIS Docker 5.2, 5.3",
        "boot with lsm=landlock,yama,apparmor,bpf or install the distribution's SELinux policy",
        security_modules,
    ),
    at(
        "host.kernel.landlock",
        Low,
        "Landlock is active",
        "palisade's monitor keeps itself to its files by it.",
        "kernel Documentation/userspace-api/landlock.rst",
        "boot with lsm=landlock,…",
        landlock,
    ),
    at(
        "host.kernel.lockdown",
        Low,
        "The kernel is locked down against root",
        "Without it root of a container that got out writes to the kernel's memory and hides there.",
        "kernel_lockdown(7)",
        "boot with lockdown=integrity",
        lockdown,
    ),
    at(
        "host.kernel.seccomp",
        High,
        "System call filters have the actions that palisade's use",
        "Without them there are no filters, or a refused call is not reported.",
        "seccomp(2)",
        "use a kernel with CONFIG_SECCOMP_FILTER, 5.0 or newer",
        seccomp,
    ),
    at(
        "host.kernel.swap",
        Low,
        "Nothing is swapped to a disk that is not encrypted",
        "Secrets that a pod has in memory or on a tmpfs stay on the disk.",
        "kubernetes.io: swap memory management",
        "swapoff -a, or encrypt the swap device",
        swap,
    ),
];

/// First fixed version of each stable line. Sources: kernel CVE announcements; ChangeLog-6.18.22, -6.12.85 and -6.6.137 for CVE-2026-31431.
pub(super) const FLAWS: &[Flaw] = &[
    Flaw {
        id: "CVE-2022-0185",
        what: "heap overflow in fsconfig",
        since: "5.1",
        fixed: &["5.4.173", "5.10.93", "5.15.16", "5.16.2"],
    },
    Flaw {
        id: "CVE-2022-0492",
        what: "release_agent without a check",
        since: "",
        fixed: &["4.9.301", "4.14.266", "4.19.229", "5.4.177", "5.10.97", "5.15.20", "5.16.6"],
    },
    Flaw {
        id: "CVE-2022-0847",
        what: "Dirty Pipe: writes to the page cache",
        since: "5.8",
        fixed: &["5.10.102", "5.15.25", "5.16.11"],
    },
    Flaw {
        id: "CVE-2024-1086",
        what: "use after free in nf_tables",
        since: "3.15",
        fixed: &["4.19.307", "5.4.269", "5.10.210", "5.15.149", "6.1.76", "6.6.15", "6.7.3"],
    },
    Flaw {
        id: "CVE-2026-31431",
        what: "Copy Fail: writes to the page cache by AF_ALG",
        since: "4.14",
        fixed: &["6.6.137", "6.12.85", "6.18.22", "7.0.0"],
    },
];

fn version(node: &Node) -> Found {
    let release = match &node.release {
        Ok(release) => release,
        Err(why) => return Found::unknown(why.clone()),
    };
    let Some(version) = Version::parse(release) else {
        return Found::unknown(format!("{release:?} is no version"));
    };
    let with = |verdict| {
        let flaws = FLAWS.iter().filter(|flaw| flaw.of(&version) == verdict);
        flaws.map(|flaw| format!("{} ({})", flaw.id, flaw.what)).collect::<Vec<_>>()
    };
    let open = with(Verdict::Open);
    let not_listed = [with(Verdict::NotListed), with(Verdict::Older)].concat();
    match (open.as_slice(), not_listed.as_slice()) {
        ([], []) => Found::pass(format!("{release}: none of {} known flaws", FLAWS.len())),
        ([], flaws) => {
            Found::warn(format!("{release}: whether its line has the fix is not known here of {}", flaws.join(", ")))
        }
        (flaws, _) if version.packaged => Found::warn(format!(
            "{release}: by its number it has {}; the distribution may have carried the fix over",
            flaws.join(", ")
        )),
        (flaws, _) => Found::fail(format!("{release} has {}", flaws.join(", "))),
    }
}

fn processor(node: &Node) -> Found {
    let said = match &node.flaws_of_processor {
        Ok(said) => said,
        Err(why) => return Found::unknown(why.clone()),
    };
    let open = said.iter().filter(|(_, text)| text.starts_with("Vulnerable"));
    let wrong: Vec<String> = open.map(|(name, text)| format!("{name}: {text}")).collect();
    Found::all(&wrong, format!("{} flaws looked at", said.len()))
}

fn user_namespaces(node: &Node) -> Found {
    let kept = |name: &str, off: fn(i64) -> bool| -> Result<bool, String> {
        Ok(node.setting(name)?.and_then(|text| text.parse().ok()).is_some_and(off))
    };
    let restricted = || -> Result<Option<&str>, String> {
        Ok(if kept("user/max_user_namespaces", |value| value == 0)? {
            Some("user/max_user_namespaces is 0")
        } else if kept("kernel/unprivileged_userns_clone", |value| value == 0)? {
            Some("kernel/unprivileged_userns_clone is 0")
        } else if kept("kernel/apparmor_restrict_unprivileged_userns", |value| value >= 1)? {
            Some("kernel/apparmor_restrict_unprivileged_userns is on")
        } else {
            None
        })
    };
    match restricted() {
        Ok(Some(by)) => Found::pass(by),
        Ok(None) => Found::warn("nothing keeps users without rights from making them"),
        Err(why) => Found::unknown(why),
    }
}

/// The program that core dumps are piped to.
pub(super) fn core_handler(node: &Node) -> Option<String> {
    let pattern = node.setting("kernel/core_pattern").ok()??;
    Some(pattern.strip_prefix('|')?.split_whitespace().next()?.to_owned())
}

fn core_pattern(node: &Node) -> Found {
    let pattern = match node.setting("kernel/core_pattern") {
        Ok(Some(pattern)) => pattern,
        Ok(None) => return Found::none("no core_pattern"),
        Err(why) => return Found::unknown(why),
    };
    let Some(handler) = core_handler(node) else { return Found::pass(format!("core_pattern is {pattern:?}")) };
    match node.way(&handler) {
        Err(why) => Found::unknown(why),
        Ok(None) => Found::fail(format!("core_pattern names {handler:?}, which is not there")),
        Ok(Some(steps)) => match first_fault(steps) {
            Some(fault) => Found::fail(format!("core_pattern runs {handler}, and {fault}")),
            None => Found::warn(format!("core_pattern runs {handler} as root for containers' crashes")),
        },
    }
}

fn modules(node: &Node) -> Found {
    match node.setting("kernel/modules_disabled") {
        Err(why) => Found::unknown(why),
        Ok(None) => Found::none("this kernel has no modules"),
        Ok(Some("1")) => Found::pass("kernel/modules_disabled is 1"),
        Ok(Some(other)) => Found::warn(format!("kernel/modules_disabled is {other}")),
    }
}

fn cgroups(node: &Node) -> Found {
    const NEEDED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
    match node.text("/sys/fs/cgroup/cgroup.controllers") {
        Err(why) => Found::unknown(why),
        Ok(Some(text)) => {
            let there: Vec<&str> = text.split_whitespace().collect();
            let missing: Vec<&str> = NEEDED.into_iter().filter(|name| !there.contains(name)).collect();
            if missing.is_empty() {
                Found::pass("version 2")
            } else {
                Found::fail(format!("version 2 without {}", missing.join(", "))).mend("boot without cgroup_disable=")
            }
        }
        Ok(None) => match (node.stat("/sys/fs/cgroup/memory"), node.stat("/sys/fs/cgroup/pids")) {
            (Ok(Some(_)), Ok(Some(_))) => Found::warn("version 1"),
            (Err(why), _) | (_, Err(why)) => Found::unknown(why),
            (Ok(None), Ok(None)) => Found::unknown("no /sys/fs/cgroup"),
            _ => Found::fail("version 1 without memory or pids"),
        },
    }
}

/// The names of those that are active.
fn active(node: &Node) -> Result<Vec<&str>, String> {
    let text = node.text("/sys/kernel/security/lsm")?.ok_or("no /sys/kernel/security/lsm: is securityfs mounted?")?;
    Ok(text.trim().split(',').collect())
}

fn security_modules(node: &Node) -> Found {
    let active = match active(node) {
        Ok(active) => active,
        Err(why) => return Found::unknown(why),
    };
    if active.contains(&"apparmor") {
        return Found::pass(format!("active: {}", active.join(", ")));
    }
    if !active.contains(&"selinux") {
        return Found::fail(format!("active: {}", active.join(", ")));
    }
    match node.text("/sys/fs/selinux/enforce") {
        Ok(Some("1")) => Found::pass("SELinux enforces"),
        Ok(Some(_)) => Found::fail("SELinux only warns").mend("setenforce 1"),
        Ok(None) => Found::unknown("no /sys/fs/selinux/enforce"),
        Err(why) => Found::unknown(why),
    }
}

fn landlock(node: &Node) -> Found {
    match active(node) {
        Ok(active) if active.contains(&"landlock") => Found::pass("active"),
        Ok(active) => Found::warn(format!("active: {}", active.join(", "))),
        Err(why) => Found::unknown(why),
    }
}

fn lockdown(node: &Node) -> Found {
    match node.text("/sys/kernel/security/lockdown") {
        Err(why) => Found::unknown(why),
        Ok(None) => Found::none("this kernel has no lockdown"),
        Ok(Some(text)) if text.contains("[none]") => Found::warn("off"),
        Ok(Some(text)) => Found::pass(text.trim()),
    }
}

fn seccomp(node: &Node) -> Found {
    const NEEDED: [&str; 3] = ["kill_process", "errno", "user_notif"];
    match node.setting("kernel/seccomp/actions_avail") {
        Err(why) => Found::unknown(why),
        Ok(None) => Found::fail("this kernel has no system call filters"),
        Ok(Some(text)) => {
            let there: Vec<&str> = text.split_whitespace().collect();
            let missing = NEEDED.iter().filter(|name| !there.contains(*name)).map(|name| format!("no action {name}"));
            Found::all(&missing.collect::<Vec<_>>(), text)
        }
    }
}

fn swap(node: &Node) -> Found {
    match &node.plain_swap {
        Err(why) => Found::unknown(why.clone()),
        Ok(devices) if devices.is_empty() => Found::pass("none"),
        Ok(devices) => Found { outcome: Outcome::Warn, ..Found::fail(format!("swap on {}", devices.join(", "))) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_read() {
        for check in CHECKS {
            let Look::Setting(setting) = &check.look else { continue };
            let path = format!("/proc/sys/{}", setting.name);
            assert!(texts().any(|known| known == path), "{}", check.id);
            assert!((setting.is_good)(setting.value.parse().unwrap()), "{}: its mend mends", check.id);
        }
        let settings = CHECKS.iter().filter(|check| matches!(check.look, Look::Setting(_))).count();
        assert_eq!(SETTING_PATHS.len(), settings + 1, "modules_disabled is looked at by a function");
    }

    #[test]
    fn flaws_are_told_by_lines() {
        for (release, flaw, verdict) in [
            ("5.10.101", "CVE-2022-0847", Verdict::Open),
            ("5.10.102", "CVE-2022-0847", Verdict::Fixed),
            ("5.4.100", "CVE-2022-0847", Verdict::Fixed),
            ("6.1.75", "CVE-2024-1086", Verdict::Open),
            ("6.18.44", "CVE-2026-31431", Verdict::Fixed),
            ("6.18.21", "CVE-2026-31431", Verdict::Open),
            ("6.1.200", "CVE-2026-31431", Verdict::Older),
            ("6.19.20", "CVE-2026-31431", Verdict::NotListed),
            ("7.1.0", "CVE-2026-31431", Verdict::Fixed),
        ] {
            let known = FLAWS.iter().find(|known| known.id == flaw).unwrap();
            assert_eq!(known.of(&Version::parse(release).unwrap()), verdict, "{release} {flaw}");
        }
    }
}
