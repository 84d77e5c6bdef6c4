//! Combining the policy's profile with the container's own.

use oci_spec::OciSpecError;
use oci_spec::runtime::LinuxSeccomp;

use crate::architecture::{Architecture, UnsupportedArchitecture};
use crate::filter::{Filter, Origin};
use crate::profile::ProfileError;
use crate::refused::RefusedProfile;

/// Why two profiles could not be combined. The container must then not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TightenError {
    /// The policy's profile is refused.
    #[error("the policy's seccomp profile is refused")]
    Ours(#[source] RefusedProfile),
    /// The policy's profile is built in, and broken.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The container's own profile is refused.
    #[error("the container's own seccomp profile is refused")]
    Own(#[source] RefusedProfile),
    /// There is no filter for this machine.
    #[error(transparent)]
    Architecture(#[from] UnsupportedArchitecture),
    /// The result cannot be put in OCI form.
    #[error("the combined seccomp profile cannot be written")]
    Write(#[source] OciSpecError),
}

/// The profile that lets a call run only if both profiles do, and otherwise gives the stricter of the two answers
/// (of two errnos the larger number, so ENOSYS outranks EPERM).
///
/// Both profiles are read in their strictest sense where the OCI runtime-spec is silent: of several matching entries
/// the strictest wins, and two conditions on one argument are AND where they let a call run and OR where they stop
/// it. The result means the same to every runtime: its entries do not overlap and name no argument index twice. It is
/// for the architectures that both list, the native one always among them: calls of another one (x86 and x32 on
/// x86_64) are killed or refused by the runtime.
///
/// A system call whose common part would need more than 96 entries is narrowed to arguments below 2^32, and then
/// to nothing; so is one that would come out narrower if the result were combined with `ours` anew.
/// SECCOMP_FILTER_FLAG_LOG is kept if one profile has it, `_SPEC_ALLOW` only if both have;
/// `_TSYNC` and `_WAIT_KILLABLE_RECV` have no effect on a filter that one thread loads and nobody listens to, and go.
///
/// # Errors
///
/// What is not understood or hands the decision to another process is refused, with its place inside the profile:
/// SCMP_ACT_NOTIFY, SCMP_ACT_TRACE, `listenerPath`, `listenerMetadata`, an
/// `errnoRet` above 4095 or beside another action, an entry without names, an argument index above 5, over 2048
/// entries.
pub fn tighten(ours: &LinuxSeccomp, own: &LinuxSeccomp) -> Result<LinuxSeccomp, TightenError> {
    let ours = Filter::read(ours).map_err(TightenError::Ours)?;
    combined(&ours, own, Origin::Given)
}

/// The same, of profiles that are read or about to be.
pub(crate) fn combined(ours: &Filter<'_>, own: &LinuxSeccomp, origin: Origin) -> Result<LinuxSeccomp, TightenError> {
    let own = Filter::read(own).map_err(TightenError::Own)?;
    ours.stricter(&own).settled(ours, origin).write(Architecture::native()?).map_err(TightenError::Write)
}
