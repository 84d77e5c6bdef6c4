//! Every machine that filters are made for, with the tables of its calls by number.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::str::FromStr as _;

use palisade_seccomp::{Architecture, Target};
use syscalls::{aarch64, arm, riscv64, x86, x86_64};

/// One architecture of a machine.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) architecture: Architecture,
    /// AUDIT_ARCH_* (linux/audit.h).
    pub(crate) audit: u32,
    pub(crate) target: Target,
    /// What a number is called, and `None` if it is no call.
    pub(crate) name: fn(u32) -> Option<&'static str>,
    /// Numbers that its calls lie in, the last excluded.
    pub(crate) known: &'static [[u32; 2]],
}

impl Table {
    /// All numbers that a call has, some beside and beyond them.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        let known = self.known.iter().flat_map(|[first, end]| first.saturating_sub(2)..end + 2);
        let start = if self.architecture == Architecture::X32 { X32_BIT } else { 0 };
        // 548 and above are ordinary numbers again; 387 to 423 are left out on purpose.
        known.chain([600, 1200, 0xffff, 0x0f_fffe]).filter(move |number| *number >= start)
    }

    /// Whether a table of the kernel holds numbers up to there, so that a call which it has not is older, not newer.
    pub(crate) fn is_known_area(&self, number: u32) -> bool {
        self.known.iter().any(|[first, end]| (first..end).contains(&&number))
    }
}

macro_rules! table {
    ($architecture:ident, $crate_name:ident, $audit:expr, $names:expr, $known:expr) => {{
        let number = |name: &str| u32::try_from($crate_name::Sysno::from_str(name).ok()?.id()).ok();
        Table {
            architecture: Architecture::$architecture,
            audit: $audit,
            target: Target::new(Architecture::$architecture, number, $crate_name::Sysno::last().id().cast_unsigned()),
            name: $names,
            known: $known,
        }
    }};
}

macro_rules! names {
    ($crate_name:ident) => {
        |number| $crate_name::Sysno::new(number as usize).map(|call| call.name())
    };
}

const X32_BIT: u32 = 0x4000_0000;
/// One more than the last call of Linux 6.18, in every table.
const END: u32 = 470;

/// The machines, the native architecture of each first.
pub(crate) fn all() -> [Vec<Table>; 3] {
    let x86_64 = table!(X86_64, x86_64, 0xc000_003e, names!(x86_64), &[[0, END]]);
    let x86 = table!(X86, x86, 0x4000_0003, x86_name, &[[0, END]]);
    let x32_areas: &[[u32; 2]] = &[[X32_BIT, X32_BIT + END], [X32_BIT + 512, X32_BIT + 548]];
    let x32 = table!(X32, x86_64, 0xc000_003e, x32_name, x32_areas);
    let aarch64 = table!(Aarch64, aarch64, 0xc000_00b7, aarch64_name, &[[0, END]]);
    let arm = table!(Arm, arm, 0x4000_0028, arm_name, &[[0, END], [0x0f_0000, 0x0f_0007]]);
    let riscv64 = table!(Riscv64, riscv64, 0xc000_00f3, names!(riscv64), &[[0, END]]);
    [vec![x86_64, x86, x32], vec![aarch64, arm], vec![riscv64]]
}

/// Numbers of the ABI `64` of arch/x86/entry/syscalls/syscall_64.tbl; x32 has them not, or from 512 on in the order below.
const ONLY_64: [u32; 14] = [134, 156, 174, 177, 178, 180, 205, 211, 214, 215, 236, 335, 336, 453];
const RENUMBERED: [u32; 36] = [
    13, 15, 16, 19, 20, 45, 46, 47, 59, 101, 127, 128, 129, 131, 222, 244, 246, 247, 273, 274, 278, 279, 295, 296, 297,
    299, 307, 310, 311, 54, 55, 206, 209, 322, 327, 328,
];

fn x32_name(number: u32) -> Option<&'static str> {
    let number = number.checked_sub(X32_BIT)?;
    let renumbered = number.checked_sub(512).and_then(|at| RENUMBERED.get(at as usize));
    let common = (!ONLY_64.contains(&number) && !RENUMBERED.contains(&number)).then_some(number);
    let number = renumbered.copied().or(common)?;
    x86_64::Sysno::new(number as usize).map(|call| call.name())
}

/// One name is a keyword of Rust.
fn x86_name(number: u32) -> Option<&'static str> {
    if number == 17 { Some("break") } else { x86::Sysno::new(number as usize).map(|call| call.name()) }
}

/// include/uapi/asm-generic/unistd.h has one number for fstatat64 and newfstatat; aarch64 has the second.
fn aarch64_name(number: u32) -> Option<&'static str> {
    match number {
        79 => Some("newfstatat"),
        // Times of 64 bits, for 32-bit kernels alone.
        403..424 => None,
        _ => aarch64::Sysno::new(number as usize).map(|call| call.name()),
    }
}

/// The calls of arch/arm/include/uapi/asm/unistd.h.
fn arm_name(number: u32) -> Option<&'static str> {
    match number {
        0x0f_0001 => Some("breakpoint"),
        0x0f_0002 => Some("cacheflush"),
        0x0f_0003 => Some("usr26"),
        0x0f_0004 => Some("usr32"),
        0x0f_0005 => Some("set_tls"),
        0x0f_0006 => Some("get_tls"),
        _ => arm::Sysno::new(number as usize).map(|call| call.name()),
    }
}
