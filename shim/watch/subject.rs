//! Whose calls they are.

use std::path::PathBuf;

use oci_spec::runtime::LinuxSeccomp;
use palisade_policy::Identity;

use crate::audit::Chronicle;

/// A container, as the audit log tells of it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// containerd's namespace.
    pub namespace: String,
    /// The container.
    pub id: String,
    /// What CRI says of pod and container.
    pub identity: Identity,
    /// The profile in force.
    pub profile: String,
    /// Where refused calls are recorded.
    pub chronicle: Chronicle,
    /// The filter's profile, for a record of calls.
    pub seccomp: Option<LinuxSeccomp>,
    /// The directory of what containers were seen to call.
    pub records: PathBuf,
}
