//! The ids of a process, read back right before its execve, and its securebits.

use nix::unistd::{getgroups, getresgid, getresuid};
use oci_spec::runtime::User;
use rustix::thread::{CapabilitiesSecureBits, capabilities_secure_bits};

use super::{CredentialError, kernel};

/// The user, group and supplementary groups that the kernel must report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Ids {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Ids {
    pub(in super::super) fn of(user: &User) -> Self {
        Self {
            uid: user.uid(),
            gid: user.gid(),
            groups: sorted(user.additional_gids().iter().flatten().copied(), user.gid()),
        }
    }

    /// Compares them with this process's own. Securebits must be those of any new process: one would let capabilities survive what takes
    /// them away.
    pub(in super::super) fn verify(&self) -> Result<(), CredentialError> {
        let failed = |doing| move |errno: nix::errno::Errno| CredentialError::Kernel { doing, source: errno.into() };
        let users = getresuid().map_err(failed("read the user ids"))?;
        let groups = getresgid().map_err(failed("read the group ids"))?;
        for found in [users.real, users.effective, users.saved] {
            equal("user id", found.as_raw(), self.uid)?;
        }
        for found in [groups.real, groups.effective, groups.saved] {
            equal("group id", found.as_raw(), self.gid)?;
        }
        let found = getgroups().map_err(failed("read the supplementary groups"))?;
        let found = sorted(found.into_iter().map(nix::unistd::Gid::as_raw), self.gid);
        // One by one: a list that is longer differs at its first surplus.
        for at in 0..found.len().max(self.groups.len()) {
            let id = |groups: &[u32]| groups.get(at).copied().unwrap_or(self.gid);
            equal("supplementary group", id(&found), id(&self.groups))?;
        }
        let bits = capabilities_secure_bits().map_err(kernel("read the securebits"))?;
        let lasting = bits.difference(CapabilitiesSecureBits::KEEP_CAPS);
        equal("securebits", lasting.bits(), 0)
    }
}

/// The primary group counts in any case.
fn sorted(groups: impl Iterator<Item = u32>, gid: u32) -> Vec<u32> {
    let mut groups: Vec<u32> = groups.filter(|group| *group != gid).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn equal(what: &'static str, found: u32, wanted: u32) -> Result<(), CredentialError> {
    if found == wanted {
        return Ok(());
    }
    Err(CredentialError::Different { what, found: found.into(), wanted: wanted.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_believed_and_not_the_spec() {
        let groups = getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw);
        let gid = getresgid().unwrap().effective.as_raw();
        let own = Ids { uid: getresuid().unwrap().effective.as_raw(), gid, groups: sorted(groups, gid) };
        own.verify().unwrap();
        let more = [own.groups.clone(), vec![u32::MAX - 1]].concat();
        for other in [
            Ids { uid: own.uid + 1, ..own.clone() },
            Ids { gid: own.gid + 1, ..own.clone() },
            Ids { groups: more, ..own },
        ] {
            assert!(matches!(other.verify(), Err(CredentialError::Different { .. })), "{other:?}");
        }
    }
}
