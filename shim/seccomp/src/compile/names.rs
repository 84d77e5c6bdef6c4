//! Names for what the kernel tells as numbers.

use syscalls::Sysno;

use super::target::{X32_BIT, x32_name};
use crate::architecture::Architecture;

/// The first of the numbers that x32 has for itself (arch/x86/entry/syscalls/syscall_64.tbl).
const X32_OWN: u32 = 512;

/// The architecture of a call: AUDIT_ARCH_* of linux/audit.h, and the number, which tells x32 from x86_64.
#[must_use]
pub fn architecture_of(audit: u32, number: u32) -> Option<Architecture> {
    match audit {
        0xc000_003e if number & X32_BIT != 0 && number != u32::MAX => Some(Architecture::X32),
        0xc000_003e => Some(Architecture::X86_64),
        0x4000_0003 => Some(Architecture::X86),
        0xc000_00b7 => Some(Architecture::Aarch64),
        0x4000_0028 => Some(Architecture::Arm),
        0xc000_00f3 => Some(Architecture::Riscv64),
        _ => None,
    }
}

/// The name of a system call, if it is not newer than the table of its architecture, and that is one that a machine which this program
/// was built for may run.
#[must_use]
pub fn syscall_name(audit: u32, number: u32) -> Option<&'static str> {
    let architecture = architecture_of(audit, number)?;
    if architecture == Architecture::X32 {
        let number = number & !X32_BIT;
        return x32_name(number).or_else(|| native(number).filter(|_| number < X32_OWN));
    }
    if Architecture::native().ok() == Some(architecture) { native(number) } else { other(architecture, number) }
}

fn native(number: u32) -> Option<&'static str> {
    match Sysno::new(usize::try_from(number).ok()?)?.name() {
        // The table has the name that the header gives to both word sizes (asm-generic/unistd.h).
        "fstatat" => Some("newfstatat"),
        name => Some(name),
    }
}

#[cfg(target_arch = "x86_64")]
fn other(architecture: Architecture, number: u32) -> Option<&'static str> {
    let known = syscalls::x86::Sysno::new(usize::try_from(number).ok()?)?;
    (architecture == Architecture::X86).then(|| known.name())
}

#[cfg(target_arch = "aarch64")]
fn other(architecture: Architecture, number: u32) -> Option<&'static str> {
    let known = syscalls::arm::Sysno::new(usize::try_from(number).ok()?)?;
    (architecture == Architecture::Arm).then(|| known.name())
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn other(_: Architecture, _: u32) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_number_has_the_name_of_its_own_architecture() {
        use super::*;

        let (x86_64, x86) = (0xc000_003e, 0x4000_0003);
        for (audit, number, name) in [
            (x86_64, 20, Some("writev")),
            (x86, 20, Some("getpid")),
            (x86_64, X32_BIT | 39, Some("getpid")),
            (x86_64, X32_BIT | 514, Some("ioctl")),
            (x86_64, X32_BIT | 600, None),
            (x86_64, 700, None),
            (x86_64, u32::MAX, None),
            (0xc000_00b7, 20, None),
        ] {
            assert_eq!(syscall_name(audit, number), name, "{audit:#x} {number:#x}");
        }
        assert_eq!(architecture_of(x86_64, X32_BIT), Some(Architecture::X32));
        assert_eq!(architecture_of(x86_64, u32::MAX), Some(Architecture::X86_64));
    }
}
