//! The real [`Host`]: child processes, pidfds, cgroupfs and mount(2).

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use palisade_policy::ImageAnswer;

use super::error::TaskError;
use super::held_up::HELD_UP;
use super::host::{ContainerCgroup, Host, SignalTarget};
use super::mount::{self, RootfsMount};
use super::off_loop::off_loop;
use super::reaper::Reaper;
use super::signal::PidFd;
use crate::attest::{Expected, ProcDir, Seen, Stage, limits};
use crate::bundle::PrivateDir;
use crate::cgroup::{Cgroup, CgroupError, LimitDifference, LimitHits, OomWatch};
use crate::image::ImageQuestion;
use crate::runtime::{Call, RuntimeError};
use crate::ticks::Ticks;
use crate::watch::{Kind, Subject, Watch};

/// The machine that the shim runs on.
#[derive(Debug)]
pub struct Machine {
    reaper: Reaper,
    /// containerd's gRPC socket; empty where nobody has said it.
    containerd: String,
}

impl Machine {
    /// Runtimes are children that `reaper` waits for.
    #[must_use]
    pub fn new(reaper: Reaper) -> Self {
        Self { reaper, containerd: String::new() }
    }

    /// The same, where containerd's gRPC socket is known.
    #[must_use]
    pub fn beside(self, containerd: &str) -> Self {
        Self { containerd: containerd.to_owned(), ..self }
    }
}

#[async_trait]
impl Host for Machine {
    async fn run(&self, call: Call) -> Result<(), RuntimeError> {
        call.run(&self.reaper).await
    }

    fn signal_target(&self, pid: u32) -> Result<Box<dyn SignalTarget>, TaskError> {
        Ok(Box::new(PidFd::open(pid)?))
    }

    fn expect_attach(&self) {
        crate::cgroup::expect_attach();
    }

    fn cgroup_of(&self, pid: u32, cgroups_path: &str) -> Result<Arc<dyn ContainerCgroup>, CgroupError> {
        Ok(Arc::new(Watched::new(Cgroup::of_container(pid, cgroups_path)?)?))
    }

    async fn remove_cgroup_at(&self, cgroups_path: &str) -> Result<(), TaskError> {
        let path = cgroups_path.to_owned();
        off_loop("remove the cgroup", move || match Cgroup::of_spec(&path) {
            Ok(cgroup) => cgroup.kill_all().and_then(|()| cgroup.remove()),
            Err(CgroupError::NotOwn { .. }) => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    fn watch(&self, dir: &PrivateDir, kind: Kind, subject: Subject) -> io::Result<Option<Watch>> {
        Watch::start(dir, kind, subject).map(Some)
    }

    async fn image_of(&self, question: ImageQuestion) -> ImageAnswer {
        question.ask(&self.containerd, &self.reaper).await
    }

    async fn mount_rootfs(&self, rootfs: &Path, mounts: Vec<RootfsMount>) -> Result<(), TaskError> {
        let target = rootfs.to_owned();
        let mounted = off_loop("mount the rootfs", move || mount::mount_rootfs(&target, &mounts)).await?;
        mounted.keep();
        Ok(())
    }

    async fn unmount_rootfs(&self, rootfs: &Path) -> Result<(), TaskError> {
        let rootfs = rootfs.to_owned();
        off_loop("unmount the rootfs", move || mount::unmount(&rootfs)).await
    }
}

/// A cgroup whose OOM kills are counted from before its container's start, so none is missed.
#[derive(Debug)]
struct Watched {
    cgroup: Arc<Cgroup>,
    /// `None` where no memory controller is there, so no limit can be hit.
    oom: Option<OomWatch>,
}

impl Watched {
    fn new(cgroup: Cgroup) -> Result<Self, CgroupError> {
        let cgroup = Arc::new(cgroup);
        let oom = match OomWatch::start(Arc::clone(&cgroup)) {
            Ok(watch) => Some(watch),
            Err(CgroupError::NoController { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { cgroup, oom })
    }

    /// What waits for the kernel is done on a thread of its own.
    async fn off_loop(
        &self,
        action: &'static str,
        work: impl FnOnce(&Cgroup) -> Result<(), CgroupError> + Send + 'static,
    ) -> Result<(), TaskError> {
        let cgroup = Arc::clone(&self.cgroup);
        off_loop(action, move || work(&cgroup)).await
    }
}

#[async_trait]
impl ContainerCgroup for Watched {
    fn pids(&self) -> Result<Vec<u32>, CgroupError> {
        self.cgroup.pids()
    }

    fn metrics(&self) -> Result<Any, CgroupError> {
        self.cgroup.metrics()
    }

    async fn look(&self, pid: u32, expected: Arc<Expected>, stage: Stage) -> Result<Option<Seen>, TaskError> {
        let process = match ProcDir::open(pid) {
            Ok(process) => process,
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) => return Ok(Some(Seen::of_ended(Err(&error.to_string())))),
        };
        let status = process.status();
        let cgroup = Arc::clone(&self.cgroup);
        let look = move |done: Box<dyn FnOnce() + Send>| {
            off_loop("attest", move || {
                let seen = Seen::since(&process, status, &expected, stage, &cgroup);
                done();
                Ok::<_, TaskError>(seen)
            })
        };
        HELD_UP.in_time(look).await
    }

    async fn kill_all(&self) -> Result<(), TaskError> {
        self.off_loop("kill all processes", Cgroup::kill_all).await
    }

    async fn kill_since(&self, moment: Ticks) -> Result<(), TaskError> {
        self.off_loop("kill what has begun since", move |cgroup| cgroup.kill_since(moment)).await
    }

    async fn freeze(&self) -> Result<(), TaskError> {
        self.off_loop("freeze the container", Cgroup::freeze).await
    }

    async fn thaw(&self) -> Result<(), TaskError> {
        self.off_loop("thaw the container", Cgroup::thaw).await
    }

    async fn remove(&self) -> Result<(), TaskError> {
        self.off_loop("remove the cgroup", Cgroup::remove).await
    }

    fn limit_hits(&self) -> Result<LimitHits, CgroupError> {
        self.cgroup.limit_hits()
    }

    fn limits_not_in_force(&self, pid: u32, expected: &Expected) -> Result<Vec<LimitDifference>, CgroupError> {
        // Gone, or about to be: nothing is limited any more.
        let Ok(process) = ProcDir::open(pid) else { return Ok(Vec::new()) };
        match limits(&self.cgroup, &process, expected) {
            Err(error) if error.is_gone() => Ok(Vec::new()),
            limits => limits,
        }
    }

    async fn limit_met(&self) {
        match &self.oom {
            Some(watch) => watch.limit_met().await,
            None => std::future::pending().await,
        }
    }

    fn untold_oom_kills(&self) -> Result<u64, CgroupError> {
        self.oom.as_ref().map_or(Ok(0), OomWatch::unreported)
    }

    async fn next_oom_kills(&self) -> Result<Option<u64>, CgroupError> {
        match &self.oom {
            Some(watch) => watch.next().await,
            None => Ok(None),
        }
    }
}
