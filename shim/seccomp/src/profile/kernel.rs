//! The version of a kernel.

/// Major and minor version of a kernel, for entries that ask for a minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// 6 of 6.18.
    pub major: u32,
    /// 18 of 6.18.
    pub minor: u32,
}

impl KernelVersion {
    /// Reads a release as uname(2) has it: `6.18.5-generic`.
    #[must_use]
    pub fn of_release(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_by_their_first_two_numbers() {
        let version = |major, minor| Some(KernelVersion { major, minor });
        assert_eq!(KernelVersion::of_release("6.18.5-generic"), version(6, 18));
        assert_eq!(KernelVersion::of_release("4.8"), version(4, 8));
        assert_eq!(KernelVersion::of_release("5.10.0-34-amd64"), version(5, 10));
        for none in ["", "6", "6.", "v6.1", "6.x"] {
            assert_eq!(KernelVersion::of_release(none), None, "{none}");
        }
        assert!(version(6, 2) < version(6, 18) && version(4, 8) < version(6, 1));
    }
}
