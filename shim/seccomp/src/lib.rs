//! Seccomp for palisade: the built-in profiles, combining two profiles, and compiling one to BPF.
//!
//! A profile travels as `oci_spec::runtime::LinuxSeccomp`, the form every OCI runtime reads:
//!
//! 1. [`profile_for`] resolves a [`BuiltinProfile`] for the capabilities that a container is left with;
//! 2. [`tighten`] combines it with the profile that the container asked for; the result lets a call run only if
//!    both do;
//! 3. `compile` (feature `compile`) makes the BPF program that the embedded runtime loads.
//!
//! Nothing here touches files, processes or the kernel: filters are loaded by the caller.
#![forbid(unsafe_code)]

mod architecture;
mod argument;
#[cfg(feature = "compile")]
mod compile;
mod counterpart;
mod filter;
#[cfg(feature = "compile")]
mod learned;
mod profile;
mod read;
mod refused;
mod region;
mod tighten;
mod verdict;
mod write;

pub use architecture::{Architecture, UnknownArchitecture, UnsupportedArchitecture};
#[cfg(feature = "compile")]
pub use compile::{
    Answer, Call, CompileError, CompiledFilter, CorruptFilter, Instruction, Target, architecture_of, compile,
    compile_for, syscall_name,
};
pub use filter::{verdict, verdicts};
#[cfg(feature = "compile")]
pub use learned::{LearnError, Seen, UNASKED, Values};
pub use profile::{BuiltinProfile, KernelVersion, ProfileError, UnknownProfile, profile_for, profile_with};
pub use refused::RefusedProfile;
pub use tighten::{TightenError, tighten, tighten_to};
pub use verdict::Verdict;
