//! `ctr`, the command line of containerd, with the settings that a test gives a container.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::containerd::{Containerd, Runtime};
use crate::invocation::Invocation;
use crate::tasks::Tasks;
use crate::{Failure, attached, image};

const SECONDS: u64 = 60;

/// Flags of `ctr run` that `ctr containers create` has not.
const ONLY_RUN_HAS: [&str; 6] =
    ["--cgroup", "--uidmap", "--gidmap", "--cpus", "--privileged-without-host-devices", "--runc-binary"];

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A container name that no other test uses.
#[must_use]
pub fn unique(stem: &str) -> String {
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A container for `ctr run`.
#[derive(Clone, Debug)]
pub struct Run {
    runtime: Runtime,
    image: &'static str,
    flags: Vec<String>,
    args: Vec<String>,
    stdin: Vec<u8>,
    pod_namespace: Option<String>,
}

impl Run {
    /// A container of the workload image that runs `args`.
    #[must_use]
    pub fn new(runtime: Runtime, args: &[&str]) -> Self {
        let args = args.iter().map(|&word| word.to_owned()).collect();
        Self { runtime, image: image::WORKLOAD, flags: Vec::new(), args, stdin: Vec::new(), pod_namespace: None }
    }

    /// Uses another image.
    #[must_use]
    pub fn image(mut self, image: &'static str) -> Self {
        self.image = image;
        self
    }

    /// Adds flags of `ctr run`.
    #[must_use]
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// Makes it the sandbox of a pod in this Kubernetes namespace: a container may name no other pod than its own.
    #[must_use]
    pub fn sandbox_in(mut self, namespace: &str) -> Self {
        self.pod_namespace = Some(namespace.to_owned());
        self
    }

    /// Gives the process something to read.
    #[must_use]
    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        bytes.clone_into(&mut self.stdin);
        self
    }
}

/// A container that `ctr run --detach` started. Dropping it removes it by force.
#[derive(Debug)]
pub struct Detached<'a> {
    containerd: &'a Containerd,
    id: String,
}

impl Containerd {
    /// `ctr` in this run's own containerd namespace.
    ///
    /// # Errors
    /// It cannot be started or does not end.
    pub fn ctr(&self, args: &[&str]) -> Result<Invocation, Failure> {
        self.ctr_in(self.tag(), args)
    }

    /// `ctr` in a containerd namespace, such as CRI's `k8s.io`.
    ///
    /// # Errors
    /// It cannot be started or does not end.
    pub fn ctr_in(&self, namespace: &str, args: &[&str]) -> Result<Invocation, Failure> {
        self.ctr_reading(namespace, args, b"")
    }

    fn ctr_reading(&self, namespace: &str, args: &[&str], stdin: &[u8]) -> Result<Invocation, Failure> {
        let mut command = Command::new(self.layout().base.join("bin/ctr"));
        command.arg("--address").arg(self.layout().socket()).args(["--namespace", namespace]).args(args);
        Invocation::run(&mut command, stdin, SECONDS)
    }

    /// Runs a container to its end and removes it.
    ///
    /// # Errors
    /// containerd cannot be asked or the container does not end; how it ended is in the [`Invocation`].
    pub fn run(&self, run: &Run) -> Result<Invocation, Failure> {
        let id = unique("run");
        if run.flags.iter().any(|flag| ONLY_RUN_HAS.contains(&flag.as_str())) {
            return self.run_by_ctr(run, &id);
        }
        let words = self.container_words(&["containers", "create"], run, &id);
        let created = self.ctr(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        if !created.status.success() {
            return Ok(created);
        }
        let tasks = Tasks::connect(self)?;
        let invocation = attached::run(&tasks, &id, &run.stdin);
        tasks.remove_container(&id)?;
        invocation
    }

    /// By `ctr run`, which may lose the end of the output.
    fn run_by_ctr(&self, run: &Run, id: &str) -> Result<Invocation, Failure> {
        let words = self.container_words(&["run", "--rm"], run, id);
        let invocation =
            self.ctr_reading(self.tag(), &words.iter().map(String::as_str).collect::<Vec<_>>(), &run.stdin)?;
        if !invocation.status.success() {
            // A refused container stays in containerd's store although `--rm` was given; it has no task.
            self.ctr(&["containers", "rm", id])?;
        }
        Ok(invocation)
    }

    /// Runs a command in a container, with the process settings of its init.
    ///
    /// # Errors
    /// containerd cannot be asked or the command does not end; how it ended is in the [`Invocation`].
    pub fn exec(&self, container: &str, args: &[&str]) -> Result<Invocation, Failure> {
        attached::exec(&Tasks::connect(self)?, container, &unique("exec"), args)
    }

    /// Starts a container that goes on running.
    ///
    /// # Errors
    /// It was not started.
    pub fn detach(&self, run: &Run) -> Result<Detached<'_>, Failure> {
        let detached = Detached { containerd: self, id: unique("task") };
        let words = self.container_words(&["run", "--detach"], run, &detached.id);
        self.ctr(&words.iter().map(String::as_str).collect::<Vec<_>>())?.success()?;
        Ok(detached)
    }

    fn container_words(&self, verb: &[&str], run: &Run, id: &str) -> Vec<String> {
        let runtime = self.runtime_name(run.runtime);
        let head = [verb, &["--runtime", &runtime]].concat().into_iter().map(str::to_owned);
        let tail = [run.image, id].map(str::to_owned);
        let pod = run.pod_namespace.iter().flat_map(|namespace| {
            [("container-type", "sandbox"), ("sandbox-id", id), ("sandbox-namespace", namespace.as_str())]
        });
        let pod =
            pod.flat_map(|(name, value)| ["--annotation".to_owned(), format!("io.kubernetes.cri.{name}={value}")]);
        head.chain(pod).chain(run.flags.iter().cloned()).chain(tail).chain(run.args.iter().cloned()).collect()
    }
}

impl Detached<'_> {
    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The init process as the host numbers it.
    ///
    /// # Errors
    /// containerd does not list the task.
    pub fn pid(&self) -> Result<u32, Failure> {
        let [pid, _] = self.listed()?;
        pid.parse().map_err(|error| Failure::unreadable("`ctr task ls`", &error))
    }

    /// The task's status as containerd lists it: RUNNING, PAUSED, STOPPED.
    ///
    /// # Errors
    /// containerd does not list the task.
    pub fn status(&self) -> Result<String, Failure> {
        self.listed().map(|[_, status]| status)
    }

    fn listed(&self) -> Result<[String; 2], Failure> {
        let list = self.containerd.ctr(&["task", "ls"])?.success()?;
        let row = list.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        row.into_iter()
            .find_map(|words| match <[String; 3]>::try_from(words) {
                Ok([id, pid, status]) if id == self.id => Some([pid, status]),
                _ => None,
            })
            .ok_or_else(|| Failure::unreadable(&format!("`ctr task ls` for {}", self.id), &list))
    }

    /// Runs a command in the container.
    ///
    /// # Errors
    /// `ctr` cannot be started or does not end.
    pub fn exec(&self, flags: &[&str], args: &[&str]) -> Result<Invocation, Failure> {
        if flags.is_empty() {
            return self.containerd.exec(&self.id, args);
        }
        let name = unique("exec");
        let words = [&["task", "exec", "--exec-id", &name], flags, &[&self.id], args].concat();
        self.containerd.ctr(&words)
    }

    /// A `ctr task` verb with the container as its object.
    ///
    /// # Errors
    /// `ctr` cannot be started or does not end.
    pub fn task(&self, verb: &str, flags: &[&str]) -> Result<Invocation, Failure> {
        self.containerd.ctr(&[&["task", verb], flags, &[&self.id]].concat())
    }

    /// Kills, waits for and removes the container.
    ///
    /// # Errors
    /// A step was refused.
    pub fn remove(self) -> Result<(), Failure> {
        self.task("rm", &["--force"])?.success()?;
        self.containerd.ctr(&["containers", "rm", &self.id])?.success().map(drop)
    }
}

impl Drop for Detached<'_> {
    /// For a test that failed; after `remove` there is nothing, and containerd says so.
    fn drop(&mut self) {
        self.task("rm", &["--force"]).ok();
        self.containerd.ctr(&["containers", "rm", &self.id]).ok();
    }
}
