//! `/proc/<pid>/limits`. Source: proc_pid_limits(5).

use super::seen::Unreadable;

/// The specification's names and the kernel's.
pub(super) const NAMES: [(&str, &str); 16] = [
    ("RLIMIT_CPU", "Max cpu time"),
    ("RLIMIT_FSIZE", "Max file size"),
    ("RLIMIT_DATA", "Max data size"),
    ("RLIMIT_STACK", "Max stack size"),
    ("RLIMIT_CORE", "Max core file size"),
    ("RLIMIT_RSS", "Max resident set"),
    ("RLIMIT_NPROC", "Max processes"),
    ("RLIMIT_NOFILE", "Max open files"),
    ("RLIMIT_MEMLOCK", "Max locked memory"),
    ("RLIMIT_AS", "Max address space"),
    ("RLIMIT_LOCKS", "Max file locks"),
    ("RLIMIT_SIGPENDING", "Max pending signals"),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size"),
    ("RLIMIT_NICE", "Max nice priority"),
    ("RLIMIT_RTPRIO", "Max realtime priority"),
    ("RLIMIT_RTTIME", "Max realtime timeout"),
];

/// Soft and hard value by the specification's name; `u64::MAX` is no limit.
pub(super) type Limits = Vec<(String, u64, u64)>;

/// Where the soft limit's column begins.
const COLUMN: usize = 26;

pub(super) fn parse(text: &str) -> Result<Limits, Unreadable> {
    text.lines().skip(1).map(|line| read(line).ok_or_else(|| malformed(line))).collect()
}

fn malformed(line: &str) -> Unreadable {
    Unreadable::new("/proc/<pid>/limits".into(), format!("`{line}` is not understood"))
}

fn read(line: &str) -> Option<(String, u64, u64)> {
    let (name, values) = line.split_at_checked(COLUMN)?;
    let mut values =
        values.split_whitespace().map(|word| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() });
    let name = NAMES.iter().find(|(_, kernel)| *kernel == name.trim()).map_or_else(|| name.trim(), |(spec, _)| spec);
    Some((name.to_owned(), values.next()??, values.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let own = parse(&std::fs::read_to_string("/proc/self/limits").unwrap()).unwrap();
        assert!(NAMES.iter().all(|(name, _)| own.iter().any(|(one, ..)| one == name)), "{own:?}");
        let line = "Max core file size        0                    unlimited            bytes     ";
        assert_eq!(read(line), Some(("RLIMIT_CORE".into(), 0, u64::MAX)));
        assert!(parse("head\nMax core file size  ?").is_err());
    }
}
