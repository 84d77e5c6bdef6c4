//! What a container's process may do: what the spec says, and what the kernel says.
//!
//! libcontainer ignores whether no_new_privs could be set, and takes absent capability sets for "leave as it is",
//! which is all of them. So the sets are always written out for it, and read back right before the execve.
//! Reading is done by system calls: a container need not have a `/proc`, and could bring its own.

mod apply;
mod ids;

use std::io;

use libcontainer::capabilities::CapabilityExt as _;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set, capability_is_in_bounding_set,
    no_new_privs, set_capabilities,
};
use thiserror::Error;

pub(super) use ids::Ids;

/// Why a process does not have the credentials that it should.
#[derive(Debug, Error)]
pub(super) enum CredentialError {
    /// The runtime can't give what it does not have.
    #[error("process.capabilities: the runtime itself lacks {names}; remove it from the spec")]
    NotHeld {
        /// The capabilities, separated by spaces.
        names: String,
    },
    /// The kernel has something else than the spec.
    #[error("the kernel has {what} {found:#x} for the process and the spec says {wanted:#x}")]
    Different {
        /// Which credential.
        what: &'static str,
        /// The kernel's.
        found: u64,
        /// The spec's.
        wanted: u64,
    },
    /// A system call.
    #[error("{doing}")]
    Kernel {
        /// What was being done.
        doing: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// The five capability sets, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sets {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

/// The credentials that the kernel must report for a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Credentials {
    sets: Sets,
    no_new_privs: bool,
}

impl Credentials {
    /// The credentials of a spec's process. An absent set is an empty one, as in runc.
    ///
    /// # Errors
    ///
    /// [`CredentialError::NotHeld`], which runc reports as `unable to apply caps: operation not permitted`.
    pub(super) fn of(process: &Process) -> Result<Self, CredentialError> {
        let sets = process.capabilities().as_ref().map(Sets::of).unwrap_or_default();
        let held = own_sets()?;
        let lacking =
            (sets.permitted | sets.effective | sets.inheritable) & !held.permitted | sets.bounding & !held.bounding;
        if lacking != 0 {
            return Err(CredentialError::NotHeld { names: names(process, lacking) });
        }
        Ok(Self { sets, no_new_privs: process.no_new_privileges().unwrap_or(false) })
    }

    pub(super) fn no_new_privs(&self) -> bool {
        self.no_new_privs
    }

    /// The process as libcontainer must get it: five sets always, and no explicit `false`, which it takes for true
    /// in one place and for absent in another. With `CAP_SYS_ADMIN` for a process that has to load a filter without
    /// no_new_privs; [`Credentials::give_up_loading`] takes it away again.
    pub(super) fn write_out(&self, process: &mut Process, may_load_filter: bool) {
        let given = process.capabilities().clone().unwrap_or_default();
        let had_sets = process.capabilities().is_some();
        let set = |set: &Option<Capabilities>| set.as_ref().filter(|_| had_sets).cloned().unwrap_or_default();
        let extra = |mut set: Capabilities| {
            if may_load_filter {
                set.insert(Capability::SysAdmin);
            }
            set
        };
        let mut written = LinuxCapabilities::default();
        written
            .set_bounding(Some(set(given.bounding())))
            .set_effective(Some(extra(set(given.effective()))))
            .set_permitted(Some(extra(set(given.permitted()))))
            .set_inheritable(Some(set(given.inheritable())))
            .set_ambient(Some(set(given.ambient())));
        process.set_capabilities(Some(written));
        process.set_no_new_privileges(self.no_new_privs.then_some(true));
    }

    /// Compares what the kernel reports for this process with what must be.
    pub(super) fn verify(&self) -> Result<(), CredentialError> {
        self.compare(own_sets()?)
    }

    /// [`Credentials::verify`] while [`Credentials::write_out`]'s addition is still there.
    pub(super) fn verify_before_loading(&self) -> Result<(), CredentialError> {
        let addition = CapabilitySet::SYS_ADMIN.bits();
        let sets =
            Sets { effective: self.sets.effective | addition, permitted: self.sets.permitted | addition, ..self.sets };
        Self { sets, ..*self }.compare(own_sets()?)
    }

    /// Goes down to the sets of the spec. The filter is in force already, so it must allow capset(2), as with runc.
    pub(super) fn give_up_loading(&self) -> Result<(), CredentialError> {
        let sets = CapabilitySets {
            effective: CapabilitySet::from_bits_retain(self.sets.effective),
            permitted: CapabilitySet::from_bits_retain(self.sets.permitted),
            inheritable: CapabilitySet::from_bits_retain(self.sets.inheritable),
        };
        set_capabilities(None, sets).map_err(kernel("drop CAP_SYS_ADMIN after loading the seccomp filter"))
    }

    fn compare(&self, found: Sets) -> Result<(), CredentialError> {
        let nnp = no_new_privs().map_err(kernel("read no_new_privs"))?;
        let wanted = self.sets;
        let all = [
            ("no_new_privs", u64::from(nnp), u64::from(self.no_new_privs)),
            ("bounding capabilities", found.bounding, wanted.bounding),
            ("effective capabilities", found.effective, wanted.effective),
            ("permitted capabilities", found.permitted, wanted.permitted),
            ("inheritable capabilities", found.inheritable, wanted.inheritable),
            ("ambient capabilities", found.ambient, wanted.ambient),
        ];
        match all.into_iter().find(|(_, found, wanted)| found != wanted) {
            None => Ok(()),
            // A shim that runs with no_new_privs itself gives it to all: stricter than asked for is no mismatch.
            Some(("no_new_privs", 1, _)) => Self { no_new_privs: true, ..*self }.compare(found),
            Some((what, found, wanted)) => Err(CredentialError::Different { what, found, wanted }),
        }
    }
}

impl Sets {
    fn of(capabilities: &LinuxCapabilities) -> Self {
        let bits = |set: &Option<Capabilities>| set.iter().flatten().fold(0, |bits, name| bits | bit(*name));
        let (permitted, inheritable) = (bits(capabilities.permitted()), bits(capabilities.inheritable()));
        Self {
            bounding: bits(capabilities.bounding()),
            effective: bits(capabilities.effective()),
            permitted,
            inheritable,
            // The kernel takes no other ones, and runc leaves out what it does not take. Source: capabilities(7).
            ambient: bits(capabilities.ambient()) & permitted & inheritable,
        }
    }
}

fn bit(capability: Capability) -> u64 {
    capability.to_cap().bitmask()
}

fn names(process: &Process, bits: u64) -> String {
    let Some(sets) = process.capabilities() else { return String::new() };
    let all = [sets.bounding(), sets.effective(), sets.permitted(), sets.inheritable()];
    let lacking = all.into_iter().flatten().flatten().filter(|name| bit(**name) & bits != 0);
    let mut names: Vec<String> = lacking.map(|name| name.to_cap().to_string()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

/// The sets of this process.
fn own_sets() -> Result<Sets, CredentialError> {
    let three = capabilities(None).map_err(kernel("read the capabilities"))?;
    let mut sets = Sets {
        effective: three.effective.bits(),
        permitted: three.permitted.bits(),
        inheritable: three.inheritable.bits(),
        ..Sets::default()
    };
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => sets.bounding |= capability.bits(),
            Ok(false) => {}
            // The first number that the kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            Err(errno) => return Err(kernel("read the bounding set")(errno)),
        }
        if capability_is_in_ambient_set(capability).map_err(kernel("read the ambient set"))? {
            sets.ambient |= capability.bits();
        }
    }
    Ok(sets)
}

fn kernel(doing: &'static str) -> impl FnOnce(rustix::io::Errno) -> CredentialError {
    move |errno| CredentialError::Kernel { doing, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_sets_are_written_out_as_empty_ones() {
        let mut process = Process::default();
        process.set_capabilities(None).set_no_new_privileges(Some(false));
        let credentials = Credentials::of(&process).unwrap();
        assert_eq!(credentials.sets, Sets::default());
        credentials.write_out(&mut process, false);
        let sets = process.capabilities().as_ref().unwrap();
        for set in [sets.bounding(), sets.effective(), sets.permitted(), sets.inheritable(), sets.ambient()] {
            assert_eq!(set.as_ref().map(|set| set.len()), Some(0));
        }
        assert_eq!(process.no_new_privileges(), None);
    }

    #[test]
    fn the_addition_for_loading_is_in_two_sets_only() {
        let mut process = Process::default();
        process.set_capabilities(None);
        Credentials::of(&process).unwrap().write_out(&mut process, true);
        let sets = Sets::of(process.capabilities().as_ref().unwrap());
        let admin = CapabilitySet::SYS_ADMIN.bits();
        assert_eq!(sets, Sets { effective: admin, permitted: admin, ..Sets::default() });
    }

    #[test]
    fn the_kernel_is_believed_and_not_the_spec() {
        let own = own_sets().unwrap();
        let nnp = no_new_privs().unwrap();
        assert!(Credentials { sets: own, no_new_privs: nnp }.verify().is_ok());
        let other = Sets { ambient: own.ambient ^ 1, ..own };
        let error = Credentials { sets: other, no_new_privs: nnp }.verify().unwrap_err();
        assert!(matches!(error, CredentialError::Different { what: "ambient capabilities", .. }), "{error}");
        if !nnp {
            let error = Credentials { sets: own, no_new_privs: true }.verify().unwrap_err();
            assert!(matches!(error, CredentialError::Different { what: "no_new_privs", .. }), "{error}");
        }
    }
}
