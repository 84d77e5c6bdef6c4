//! Names for what the kernel tells as numbers.

use syscalls::Sysno;

use super::target::Target;

/// The name of a system call, if it is of the architecture that this program was built for and not newer than its table.
/// `architecture` is an AUDIT_ARCH_* of linux/audit.h.
#[must_use]
pub fn syscall_name(architecture: u32, number: u32) -> Option<&'static str> {
    let native = Target::native().ok()?;
    (native.audit() == architecture).then_some(())?;
    Sysno::new(usize::try_from(number).ok()?).map(|call| call.name())
}

/// The name of an AUDIT_ARCH_*, as `uname -m` would say it.
#[must_use]
pub fn architecture_name(architecture: u32) -> Option<&'static str> {
    match architecture {
        0xc000_003e => Some("x86_64"),
        0x4000_0003 => Some("i386"),
        0xc000_00b7 => Some("aarch64"),
        0x4000_0028 => Some("arm"),
        0xc000_00f3 => Some("riscv64"),
        _ => None,
    }
}
