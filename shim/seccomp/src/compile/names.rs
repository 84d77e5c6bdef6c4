//! Names for what the kernel tells as numbers.

use syscalls::Sysno;

use super::target::{Target, X32_BIT, x32_name};

/// The name of a system call, if it is of an architecture that this machine may run and not newer than its table.
/// `architecture` is an AUDIT_ARCH_* of linux/audit.h.
#[must_use]
pub fn syscall_name(architecture: u32, number: u32) -> Option<&'static str> {
    let native = Target::native().ok()?;
    if native.audit() != architecture {
        return other_name(architecture, usize::try_from(number).ok()?);
    }
    let of_native = |number: u32| Sysno::new(usize::try_from(number).ok()?).map(|call| call.name());
    let x32 = native.has_x32().then(|| number.checked_sub(X32_BIT)).flatten();
    x32.map_or_else(|| of_native(number), |number| x32_name(number).or_else(|| of_native(number)))
}

/// Whether calls of this AUDIT_ARCH_* and number are native ones.
#[must_use]
pub(crate) fn is_native(architecture: u32, number: u32) -> bool {
    Target::native().is_ok_and(|native| native.audit() == architecture && !(native.has_x32() && number >= X32_BIT))
}

#[cfg(target_arch = "x86_64")]
fn other_name(architecture: u32, number: usize) -> Option<&'static str> {
    (architecture == 0x4000_0003).then_some(())?;
    syscalls::x86::Sysno::new(number).map(|call| call.name())
}

#[cfg(target_arch = "aarch64")]
fn other_name(architecture: u32, number: usize) -> Option<&'static str> {
    (architecture == 0x4000_0028).then_some(())?;
    syscalls::arm::Sysno::new(number).map(|call| call.name())
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn other_name(_: u32, _: usize) -> Option<&'static str> {
    None
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

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn calls_of_all_architectures_of_the_machine_have_names() {
        use super::{X32_BIT, is_native, syscall_name};

        let (x86_64, x86) = (0xc000_003e, 0x4000_0003);
        let cases = [
            (x86_64, 39, Some("getpid"), true),
            (x86_64, X32_BIT | 39, Some("getpid"), false),
            (x86_64, X32_BIT | 514, Some("ioctl"), false),
            (x86_64, 514, None, true),
            (x86, 20, Some("getpid"), false),
            (x86, 102, Some("socketcall"), false),
            (0xc000_00b7, 20, None, false),
        ];
        for (architecture, number, name, native) in cases {
            assert_eq!(
                (syscall_name(architecture, number), is_native(architecture, number)),
                (name, native),
                "{number}"
            );
        }
    }
}
