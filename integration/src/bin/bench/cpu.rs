//! The CPU time of containerd, the shims, the runtimes and the containers, as the kernel counts it for cgroups.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use palisade_integration::{Containerd, Failure, cgroup, poll};

const ROOT: &str = "/sys/fs/cgroup";

/// containerd in a cgroup of its own, which its shims and what these run inherit until it is moved into a container's.
pub(crate) struct Cpu {
    daemon: PathBuf,
    containers: PathBuf,
    pid: u32,
}

/// Time used until a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// Of all together.
    pub(crate) all: Duration,
    /// Of containerd's own process.
    pub(crate) containerd: Duration,
}

impl Cpu {
    /// Moves containerd. Its cgroup is removed with the run's others.
    pub(crate) fn of(containerd: &Containerd) -> Result<Self, Failure> {
        let root = if cgroup::is_unified() { PathBuf::from(ROOT) } else { Path::new(ROOT).join("cpuacct") };
        let daemon = root.join(format!("{}-daemon", containerd.tag()));
        let containers = root.join(containerd.tag());
        for folder in [&daemon, &containers] {
            fs::create_dir_all(folder).map_err(Failure::io("make", folder))?;
        }
        let pid = containerd.pid();
        let processes = daemon.join("cgroup.procs");
        fs::write(&processes, pid.to_string()).map_err(Failure::io("write", &processes))?;
        Ok(Self { daemon, containers, pid })
    }

    /// Waits until containerd runs no shim any more, and tells what was used until then.
    pub(crate) fn at_rest(&self) -> Result<Used, Failure> {
        let processes = self.daemon.join("cgroup.procs");
        poll::eventually("an end of all shims", 30, || {
            let inside = fs::read_to_string(&processes).map_err(|error| error.to_string())?;
            if inside.trim() == self.pid.to_string() { Ok(()) } else { Err(inside.replace('\n', " ")) }
        })?;
        Ok(Used { all: usage(&self.daemon)? + usage(&self.containers)?, containerd: of_process(self.pid)? })
    }
}

/// Of a cgroup, with all that were below it.
fn usage(folder: &Path) -> Result<Duration, Failure> {
    let unified = cgroup::is_unified();
    let file = folder.join(if unified { "cpu.stat" } else { "cpuacct.usage" });
    let text = fs::read_to_string(&file).map_err(Failure::io("read", &file))?;
    let number =
        if unified { text.lines().find_map(|line| line.strip_prefix("usage_usec ")) } else { Some(text.trim()) };
    let number = number.and_then(|number| number.parse().ok());
    let number = number.ok_or_else(|| Failure::unreadable(&file.display().to_string(), &text))?;
    Ok(if unified { Duration::from_micros(number) } else { Duration::from_nanos(number) })
}

fn of_process(pid: u32) -> Result<Duration, Failure> {
    let time = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.cast_signed())).and_then(clock_gettime);
    time.map(Duration::from).map_err(Failure::system("read containerd's CPU time"))
}
