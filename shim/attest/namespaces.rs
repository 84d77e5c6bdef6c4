//! The namespaces of a process, by inode. Source: namespaces(7).

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxNamespaceType;

use super::proc_dir::ProcDir;
use super::seen::Unreadable;

/// Kinds and their names below `/proc/<pid>/ns`.
pub(super) const KINDS: [(LinuxNamespaceType, &str); 8] = [
    (LinuxNamespaceType::Cgroup, "cgroup"),
    (LinuxNamespaceType::Ipc, "ipc"),
    (LinuxNamespaceType::Mount, "mnt"),
    (LinuxNamespaceType::Network, "net"),
    (LinuxNamespaceType::Pid, "pid"),
    (LinuxNamespaceType::Time, "time"),
    (LinuxNamespaceType::User, "user"),
    (LinuxNamespaceType::Uts, "uts"),
];

/// Inodes by name. A kind that the kernel has not is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Namespaces(BTreeMap<&'static str, u64>);

impl Namespaces {
    pub(super) fn of(process: &ProcDir) -> Result<Self, Unreadable> {
        let (mut inodes, mut gone) = (BTreeMap::new(), None);
        for (_, name) in KINDS {
            let file = format!("ns/{name}");
            let link = match process.link(&file) {
                Err(error) if error.is_gone() => {
                    gone = Some(error);
                    continue;
                }
                link => link?,
            };
            let inode = inode(&link.to_string_lossy()).ok_or_else(|| process.unreadable(&file)("is not understood"))?;
            inodes.insert(name, inode);
        }
        // Every kernel has some: it is the process that is gone.
        gone.filter(|_| inodes.is_empty()).map_or(Ok(Self(inodes)), Err)
    }

    /// One of each kind, the first with the number `first`.
    pub(super) fn numbered(first: u64) -> Self {
        Self(KINDS.iter().map(|(_, name)| *name).zip(first..).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    pub(super) fn set(&mut self, name: &'static str, inode: u64) {
        self.0.insert(name, inode);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, inode)| (*name, *inode))
    }
}

/// `net:[4026531840]`.
fn inode(link: &str) -> Option<u64> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_an_inode() {
        assert_eq!(inode("net:[4026531840]"), Some(4_026_531_840));
        assert_eq!(inode("net"), None);
        assert!(Namespaces::of(&ProcDir::own().unwrap()).unwrap().get("mnt").is_some());
    }
}
