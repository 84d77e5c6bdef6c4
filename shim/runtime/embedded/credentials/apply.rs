//! Giving a process its user and its capabilities, for a process that this runtime starts itself.
//!
//! In the order that capabilities(7) demands: the bounding set while CAP_SETPCAP is there, the ids while the permitted set survives
//! them, the other sets last.

use oci_spec::runtime::User;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::{CredentialError, Credentials, kernel};

impl Credentials {
    /// Cuts the bounding set down. Everything that an execve could give is in it.
    pub(in super::super) fn drop_bounding(&self) -> Result<(), CredentialError> {
        for number in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            if self.sets.bounding & capability.bits() != 0 {
                continue;
            }
            match remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // The first number that the kernel does not know.
                Err(rustix::io::Errno::INVAL) => break,
                Err(errno) => return Err(kernel("drop a capability from the bounding set")(errno)),
            }
        }
        Ok(())
    }

    /// Becomes the user, with the supplementary groups of the spec and no others. The permitted set stays.
    pub(in super::super) fn become_user(user: &User) -> Result<(), CredentialError> {
        let groups: Vec<Gid> = user.additional_gids().iter().flatten().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
        set_keep_capabilities(true).map_err(kernel("keep the capabilities for the moment"))?;
        set_thread_groups(&groups).map_err(kernel("set the supplementary groups"))?;
        set_thread_res_gid(gid, gid, gid).map_err(kernel("set the group"))?;
        set_thread_res_uid(uid, uid, uid).map_err(kernel("set the user"))?;
        set_keep_capabilities(false).map_err(kernel("keep no capabilities any more"))
    }

    /// Takes on the four sets beside the bounding one, with `CAP_SYS_ADMIN` for a process that has to load a filter without
    /// no_new_privs, and sets no_new_privs.
    pub(in super::super) fn take_on(&self, may_load_filter: bool) -> Result<(), CredentialError> {
        let extra = if may_load_filter { CapabilitySet::SYS_ADMIN } else { CapabilitySet::empty() };
        let of = CapabilitySet::from_bits_retain;
        let sets = CapabilitySets {
            effective: of(self.sets.effective) | extra,
            permitted: of(self.sets.permitted) | extra,
            inheritable: of(self.sets.inheritable),
        };
        set_capabilities(None, sets).map_err(kernel("set the capabilities"))?;
        clear_ambient_capability_set().map_err(kernel("clear the ambient set"))?;
        for number in (0..u64::BITS).filter(|number| self.sets.ambient & 1 << number != 0) {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            configure_capability_in_ambient_set(capability, true).map_err(kernel("set the ambient set"))?;
        }
        if self.no_new_privs {
            set_no_new_privs(true).map_err(kernel("set no_new_privs"))?;
        }
        Ok(())
    }
}
