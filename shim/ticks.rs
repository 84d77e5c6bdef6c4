//! When processes began, in the kernel's clock ticks since boot. Source: proc_pid_stat(5), field 22.

use std::io;

/// A moment, hundredths of a second apart on every machine in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u64);

impl Ticks {
    /// The tick that is running: a process that is made from now on began in it, or later. Where it can't be read it is the first one, since which
    /// everything has begun.
    ///
    /// Source: proc_uptime(5), whose hundredths of a second are clock ticks (USER_HZ is 100). With rustix's clock and tick rate in place of it
    /// the shim died at each exec in User-Mode Linux.
    #[must_use]
    pub fn now() -> Self {
        std::fs::read_to_string("/proc/uptime").ok().and_then(|text| Self::of_uptime(&text)).unwrap_or(Self(0))
    }

    fn of_uptime(text: &str) -> Option<Self> {
        let (seconds, hundredths) = text.split(' ').next()?.split_once('.')?;
        let (seconds, hundredths): (u64, u64) = (seconds.parse().ok()?, hundredths.parse().ok()?);
        seconds.checked_mul(100)?.checked_add(hundredths).filter(|_| hundredths < 100).map(Self)
    }

    /// When a process began; `None` when there is none.
    #[must_use]
    pub fn of_process(pid: u32) -> Option<Self> {
        Stat::of_process(pid).ok().map(|stat| stat.began)
    }

    /// As the kernel has it.
    #[must_use]
    pub fn since_boot(self) -> u64 {
        self.0
    }
}

/// What `/proc/<pid>/stat` says. Source: proc_pid_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `R`, `S`, `Z`, …
    pub(crate) state: char,
    /// Field 22.
    pub(crate) began: Ticks,
}

impl Stat {
    /// Of the process that has this pid now.
    ///
    /// # Errors
    ///
    /// The kernel's, if there is none.
    pub(crate) fn of_process(pid: u32) -> io::Result<Self> {
        // The process's own name is in it, and can hold any byte.
        let text = std::fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&String::from_utf8_lossy(&text)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        // The name is in parentheses, and parentheses and spaces can be in it too.
        let (_, fields) = text.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let state = fields.next()?.chars().next()?;
        let began = Ticks(fields.nth(18)?.parse().ok()?);
        Some(Self { state, began })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) S 1) R 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2";
        assert_eq!(Stat::parse(text), Some(Stat { state: 'R', began: Ticks(4242) }));
        assert_eq!(Stat::parse("7 (a"), None);
        assert_eq!(Stat::parse("7 (a) R 1"), None);
    }

    #[test]
    fn the_time_since_boot_is_in_ticks() {
        assert_eq!(Ticks::of_uptime("12345.67 23456.78\n"), Some(Ticks(1_234_567)));
        assert_eq!(Ticks::of_uptime("0.05 0.00\n"), Some(Ticks(5)));
        for odd in ["", "1", "1.x 2", "-1.00 2", "1.234 5"] {
            assert_eq!(Ticks::of_uptime(odd), None, "{odd}");
        }
    }

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
