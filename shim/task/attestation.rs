//! Looking at a container's processes: nothing is started that is not what was decided, and nothing that is not goes on.

use std::sync::Arc;
use std::time::Duration;

use super::container::Created;
use super::error::TaskError;
use super::host::ContainerCgroup;
use super::reaper::{Child, LastStatus, Remembered};
use super::service::TaskService;
use crate::attest::{
    ATTESTED, Attested, Expected, Identities, NotAttested, Seen, Stage, TableMark, attest, attest_limits,
};
use crate::audit::Chronicle;
use crate::bundle::{HardenedBundle, PrivateDir};
use crate::gate::{Attestation, GateError, Pins};
use crate::runtime::OciRuntime;
use palisade_policy::Grant;

/// Between looks for an execve, in milliseconds: 8 seconds together.
const EXECVE_PAUSES: [u64; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 500, 2000, 5000];

/// A look at a process: of whom it is told, and when it is.
pub(super) struct Look<'a> {
    pub(super) service: &'a TaskService,
    pub(super) id: &'a str,
    /// Empty for init.
    pub(super) exec_id: &'a str,
    pub(super) grant: &'a Grant,
    pub(super) stage: Stage,
    pub(super) cgroup: &'a dyn ContainerCgroup,
    pub(super) chronicle: &'a Chronicle,
}

impl Look<'_> {
    /// Compares a process with what was decided; `None` when it ended before anybody could look. The comparison's failure is on
    /// record when it comes back.
    pub(super) async fn at(&self, pid: u32, expected: &Arc<Expected>) -> Result<Option<(Attested, Seen)>, TaskError> {
        let Some(seen) = self.cgroup.look(pid, Arc::clone(expected), self.stage).await? else {
            return Ok(None);
        };
        match attest(expected, &seen, self.stage) {
            Ok(attested) => {
                self.record_attested()?;
                Ok(Some((attested, seen)))
            }
            Err(found) => {
                self.record(&found);
                Err(found.into())
            }
        }
    }

    /// Looks at an exec behind its execve, where the runtime has come back before it. Past the longest wait it is looked at as it is; what has ended
    /// meanwhile is judged by its last status, for its pid may be another process's.
    pub(super) async fn begun_behind(
        &self,
        child: &Child,
        remembered: &Remembered,
        expected: &Arc<Expected>,
    ) -> Result<(), TaskError> {
        let mut pauses = EXECVE_PAUSES.into_iter();
        let last = loop {
            if child.was_collected() {
                break child.last_status().clone();
            }
            let seen = self.cgroup.look(child.pid(), Arc::clone(expected), self.stage).await?;
            let last = remembered.last_status();
            if last.is_some() {
                break last;
            }
            match (seen, pauses.next()) {
                (Some(seen), Some(pause)) if seen.is_runcs() => tokio::time::sleep(Duration::from_millis(pause)).await,
                (Some(seen), _) => return self.judged(&seen, expected),
                (None, _) => break None,
            }
        };
        self.begun(child.pid(), last, expected).await
    }

    /// Looks at a process whose program has begun, and which may have ended already.
    pub(super) async fn begun(&self, pid: u32, last: LastStatus, expected: &Arc<Expected>) -> Result<(), TaskError> {
        let seen = match last {
            Some(status) => Some(Seen::of_ended(status.as_deref().map_err(String::as_str))),
            None => self.cgroup.look(pid, Arc::clone(expected), self.stage).await?,
        };
        // Nobody keeps what became of a process of a machine in memory.
        let Some(seen) = seen else { return Ok(()) };
        self.judged(&seen, expected)
    }

    fn judged(&self, seen: &Seen, expected: &Expected) -> Result<(), TaskError> {
        match attest(expected, seen, self.stage) {
            Ok(_) => self.record_attested(),
            Err(found) => {
                self.record(&found);
                Err(found.into())
            }
        }
    }

    /// Nothing goes on that the policy wants on record and that can't be put there.
    fn record_attested(&self) -> Result<(), TaskError> {
        Ok(self.chronicle.attested(self.exec_id, self.stage).map_err(GateError::from)?)
    }

    /// The container is stopped in any case; a log that can't be written changes nothing about that.
    fn record(&self, found: &NotAttested) {
        found.mismatches().iter().for_each(|one| crate::warn!("{} {}: {one}", self.id, self.exec_id));
        let about = Attestation {
            namespace: self.service.namespace(),
            id: self.id,
            exec_id: self.exec_id,
            grant: self.grant,
            stage: self.stage,
        };
        if let Err(error) = self.service.gate().not_attested(&about, found) {
            crate::warn!("record a failed attestation: {}", crate::log::chain(&error));
        }
    }
}

/// The files that were judged. Asked for before the runtime gets them.
pub(super) fn identities(hardened: &HardenedBundle, pins: &Pins) -> Result<Identities, TaskError> {
    let failed = |source| TaskError::System { action: "look at what was judged", source };
    pins.identities(hardened.spec().root()).map_err(failed)
}

/// What the kernel must have for a container.
pub(super) fn expected_of(hardened: &HardenedBundle, files: &Identities) -> Result<Expected, TaskError> {
    let host = crate::attest::Baseline::own().map_err(|error| TaskError::Attestation(error.into()))?;
    Expected::of(hardened.spec(), files, host).map_err(|error| TaskError::Attestation(error.into()))
}

/// The stage of a container that waits for start, which was attested `before` with that mount table.
pub(super) fn created(runtime: &OciRuntime, before: Option<TableMark>) -> Stage {
    Stage::Created { embedded: runtime.is_embedded(), before }
}

/// Keeps what a container is held to, for whoever asks later.
pub(super) fn keep(dir: &PrivateDir, expected: &Expected) -> Result<(), TaskError> {
    Ok(dir.write_record(ATTESTED, expected)?)
}

impl Created {
    /// What it is held to now.
    pub(super) fn expected(&self) -> Arc<Expected> {
        Arc::clone(&self.expected.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// New limits count from now on.
    pub(super) fn hold_to(&self, resources: &[u8]) -> Result<(), TaskError> {
        let expected = Expected::clone(&self.expected()).updated(resources);
        let expected = expected.map_err(|error| TaskError::Attestation(error.into()))?;
        keep(&self.dir, &expected)?;
        *self.expected.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(expected);
        Ok(())
    }
}

/// Reads back limits that an update has changed. What is not as decided is on record, and said to who asked; the container runs on, and no
/// further process begins in it before it is right.
pub(super) fn updated(service: &TaskService, created: &Created, pid: u32) -> Result<(), TaskError> {
    let expected = created.expected();
    let differences = created.cgroup.limits_not_in_force(pid, &expected)?;
    let Err(found) = attest_limits(&differences) else { return Ok(()) };
    let look = Look {
        service,
        id: &created.id,
        exec_id: "",
        grant: &created.grant,
        stage: Stage::Running,
        cgroup: created.cgroup.as_ref(),
        chronicle: &created.chronicle,
    };
    look.record(&found);
    Err(found.into())
}

/// Waits for crun's execve, of which the kernel tells nobody who does not trace the process: so it is looked at again and again. Past the
/// longest wait it is looked at as it is.
pub(super) async fn gone_on(created: &Created, pid: u32, waiting: &Seen) -> Result<(), TaskError> {
    for pause in EXECVE_PAUSES {
        match created.cgroup.look(pid, created.expected(), Stage::Begun).await? {
            Some(seen) if !seen.has_gone_on_from(waiting) => tokio::time::sleep(Duration::from_millis(pause)).await,
            _ => return Ok(()),
        }
    }
    Ok(())
}
