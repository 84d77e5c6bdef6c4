//! When processes began, in the kernel's clock ticks since boot. Source: proc_pid_stat(5), field 22.

use rustix::time::{ClockId, clock_gettime};

/// A moment, hundredths of a second apart on every machine in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u64);

impl Ticks {
    /// The tick that is running: a process that is made from now on began in it, or later.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
        let of_a_second = rustix::param::clock_ticks_per_second();
        Self(
            seconds.saturating_mul(of_a_second).saturating_add(nanoseconds.saturating_mul(of_a_second) / 1_000_000_000),
        )
    }

    /// When a process began; `None` when there is none.
    #[must_use]
    pub fn of_process(pid: u32) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The command name is in parentheses and can hold any byte, spaces and parentheses among them.
        let (_, fields) = stat.rsplit_once(") ")?;
        fields.split(' ').nth(19)?.parse().ok().map(Self)
    }

    /// As the kernel has it.
    #[must_use]
    pub fn since_boot(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_began_after_what_came_before_it() {
        let before = Ticks::now();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let began = Ticks::of_process(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((before..=Ticks::now()).contains(&began), "{before:?} {began:?}");
        assert!(Ticks::of_process(std::process::id()).unwrap() <= before);
        assert_eq!(Ticks::of_process(child.id()), None);
    }
}
