//! What a filter has to know of an architecture.

use std::str::FromStr;

use syscalls::Sysno;

use crate::architecture::UnsupportedArchitecture;

/// The names and numbers of an architecture's system calls.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    audit: u32,
    number: fn(&str) -> Option<u32>,
    last: u32,
}

/// AUDIT_ARCH_X86_64 (linux/audit.h).
const X86_64: u32 = 0xc000_003e;
const AARCH64: u32 = 0xc000_00b7;
const RISCV64: u32 = 0xc000_00f3;

impl Target {
    /// The architecture that this program was built for.
    ///
    /// # Errors
    ///
    /// There are no filters for it.
    pub fn native() -> Result<Self, UnsupportedArchitecture> {
        let audit = match std::env::consts::ARCH {
            "x86_64" => X86_64,
            "aarch64" => AARCH64,
            "riscv64" => RISCV64,
            _ => return Err(UnsupportedArchitecture),
        };
        let number = |name: &str| u32::try_from(Sysno::from_str(name).ok()?.id()).ok();
        Ok(Self::new(audit, number, Sysno::last().id().cast_unsigned()))
    }

    /// Another one: its AUDIT_ARCH_* of linux/audit.h, the numbers of its calls, and the largest of them.
    #[must_use]
    pub fn new(audit: u32, number: fn(&str) -> Option<u32>, last: u32) -> Self {
        Self { audit, number, last }
    }

    /// Whether it has a call of that name.
    #[must_use]
    pub fn has(&self, syscall: &str) -> bool {
        self.number(syscall).is_some()
    }

    pub(super) fn audit(&self) -> u32 {
        self.audit
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        (self.number)(name)
    }

    /// The number after the largest that has a name.
    pub(super) fn first_unknown(&self) -> u32 {
        self.last.saturating_add(1)
    }

    /// Whether calls of x32 carry this architecture as well.
    pub(super) fn has_x32(&self) -> bool {
        self.audit == X86_64
    }
}
