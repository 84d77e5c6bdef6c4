//! Seccomp for palisade: profiles, combining two of them, and compiling one to BPF.
//!
//! A [`Library`] holds the profiles that a policy can name, and mitigations. One that was chosen is a [`SeccompProfile`]; for a container it
//! becomes an `oci_spec::runtime::LinuxSeccomp`, the form every OCI runtime reads:
//!
//! 1. [`SeccompProfile::resolve`] resolves it for the capabilities that a container is left with;
//! 2. or [`SeccompProfile::tighten`] combines it with the profile that the container asked for; the result lets a call run only if
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
mod look;
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
pub use look::{CallDecision, CallDifference, CallView};
pub use profile::{
    BuiltinProfile, KernelVersion, Library, Mitigation, ProfileError, SeccompProfile, UnknownProfile, profile_for,
    profile_with,
};
pub use refused::RefusedProfile;
pub use tighten::{TightenError, tighten};
pub use verdict::Verdict;
