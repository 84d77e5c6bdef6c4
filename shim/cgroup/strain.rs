//! How a container fares under its limits, for whoever counts that over all containers.

use super::directory::Directory;
use super::{Cgroup, CgroupError, Version};

/// What the kernel has counted since the cgroup was made. `None` where it counts no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strain {
    /// Forks that were refused because of the limit of tasks.
    pub pids_refused: Option<u64>,
    /// Periods in which it was stopped because its CPU quota was used up.
    pub throttled_periods: Option<u64>,
    /// Time that it was stopped, in microseconds.
    pub throttled_micros: Option<u64>,
    /// Time in which some of it waited for a CPU, in microseconds (v2 with pressure stall information).
    pub cpu_waiting_micros: Option<u64>,
    /// The same for memory.
    pub memory_waiting_micros: Option<u64>,
    /// The same for disks.
    pub io_waiting_micros: Option<u64>,
}

impl Cgroup {
    /// Reads what there is.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    pub fn strain(&self) -> Result<Strain, CgroupError> {
        let (cpu, pids) = (self.controller("cpu"), self.controller("pids"));
        let counted = |directory: Option<&Directory>, file, key| match directory {
            Some(directory) => value(directory, file, key),
            None => Ok(None),
        };
        let throttled_micros = match self.version() {
            Version::V1 => counted(cpu, "cpu.stat", "throttled_time")?.map(|nanoseconds| nanoseconds / 1000),
            Version::V2 => counted(cpu, "cpu.stat", "throttled_usec")?,
        };
        let unified = self.unified().ok().filter(|_| self.version() == Version::V2);
        let waiting = |file| unified.map_or(Ok(None), |directory| pressure(directory, file));
        Ok(Strain {
            pids_refused: counted(pids, "pids.events", "max")?,
            throttled_periods: counted(cpu, "cpu.stat", "nr_throttled")?,
            throttled_micros,
            cpu_waiting_micros: waiting("cpu.pressure")?,
            memory_waiting_micros: waiting("memory.pressure")?,
            io_waiting_micros: waiting("io.pressure")?,
        })
    }
}

fn value(directory: &Directory, file: &str, key: &str) -> Result<Option<u64>, CgroupError> {
    directory.read(file)?.map_or(Ok(None), |file| file.value(key))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=1234`. Source: kernel `Documentation/accounting/psi.rst`. A kernel whose pressure stall
/// information is switched off has the file and refuses to read it.
fn pressure(directory: &Directory, file: &str) -> Result<Option<u64>, CgroupError> {
    let Ok(Some(file)) = directory.read(file) else { return Ok(None) };
    Ok(total_of(file.text()))
}

fn total_of(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split(' ').find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total_of;

    #[test]
    fn the_time_in_which_some_waited_is_found() {
        let text =
            "some avg10=0.12 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(total_of(text), Some(1234));
        assert_eq!(total_of("full total=9\n"), None);
    }
}
