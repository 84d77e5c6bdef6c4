//! The architectures that filters are made for.

use std::fmt;
use std::str::FromStr;

use oci_spec::runtime::Arch;

/// A table of system calls with numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, which an x86_64 kernel runs as well.
    X86,
    /// x86_64 with 32-bit pointers: numbers of x86_64 with bit 30, and some of its own.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, which many aarch64 kernels run as well.
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
}

/// There is no architecture of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no architecture is called {name:?}: x86_64, x86, x32, aarch64, arm and riscv64 are")]
pub struct UnknownArchitecture {
    /// The name.
    pub name: String,
}

/// This build's architecture has no filters: x86_64, aarch64 and riscv64 do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no seccomp filters for {}: x86_64, aarch64 and riscv64 have them", std::env::consts::ARCH)]
pub struct UnsupportedArchitecture;

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm, Self::Riscv64];

    /// The architecture that this program was built for.
    ///
    /// # Errors
    ///
    /// There are no filters for it.
    pub fn native() -> Result<Self, UnsupportedArchitecture> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            "riscv64" => Ok(Self::Riscv64),
            _ => Err(UnsupportedArchitecture),
        }
    }

    /// What a kernel of this architecture may run beside it.
    #[must_use]
    pub fn others(self) -> &'static [Self] {
        match self {
            Self::X86_64 => &[Self::X86, Self::X32],
            Self::Aarch64 => &[Self::Arm],
            Self::X86 | Self::X32 | Self::Arm | Self::Riscv64 => &[],
        }
    }

    /// The name in a policy file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
            Self::Riscv64 => "riscv64",
        }
    }

    /// The one that OCI calls so; `None` for one without filters and for SCMP_ARCH_NATIVE.
    #[must_use]
    pub fn of(arch: Arch) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.oci() == arch)
    }

    /// As OCI calls it.
    #[must_use]
    pub fn oci(self) -> Arch {
        match self {
            Self::X86_64 => Arch::ScmpArchX86_64,
            Self::X86 => Arch::ScmpArchX86,
            Self::X32 => Arch::ScmpArchX32,
            Self::Aarch64 => Arch::ScmpArchAarch64,
            Self::Arm => Arch::ScmpArchArm,
            Self::Riscv64 => Arch::ScmpArchRiscv64,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = UnknownArchitecture;

    fn from_str(name: &str) -> Result<Self, UnknownArchitecture> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownArchitecture { name: name.to_owned() })
    }
}
