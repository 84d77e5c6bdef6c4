//! Where a scenario acts: one handler, and the names of what it makes there, which no observation may depend on.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use k8s_cri::v1 as api;
use libtest_mimic::Failed;
use palisade_integration::Failure;
use palisade_integration::containerd::Runtime;
use palisade_integration::cri::{self, Cri, Executed, Pod};
use palisade_integration::ctr::unique;

use super::scenario::Act;
use super::seen::Seen;
use crate::lifecycle::waits_for_signal;
use crate::support::World;

/// Why a scenario did not come to its end.
pub(super) enum Fault {
    /// containerd or the shim refused a request.
    Refused(Failure),
    /// The test could not do its part.
    Broken(Failed),
}

/// What runs where a scenario names nothing else.
const SLEEPER: [&str; 2] = ["/probe", "sleep"];

/// Where a scenario acts.
pub(super) struct Stage<'w> {
    pub(super) world: &'w World,
    pub(super) cri: Cri,
    pub(super) runtime: Runtime,
    /// Names of this run, and what stands for them in observations.
    names: RefCell<Vec<(String, String)>>,
}

/// A container of a scenario.
pub(super) struct Container<'s> {
    pub(super) stage: &'s Stage<'s>,
    pub(super) id: String,
    /// Where its log is.
    pub(super) log: String,
    /// Whether its program does nothing but wait for a signal.
    sleeps: bool,
}

impl<'w> Stage<'w> {
    pub(super) fn set(world: &'w World, runtime: Runtime) -> Result<Self, Failed> {
        Ok(Self { world, cri: world.cri()?, runtime, names: RefCell::default() })
    }

    /// Plays a scenario and takes the names of this run out of what it observed.
    pub(super) fn play(&self, act: Act) -> Result<Seen, Fault> {
        let seen = act(self)?;
        let mut names = self.names.borrow().clone();
        names.push((self.world.containerd.tag().to_owned(), "TAG".to_owned()));
        // A name may be part of a longer one.
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Ok(seen.replaced(&names))
    }

    /// A directory of the host that is no pod's.
    pub(super) fn folder(&self) -> Result<PathBuf, Fault> {
        let name = unique("folder");
        let folder = Path::new("/var/lib/palisade-test").join(&name);
        std::fs::create_dir_all(&folder)?;
        self.hide(&name, "FOLDER");
        Ok(folder)
    }

    /// Makes observations say `stand_in` wherever they name this.
    pub(super) fn hide(&self, name: &str, stand_in: &str) {
        if !name.is_empty() {
            self.names.borrow_mut().push((name.to_owned(), stand_in.to_owned()));
        }
    }

    /// A pod that asks for nothing but this.
    pub(super) fn pod(&self, change: impl FnOnce(&mut api::PodSandboxConfig)) -> Result<Pod<'_>, Fault> {
        let mut config = self.cri.pod_config();
        if let Some(metadata) = &config.metadata {
            self.hide(&metadata.uid, "POD-UID");
            self.hide(&metadata.name, "POD-NAME");
        }
        change(&mut config);
        let pod = self.cri.run_pod(self.runtime, config)?;
        self.hide(&pod.id, "POD");
        Ok(pod)
    }

    /// A container that waits for a signal, with this change.
    pub(super) fn container(
        &self,
        pod: &Pod<'_>,
        change: impl FnOnce(&mut api::ContainerConfig),
    ) -> Result<Container<'_>, Fault> {
        let container = self.created(pod, change)?;
        self.cri.begin(&container.id)?;
        // StartContainer returns before the program has taken the process over.
        if container.sleeps {
            waits_for_signal(container.pid()?)?;
        }
        Ok(container)
    }

    /// The same, not yet started.
    pub(super) fn created(
        &self,
        pod: &Pod<'_>,
        change: impl FnOnce(&mut api::ContainerConfig),
    ) -> Result<Container<'_>, Fault> {
        let mut config = cri::sleeper();
        change(&mut config);
        if let Some(metadata) = &config.metadata {
            self.hide(&metadata.name, "NAME");
        }
        let (log, sleeps) = (pod.log(&config), config.command == SLEEPER);
        let id = self.cri.create(pod, config)?;
        self.hide(&id, "CONTAINER");
        Ok(Container { stage: self, id, log, sleeps })
    }

    /// Runs one container with this change in a pod that asks for nothing, looks at it, and removes both.
    pub(super) fn one(
        &self,
        change: impl FnOnce(&mut api::ContainerConfig),
        look: impl FnOnce(&Container<'_>, &mut Seen) -> Result<(), Fault>,
    ) -> Result<Seen, Fault> {
        self.one_in(|_| (), change, look)
    }

    /// The same in a pod with a change of its own.
    pub(super) fn one_in(
        &self,
        pod: impl FnOnce(&mut api::PodSandboxConfig),
        change: impl FnOnce(&mut api::ContainerConfig),
        look: impl FnOnce(&Container<'_>, &mut Seen) -> Result<(), Fault>,
    ) -> Result<Seen, Fault> {
        let pod = self.pod(pod)?;
        let container = self.container(&pod, change)?;
        let mut seen = Seen::new();
        look(&container, &mut seen)?;
        pod.remove()?;
        Ok(seen)
    }
}

impl Container<'_> {
    pub(super) fn exec(&self, command: &[&str]) -> Result<Executed, Failure> {
        self.stage.cri.exec(&self.id, command)
    }

    /// Notes what a line of shell prints, on standard output and error, and its exit code where that is not 0.
    pub(super) fn note(&self, seen: &mut Seen, name: &str, script: &str) -> Result<(), Fault> {
        let executed = self.exec(&["sh", "-c", script])?;
        let mut text = executed.stdout;
        text.push_str(&executed.stderr);
        if executed.code != 0 {
            text = format!("{} ({})", text.trim(), executed.code);
        }
        seen.note(name, text);
        Ok(())
    }

    pub(super) fn status(&self) -> Result<api::ContainerStatus, Fault> {
        Ok(self.stage.cri.status(&self.id)?.0)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure.refusal() {
            Some(_) => Self::Refused(failure),
            None => Self::Broken(failure.into()),
        }
    }
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        Self::Broken(failed)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(failure) => failure.into(),
            Fault::Broken(failed) => failed,
        }
    }
}

/// Changes a container's security context.
pub(super) fn secured(config: &mut api::ContainerConfig, change: impl FnOnce(&mut api::LinuxContainerSecurityContext)) {
    change(config.linux.get_or_insert_default().security_context.get_or_insert_default());
}

/// Changes a pod's security context.
pub(super) fn pod_secured(
    config: &mut api::PodSandboxConfig,
    change: impl FnOnce(&mut api::LinuxSandboxSecurityContext),
) {
    change(config.linux.get_or_insert_default().security_context.get_or_insert_default());
}
