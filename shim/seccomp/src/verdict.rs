//! What a filter answers to one call, in the kernel's order of strictness.

use std::fmt::Display;

use oci_spec::runtime::LinuxSeccompAction;

use crate::refused::RefusedProfile;

/// The answer of a filter to one call.
///
/// The order is the kernel's precedence between stacked filters, least strict first (seccomp(2), "the highest
/// precedence value is used"); two `Errno` are ordered by their number, so that the maximum of two verdicts is one
/// of them and does not depend on which profile said it. ENOSYS (38), which lets a program fall back, so outranks
/// EPERM (1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The call runs.
    Allow,
    /// The call runs and is written to the audit log.
    Log,
    /// The call does not run and returns this errno (0 to 4095).
    Errno(u16),
    /// The call does not run and the thread gets SIGSYS.
    Trap,
    /// The thread is killed.
    KillThread,
    /// The process is killed.
    KillProcess,
}

/// What SCMP_ACT_ERRNO returns without `errnoRet`: EPERM (OCI runtime-spec, config-linux.md, "Seccomp").
pub(crate) const EPERM: u16 = 1;

/// What a kernel answers that does not have the call, so that callers fall back.
pub(crate) const ENOSYS: u16 = 38;

/// The kernel's MAX_ERRNO: a larger value is cut to it (seccomp(2)).
const MAX_ERRNO: u32 = 4095;

impl Verdict {
    /// Whether the call runs.
    #[must_use]
    pub fn runs(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }

    /// How strict it is, whatever its errno: a call that returns another number runs no more.
    #[must_use]
    pub fn strictness(self) -> Self {
        match self {
            Self::Errno(_) => Self::Errno(EPERM),
            other => other,
        }
    }

    /// Reads an OCI action and its `errnoRet`; `place` is the JSON pointer of the action.
    pub(crate) fn read(
        action: LinuxSeccompAction,
        errno: Option<u32>,
        place: &dyn Display,
    ) -> Result<Self, RefusedProfile> {
        let verdict = match action {
            LinuxSeccompAction::ScmpActAllow => Self::Allow,
            LinuxSeccompAction::ScmpActLog => Self::Log,
            LinuxSeccompAction::ScmpActErrno => return read_errno(errno, place),
            LinuxSeccompAction::ScmpActTrap => Self::Trap,
            LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Self::KillThread,
            LinuxSeccompAction::ScmpActKillProcess => Self::KillProcess,
            LinuxSeccompAction::ScmpActNotify | LinuxSeccompAction::ScmpActTrace => {
                return Err(RefusedProfile::Action { place: place.to_string(), action });
            }
        };
        match errno {
            Some(_) => Err(RefusedProfile::ErrnoWithoutErrnoAction { place: place.to_string(), action }),
            None => Ok(verdict),
        }
    }

    /// The OCI action and `errnoRet` that say the same.
    pub(crate) fn write(self) -> (LinuxSeccompAction, Option<u32>) {
        match self {
            Self::Allow => (LinuxSeccompAction::ScmpActAllow, None),
            Self::Log => (LinuxSeccompAction::ScmpActLog, None),
            Self::Errno(errno) => (LinuxSeccompAction::ScmpActErrno, Some(u32::from(errno))),
            Self::Trap => (LinuxSeccompAction::ScmpActTrap, None),
            Self::KillThread => (LinuxSeccompAction::ScmpActKillThread, None),
            Self::KillProcess => (LinuxSeccompAction::ScmpActKillProcess, None),
        }
    }
}

fn read_errno(errno: Option<u32>, place: &dyn Display) -> Result<Verdict, RefusedProfile> {
    match errno {
        None => Ok(Verdict::Errno(EPERM)),
        Some(errno) => match u16::try_from(errno) {
            Ok(small) if errno <= MAX_ERRNO => Ok(Verdict::Errno(small)),
            _ => Err(RefusedProfile::ErrnoTooLarge { place: place.to_string(), errno }),
        },
    }
}
