//! `/proc/<pid>/status`: credentials, capabilities, no_new_privs and seccomp. Source: proc_pid_status(5).

use super::seen::Unreadable;

/// The five sets in the order of the file's lines, as the specification names them.
pub(super) const SETS: [(&str, &str); 5] = [
    ("inheritable", "CapInh"),
    ("permitted", "CapPrm"),
    ("effective", "CapEff"),
    ("bounding", "CapBnd"),
    ("ambient", "CapAmb"),
];

/// What is read of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// The command's, of which the process can make anything.
    pub(super) name: String,
    /// Real, effective, saved, filesystem: host ids.
    pub(super) uids: [u32; 4],
    pub(super) gids: [u32; 4],
    /// Sorted.
    pub(super) groups: Vec<u32>,
    /// As [`SETS`].
    pub(super) capabilities: [u64; 5],
    pub(super) no_new_privs: bool,
    /// 0 none, 1 strict, 2 filter.
    pub(super) seccomp: u32,
    pub(super) filters: u32,
    /// More than one thread.
    pub(super) threads: bool,
    /// It has ended, or is about to, and was not waited for.
    pub(super) ended: bool,
}

impl Status {
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        let fields = Fields(text);
        let mut groups: Vec<u32> = fields.numbers("Groups", 10)?;
        groups.sort_unstable();
        groups.dedup();
        let mut capabilities = [0; 5];
        for (set, (_, name)) in capabilities.iter_mut().zip(SETS) {
            *set = u64::from_str_radix(fields.field(name)?, 16).map_err(|_| fields.malformed(name))?;
        }
        Ok(Self {
            name: fields.field("Name")?.to_owned(),
            uids: fields.four("Uid")?,
            gids: fields.four("Gid")?,
            groups,
            capabilities,
            no_new_privs: fields.number("NoNewPrivs")? != 0,
            seccomp: fields.number("Seccomp")?,
            // Since Linux 5.9; before, whether there is one is all that is told.
            filters: fields
                .number("Seccomp_filters")
                .or_else(|_| fields.number("Seccomp").map(|mode| u32::from(mode == 2)))?,
            threads: fields.number("Threads")? > 1,
            // One that ends gives up its memory first, then its namespaces and cgroup, and is a zombie last.
            ended: fields.field("State")?.starts_with(['Z', 'X']) || fields.field("VmSize").is_err(),
        })
    }
}

struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn field(&self, name: &str) -> Result<&'a str, Unreadable> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).ok_or_else(|| Unreadable::new("/proc/<pid>/status".into(), format!("has no {name}")))
    }

    fn malformed(&self, name: &str) -> Unreadable {
        Unreadable::new("/proc/<pid>/status".into(), format!("{name} is not understood"))
    }

    fn numbers(&self, name: &str, radix: u32) -> Result<Vec<u32>, Unreadable> {
        let words = self.field(name)?.split_whitespace();
        words.map(|word| u32::from_str_radix(word, radix).map_err(|_| self.malformed(name))).collect()
    }

    fn number(&self, name: &str) -> Result<u32, Unreadable> {
        self.field(name)?.parse().map_err(|_| self.malformed(name))
    }

    fn four(&self, name: &str) -> Result<[u32; 4], Unreadable> {
        self.numbers(name, 10)?.try_into().map_err(|_| self.malformed(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of runc 1.1.5's init between create and start, Linux 6.18, shortened.
    const RUNC: &str = "Name:\trunc:[2:INIT]\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t9\nUid:\t1000\t1000\t1000\t1000\n\
        Gid:\t1000\t1000\t1000\t1000\nFDSize:\t64\nGroups:\t2000 1000 \nVmSize:\t1234 kB\nThreads:\t1\nCapInh:\t0000000000000000\n\
        CapPrm:\t0000000000000400\nCapEff:\t0000000000000400\nCapBnd:\t0000000000000420\nCapAmb:\t0000000000000000\n\
        NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn the_kernels_text_is_read() {
        let status = Status::parse(RUNC).unwrap();
        assert_eq!((status.uids, status.gids, status.groups), ([1000; 4], [1000; 4], vec![1000, 2000]));
        assert_eq!(status.capabilities, [0, 0x400, 0x400, 0x420, 0]);
        assert_eq!((status.no_new_privs, status.seccomp, status.filters, status.ended), (true, 2, 1, false));
        assert_eq!((status.name.as_str(), status.threads), ("runc:[2:INIT]", false));
        assert!(Status::parse(&RUNC.replace("Threads:\t1", "Threads:\t2")).unwrap().threads);
    }

    #[test]
    fn what_is_missing_or_odd_is_an_error() {
        for (what, instead) in
            [("NoNewPrivs", "Other"), ("Seccomp:\t2", "Seccomp:\t-"), ("1000\t1000\t1000\t1000", "1000\t1000")]
        {
            assert!(Status::parse(&RUNC.replace(what, instead)).is_err(), "{what}");
        }
        assert!(Status::parse(&RUNC.replace("VmSize", "VmOther")).unwrap().ended, "its memory is gone");
        let older = Status::parse(&RUNC.replace("Seccomp_filters", "Unknown")).unwrap();
        assert_eq!(older.filters, 1);
    }

    #[test]
    fn ones_own_is_read() {
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(!Status::parse(&own).unwrap().ended);
    }
}
