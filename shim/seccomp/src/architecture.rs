//! The architecture that filters are made for.

use oci_spec::runtime::Arch;

/// This build's architecture has no filters: x86_64, aarch64 and riscv64 do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no seccomp filters for {}: x86_64, aarch64 and riscv64 have them", std::env::consts::ARCH)]
pub struct UnsupportedArchitecture;

/// The architecture that this program was built for.
pub(crate) fn native() -> Result<Arch, UnsupportedArchitecture> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(Arch::ScmpArchX86_64),
        "aarch64" => Ok(Arch::ScmpArchAarch64),
        "riscv64" => Ok(Arch::ScmpArchRiscv64),
        _ => Err(UnsupportedArchitecture),
    }
}
