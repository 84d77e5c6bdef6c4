//! What the task service acts upon: OCI runtimes, processes, cgroups and mounts.
//!
//! Everything that takes time or happens by itself is behind these traits, so that a stand-in can lead the service through
//! every order of events (`tests/orderings`). They loosen nothing: a [`Call`] is made by
//! [`OciRuntime`](crate::runtime::OciRuntime) alone, of a bundle that passed the gate.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use palisade_policy::ImageAnswer;

use super::error::TaskError;
use super::mount::RootfsMount;
use super::signal::SignalNumber;
use crate::attest::{Expected, Seen, Stage};
use crate::bundle::PrivateDir;
use crate::cgroup::{CgroupError, LimitDifference, LimitHits};
use crate::image::ImageQuestion;
use crate::runtime::{Call, RuntimeError, read_pid};
use crate::ticks::Ticks;
use crate::watch::{Kind, Subject, Watch};

/// The machine, as far as the task service touches it. The exits of its processes come through the
/// [`Reaper`](super::Reaper).
#[async_trait]
pub trait Host: Send + Sync {
    /// Runs a runtime's call to its end.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`].
    async fn run(&self, call: Call) -> Result<(), RuntimeError>;

    /// Runs a call that leaves a process behind, and reads that process's pid.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`].
    async fn run_for_pid(&self, call: Call, pid_file: &Path) -> Result<u32, RuntimeError> {
        let verb = call.verb();
        self.run(call).await?;
        read_pid(verb, pid_file)
    }

    /// The process `pid`, to signal it.
    ///
    /// # Errors
    ///
    /// [`TaskError::Finished`] when it has ended and was waited for.
    fn signal_target(&self, pid: u32) -> Result<Box<dyn SignalTarget>, TaskError>;

    /// The cgroup of a container whose init process is `pid` and waits for start: the one that its specification names, where the process
    /// is in it or below. OOM kills are counted from here on.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    fn cgroup_of(&self, pid: u32, cgroups_path: &str) -> Result<Arc<dyn ContainerCgroup>, CgroupError>;

    /// A process is to be moved into a cgroup soon. See [`expect_attach`](crate::cgroup::expect_attach).
    fn expect_attach(&self);

    /// Empties and removes the cgroup at a specification's path, if there is one.
    ///
    /// # Errors
    ///
    /// [`TaskError`].
    async fn remove_cgroup_at(&self, cgroups_path: &str) -> Result<(), TaskError>;

    /// Watches what a container's filter asks, if this machine can.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn watch(&self, dir: &PrivateDir, kind: Kind, subject: Subject) -> io::Result<Option<Watch>> {
        let _ = (dir, kind, subject);
        Ok(None)
    }

    /// Finds out which image a container is made of. There is always an answer.
    async fn image_of(&self, question: ImageQuestion) -> ImageAnswer {
        ImageAnswer::Unknown(format!("nobody can be asked for the image of {}", question.id))
    }

    /// Mounts a root filesystem, which stays until [`Self::unmount_rootfs`].
    ///
    /// # Errors
    ///
    /// [`TaskError`]; nothing is mounted then.
    async fn mount_rootfs(&self, rootfs: &Path, mounts: Vec<RootfsMount>) -> Result<(), TaskError>;

    /// Unmounts whatever is mounted there.
    ///
    /// # Errors
    ///
    /// [`TaskError`].
    async fn unmount_rootfs(&self, rootfs: &Path) -> Result<(), TaskError>;
}

/// One process, and never its successor under the same pid.
pub trait SignalTarget: Debug + Send + Sync {
    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// [`TaskError::Finished`] when it has ended and was waited for.
    fn send(&self, signal: SignalNumber) -> Result<(), TaskError>;
}

/// The cgroup of one container.
#[async_trait]
pub trait ContainerCgroup: Debug + Send + Sync {
    /// Its processes.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    fn pids(&self) -> Result<Vec<u32>, CgroupError>;

    /// What the kernel counted, as containerd's metrics message.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    fn metrics(&self) -> Result<Any, CgroupError>;

    /// What the kernel shows of a process of the container and of this, for a comparison with what was decided; `None` when it has ended and was waited for.
    /// Whose pid it is must be certain until the first `await`.
    ///
    /// # Errors
    ///
    /// [`TaskError`] if it can't be looked at.
    async fn look(&self, pid: u32, expected: Arc<Expected>, stage: Stage) -> Result<Option<Seen>, TaskError>;

    /// Kills all processes and waits until none is left.
    ///
    /// # Errors
    ///
    /// [`TaskError`].
    async fn kill_all(&self) -> Result<(), TaskError>;

    /// Kills what has begun in it since a moment.
    ///
    /// # Errors
    ///
    /// [`TaskError`].
    async fn kill_since(&self, moment: Ticks) -> Result<(), TaskError>;

    /// Stops all processes.
    ///
    /// # Errors
    ///
    /// [`TaskError`].
    async fn freeze(&self) -> Result<(), TaskError>;

    /// Lets them go on.
    ///
    /// # Errors
    ///
    /// [`TaskError`].
    async fn thaw(&self) -> Result<(), TaskError>;

    /// Removes it, once it is empty.
    ///
    /// # Errors
    ///
    /// [`TaskError`].
    async fn remove(&self) -> Result<(), TaskError>;

    /// How often it met its limits.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    fn limit_hits(&self) -> Result<LimitHits, CgroupError>;

    /// The decided limits that are not in force, of its first process. One that has ended has none.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    fn limits_not_in_force(&self, pid: u32, expected: &Expected) -> Result<Vec<LimitDifference>, CgroupError>;

    /// Waits until it has met its limit of tasks or memory, or may have; never answers where the kernel gives no notice of that.
    async fn limit_met(&self);

    /// OOM kills that were not told of yet; they count as told from now on.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    fn untold_oom_kills(&self) -> Result<u64, CgroupError>;

    /// Waits for OOM kills, tells of them and answers how many there were; `None` when there can be no more.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    async fn next_oom_kills(&self) -> Result<Option<u64>, CgroupError>;
}
