//! What a filter has to know of an architecture.

use std::str::FromStr;

use syscalls::Sysno;

use crate::architecture::{Architecture, UnsupportedArchitecture};

/// __X32_SYSCALL_BIT (asm/unistd.h).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// The names and numbers of an architecture's system calls.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    architecture: Architecture,
    number: fn(&str) -> Option<u32>,
    last: u32,
}

impl Target {
    /// The architecture that this program was built for.
    ///
    /// # Errors
    ///
    /// There are no filters for it.
    pub fn native() -> Result<Self, UnsupportedArchitecture> {
        Ok(Self::new(Architecture::native()?, native_number, native_last()))
    }

    /// What the kernel of this machine may run beside it.
    #[must_use]
    pub fn others() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let others = {
            use syscalls::x86;
            let number = |name: &str| u32::try_from(x86::Sysno::from_str(name).ok()?.id()).ok();
            let x86 = Self::new(Architecture::X86, number, x86::Sysno::last().id().cast_unsigned());
            vec![x86, Self::new(Architecture::X32, native_number, native_last())]
        };
        #[cfg(target_arch = "aarch64")]
        let others = {
            use syscalls::arm;
            let number = |name: &str| u32::try_from(arm::Sysno::from_str(name).ok()?.id()).ok();
            vec![Self::new(Architecture::Arm, number, arm::Sysno::last().id().cast_unsigned())]
        };
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let others = Vec::new();
        others
    }

    /// An architecture with the numbers of its calls, and the largest of them. x32 takes those of x86_64.
    #[must_use]
    pub fn new(architecture: Architecture, number: fn(&str) -> Option<u32>, last: u32) -> Self {
        Self { architecture, number, last }
    }

    /// Whether it has a call of that name.
    #[must_use]
    pub fn has(&self, syscall: &str) -> bool {
        self.number(syscall).is_some()
    }

    pub(super) fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// AUDIT_ARCH_* (linux/audit.h). Calls of x32 carry that of x86_64.
    #[must_use]
    pub fn audit(&self) -> u32 {
        match self.architecture {
            Architecture::X86_64 | Architecture::X32 => 0xc000_003e,
            Architecture::X86 => 0x4000_0003,
            Architecture::Aarch64 => 0xc000_00b7,
            Architecture::Arm => 0x4000_0028,
            Architecture::Riscv64 => 0xc000_00f3,
        }
    }

    /// The number of a call as the kernel hands it to a filter.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        match (self.architecture, name) {
            (Architecture::X32, _) => Some(self.x32_number(name)? | X32_BIT),
            // The table has the name that the header gives to both word sizes (asm-generic/unistd.h).
            (Architecture::Aarch64, "newfstatat") => (self.number)("fstatat"),
            // Times of 64 bits, for 32-bit kernels alone (asm-generic/unistd.h); the table has them nevertheless.
            (Architecture::Aarch64, _) => (self.number)(name).filter(|number| !(403..424).contains(number)),
            // A Rust keyword.
            (Architecture::X86, "break") => (self.number)("r#break"),
            (Architecture::Arm, _) => (self.number)(name).or_else(|| arm_private(name)),
            _ => (self.number)(name),
        }
    }

    /// Whether calls of x32 carry this architecture as well.
    pub(super) fn has_x32(&self) -> bool {
        self.architecture == Architecture::X86_64
    }

    /// The smallest number.
    pub(super) fn first(&self) -> u32 {
        if self.architecture == Architecture::X32 { X32_BIT } else { 0 }
    }

    /// Where numbers begin of which nothing is known, and where they end.
    pub(super) fn unknown(&self) -> Vec<[u32; 2]> {
        let first = self.last.saturating_add(1);
        match self.architecture {
            Architecture::X86_64 => vec![[first, X32_BIT]],
            Architecture::X32 => vec![[X32_BIT | first, X32_BIT | X32_FIRST], [X32_BIT | X32_END, u32::MAX]],
            Architecture::Arm => vec![[first, ARM_PRIVATE], [ARM_PRIVATE_END, u32::MAX]],
            Architecture::X86 | Architecture::Aarch64 | Architecture::Riscv64 => vec![[first, u32::MAX]],
        }
    }

    fn x32_number(&self, name: &str) -> Option<u32> {
        match X32.iter().position(|known| *known == name) {
            Some(at) => u32::try_from(at).ok()?.checked_add(X32_FIRST),
            None if NOT_IN_X32.contains(&name) => None,
            None => (self.number)(name),
        }
    }
}

/// The name of a number, without its bit 30, that x32 has for itself.
pub(super) fn x32_name(number: u32) -> Option<&'static str> {
    let at = number.checked_sub(X32_FIRST)?;
    X32.get(usize::try_from(at).ok()?).copied()
}

fn native_number(name: &str) -> Option<u32> {
    u32::try_from(Sysno::from_str(name).ok()?.id()).ok()
}

fn native_last() -> u32 {
    Sysno::last().id().cast_unsigned()
}

/// The calls that x32 has at numbers of its own, from [`X32_FIRST`] on (arch/x86/entry/syscalls/syscall_64.tbl).
const X32: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];
const X32_FIRST: u32 = 512;
const X32_END: u32 = 548;

/// Calls of x86_64 that x32 has not at all (ABI `64` there, and none in [`X32`]).
const NOT_IN_X32: [&str; 14] = [
    "_sysctl",
    "create_module",
    "epoll_ctl_old",
    "epoll_wait_old",
    "get_kernel_syms",
    "get_thread_area",
    "map_shadow_stack",
    "nfsservctl",
    "query_module",
    "set_thread_area",
    "uprobe",
    "uretprobe",
    "uselib",
    "vserver",
];

/// __ARM_NR_BASE and the end of what the kernel knows there (arch/arm/include/uapi/asm/unistd.h).
const ARM_PRIVATE: u32 = 0x000f_0000;
const ARM_PRIVATE_END: u32 = 0x000f_0007;

fn arm_private(name: &str) -> Option<u32> {
    let known = ["breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"];
    let at = known.iter().position(|private| *private == name)?;
    // The first is number 1 there.
    u32::try_from(at).ok()?.checked_add(1)?.checked_add(ARM_PRIVATE)
}
