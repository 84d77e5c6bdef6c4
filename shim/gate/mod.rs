//! The one path: judge, harden, audit. Create, exec and update all go through here.
//!
//! The gate is the only room that reads the policy, and it gathers what the pure policy crate can't see
//! (which file a mount's source is, whose namespace a path names). It fails closed: a policy that can't be
//! read, or a decision that can't be recorded, means that nothing is created.

mod admin_file;
mod asked;
mod cluster;
mod decide;
mod host;
mod loads;
mod mount_table;
mod pins;
mod rootfs;
mod source;
mod tokens;
mod users;

pub use admin_file::{admins_file, admins_files, open_program};
pub use cluster::{CLUSTER, CURRENT};
pub use decide::{Attestation, CreateTask, ExecTask, Gate, GateError, Reading, UpdateTask, record_pull, today};
pub use host::{PodFacts, facts_of, is_roots_program};
pub use pins::Pins;
pub use source::{
    CONFIG_VARIABLE, DROP_INS, LoadedPolicy, MITIGATIONS, POLICY, PROFILES, PolicyFileError, PolicySource,
};
