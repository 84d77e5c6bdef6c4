//! The process of a specification or of an exec request.

use std::path::PathBuf;

use oci_spec::runtime as oci;
use serde::{Deserialize, Serialize};

use crate::capability::CapabilitySets;
use crate::moved::SecretFile;
use crate::rules::SecretVariable;

/// A process with plain values. Absent and the runtime's default are the same here.
#[derive(Debug, Clone)]
pub(crate) struct ProcessDraft {
    base: oci::Process,
    pub(crate) terminal: bool,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) additional_gids: Vec<u32>,
    /// Absent: the runtime's own, 022.
    pub(crate) umask: Option<u32>,
    pub(crate) env: Vec<String>,
    pub(crate) args: Vec<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) capabilities: CapabilitySets,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) no_new_privileges: bool,
    pub(crate) apparmor_profile: String,
    pub(crate) selinux_label: String,
    /// Absent: the value of the process that starts the runtime is kept.
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) scheduler: Option<oci::Scheduler>,
    pub(crate) io_priority: Option<oci::LinuxIOPriority>,
    /// What was taken out of the environment, to be shown as files.
    pub(crate) moved: Vec<SecretFile>,
    /// What of the environment is secret, entry by entry, from one rule to the next.
    pub(crate) secrets: Option<Vec<Option<SecretVariable>>>,
}

/// A resource limit of setrlimit(2), written as OCI does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rlimit {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl Rlimit {
    fn read(limit: &oci::PosixRlimit) -> Self {
        Self { kind: limit.typ().to_string(), soft: limit.soft(), hard: limit.hard() }
    }

    fn write(&self) -> Result<oci::PosixRlimit, serde_json::Error> {
        serde_json::to_value(self).and_then(serde_json::from_value)
    }
}

impl ProcessDraft {
    pub(crate) fn read(process: &oci::Process) -> Self {
        let user = process.user();
        Self {
            terminal: process.terminal().unwrap_or_default(),
            uid: user.uid(),
            gid: user.gid(),
            additional_gids: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask(),
            env: process.env().clone().unwrap_or_default(),
            args: process.args().clone().unwrap_or_default(),
            cwd: process.cwd().clone(),
            capabilities: CapabilitySets::read(process.capabilities().as_ref()),
            rlimits: process.rlimits().iter().flatten().map(Rlimit::read).collect(),
            no_new_privileges: process.no_new_privileges().unwrap_or_default(),
            apparmor_profile: process.apparmor_profile().clone().unwrap_or_default(),
            selinux_label: process.selinux_label().clone().unwrap_or_default(),
            oom_score_adj: process.oom_score_adj(),
            scheduler: process.scheduler().clone(),
            io_priority: *process.io_priority(),
            moved: Vec::new(),
            secrets: None,
            base: process.clone(),
        }
    }

    /// The process to hand on: every value that decides a privilege is written out.
    pub(crate) fn write(self) -> Result<oci::Process, serde_json::Error> {
        let rlimits = self.rlimits.iter().map(Rlimit::write).collect::<Result<Vec<_>, _>>()?;
        let mut process = self.base;
        let mut user = process.user().clone();
        user.set_uid(self.uid).set_gid(self.gid).set_additional_gids(Some(self.additional_gids)).set_umask(self.umask);
        let some_text = |text: String| (!text.is_empty()).then_some(text);
        process
            .set_user(user)
            .set_terminal(Some(self.terminal))
            .set_args(Some(self.args))
            // libcontainer demands PATH in the environment; an absent list is an empty one.
            .set_env(Some(self.env))
            .set_cwd(self.cwd)
            .set_capabilities(Some(self.capabilities.write()))
            .set_rlimits(Some(rlimits))
            .set_no_new_privileges(Some(self.no_new_privileges))
            .set_apparmor_profile(some_text(self.apparmor_profile))
            .set_selinux_label(some_text(self.selinux_label))
            .set_oom_score_adj(self.oom_score_adj)
            .set_scheduler(self.scheduler)
            .set_io_priority(self.io_priority);
        Ok(process)
    }
}
