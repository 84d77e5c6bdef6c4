//! How long a container has waited for what it lacks.

use super::directory::Directory;
use super::{Cgroup, CgroupError, Version};

/// Time in which some of it waited, in microseconds since the cgroup was made: pressure stall information, which v2 has where the
/// kernel has it. `None` where it is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// For a processor.
    pub cpu_us: Option<u64>,
    /// For memory.
    pub memory_us: Option<u64>,
    /// For disks.
    pub io_us: Option<u64>,
}

impl Cgroup {
    /// Reads what there is.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    pub fn pressure(&self) -> Result<Pressure, CgroupError> {
        if self.version() == Version::V1 {
            return Ok(Pressure::default());
        }
        let directory = self.unified()?;
        Ok(Pressure {
            cpu_us: waited(directory, "cpu.pressure"),
            memory_us: waited(directory, "memory.pressure"),
            io_us: waited(directory, "io.pressure"),
        })
    }
}

/// A kernel whose pressure stall information is switched off has the file and refuses to read it.
fn waited(directory: &Directory, file: &str) -> Option<u64> {
    total_of(directory.read(file).ok()??.text())
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=1234`. Source: kernel `Documentation/accounting/psi.rst`.
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
